"""Failed tracks once more: with the options of their tables, their rows replaced in one go.

The rows are made by a run like any other, into an output in the folder of that run, and take the
place of the old ones when all are there. Nothing else in the tables changes.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, replace
from typing import Any

from embedlib.catalog.stores import Place
from embedlib.errors import ConfigError
from embedlib.records import KEPT, Status
from embedlib.run.driver import RunPlan
from embedlib.run.extract import RunWatcher, drive
from embedlib.run.groups import TableGroup, table_groups
from embedlib.run.planning import check_manifests, run_plan
from embedlib.run.run_folder import (
    CONFIG_FILE,
    config_text,
    new_run_id,
    write_record,
)
from embedlib.run.staging import Staging, new_staging, put_leftovers_in_place
from embedlib.tables.catalog import read_tracks
from embedlib.tables.layout import OutLike, existing_root, model_folder
from embedlib.tables.manifest import ensure_manifest
from embedlib.tables.pending import PendingShards
from embedlib.tables.planned import PlannedTracks
from embedlib.tables.reader import open_output
from embedlib.tables.replace import Replaced
from embedlib.tables.states import record_state

Watch = Callable[[], AbstractContextManager[RunWatcher]]
"""Makes somebody who looks on, for each run that a retry takes."""


@dataclass(frozen=True, slots=True)
class RetrySummary:
    """What a retry did.

    Attributes
    ----------
    out : str
        The output folder.
    run_ids : tuple of str
        Names of its runs: one for all models whose tables were made with the same options.
    models : tuple of str
        The models whose rows were looked at.
    n_rows : int
        Rows that were replaced, over all models.
    before, after : dict of str to int
        How these rows had ended, and how they have ended now.
    n_failed : int
        Rows that still have no embedding.
    wall_s : float
        Seconds that it took.
    signal_number : int
        Of the signal that ended it early; 0 when it came to its end.
    """

    out: str
    run_ids: tuple[str, ...]
    models: tuple[str, ...]
    n_rows: int
    before: dict[str, int]
    after: dict[str, int]
    n_failed: int
    wall_s: float
    signal_number: int


def run_retry(
    out: OutLike,
    *,
    statuses: Sequence[str],
    models: Sequence[str] = (),
    options: Mapping[str, Any],
    watch: Watch,
) -> RetrySummary:
    """Run the tracks of some statuses again and replace their rows.

    A signal or an error ends it early; rows that were made until then are put in place. What a
    killed retry has made is put in place by the next one.

    Parameters
    ----------
    out : str, path-like or StorePath
        The output folder.
    statuses : sequence of str
        Which rows; any but ``ok``.
    models : sequence of str
        Names of model tables; none for all.
    options : mapping of str to Any
        Fields of `ExtractConfig` that differ from those of the last run.
    watch : callable
        Makes a watcher for each run.

    Returns
    -------
    summary : RetrySummary
        Without rows where there was nothing to do.

    Raises
    ------
    ConfigError
        If a status is no failure, or an option is wrong.
    OutputError
        If there is no such output or table, or no run tells how a table was made.
    RunError
        If infrastructure failed beyond its limit.
    """
    started = time.monotonic()
    wanted_statuses = _checked_statuses(statuses)
    root = existing_root(out)
    done = _Done()
    done.count(put_leftovers_in_place(root))
    tables = tuple(models) or open_output(root).models
    wanted = {table: _tracks_of(root, table, wanted_statuses) for table in tables}
    pending = {table: keys for table, keys in wanted.items() if keys}
    for group in table_groups(root, pending, options=options):
        if not done.signal_number:
            with watch() as watcher:
                done.add(*_run_group(root, group, pending, wanted_statuses, watcher))
    if done.run_ids and not done.signal_number:
        record_state(root, done.run_ids[-1], "retry")
    return RetrySummary(
        out=str(root),
        run_ids=tuple(done.run_ids),
        models=tables,
        n_rows=done.after.total(),
        before=dict(sorted(done.before.items())),
        after=dict(sorted(done.after.items())),
        n_failed=sum(n for status, n in done.after.items() if status not in KEPT),
        wall_s=time.monotonic() - started,
        signal_number=done.signal_number,
    )


class _Done:
    """Counts over the runs of a retry."""

    def __init__(self) -> None:
        self.run_ids: list[str] = []
        self.before: Counter[str] = Counter()
        self.after: Counter[str] = Counter()
        self.signal_number = 0

    def add(self, run_id: str, replaced: Iterable[Replaced], signal_number: int) -> None:
        self.run_ids.append(run_id)
        self.signal_number = signal_number
        self.count(replaced)

    def count(self, replaced: Iterable[Replaced]) -> None:
        for each in replaced:
            self.before.update(dict(each.before))
            self.after.update(dict(each.after))


def _checked_statuses(statuses: Sequence[str]) -> tuple[str, ...]:
    known = [status.value for status in Status if status is not Status.OK]
    if not statuses or (unknown := [status for status in statuses if status not in known]):
        named = repr(unknown[0]) if statuses else "nothing"
        raise ConfigError(
            f"{named} is no status that can be retried", fix=f"choose from {', '.join(known)}"
        )
    return tuple(dict.fromkeys(statuses))


def _tracks_of(root: Place, table: str, statuses: Collection[str]) -> frozenset[str]:
    """Find the tracks of a table that ended in one of the statuses."""
    found: set[str] = set()
    for batch in open_output(root).snapshot(table).batches(["track_id", "status"]):
        pairs = zip(batch["track_id"].to_pylist(), batch["status"].to_pylist(), strict=True)
        found.update(track_id for track_id, status in pairs if status in statuses)
    return frozenset(found)


def _run_group(
    root: Place,
    group: TableGroup,
    wanted: Mapping[str, Collection[str]],
    statuses: Sequence[str],
    watcher: RunWatcher,
) -> tuple[str, list[Replaced], int]:
    check_manifests(root, {table: group.jobs.models[table] for table in group.tables})
    run_id = new_run_id()
    write_record(root, run_id, name=CONFIG_FILE, text=config_text(group.config))
    with new_staging(root, run_id, statuses=statuses) as staging:
        replaced: dict[str, Replaced] = {}
        signal_number = 0
        try:
            plan = replace(_plan(root, group, wanted, staging), run_id=run_id)
            watcher.on_plan(plan)
            signal_number = drive(plan, group.config, watcher.on_event, out=root)
        finally:
            replaced = staging.put_in_place(root)
    record = {"retried": list(statuses), **{name: asdict(one) for name, one in replaced.items()}}
    write_record(root, run_id, name="summary.json", text=json.dumps(record, indent=2) + "\n")
    return run_id, list(replaced.values()), signal_number


def _plan(
    root: Place, group: TableGroup, wanted: Mapping[str, Collection[str]], staging: Staging
) -> RunPlan:
    """Say what is to be made, and that it goes where the old rows are not."""
    models = {
        table: replace(job, folder=str(model_folder(staging.rows, table)))
        for table, job in group.jobs.models.items()
        if table in group.tables
    }
    for job in models.values():
        ensure_manifest(staging.rows, job.manifest)
    # A shard is decoded once for all models; rows that a model has already are not replaced.
    all_wanted = {track_id for table in models for track_id in wanted[table]}
    tracks = PlannedTracks()
    tracks.add(track for track in read_tracks(root) if track.track_id in all_wanted)
    pending = {table: _holding(tracks, wanted[table]) for table in models}
    return run_plan(
        group.config, out=staging.rows, jobs=replace(group.jobs, models=models), pending=pending
    )


def _holding(tracks: PlannedTracks, track_ids: Collection[str]) -> PendingShards:
    """Select the shards that some tracks are in."""
    shard_ids = {track.shard_id for track in tracks if track.track_id in track_ids}
    sizes = {shard_id: tracks.sizes[shard_id] for shard_id in shard_ids}
    return PendingShards(tracks, sizes=sizes)
