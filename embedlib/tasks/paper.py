"""What "Deep embeddings with Essentia models" [1]_ reports, under the names of embedlib.

References
----------
.. [1] P. Alonso-Jiménez, D. Bogdanov, X. Serra: Deep embeddings with Essentia models. ISMIR
   Late-Breaking Demo, 2020. Tables 2 and 3, as `data/paper_table2.csv` and `data/paper_table3.csv`.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final, cast

from embedlib.models.registry import paper_models
from embedlib.tasks.task import Unit


@dataclass(frozen=True, slots=True)
class PaperScore:
    """A cell of its second table.

    Attributes
    ----------
    task, model : str
        Names of embedlib.
    five_fold_pct : int
        Balanced accuracy in five-fold cross-validation (5F), in percent.
    external_pct : int or None
        The same on the external set (JD); None where the paper has none.
    drop_pct : int or None
        What is lost from one to the other (AD), in points.
    """

    task: str
    model: str
    five_fold_pct: int
    external_pct: int | None
    drop_pct: int | None


@dataclass(frozen=True, slots=True)
class PaperTask:
    """A row of its third table.

    Attributes
    ----------
    group : str
        ``genre``, ``mood`` or ``miscellaneous``.
    task : str
        Name of embedlib.
    classes : tuple of str
        In the order of the paper.
    size : int
        Tracks.
    unit : str
        ``full tracks``, ``excerpts`` or both.
    """

    group: str
    task: str
    classes: tuple[str, ...]
    size: int
    unit: Unit


TASK_NAMES: Final = {"voice_instrum.": "voice_instrumental"}
"""Name in the paper to ours, where they differ."""

MODEL_NAMES: Final = dict(
    zip(
        (
            "MusiCNN",
            "MusiCNN-T200",
            "VGG-I",
            "VGG-I-T200",
            "VGGish",
            "Tempo-CNN",
            "OpenL3",
            "Spleeter",
        ),
        paper_models(),
        strict=True,
    )
)
"""Name in the paper to ours, in the order of its first table."""

_UNITS = {"exc.": "excerpts", "ft.": "full tracks", "ft./exc.": "full tracks and excerpts"}
_DATA = Path(__file__).parent / "data"


@cache
def paper_scores() -> tuple[PaperScore, ...]:
    """Give the accuracies of the paper.

    Returns
    -------
    scores : tuple of PaperScore
        16 tasks by 8 models, in the order of its second table.

    Examples
    --------
    >>> paper_scores()[0].five_fold_pct, paper_scores()[0].external_pct
    (61, 46)
    """
    return tuple(
        PaperScore(
            _task_name(row["task"]),
            MODEL_NAMES[row["model"]],
            int(row["cv5_balanced_accuracy_pct"]),
            _points(row["external_balanced_accuracy_pct"]),
            _points(row["drop_pct"]),
        )
        for row in _rows("paper_table2.csv")
    )


@cache
def paper_tasks() -> tuple[PaperTask, ...]:
    """Give the data sets of the paper.

    Returns
    -------
    tasks : tuple of PaperTask
        Sixteen, in the order of its third table.

    Examples
    --------
    >>> paper_tasks()[11].task, paper_tasks()[11].classes, paper_tasks()[11].size
    ('voice_instrumental', ('voice', 'instrumental'), 1000)
    """
    return tuple(_paper_task(row) for row in _rows("paper_table3.csv"))


def _paper_task(row: dict[str, str]) -> PaperTask:
    size, unit = row["size"].split()
    return PaperTask(
        row["group"],
        _task_name(row["task"]),
        tuple(row["classes"].split("|")),
        int(size),
        cast(Unit, _UNITS[unit]),
    )


def _task_name(name: str) -> str:
    return TASK_NAMES.get(name, name)


def _points(text: str) -> int | None:
    return int(text) if text else None


def _rows(file: str) -> Iterator[dict[str, str]]:
    lines = (_DATA / file).read_text(encoding="utf-8").splitlines()
    yield from csv.DictReader(line for line in lines if not line.startswith("#"))
