"""Labels from the names of the tracks or of their folders, by a regular expression."""

from __future__ import annotations

import re
from collections import Counter

from pydantic import BaseModel, ConfigDict, Field, field_validator

from embedlib.config import checked
from embedlib.errors import CatalogError
from embedlib.tasks.labelling import label_set
from embedlib.tasks.labels import LabelledTrack, LabelRequest, LabelSet


class Options(BaseModel):
    """Options of a task whose labels are in the names.

    Attributes
    ----------
    pattern : str
        Regular expression with one group, which is the label. It is searched for in the last part
        of the id, after the last ``/``.
    whole_id : bool
        Search the whole id, folders included: ``^([^/]+)/`` makes the first folder the label.
    min_tracks : int > 0
        Labels that fewer tracks have are left out.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    pattern: str
    whole_id: bool = False
    min_tracks: int = Field(default=1, ge=1)

    @field_validator("pattern")
    @classmethod
    def _has_one_group(cls, pattern: str) -> str:
        try:
            n_groups = re.compile(pattern).groups
        except re.error as exc:
            raise ValueError(f"it is no regular expression: {exc}") from exc
        if n_groups != 1:
            raise ValueError(f"it must have one group, and has {n_groups}")
        return pattern


def read_labels(request: LabelRequest) -> LabelSet:
    """Take the labels from the ids of the catalogue.

    Parameters
    ----------
    request : LabelRequest
        With ids of a catalogue, and a task with the fields of `Options` as options.

    Returns
    -------
    labels : LabelSet
        Of the ids that the pattern fits; the others are counted.

    Raises
    ------
    ConfigError
        If an option is wrong, or a label is no class of the task.
    CatalogError
        If there is no id, or the pattern fits none.

    Examples
    --------
    >>> from embedlib.tasks.task import Task
    >>> options = {"pattern": "^([a-z]+)_", "min_tracks": 2}
    >>> task = Task(name="drums", classes=["bd", "hat"], options=options)
    >>> ids = ("kit/bd_a.flac", "kit/bd_b.flac", "kit/ride.flac", "kit/sn_a.flac")
    >>> read_labels(LabelRequest(task, None, ids)).counts
    (('without a label in the name', 1), ('with a label that fewer than 2 tracks have', 1))
    """
    task, ids = request.task, request.track_ids
    options = checked(Options, task.options, origin=f"options of {task.name}")
    if not ids:
        raise CatalogError(
            f"the labels of {task.name} are in the names of tracks, and there is none",
            fix="give an output that has a catalogue, or a folder of audio",
        )
    label_of = {track_id: _label(track_id, options) for track_id in ids}
    n_of = Counter(label for label in label_of.values() if label)
    if not n_of:
        raise CatalogError(
            f"the pattern {options.pattern!r} fits no id, such as {ids[0]!r}",
            fix=f"correct the options of {task.name}",
        )
    kept = [
        LabelledTrack(i, label)
        for i, label in label_of.items()
        if n_of[label] >= options.min_tracks
    ]
    return label_set(task, kept, counts=_counts(n_of, options.min_tracks, n_ids=len(ids)))


def _label(track_id: str, options: Options) -> str:
    text = track_id if options.whole_id else track_id.rpartition("/")[2]
    found = re.search(options.pattern, text)
    return (found[1] or "") if found else ""


def _counts(n_of: Counter[str], min_tracks: int, *, n_ids: int) -> list[tuple[str, int]]:
    n_rare = sum(n for n in n_of.values() if n < min_tracks)
    counts = [
        ("without a label in the name", n_ids - n_of.total()),
        (f"with a label that fewer than {min_tracks} tracks have", n_rare),
    ]
    return [(what, n) for what, n in counts if n]
