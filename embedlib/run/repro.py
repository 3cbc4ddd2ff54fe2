"""One row made again from its audio, by the settings of its table, and compared with what is there.

What may differ is bounded by `embedlib.engines.bounds`; what does differ in the software and the
machine is named beside.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Final

from embedlib.catalog.allowed import ANYWHERE
from embedlib.catalog.uris import absolute, masked
from embedlib.config import ExtractConfig
from embedlib.engines.bounds import Bound, engine_bound
from embedlib.engines.processor import processor_name
from embedlib.errors import AudioError, ChangedAudioError, MissingAudioError, UnreadableAudioError
from embedlib.records import KEPT, Shard, Status, Track, TrackRow
from embedlib.run.job import DecodeJob
from embedlib.run.poison import bisect_shard
from embedlib.run.remake import remade_model, table_config
from embedlib.run.single import ReadyModel, embed_track
from embedlib.tables.layout import OutLike
from embedlib.tables.lookup import FoundRow, find_row
from embedlib.tables.makers import Maker, read_maker
from embedlib.tables.reader import open_named
from embedlib.tables.row_match import FactDifference, RowMatch, match_rows
from embedlib.tables.rows import rows_table

_NOT_AT_HAND: Final[Mapping[str, type[AudioError]]] = {
    Status.MISSING: MissingAudioError,
    Status.UNREADABLE: UnreadableAudioError,
}

_OF_THE_FILE: Final = frozenset({"content_hash", "size"})
"""What another file differs in, whatever it sounds like."""


class Verdict(StrEnum):
    """What came of the comparison."""

    BIT_EQUAL = "bit-equal"
    WITHIN_BOUND = "equal within the bound"
    SAME_STATUS = "same status"
    DIFFERENT = "different"


@dataclass(frozen=True, slots=True)
class Repro:
    """A row that was made again.

    Attributes
    ----------
    out, model, track_id : str
        Which row.
    source : str
        What was decoded.
    verdict : Verdict
        What came of it.
    status, status_now : str
        How the track ended then and now.
    error, error_now : str
        Why; words for people, which are not compared.
    match : RowMatch
        Facts and vectors, compared.
    bound : Bound
        How far vectors may be apart.
    changes : tuple of FactDifference
        What made the row and what made it now, as far as they differ: engine, machine, versions.
    notes : tuple of str
        What the comparison rests on.
    """

    out: str
    model: str
    track_id: str
    source: str
    verdict: Verdict
    status: str
    status_now: str
    error: str
    error_now: str
    match: RowMatch
    bound: Bound
    changes: tuple[FactDifference, ...]
    notes: tuple[str, ...]

    @property
    def distance(self) -> float:
        """Relative l2 distance that was held against the bound."""
        return self.match.distance(is_of_all=self.bound.is_of_all)

    @property
    def is_reproduced(self) -> bool:
        """Whether it is the same row."""
        return self.verdict is not Verdict.DIFFERENT


def repro(
    out: OutLike,
    model: str,
    track_id: str,
    *,
    source: str | None = None,
    accept_changed: bool = False,
    **options: Any,
) -> Repro:
    """Make a row again and compare it with the table; nothing is written there.

    Parameters
    ----------
    out : str or path-like
        The output folder; ``OUT@3`` is its third state.
    model : str
        Name of the model table.
    track_id : str
        The track.
    source : str, optional
        Its file, where that is no longer at the place that the table names.
    accept_changed : bool
        Take a file of other content, such as one with other tags.
    **options : Any
        Fields of `ExtractConfig` that are to differ: ``engine``, ``device``, ``weights``,
        ``allow_unverified``.

    Returns
    -------
    repro : Repro
        The comparison.

    Raises
    ------
    AudioError
        If the file is gone, or is another one than then.
    ConfigError
        If an option is wrong.
    EngineError
        If the engine is not here.
    ModelError
        If the weights are missing.
    OutputError
        If there is no such row, no run tells how it was made, or what is here would make other
        numbers.
    """
    output = open_named(out)
    found = find_row(output, model, track_id)
    manifest, maker = found.tracks.manifest, read_maker(found.file)
    config = table_config(output.root, manifest, maker=maker, options=options)
    ready = remade_model(config, manifest)
    track, status = _track(found, source), found.facts["status"]
    decode = ready.decode
    if source is not None:  # the user himself names it, so it may lie anywhere
        decode = replace(decode, allowed=ANYWHERE)
    if status == Status.CRASHED:  # it would end this process as well
        decode = _without_crash(track, decode, config)
    row = embed_track(track, ready=replace(ready, decode=decode))
    _require_same_audio(found, row, accept_changed=accept_changed)
    match = _match(found, row, ready)
    bound = engine_bound(manifest.precision, readout=manifest.readout)
    return Repro(
        out=str(output.root),
        model=model,
        track_id=track_id,
        source=masked(track.uri),
        verdict=judge(match, row, bound=bound, accept_changed=accept_changed),
        status=status,
        status_now=row.decoded.status.value,
        error=found.facts["error"],
        error_now=row.decoded.error,
        match=match,
        bound=bound,
        changes=_changes(maker, ready),
        notes=tuple(_notes(found, maker)),
    )


def judge(match: RowMatch, row: TrackRow, *, bound: Bound, accept_changed: bool) -> Verdict:
    """Say whether two rows are the same.

    Parameters
    ----------
    match : RowMatch
        How they compare.
    row : TrackRow
        The one that was made now.
    bound : Bound
        How far vectors may be apart.
    accept_changed : bool
        Whether the file may be another one.

    Returns
    -------
    verdict : Verdict
        Of rows without an embedding, only the statuses count: how far a file was decoded when its
        time was up is chance.
    """
    forgiven = _OF_THE_FILE if accept_changed else frozenset()
    differing = {each.name for each in match.facts} - forgiven
    if row.decoded.status not in KEPT:
        return Verdict.DIFFERENT if "status" in differing else Verdict.SAME_STATUS
    if differing or not match.distance(is_of_all=bound.is_of_all) <= bound.relative_l2:
        return Verdict.DIFFERENT
    return Verdict.BIT_EQUAL if match.is_bit_equal else Verdict.WITHIN_BOUND


def _track(found: FoundRow, source: str | None) -> Track:
    """Say what to decode: any version of the file, for its content is compared."""
    planned = found.planned
    clip = (planned.start_s, planned.end_s) if planned else (None, None)
    uri = found.facts["uri"] if source is None else absolute(source)
    if found.facts["status"] == Status.CHANGED and source is None and planned:
        return replace(planned, uri=uri)  # that it is not this version was the result
    return Track(found.facts["track_id"], uri, -1, "", *clip)


def _without_crash(track: Track, decode: DecodeJob, config: ExtractConfig) -> DecodeJob:
    """Decode a track in processes that may die of it, and leave it out where they do."""
    memory_bytes = config.worker_memory_mb << 20
    crashes = bisect_shard(Shard("", (track,), 0.0), decode, memory_bytes=memory_bytes)
    return replace(decode, skip=crashes)


def _require_same_audio(found: FoundRow, row: TrackRow, *, accept_changed: bool) -> None:
    status, decoded = found.facts["status"], row.decoded
    if decoded.status in _NOT_AT_HAND and decoded.status != status:
        raise _NOT_AT_HAND[decoded.status](
            decoded.error.partition(";")[0], fix="say where it is now by --source FILE"
        )
    then, now = found.facts["content_hash"], decoded.content_hash
    if then and now and then != now and not accept_changed:
        raise ChangedAudioError(
            f"{masked(row.track.uri)} is another file than then: {now}, the row was made of {then}",
            fix="give the old one by --source FILE, or take this one with --accept-changed",
        )


def _match(found: FoundRow, row: TrackRow, ready: ReadyModel) -> RowMatch:
    manifest = ready.job.manifest
    remade = rows_table([row], manifest=manifest, shard_id=found.facts["shard_id"])
    return match_rows(found.cells(remade.column_names), remade, manifest=manifest)


def _changes(maker: Maker, ready: ReadyModel) -> tuple[FactDifference, ...]:
    here = {"machine": platform.node(), "processor": processor_name()}
    now = {**here, **dict(ready.job.provenance)}
    return tuple(
        FactDifference(name, then, now.get(name, "not installed"))
        for name, then in sorted(maker.facts.items())
        if then != now.get(name)
    )


def _notes(found: FoundRow, maker: Maker) -> list[str]:
    notes = []
    if found.planned is None:
        notes.append("the catalogue lists this version no longer: taken from start to end")
    if not maker.run_id:
        notes.append("the run that made the row is not known: settings are those of the last one")
    return notes
