"""Everything that made the rows of a table, or one row: settings, software, machines, runs.

`model.json` has what is common to all rows by definition, footers and names of the files who made
them, the log when they came, and the folder of a run what that was told.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from embedlib.catalog.stores import Place
from embedlib.errors import ConfigError, OutputError
from embedlib.features.front_end import front_end
from embedlib.records import Track
from embedlib.run.run_folder import run_config, run_folder
from embedlib.tables.layout import OutLike
from embedlib.tables.lookup import find_row
from embedlib.tables.makers import FileCommit, Maker, commit_of, read_maker, read_makers
from embedlib.tables.manifest import ModelManifest, embeddings_fingerprint
from embedlib.tables.reader import Output, open_named
from embedlib.tables.states import State, states
from embedlib.tables.tracks import TrackTable

SUMMARY_FILE: Final = "summary.json"


@dataclass(frozen=True, slots=True)
class TableFacts:
    """What made a table, whoever made its rows.

    Attributes
    ----------
    out, model : str
        Which table.
    state : int or None
        Number of the state that is looked at; None for the newest.
    version : int
        Of the table's log.
    n_rows, n_files : int
        Of that version.
    fingerprint : str
        Names all that its embeddings depend on, apart from the audio and the engine.
    manifest : ModelManifest
        The same in full: graph, node, front end, patches, resampler, decoder, columns.
    front_end : dict of str to int
        Parameters of the front end; empty where this embedlib has another version of it.
    """

    out: str
    model: str
    state: int | None
    version: int
    n_rows: int
    n_files: int
    fingerprint: str
    manifest: ModelManifest
    front_end: dict[str, int]


@dataclass(frozen=True, slots=True)
class MakerRows:
    """How much of a table somebody has made.

    Attributes
    ----------
    maker : Maker
        Engine, versions, machine, processor, run.
    n_rows, n_files : int
        That are his.
    """

    maker: Maker
    n_rows: int
    n_files: int


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What is kept of a run.

    Attributes
    ----------
    run_id : str
        Its name.
    folder : str
        Where its files are.
    kind : str
        ``extract``, ``retry`` or ``index``; empty for a run that did not come to its end.
    state : int or None
        Number of the state after it.
    ended_at : str
        UTC; empty where it did not come to its end.
    config : dict of str to Any or None
        Its options, defaults included; None where the file is gone.
    summary : dict of str to Any or None
        What it did; None where it did not come to say so.
    """

    run_id: str
    folder: str
    kind: str
    state: int | None
    ended_at: str
    config: dict[str, Any] | None
    summary: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class TableProvenance:
    """What made the rows of a table.

    Attributes
    ----------
    table : TableFacts
        What is common to all by definition.
    common : dict of str to str
        What all makers have in common.
    makers : tuple of MakerRows
        All who made rows, those with most rows first.
    runs : tuple of RunFacts
        Their runs, the first first.
    """

    table: TableFacts
    common: dict[str, str]
    makers: tuple[MakerRows, ...]
    runs: tuple[RunFacts, ...]


@dataclass(frozen=True, slots=True)
class RowProvenance:
    """What made one row.

    Attributes
    ----------
    table : TableFacts
        What is common to all rows.
    row : dict of str to Any
        What the row says, without its lists of numbers.
    planned : Track or None
        What the catalogue says of the track; None where it lists this version no longer.
    file : str
        Name of the file that the row is in.
    file_rows, file_bytes : int
        Size of that file.
    commit : FileCommit or None
        When it came into the table; None where the log is no longer kept so far back.
    maker : Maker
        Engine, versions, machine, processor, run.
    run : RunFacts or None
        The run; None where the row was copied since, into another file.
    """

    table: TableFacts
    row: dict[str, Any]
    planned: Track | None
    file: str
    file_rows: int
    file_bytes: int
    commit: FileCommit | None
    maker: Maker
    run: RunFacts | None


def table_provenance(out: OutLike, model: str) -> TableProvenance:
    """Tell what made the rows of a table; the footer of each file is read.

    Parameters
    ----------
    out : str or path-like
        The output folder; ``OUT@3`` is its third state.
    model : str
        Name of the model table.

    Returns
    -------
    provenance : TableProvenance
        With all who made rows.

    Raises
    ------
    OutputError
        If there is no such output, state or table, or a file is damaged.
    """
    output = open_named(out)
    tracks = output.tracks(model)
    makers = _makers(tracks)
    run_ids = sorted({each.maker.run_id for each in makers} - {""})
    known = states(output.root)
    return TableProvenance(
        table=_table_facts(output, tracks),
        common=_common([each.maker.facts for each in makers]),
        makers=makers,
        runs=tuple(_run_facts(output.root, run_id, known) for run_id in run_ids),
    )


def row_provenance(out: OutLike, model: str, track_id: str) -> RowProvenance:
    """Tell what made the row of a track.

    Parameters
    ----------
    out : str or path-like
        The output folder; ``OUT@3`` is its third state.
    model : str
        Name of the model table.
    track_id : str
        The track.

    Returns
    -------
    provenance : RowProvenance
        Of the row.

    Raises
    ------
    OutputError
        If there is no such output, state, table or track, or a file is damaged.
    """
    output = open_named(out)
    found = find_row(output, model, track_id)
    maker, root = read_maker(found.file), output.root
    return RowProvenance(
        table=_table_facts(output, found.tracks),
        row=found.facts,
        planned=found.planned,
        file=found.file.path.name,
        file_rows=found.file.n_rows,
        file_bytes=found.file.n_bytes,
        commit=commit_of(found.tracks.snapshot, found.file),
        maker=maker,
        run=_run_facts(root, maker.run_id, states(root)) if maker.run_id else None,
    )


def _table_facts(output: Output, tracks: TrackTable) -> TableFacts:
    manifest, snapshot = tracks.manifest, tracks.snapshot
    return TableFacts(
        out=str(output.root),
        model=manifest.model,
        state=output.state.number if output.state else None,
        version=snapshot.version,
        n_rows=snapshot.n_rows,
        n_files=len(snapshot.files),
        fingerprint=embeddings_fingerprint(manifest),
        manifest=manifest,
        front_end=_front_end_parameters(manifest),
    )


def _front_end_parameters(manifest: ModelManifest) -> dict[str, int]:
    try:
        front = front_end(manifest.front_end)
    except ConfigError:  # of a package that is not installed here
        return {}
    if front.version != manifest.front_end_version:
        return {}
    return {
        "sr_hz": front.sr_hz,
        "n_channels": front.signal.n_channels,
        "n_bands": front.n_bands,
        "frame_samples": front.frame_samples,
        "hop_samples": front.hop_samples,
    }


def _makers(tracks: TrackTable) -> tuple[MakerRows, ...]:
    files = tracks.snapshot.files
    found: dict[tuple[object, ...], MakerRows] = {}
    for file, maker in zip(files, read_makers(files), strict=True):
        before = found.get(maker.key, MakerRows(maker, 0, 0))
        found[maker.key] = MakerRows(maker, before.n_rows + file.n_rows, before.n_files + 1)
    return tuple(sorted(found.values(), key=lambda each: (-each.n_rows, each.maker.run_id)))


def _common(facts: Sequence[dict[str, str]]) -> dict[str, str]:
    """Keep what all say alike."""
    if not facts:
        return {}
    shared = set.intersection(*(set(each.items()) for each in facts))
    return dict(sorted(shared))


def _run_facts(root: Place, run_id: str, known: Sequence[State]) -> RunFacts:
    folder = run_folder(root, run_id)
    ended = next((state for state in known if state.run_id == run_id), None)
    return RunFacts(
        run_id=run_id,
        folder=str(folder),
        kind=ended.kind if ended else "",
        state=ended.number if ended else None,
        ended_at=ended.ended_at if ended else "",
        config=run_config(root, run_id),
        summary=_summary(folder / SUMMARY_FILE),
    )


def _summary(path: Place) -> dict[str, Any] | None:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else None
    except (TypeError, ValueError) as exc:
        raise OutputError(
            f"{path} is damaged", fix="restore it from a copy, or delete this one file"
        ) from exc
