"""The scheduled job: the catalogue and all model tables of an output brought up to its sources.

Each step leaves the tables right as far as they go, so that a run may be killed anywhere: moved
rows lie beside the old ones until the catalogue names them, and rows that it no longer names leave
last of all. What was pending before, whoever planned it, is finished first.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict, replace
from datetime import timedelta
from functools import partial
from typing import Any, Final

from embedlib.audio.fetch import local_copy
from embedlib.catalog.allowed import ANYWHERE, Allowed
from embedlib.catalog.listing import list_sources, normalised_sources
from embedlib.catalog.places import require_exclusive
from embedlib.catalog.stores import Place
from embedlib.catalog.uris import lacks_credentials
from embedlib.config import ExtractConfig
from embedlib.errors import AudioError, RunError
from embedlib.records import Track
from embedlib.run.driver import RunPlan
from embedlib.run.events import Event
from embedlib.run.exposition import exposition
from embedlib.run.extract import RunWatcher, drive
from embedlib.run.groups import TableGroup, table_groups
from embedlib.run.index_lock import IndexLock
from embedlib.run.index_summary import IndexSummary
from embedlib.run.planning import check_manifests, ready_jobs, run_plan
from embedlib.run.prepare import allowed_by
from embedlib.run.proof import is_doubtful, is_unseen
from embedlib.run.run_folder import CONFIG_FILE, config_text, new_run_id, write_record
from embedlib.run.scheduler import Scheduler
from embedlib.run.tally import Tally
from embedlib.tables.catalog import read_tracks
from embedlib.tables.layout import CATALOG_FOLDER, model_names, output_root
from embedlib.tables.manifest import ensure_manifest
from embedlib.tables.move import move_rows
from embedlib.tables.pending import PendingShards, pending_shards
from embedlib.tables.planned import PlannedTracks
from embedlib.tables.prune import prune_rows
from embedlib.tables.reconcile import Kind, Reconciliation, commit, reconcile
from embedlib.tables.snapshot import NO_TABLE, read_snapshot
from embedlib.tables.sources import check_sources
from embedlib.tables.states import record_state
from embedlib.tables.upkeep import vacuum

KEEP: Final = timedelta(days=7)
"""How long versions of tables stay readable, by default."""

METRICS_FILE: Final = "metrics.prom"

MAX_ROUNDS: Final = 5
"""How often rows are made that another run has taken away meanwhile."""

_OF_THE_RUN: Final = (
    "sources",
    "carry",
    "allow_schemes",
    "allow_roots",
    "shard_hours",
    "single_writer",
    "local",
    "address",
    "n_cores",
    "budget_mb",
    "worker_memory_mb",
    "pool_min",
    "pool_max",
    "grow_to",
    "accept_missing",
    "max_failed",
)
"""Options that say where and how a run works, not what its numbers are."""

Refresh = Callable[[Place], object]
"""Brings up to date what derives from the tables of an output, such as a search table."""


def run_index(
    config: ExtractConfig,
    *,
    keep: timedelta = KEEP,
    dry_run: bool = False,
    watcher: RunWatcher,
    refresh: Refresh | None = None,
) -> IndexSummary:
    """Bring an output up to its sources.

    Parameters
    ----------
    config : ExtractConfig
        Sources, output, models, and how to work. Tables that the output has of other models are
        brought up to date too, with the options of the runs that made them.
    keep : datetime.timedelta
        How long versions of the tables stay readable.
    dry_run : bool
        Compare the sources with the catalogue, and write nothing.
    watcher : RunWatcher
        Told of each plan and event: there may be several plans.
    refresh : callable, optional
        Called with the output when its tables are up to date.

    Returns
    -------
    summary : IndexSummary
        What was found and done. It is also written into the folder of the run, as JSON and as
        text for Prometheus.

    Raises
    ------
    ConfigError
        If the output was made from other sources, or an option is wrong.
    FingerprintError
        If a table was made with other parameters.
    OutputError
        If the output cannot be written, is damaged, or no run tells how a table was made.
    RunError
        If another index run is at work, most of the catalogue has vanished from the sources, or
        infrastructure failed beyond its limit.
    """
    out = output_root(config.out)
    if dry_run:
        return _summary("", out, config.models, _compared(out, config), dry_run=True)
    require_exclusive(out, single_writer=config.single_writer)
    check_sources(out / CATALOG_FOLDER, config.sources)
    groups = _groups(config, out)
    run_id = new_run_id()
    with IndexLock(out, run_id) as lock:
        write_record(out, run_id, name=CONFIG_FILE, text=config_text(config))
        run = _IndexRun(config, out=out, groups=groups, watcher=watcher)
        summary = run.carry_out(run_id, keep=keep, refresh=refresh)
        if lock.taken_from:
            summary = replace(summary, taken_over_from=str(lock.taken_from))
        _record(summary, out)
    return summary


def content_hash(track: Track, *, allowed: Allowed = ANYWHERE) -> str:
    """Hash the bytes of a track's file as they are now.

    Parameters
    ----------
    track : Track
        As it was listed.
    allowed : Allowed
        Where it may lie.

    Returns
    -------
    content_hash : str
        ``sha256:<hex>``, as model tables have it; empty where the file cannot be read, or is no
        longer what was listed.
    """
    with suppress(AudioError, OSError), local_copy(track, allowed=allowed) as audio:
        return audio.content_hash
    return ""


class _IndexRun:
    """The steps of a run that holds the lock, and what they have counted."""

    def __init__(
        self,
        config: ExtractConfig,
        *,
        out: Place,
        groups: tuple[TableGroup, ...],
        watcher: RunWatcher,
    ) -> None:
        self._config = config
        self._out = out
        self._groups = groups
        self._watcher = watcher
        self._tally = Tally({})
        self._signal_number = 0
        self._n_rows_moved = 0
        self._n_rows_pruned = 0

    def carry_out(self, run_id: str, *, keep: timedelta, refresh: Refresh | None) -> IndexSummary:
        started = time.monotonic()
        self._finish_open_plan()
        n_finished = self._tally.statuses.total()
        found = None
        if not self._signal_number:
            found = _compared(self._out, self._config)
            self._settle(self._adopt(found))
        if not self._signal_number:
            vacuum(self._out, keep=keep)
            if refresh is not None:
                refresh(self._out)
        tables = [table for group in self._groups for table in group.tables]
        jobs = [group.jobs.models[table] for group in self._groups for table in group.tables]
        return replace(
            _summary(run_id, self._out, tables, found, dry_run=False),
            untrained=tuple(job.name for job in jobs if job.manifest.untrained),
            n_finished=n_finished,
            n_rows=self._tally.statuses.total(),
            n_rows_moved=self._n_rows_moved,
            n_rows_pruned=self._n_rows_pruned,
            n_patches=self._tally.n_patches,
            statuses=dict(sorted(self._tally.statuses.items())),
            n_failed=self._tally.n_failed,
            audio_s=self._tally.audio_s,
            wall_s=time.monotonic() - started,
            decoding=dict(self._tally.done),
            decoding_saved=self._tally.saved(),
            signal_number=self._signal_number,
        )

    def _finish_open_plan(self) -> None:
        if self._catalogue_version() == NO_TABLE:
            return
        tracks = self._planned()
        if any(lacks_credentials(track.uri) for track in self._open(tracks)):
            return  # signed URLs, which the listing has
        try:
            self._extract(tracks)
        except RunError as exc:
            # Files that are gone are no reason to stop: the listing is still to tell which.
            if not is_unseen(exc):
                raise

    def _adopt(self, found: Reconciliation) -> PlannedTracks:
        _require_sources(found, self._config)
        for model in model_names(self._out) if found.n_moved else ():
            self._n_rows_moved += move_rows(self._out, model, found.moves())
        return commit(self._out, found).tracks

    def _settle(self, tracks: PlannedTracks) -> None:
        """Make the tables equal to the catalogue, also where another run changes both meanwhile."""
        for _ in range(MAX_ROUNDS):
            self._extract(tracks)
            if self._signal_number:
                return
            version, tracks = self._catalogue_version(), self._planned()
            for model in model_names(self._out):
                self._n_rows_pruned += prune_rows(self._out, model, tracks).n_rows
            if self._catalogue_version() == version and not self._is_pending(tracks):
                return
            tracks = self._planned()
        raise RunError(
            f"the tables of {self._out} are changed all the time",
            fix="stop what else writes there, then run the same command again",
        )

    def _extract(self, tracks: PlannedTracks) -> None:
        for group in self._groups:
            pending = self._pending(group, tracks)
            if any(pending.values()) and not self._signal_number:
                self._drive(group, pending)

    def _drive(self, group: TableGroup, pending: dict[str, PendingShards]) -> None:
        for table in group.tables:
            ensure_manifest(self._out, group.jobs.models[table].manifest)
        plan = run_plan(group.config, out=self._out, jobs=group.jobs, pending=pending)
        write_record(self._out, plan.run_id, name=CONFIG_FILE, text=config_text(group.config))
        self._watcher.on_plan(plan)
        self._signal_number = self._observed(plan, group.config)

    def _observed(self, plan: RunPlan, config: ExtractConfig) -> int:
        tally = Tally(plan.jobs)

        def observe(event: Event, scheduler: Scheduler) -> None:
            tally.observe(event)
            self._watcher.on_event(event, scheduler)

        try:
            return drive(plan, config, observe)
        finally:
            self._tally.add(tally)

    def _pending(self, group: TableGroup, tracks: PlannedTracks) -> dict[str, PendingShards]:
        return {table: pending_shards(self._out, table, tracks) for table in group.tables}

    def _open(self, tracks: PlannedTracks) -> Iterator[Track]:
        for group in self._groups:
            for shards in self._pending(group, tracks).values():
                yield from (track for shard in shards.values() for track in shard.tracks)

    def _is_pending(self, tracks: PlannedTracks) -> bool:
        return any(any(self._pending(group, tracks).values()) for group in self._groups)

    def _planned(self) -> PlannedTracks:
        tracks = PlannedTracks()
        tracks.add(read_tracks(self._out))
        return tracks

    def _catalogue_version(self) -> int:
        return read_snapshot(self._out / CATALOG_FOLDER).version


def _groups(config: ExtractConfig, out: Place) -> tuple[TableGroup, ...]:
    """Give the models of a configuration, then the other tables of an output."""
    jobs = ready_jobs(config, out=out)
    check_manifests(out, jobs.models)
    others = set(model_names(out)) - jobs.models.keys() if out.is_dir() else ()
    options = {name: getattr(config, name) for name in _OF_THE_RUN}
    own = TableGroup(config, jobs, tuple(jobs.models))
    return (own, *table_groups(out, sorted(others), options=options))


def _compared(out: Place, config: ExtractConfig) -> Reconciliation:
    # In one order however they are named: of two equal ids the first one listed keeps it.
    sources = sorted(config.sources, key=lambda source: normalised_sources([source]))
    allowed = allowed_by(config)
    return reconcile(
        out,
        list_sources(sources, carry=config.carry, allowed=allowed),
        sources=sources,
        content_hash=partial(content_hash, allowed=allowed),
        shard_hours=config.shard_hours,
    )


def _require_sources(found: Reconciliation, config: ExtractConfig) -> None:
    """Refuse to forget most of a catalogue because a folder of it is not mounted."""
    n_known = found.n_changed + found.n_moved + found.n_deleted + found.n_unchanged
    if is_doubtful(found.n_deleted, n_known) and not config.accept_missing:
        raise RunError(
            f"{found.n_deleted} of {n_known} tracks have vanished from the sources",
            fix="bring the sources back, or take --accept-missing if they are meant to be gone",
        )


def _summary(
    run_id: str,
    out: Place,
    tables: Iterable[str],
    found: Reconciliation | None,
    *,
    dry_run: bool,
) -> IndexSummary:
    nothing = IndexSummary(run_id, str(out), dry_run, tuple(tables))
    if found is None:  # a signal came first
        return nothing
    return replace(
        nothing,
        n_tracks=found.n_new + found.n_changed + found.n_moved + found.n_unchanged,
        n_new=found.n_new,
        n_changed=found.n_changed,
        n_moved=found.n_moved,
        n_deleted=found.n_deleted,
        n_unchanged=found.n_unchanged,
        n_duplicates=found.n_duplicates,
        named={kind.value: found.named(kind) for kind in Kind},
    )


def _record(summary: IndexSummary, out: Place) -> None:
    values: dict[str, Any] = asdict(summary)
    text = json.dumps(values, indent=2) + "\n"
    write_record(out, summary.run_id, name="summary.json", text=text)
    text = exposition(summary, ended_unix_s=time.time())
    write_record(out, summary.run_id, name=METRICS_FILE, text=text)
    if not summary.signal_number:
        record_state(out, summary.run_id, "index")
