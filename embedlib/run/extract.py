"""The main job: sources in, tables out. Resolves names and files, then hands over to a driver."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from embedlib.catalog.listing import list_sources
from embedlib.catalog.places import require_exclusive
from embedlib.catalog.stores import Place
from embedlib.config import ExtractConfig, extract_config
from embedlib.run.auth import require_tokens
from embedlib.run.driver import Interruption, Observer, RunPlan
from embedlib.run.estimate import known_estimate
from embedlib.run.events import Event
from embedlib.run.journal import Journal
from embedlib.run.local import LocalDriver
from embedlib.run.memory import object_store_bytes
from embedlib.run.planning import check_manifests, ready_jobs, run_plan
from embedlib.run.run_folder import CONFIG_FILE, config_text, write_record
from embedlib.run.scheduler import Scheduler
from embedlib.run.tally import Tally
from embedlib.tables.catalog import adopt
from embedlib.tables.layout import output_root
from embedlib.tables.manifest import ensure_manifest
from embedlib.tables.pending import pending_shards
from embedlib.tables.states import record_state


@dataclass(frozen=True, slots=True)
class RunSummary:
    """What one run did.

    Attributes
    ----------
    run_id : str
        Name of the folder in ``OUT/runs``.
    out : str
        The output folder.
    models : tuple of str
        The models of the run.
    untrained : tuple of str
        Those of them whose weights are random.
    n_tracks : int
        Tracks of the catalogue.
    n_new, n_changed, n_vanished : int
        Against the catalogue as it was before; changed and vanished tracks are only reported.
    n_rows : int
        Rows written by this run, over all models.
    n_patches : int
        Patches embedded by this run, over all models.
    statuses : dict of str to int
        How the rows written by this run ended.
    n_failed : int
        Rows of this run without an embedding.
    audio_s : float
        Seconds of audio behind the rows of this run, counted per model.
    wall_s : float
        Seconds from the first listing to the last commit.
    decoding : dict of str to int
        What was done to the audio: ``decodes``, ``resamplings``, ``front_end_passes``.
    decoding_saved : dict of str to int
        What separate runs of the same models would have done beside.
    signal_number : int
        Of the signal that ended the run early; 0 when it came to its end.
    predicted_s : float or None
        What `worked_s` was predicted to be; None where a cost was not known.
    worked_s : float
        Seconds from the first worker that was ready to the last commit.
    """

    run_id: str
    out: str
    models: tuple[str, ...]
    untrained: tuple[str, ...]
    n_tracks: int
    n_new: int
    n_changed: int
    n_vanished: int
    n_rows: int
    n_patches: int
    statuses: dict[str, int]
    n_failed: int
    audio_s: float
    wall_s: float
    decoding: dict[str, int]
    decoding_saved: dict[str, int]
    signal_number: int
    predicted_s: float | None = None
    worked_s: float = 0.0


class RunWatcher:
    """Somebody who looks on: called when the plan stands, and at each event. Does nothing."""

    def on_plan(self, plan: RunPlan) -> None:
        """See what is to be done."""

    def on_event(self, event: Event, scheduler: Scheduler) -> None:
        """See what has happened."""


def extract(
    sources: list[str], *, models: list[str], out: str | Path, **options: Any
) -> RunSummary:
    """Extract the embeddings of a catalogue into tables.

    The same call again continues where the last one ended, and does nothing when all is done.

    Parameters
    ----------
    sources : list of str
        Files, folders, globs, manifests, fsspec URLs.
    models : list of str
        Names of models.
    out : str or Path
        Folder of the output.
    **options : Any
        Any other field of `embedlib.config.ExtractConfig`.

    Returns
    -------
    summary : RunSummary
        What this run did.

    Raises
    ------
    ConfigError
        If an option is unknown or wrong.
    FingerprintError
        If `out` was made with other parameters.
    """
    values = {"sources": sources, "models": models, "out": str(out), **options}
    return run_extract(extract_config(values), watcher=RunWatcher())


def run_extract(config: ExtractConfig, *, watcher: RunWatcher) -> RunSummary:
    """Carry out a checked configuration.

    Parameters
    ----------
    config : ExtractConfig
        What to do.
    watcher : RunWatcher
        Told of the plan and of each event.

    Returns
    -------
    summary : RunSummary
        What this run did.
    """
    started = time.monotonic()
    out = output_root(config.out)
    ready = ready_jobs(config, out=out)
    jobs = ready.models
    require_exclusive(out, single_writer=config.single_writer)
    check_manifests(out, jobs)
    catalogue = adopt(
        out,
        list_sources(config.sources, carry=config.carry, allowed=ready.decode.allowed),
        sources=config.sources,
        shard_hours=config.shard_hours,
    )
    for job in jobs.values():
        ensure_manifest(out, job.manifest)
    pending = {table: pending_shards(out, table, catalogue.tracks) for table in jobs}
    plan = run_plan(config, out=out, jobs=ready, pending=pending)
    write_record(out, plan.run_id, name=CONFIG_FILE, text=config_text(config))
    forecast = known_estimate(plan, config)
    if forecast:
        text = json.dumps(asdict(forecast), indent=2) + "\n"
        write_record(out, plan.run_id, name="estimate.json", text=text)
    watcher.on_plan(plan)
    tally = Tally(jobs)

    def observe(event: Event, scheduler: Scheduler) -> None:
        tally.observe(event)
        watcher.on_event(event, scheduler)

    signal_number = drive(plan, config, observe) if plan.shards else 0
    summary = RunSummary(
        run_id=plan.run_id,
        out=str(out),
        models=tuple(jobs),
        untrained=tuple(name for name, job in jobs.items() if job.manifest.untrained),
        n_tracks=len(catalogue.tracks),
        n_new=catalogue.changes.n_new,
        n_changed=catalogue.changes.n_changed,
        n_vanished=catalogue.changes.n_vanished,
        n_rows=tally.statuses.total(),
        n_patches=tally.n_patches,
        statuses=dict(sorted(tally.statuses.items())),
        n_failed=tally.n_failed,
        audio_s=tally.audio_s,
        wall_s=time.monotonic() - started,
        decoding=dict(tally.done),
        decoding_saved=tally.saved(),
        signal_number=signal_number,
        predicted_s=forecast.wall_s if forecast else None,
        worked_s=tally.worked_s,
    )
    text = json.dumps(asdict(summary), indent=2) + "\n"
    write_record(out, plan.run_id, name="summary.json", text=text)
    if not signal_number:
        record_state(out, plan.run_id, "extract")
    return summary


def drive(
    plan: RunPlan, config: ExtractConfig, observe: Observer, *, out: Place | None = None
) -> int:
    """Carry out a plan, here or by Ray, and keep its journal in the folder of the run.

    Parameters
    ----------
    plan : RunPlan
        What to do.
    config : ExtractConfig
        Where.
    observe : Observer
        Called with each event.
    out : Path or StorePath, optional
        The output that has the folder of the run; by default that of the plan.

    Returns
    -------
    signal_number : int
        Of the signal that ended it early; 0 when it came to its end.

    Raises
    ------
    RunError
        If infrastructure failed beyond its limit.
    """
    with (
        Interruption() as interruption,
        Journal(plan, out=out or plan.out, interruption=interruption) as journal,
    ):
        observed = journal.before(observe)
        if config.local:
            LocalDriver(plan, observed, before_commit=journal.keep).run(interruption)
        else:
            with interruption.during_start(at_once=True):
                _drive_ray(plan, config, observed, interruption, before_commit=journal.keep)
    return interruption.signal_number


def _drive_ray(
    plan: RunPlan,
    config: ExtractConfig,
    observe: Observer,
    interruption: Interruption,
    *,
    before_commit: Callable[[], None],
) -> None:
    require_tokens(is_local=config.address is None)
    from embedlib.run.cluster import ray_session
    from embedlib.run.ray_backend import RayDriver
    from embedlib.run.ray_meters import metered

    store_bytes = object_store_bytes(plan.budget_bytes)
    with ray_session(
        address=config.address, n_cores=config.n_cores, store_bytes=store_bytes
    ) as is_ours:
        interruption.arm()
        driver = RayDriver(plan, metered(observe), before_commit=before_commit, is_ours=is_ours)
        driver.run(interruption)
