"""The sweep: labels and embeddings in, committed fits out. Resolves names, then hands over."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeAlias

from embedlib.catalog.places import require_exclusive
from embedlib.catalog.stores import Place
from embedlib.probes.choice import whole_setting
from embedlib.probes.ledger import Ledger, SweepWatcher
from embedlib.probes.local import run_here
from embedlib.probes.plan import ASHA, FitGroup, external_group, fold_groups, parcels
from embedlib.probes.records import Fit, Role
from embedlib.probes.settings import SweepConfig
from embedlib.probes.subjects import Probed, model_tables, read_task_set, waves
from embedlib.probes.table import read_fits, save_cohort
from embedlib.probes.work import Batch
from embedlib.run.auth import require_tokens
from embedlib.run.driver import Interruption
from embedlib.tables.layout import existing_root

Run: TypeAlias = Callable[[Batch], None]


@dataclass(frozen=True, slots=True)
class SweepSummary:
    """What one sweep did.

    Attributes
    ----------
    out : str
        The output folder.
    tasks, models, protocols : tuple of str
        Names.
    n_fits : int
        Fits that this sweep committed.
    n_skipped : int
        Fits that were committed before.
    n_lost_groups : int
        Groups that another sweep committed first.
    n_commits : int
        Transactions.
    wall_s : float
        Seconds.
    is_reproducible : bool
        Whether the same sweep again would give the same table, wall times aside.
    notes : tuple of str
        What a person should know, one line each.
    signal_number : int
        Of the signal that ended the sweep early; 0 when it came to its end.
    """

    out: str
    tasks: tuple[str, ...]
    models: tuple[str, ...]
    protocols: tuple[str, ...]
    n_fits: int
    n_skipped: int
    n_lost_groups: int
    n_commits: int
    wall_s: float
    is_reproducible: bool
    notes: tuple[str, ...]
    signal_number: int


def run_sweep(config: SweepConfig, *, watcher: SweepWatcher | None = None) -> SweepSummary:
    """Fit all probes that a configuration asks for and that are not committed yet.

    The same call again continues where the last one ended, and does nothing when all is done.

    Parameters
    ----------
    config : SweepConfig
        What to do.
    watcher : SweepWatcher, optional
        Told of what is planned and what has ended.

    Returns
    -------
    summary : SweepSummary
        What this sweep did.

    Raises
    ------
    ConfigError
        If a task is impossible, or a class would be missing from a fold.
    CatalogError
        If labels contradict each other, or none is of a track of the catalogue.
    OutputError
        If a table is missing or damaged, or the disk is full.
    RunError
        If infrastructure failed beyond its limit.
    """
    started = time.monotonic()
    out = existing_root(config.out).absolute()
    require_exclusive(out, single_writer=config.single_writer)
    models = model_tables(config)
    task_sets = [read_task_set(each, config=config) for each in config.tasks]
    watcher = watcher or SweepWatcher()
    ledger = Ledger(out, watcher)
    notes = [note for each in task_sets for note in each.notes]
    with Interruption() as interruption, _runner(config, ledger, interruption) as run:
        sweep = _Sweep(config, out, first_model=models[0], run=run, watcher=watcher)
        for wave in waves(task_sets, models=models, config=config):
            notes += [note for probed in wave for note in probed.notes]
            sweep.carry_out(wave, done=ledger.group_ids())
            if interruption.signal_number:
                break
    return SweepSummary(
        out=str(out),
        tasks=tuple(each.cohort.task for each in task_sets),
        models=models,
        protocols=tuple(dict.fromkeys(config.protocols)),
        n_fits=ledger.n_fits,
        n_skipped=sweep.n_skipped,
        n_lost_groups=ledger.n_lost_groups,
        n_commits=ledger.n_commits,
        wall_s=time.monotonic() - started,
        is_reproducible=config.scheduler != ASHA,
        notes=tuple(dict.fromkeys(notes)),
        signal_number=interruption.signal_number,
    )


class _Sweep:
    """Waves turned into batches: first all folds, then the external sets, which build on them."""

    def __init__(
        self, config: SweepConfig, out: Place, *, first_model: str, run: Run, watcher: SweepWatcher
    ) -> None:
        self._config = config
        self._out = out
        self._first_model = first_model
        self._run = run
        self._watcher = watcher
        self.n_skipped = 0

    def carry_out(self, wave: Sequence[Probed], *, done: Collection[str]) -> None:
        groups = {probed: tuple(self._fold_groups(probed)) for probed in wave}
        for cohort in {each.task_set.cohort for each in wave}:
            save_cohort(self._out, cohort)  # before any commit that refers to it
        self._fit(groups, done=done)
        outside = {each: own for each, own in groups.items() if each.material.external}
        if outside:
            self._score_outside(outside, done=done)

    def _fold_groups(self, probed: Probed) -> Iterator[FitGroup]:
        subject, config = probed.subject, self._config
        for split in probed.splits:
            own = probed.task_set.deals[split]
            yield from fold_groups(subject, role=Role.CV, deals=own, config=config)
            if subject.material.model == self._first_model:
                controls = probed.task_set.controls[split]
                yield from fold_groups(subject, role=Role.CONTROL, deals=controls, config=config)

    def _score_outside(
        self, groups: Mapping[Probed, Sequence[FitGroup]], *, done: Collection[str]
    ) -> None:
        wanted = {group.group_id for own in groups.values() for group in own if _chooses(group)}
        fits: dict[str, list[Fit]] = defaultdict(list)
        for fit in read_fits(self._out, group_ids=wanted):
            fits[fit.group_id].append(fit)
        for cohort in {each.task_set.external for each in groups}:
            if cohort is not None:
                save_cohort(self._out, cohort)
        self._fit(
            {each: tuple(_external_groups(each, own, fits)) for each, own in groups.items()},
            done=done,
        )

    def _fit(self, groups: Mapping[Probed, Sequence[FitGroup]], *, done: Collection[str]) -> None:
        left = [
            parcel
            for probed, own in groups.items()
            for parcel in parcels(probed.subject, own, done=done)
        ]
        n_left = sum(parcel.n_fits for parcel in left)
        n_skipped = sum(len(group.keys) for own in groups.values() for group in own) - n_left
        self.n_skipped += n_skipped
        self._watcher.on_plan(n_left, n_skipped)
        materials = {each.subject.material: each.material for each in groups}
        in_order = tuple(sorted(left, key=lambda parcel: -parcel.cost_s))
        if left:
            self._run(Batch(self._out, in_order, materials, self._config.keep_probes))


def _chooses(group: FitGroup) -> bool:
    key = group.keys[0]
    return key.role is Role.CV and key.repeat == 0


def _external_groups(
    probed: Probed, groups: Sequence[FitGroup], fits: Mapping[str, Sequence[Fit]]
) -> Iterator[FitGroup]:
    """Make the groups of the splits of which all folds are committed; others await a rerun."""
    external = probed.material.external
    if external is None:
        return
    for split in probed.splits:
        own = [each for each in groups if _chooses(each) and each.keys[0].split is split]
        if all(each.group_id in fits for each in own):
            yield external_group(
                probed.subject,
                like=own[0].keys[0],
                setting=whole_setting([fit for each in own for fit in fits[each.group_id]]),
                test_cohort_id=external.cohort.cohort_id,
                test_embeddings_id=external.sample.embeddings_id,
            )


@contextmanager
def _runner(config: SweepConfig, ledger: Ledger, interruption: Interruption) -> Iterator[Run]:
    """Give what carries out batches: this process, or Ray, which starts with the first of them."""
    if config.local:
        yield lambda batch: run_here(batch, ledger, interruption)
        return
    require_tokens(is_local=config.address is None)
    from embedlib.probes.tune_runner import TuneRunner

    with interruption.during_start(), TuneRunner(config, ledger, interruption) as runner:
        yield runner.run
