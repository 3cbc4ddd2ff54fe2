"""The table of probes: one row for each fit, in ``OUT/probes``.

A part file holds the fits of some groups; it counts from the moment that the Delta log names it.
Beside the parts lie the cohorts, in a folder that neither readers nor a vacuum of the table see.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from embedlib.catalog.stores import Place
from embedlib.errors import OutputError
from embedlib.probes.fit_rows import FIT_SCHEMA, fits_of, fits_table
from embedlib.probes.records import Fit
from embedlib.tables.durable import create_if_absent, refusals, whole_file
from embedlib.tables.layout import OutLike, output_root
from embedlib.tables.parquet import readable
from embedlib.tables.snapshot import read_snapshot
from embedlib.tasks.cohort import Cohort

PROBES_FOLDER: Final = "probes"
COHORTS_FOLDER: Final = "_cohorts"
MODELS_FOLDER: Final = "_models"

_COHORT_SCHEMA: Final = pa.schema(
    [
        pa.field("track_id", pa.string(), nullable=False),
        pa.field("label", pa.string(), nullable=False),
        pa.field("group", pa.string()),
        pa.field("fold", pa.int64()),
    ]
)


@dataclass(frozen=True, slots=True)
class FitsPart:
    """A part file, as its writer reports it.

    Attributes
    ----------
    file_name : str
        In the folder of the table.
    n_rows, n_bytes : int
        What it holds.
    group_ids : tuple of str
        Groups of its fits, each once.
    """

    file_name: str
    n_rows: int
    n_bytes: int
    group_ids: tuple[str, ...]


def probes_folder(out: OutLike) -> Place:
    """Give the folder of the table of probes, which need not exist.

    Parameters
    ----------
    out : str, path-like or StorePath
        The output folder.

    Returns
    -------
    folder : Path or StorePath
        ``OUT/probes``.

    Examples
    --------
    >>> probes_folder("out").parts
    ('out', 'probes')
    """
    return output_root(out) / PROBES_FOLDER


def kept_probe_place(out: OutLike, fit_id: str) -> Place:
    """Say where a kept probe lies.

    Parameters
    ----------
    out : str, path-like or StorePath
        The output folder.
    fit_id : str
        Of its fit.

    Returns
    -------
    place : Path or StorePath
        ``OUT/probes/_models/<fit_id>.npz``.
    """
    return probes_folder(out) / MODELS_FOLDER / f"{fit_id}.npz"


def write_fits(out: OutLike, fits: Sequence[Fit]) -> FitsPart:
    """Write fits into a part file of its own, which does not count before it is committed.

    Parameters
    ----------
    out : str, path-like or StorePath
        The output folder.
    fits : sequence of Fit
        At least one.

    Returns
    -------
    part : FitsPart
        What was written.

    Raises
    ------
    OutputError
        If the disk is full or not writable.
    """
    return write_rows(probes_folder(out), fits_table(fits))


def write_rows(folder: Place, rows: pa.Table) -> FitsPart:
    """Write rows of the table into a part file of its own.

    Parameters
    ----------
    folder : Path or StorePath
        Of the table; created where there is none.
    rows : pyarrow.Table
        With the columns of `FIT_SCHEMA`.

    Returns
    -------
    part : FitsPart
        Its name begins with the time, so that names sort as parts were written.

    Raises
    ------
    OutputError
        If the disk is full or not writable.
    """
    name = f"part-{time.time_ns() // 10**6:013}-{uuid.uuid4().hex}.parquet"
    with refusals(folder):
        folder.mkdir(parents=True, exist_ok=True)
    with whole_file(folder / name) as temporary:
        pq.write_table(rows, temporary, compression="zstd")
    groups = tuple(rows["group_id"].unique().to_pylist())
    return FitsPart(name, len(rows), (folder / name).stat().st_size, groups)


def read_fits(out: OutLike, *, group_ids: Collection[str] | None = None) -> tuple[Fit, ...]:
    """Read the fits of an output.

    Parameters
    ----------
    out : str, path-like or StorePath
        The output folder.
    group_ids : collection of str, optional
        Groups that are wanted; by default all.

    Returns
    -------
    fits : tuple of Fit
        As their parts were written, the newest last; empty before the first commit.

    Raises
    ------
    OutputError
        If the log or a part cannot be read.
    """
    batches = read_snapshot(probes_folder(out)).batches(FIT_SCHEMA.names)
    if group_ids is not None:
        wanted = pa.array(group_ids, pa.string())
        batches = (batch.filter(pc.is_in(batch["group_id"], wanted)) for batch in batches)
    return tuple(fit for batch in batches for fit in fits_of(batch))


def save_cohort(out: OutLike, cohort: Cohort) -> None:
    """Keep the labelled tracks that fits refer to by their index; nothing where they are kept.

    Parameters
    ----------
    out : str, path-like or StorePath
        The output folder.
    cohort : Cohort
        The tracks.

    Raises
    ------
    OutputError
        If the disk is full or not writable.
    """
    place = _cohort_place(out, cohort.cohort_id)
    nothing = [None] * len(cohort)
    labels = [cohort.classes[number] for number in cohort.y]
    columns = [cohort.track_ids, labels, cohort.groups or nothing, cohort.folds or nothing]
    about = {"task": cohort.task, "classes": "\n".join(cohort.classes)}
    rows = pa.table(columns, schema=_COHORT_SCHEMA.with_metadata(about))
    content = pa.BufferOutputStream()
    pq.write_table(rows, content, compression="zstd")
    with refusals(place.parent):
        place.parent.mkdir(parents=True, exist_ok=True)
        create_if_absent(place, content.getvalue().to_pybytes())


def read_cohort(out: OutLike, cohort_id: str) -> Cohort:
    """Read the labelled tracks that fits refer to.

    Parameters
    ----------
    out : str, path-like or StorePath
        The output folder.
    cohort_id : str
        Of the fits.

    Returns
    -------
    cohort : Cohort
        As it was saved.

    Raises
    ------
    OutputError
        If it is missing, damaged, or not the one of that id.
    """
    place = _cohort_place(out, cohort_id)
    with readable(place):
        rows = pq.read_table(pa.BufferReader(place.read_bytes()))
        cohort = _cohort(rows)
    if cohort.cohort_id != cohort_id:
        raise OutputError(
            f"{place} holds other tracks than its name says",
            fix="delete it and run the sweep again, which writes it anew",
        )
    return cohort


def _cohort_place(out: OutLike, cohort_id: str) -> Place:
    return probes_folder(out) / COHORTS_FOLDER / f"{cohort_id}.parquet"


def _cohort(rows: pa.Table) -> Cohort:
    about = rows.schema.metadata
    classes = tuple(about[b"classes"].decode().split("\n"))
    groups, folds = (rows[name] for name in ("group", "fold"))
    return Cohort(
        task=about[b"task"].decode(),
        classes=classes,
        track_ids=tuple(rows["track_id"].to_pylist()),
        y=np.array([classes.index(label) for label in rows["label"].to_pylist()], dtype=np.int64),
        groups=() if groups.null_count else tuple(groups.to_pylist()),
        folds=() if folds.null_count else tuple(folds.to_pylist()),
    )
