"""Freesound Loop Dataset: ``annotations/<annotator>/sound-<id>.json``, and what they agree on."""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from embedlib.catalog.uris import one_line, unreadable
from embedlib.errors import CatalogError
from embedlib.tasks.labelling import label_set
from embedlib.tasks.labels import LabelledTrack, LabelRequest, LabelSet
from embedlib.tasks.layouts import file_names, required_root

MERGED: Final = {"vocal": "melody"}
"""What an annotator ticks, to the class that it is part of (models and paper have five classes)."""

TICKED: Final = ("percussion", "bass", "chords", "melody", "fx", "vocal")
"""Keys of ``instrumentation``, each true or false; free text under ``other`` is no class."""

_ANNOTATION = re.compile(r"(?:.*/)?([^/]+)/sound-(\d+)\.json")
_AUDIO = re.compile(r"(?:.*/)?(\d+)_\d+\.wav(?:\.wav)?")


@dataclass(frozen=True, slots=True)
class Opinion:
    """What one annotator says of one sound.

    Attributes
    ----------
    classes : frozenset of str
        After vocal became melody.
    is_discarded : bool
        The sound is no loop, or of no use.
    is_merged : bool
        Vocal was ticked.
    """

    classes: frozenset[str]
    is_discarded: bool = False
    is_merged: bool = False


def read_labels(request: LabelRequest) -> LabelSet:
    """Keep the sounds whose annotators agree on exactly one class.

    In this order: opinions that were saved for later do not count; a sound that any annotator
    discards is left out; vocal becomes melody; a sound is left out if its annotators tick different
    sets of classes, and if they tick none or several. The paper merges vocal into melody too; the
    other rules are ours, for how it came to its 2,104 sounds is not published.

    Parameters
    ----------
    request : LabelRequest
        Its root is a folder with the annotations somewhere below, with ``metadata.json`` for the
        uploaders and ``audio/wav`` if they are there.

    Returns
    -------
    labels : LabelSet
        Names are those of the audio on disk, else in the catalogue, else the number of the sound,
        which no catalogue has.

    Raises
    ------
    CatalogError
        If there is no annotation, or one is not what it should be.
    ConfigError
        If the request names no root.
    """
    root = required_root(request)
    files = file_names(root)
    opinions, n_later = _opinions(root, files)
    if not opinions:
        raise CatalogError(
            f"{root} has no annotations/<annotator>/sound-<id>.json",
            fix="name the folder that annotations.zip was unpacked to",
        )
    verdicts = {sound: _verdict(given) for sound, given in opinions.items()}
    kept = {sound: verdict for sound, verdict in verdicts.items() if verdict in _CLASSES}
    found = _labelled(kept, root=root, files=files, track_ids=request.track_ids)
    return label_set(request.task, found, counts=_counts(opinions, verdicts, n_later=n_later))


def opinion(answers: Mapping[str, Any]) -> Opinion:
    """Read what an annotator ticked.

    Parameters
    ----------
    answers : mapping of str to Any
        An annotation.

    Returns
    -------
    opinion : Opinion
        Of that annotator.

    Examples
    --------
    >>> ticks = dict.fromkeys(TICKED, False) | {"vocal": True}
    >>> sorted(opinion({"instrumentation": ticks, "discard": False}).classes)
    ['melody']
    """
    ticks = answers["instrumentation"]
    ticked = [name for name in TICKED if ticks[name]]
    classes = frozenset(MERGED.get(name, name) for name in ticked)
    return Opinion(classes, bool(answers.get("discard")), any(name in MERGED for name in ticked))


_CLASSES = frozenset(MERGED.get(name, name) for name in TICKED)
_DISCARDED, _DISAGREED, _NONE, _SEVERAL = (
    "discarded by an annotator",
    "annotators disagree",
    "no class",
    "several classes",
)


def _verdict(given: Iterable[Opinion]) -> str:
    opinions = list(given)
    if any(one.is_discarded for one in opinions):
        return _DISCARDED
    if len({one.classes for one in opinions}) > 1:
        return _DISAGREED
    (classes,) = {one.classes for one in opinions}
    if len(classes) != 1:
        return _SEVERAL if classes else _NONE
    (label,) = classes
    return label


def _opinions(root: Path, files: Iterable[str]) -> tuple[dict[str, list[Opinion]], int]:
    opinions: dict[str, list[Opinion]] = defaultdict(list)
    n_later = 0
    for sound, path in _annotations(root, files):
        answers = _json(path)
        if answers.get("save_for_later"):
            n_later += 1
        else:
            opinions[sound].append(_checked(answers, path))
    return opinions, n_later


def _annotations(root: Path, files: Iterable[str]) -> list[tuple[str, Path]]:
    # The same annotation may lie in both archives: one per annotator and sound counts.
    found = {
        (match[2], match[1]): root / name
        for name in files
        if (match := _ANNOTATION.fullmatch(name))
    }
    return [(sound, path) for (sound, _), path in sorted(found.items())]


def _checked(answers: Mapping[str, Any], path: Path) -> Opinion:
    try:
        return opinion(answers)
    except (KeyError, TypeError) as exc:
        raise CatalogError(
            f"{path} is no annotation of a loop: {one_line(exc)}",
            fix="unpack annotations.zip again",
        ) from exc


def _labelled(
    kept: Mapping[str, str], *, root: Path, files: Iterable[str], track_ids: Iterable[str]
) -> list[LabelledTrack]:
    uploaders = _uploaders(root, files)
    names = _audio_names(track_ids) | _audio_names(files)
    return [
        LabelledTrack(names.get(sound, sound), label, group=uploaders.get(sound, ""))
        for sound, label in kept.items()
    ]


def _audio_names(names: Iterable[str]) -> dict[str, str]:
    return {match[1]: name for name in names if (match := _AUDIO.fullmatch(name))}


def _uploaders(root: Path, files: Iterable[str]) -> dict[str, str]:
    found = [name for name in files if name.rpartition("/")[2] == "metadata.json"]
    sounds = _json(root / found[0]) if found else {}
    return {
        sound: str(about["username"])
        for sound, about in sounds.items()
        if isinstance(about, dict) and "username" in about
    }


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as exc:
        raise unreadable(str(path), exc) from exc
    except ValueError as exc:
        raise CatalogError(f"{path} is not JSON: {one_line(exc)}", fix="unpack it again") from exc
    if not isinstance(content, dict):
        raise CatalogError(f"{path} is not a JSON object", fix="unpack it again")
    return content


def _counts(
    opinions: Mapping[str, list[Opinion]], verdicts: Mapping[str, str], *, n_later: int
) -> tuple[tuple[str, int], ...]:
    of = Counter(verdicts.values())
    given = [one for several in opinions.values() for one in several]
    return (
        ("annotations", len(given)),
        ("annotations saved for later", n_later),
        ("sounds", len(opinions)),
        ("annotations with vocal, now melody", sum(one.is_merged for one in given)),
        *((reason, of[reason]) for reason in (_DISCARDED, _DISAGREED, _NONE, _SEVERAL)),
        ("exactly one class", sum(of[name] for name in _CLASSES)),
    )
