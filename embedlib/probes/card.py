"""The card of a saved probe: what it was trained on, by what, and how good it is."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from typing import ClassVar, Final

from pydantic import ConfigDict, TypeAdapter, ValidationError

import embedlib
from embedlib.errors import ConfigError, ModelError
from embedlib.probes.records import FitKey, Params, Split
from embedlib.tables.manifest import ModelManifest, embeddings_fingerprint
from embedlib.tasks.task import Task

CARD_VERSION: Final = 1
"""Of the fields of a card; a reader refuses what is newer than itself."""

_STRICT = ConfigDict(extra="forbid")


@dataclass(frozen=True, slots=True)
class CardScore:
    """How good the setting of a probe is, by cross-validation.

    Attributes
    ----------
    balanced_accuracy : float
        Mean recall over classes, of the predictions of all folds together; 0 to 1.
    low, high : float
        Ends of its 95 % interval.
    n_tracks : int
        Tracks that were predicted.
    split : Split
        How they were dealt to folds.
    is_reproducible : bool
        Whether the same sweep again gives the same number.
    """

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    balanced_accuracy: float
    low: float
    high: float
    n_tracks: int
    split: Split
    is_reproducible: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """What there is to know of a saved probe.

    Attributes
    ----------
    task : str
        Name of the task.
    classes : tuple of str
        In the order of the probabilities.
    model : str
        Name of the table that it was trained on.
    fingerprint : str
        Hash of what made its embeddings.
    embeddings : ModelManifest
        The manifest of that table: graph, front end, patch rule, precision.
    protocol : str
        Name of the protocol.
    params : Params
        Hyper-parameters.
    seed : int
        Of the fit.
    n_epochs : int
        Epochs behind the weights.
    n_tracks : int
        Tracks that trained.
    cohort_id : str
        Hash of the labelled tracks.
    fold : int
        The fold that was left out for the test; -1 where the whole task set trained.
    score : CardScore or None
        Of the setting, where a sweep has measured it.
    task_source, task_licence, task_citation : str
        Of the labelled data.
    model_licence, model_citation : str
        Of the weights that made the embeddings.
    embedlib_version, sklearn_version : str
        What trained.
    created : str
        Time in UTC, ISO 8601.
    npz_sha256 : str
        Of the file with the weights.
    card_version : int
        Of this record.
    """

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    task: str
    classes: tuple[str, ...]
    model: str
    fingerprint: str
    embeddings: ModelManifest
    protocol: str
    params: Params
    seed: int
    n_epochs: int
    n_tracks: int
    cohort_id: str = ""
    fold: int = -1
    score: CardScore | None = None
    task_source: str = ""
    task_licence: str = ""
    task_citation: str = ""
    model_licence: str = ""
    model_citation: str = ""
    embedlib_version: str = ""
    sklearn_version: str = ""
    created: str = ""
    npz_sha256: str = ""
    card_version: int = CARD_VERSION


_PARSER: Final = TypeAdapter(Card)


def make_card(
    task: Task,
    manifest: ModelManifest,
    *,
    key: FitKey,
    n_epochs: int,
    n_tracks: int,
    cohort_id: str = "",
    score: CardScore | None = None,
) -> Card:
    """Describe a probe that was just trained.

    Parameters
    ----------
    task : Task
        What it decides.
    manifest : ModelManifest
        Of the table that it was trained on.
    key : FitKey
        What the fit was.
    n_epochs : int
        Epochs behind the weights.
    n_tracks : int
        Tracks that trained.
    cohort_id : str, optional
        Hash of the labelled tracks.
    score : CardScore, optional
        Of the setting, where it is known.

    Returns
    -------
    card : Card
        With versions and time of now.
    """
    return Card(
        task=task.name,
        classes=tuple(task.classes),
        model=key.model,
        fingerprint=embeddings_fingerprint(manifest),
        embeddings=manifest,
        protocol=key.protocol,
        params=key.params,
        seed=key.seed,
        n_epochs=n_epochs,
        n_tracks=n_tracks,
        cohort_id=cohort_id,
        fold=key.fold,
        score=score,
        task_source=task.source,
        task_licence=task.licence,
        task_citation=task.citation,
        model_licence=manifest.licence,
        model_citation=manifest.citation,
        embedlib_version=embedlib.__version__,
        sklearn_version=version("scikit-learn"),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def encoded(card: Card) -> bytes:
    """Write a card as JSON.

    Parameters
    ----------
    card : Card
        Any.

    Returns
    -------
    content : bytes
        UTF-8, indented, for people too.
    """
    return (json.dumps(asdict(card), indent=2, ensure_ascii=False) + "\n").encode()


def decoded(content: bytes, *, origin: str) -> Card:
    """Read a card back.

    Parameters
    ----------
    content : bytes
        What `encoded` gave.
    origin : str
        Its file, for the error.

    Returns
    -------
    card : Card
        As written.

    Raises
    ------
    ModelError
        If it is no card, or one of a newer embedlib.
    """
    try:
        if _card_version(content) > CARD_VERSION:
            raise ModelError(f"{origin} was written by a newer embedlib", fix="upgrade embedlib")
        return _PARSER.validate_json(content)
    except ValidationError as exc:
        first = exc.errors()[0]
        problem = f"{'.'.join(map(str, first['loc']))} {first['msg']}"
    except ConfigError as exc:
        problem = str(exc.args[0])
    except (ValueError, RecursionError) as exc:
        problem = str(exc)
    raise ModelError(
        f"{origin} is no card of a probe: {problem}",
        fix="give a probe that `embedlib probe train` or a sweep has saved",
    )


def _card_version(content: bytes) -> int:
    data = json.loads(content)
    found = data.get("card_version") if isinstance(data, dict) else None
    if not isinstance(found, int):
        raise ValueError("it holds no card_version")
    return found
