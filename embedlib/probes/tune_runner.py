"""Parcels as trials of Ray Tune, in actors that are reused, over arrays that are shared.

Tune decides what runs where, and under ASHA how far; it keeps nothing. The driver commits what
trials have written.
"""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import Any, Final, Self

import ray
from ray import exceptions as rx
from ray import tune

from embedlib.errors import EmbedlibError, RunError
from embedlib.probes.ledger import Ledger
from embedlib.probes.plan import ASHA, Parcel
from embedlib.probes.settings import SweepConfig
from embedlib.probes.subjects import WAVE_BYTES
from embedlib.probes.table import FitsPart, probes_folder
from embedlib.probes.tune_schedulers import GroupedAsha
from embedlib.probes.tune_trials import FAILURE, NUMBER, PART, Shared, Unit, UnitTrial
from embedlib.probes.work import Batch
from embedlib.run.cluster import ray_session
from embedlib.run.driver import Interruption
from embedlib.run.ray_errors import INFRASTRUCTURE, LOOK, cause, line

N_TRIES: Final = 4
"""A trial whose worker was lost is begun again three times."""

_QUIET: Final = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # ours drains
    "TUNE_GLOBAL_CHECKPOINT_S": "3600",  # of its own state, which nobody reads
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
}


class TuneRunner:
    """Carries out batches by Ray Tune; a context manager. Ray starts with the first batch.

    Parameters
    ----------
    config : SweepConfig
        Where, and how many cores.
    ledger : Ledger
        Commits what trials write.
    interruption : Interruption
        Says when to end.
    """

    def __init__(self, config: SweepConfig, ledger: Ledger, interruption: Interruption) -> None:
        self._config = config
        self._ledger = ledger
        self._interruption = interruption
        self._stack = ExitStack()
        self._is_started = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def run(self, batch: Batch) -> None:
        """Carry out a batch, until all is committed, or a signal has come.

        Parameters
        ----------
        batch : Batch
            What to do.

        Raises
        ------
        EmbedlibError
            Whatever a trial or a commit meets.
        RunError
            If workers of one trial were lost again and again, or something unknown failed.
        """
        self._start()
        materials = {key: ray.put(each) for key, each in batch.materials.items()}
        left = tuple(_units(batch, is_asha=self._config.scheduler == ASHA))
        reason = ""
        for _ in range(N_TRIES):
            left, reason = self._fit(Shared(batch.out, left, materials, batch.keeps_probes))
            if not left or self._interruption.signal_number:
                return
        raise RunError(f"{N_TRIES} workers were lost over one trial ({reason})", fix=LOOK)

    def _start(self) -> None:
        if self._is_started:
            return
        for name, value in _QUIET.items():
            os.environ.setdefault(name, value)
        config = self._config
        session = ray_session(
            address=config.address, n_cores=config.n_cores, store_bytes=2 * WAVE_BYTES
        )
        self._stack.enter_context(session)
        self._interruption.arm()
        self._is_started = True

    def _fit(self, shared: Shared) -> tuple[tuple[Unit, ...], str]:
        """Let Tune run all units once; give those that lost a worker, with the reason."""
        collector = Collector(shared, self._ledger)
        try:
            results = self._results(shared, collector)
        finally:
            collector.discard()
        if collector.failure:
            raise collector.failure
        self._ledger.settle()
        left = collector.left()
        return left, _reason(results.errors) if left else ""

    def _results(self, shared: Shared, collector: Collector) -> tune.ResultGrid:
        trainable = tune.with_parameters(UnitTrial, shared=shared)
        with tempfile.TemporaryDirectory(prefix="embedlib-tune-") as folder, _mute():
            return tune.Tuner(
                tune.with_resources(trainable, {"cpu": 1}),
                param_space={NUMBER: tune.grid_search(list(range(len(shared.units))))},
                tune_config=tune.TuneConfig(reuse_actors=True, scheduler=_scheduler(shared)),
                run_config=tune.RunConfig(
                    name="sweep",
                    storage_path=folder,
                    verbose=0,
                    checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
                    callbacks=[collector],
                    stop=_Stop(lambda: bool(collector.failure or self._interruption.signal_number)),
                ),
            ).fit()


class _Unsaved:
    """What Tune saves of the driver's own objects: nothing, for it never reads that again."""

    def __reduce__(self) -> tuple[type, tuple[()]]:
        return object, ()


class Collector(_Unsaved, tune.Callback):
    """Takes the parts of trials, and hands those that belong together to the ledger.

    Parameters
    ----------
    shared : Shared
        Whose units the trials are.
    ledger : Ledger
        Commits them.

    Attributes
    ----------
    failure : EmbedlibError or None
        The first that a trial or a commit met.
    """

    def __init__(self, shared: Shared, ledger: Ledger) -> None:
        self._shared = shared
        self._ledger = ledger
        self._parts: dict[int, FitsPart] = {}
        self._ended: dict[str, list[int]] = {}
        self._whole: set[str] = set()
        self.failure: EmbedlibError | None = None

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **_: Any
    ) -> None:
        """Take the newest part of a trial, or its failure."""
        self.failure = self.failure or result.get(FAILURE)
        if PART in result:
            number = trial.config[NUMBER]
            self._unlink(number)  # that of an earlier rung
            self._parts[number] = FitsPart(**result[PART])

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
        """Hand on what is whole now."""
        number = trial.config[NUMBER]
        if number not in self._parts:
            return
        unit = self._shared.units[number]
        ended = self._ended.setdefault(unit.bundle, [])
        ended.append(number)
        if len(ended) == unit.n_together:
            self._whole.add(unit.bundle)
            parts = [self._parts.pop(each) for each in ended]
            self._guarded(lambda: self._ledger.add(parts))

    def on_step_end(self, iteration: int, trials: list[Any], **_: Any) -> None:
        """Commit now and then."""
        self._guarded(self._ledger.settle_if_due)

    def left(self) -> tuple[Unit, ...]:
        """List the units whose rows were not handed on.

        Returns
        -------
        units : tuple of Unit
            In their order; of a bundle all or none.
        """
        return tuple(unit for unit in self._shared.units if unit.bundle not in self._whole)

    def discard(self) -> None:
        """Delete the parts of bundles that are not whole."""
        for number in tuple(self._parts):
            self._unlink(number)

    def _guarded(self, act: Callable[[], None]) -> None:
        if self.failure is None:
            try:
                act()
            except EmbedlibError as exc:  # raised when Tune has ended its trials
                self.failure = exc

    def _unlink(self, number: int) -> None:
        if part := self._parts.pop(number, None):
            with suppress(OSError, RunError):
                (probes_folder(self._shared.out) / part.file_name).unlink(missing_ok=True)


class _Stop(_Unsaved, tune.Stopper):
    """Ends all trials as soon as something says so."""

    def __init__(self, is_enough: Callable[[], bool]) -> None:
        self._is_enough = is_enough

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return False

    def stop_all(self) -> bool:
        return self._is_enough()


@contextmanager
def _mute() -> Iterator[None]:
    """Keep Tune from listing the trials that a signal or a failure has ended; we say it."""
    logger = logging.getLogger("ray.tune")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)


def _units(batch: Batch, *, is_asha: bool) -> Iterator[Unit]:
    """Make trials of parcels; under ASHA of each fit that has rivals, those of a group in a row."""
    for parcel in batch.parcels:
        if not is_asha or len(parcel.groups[0].keys) == 1:
            yield Unit(parcel)
            continue
        for group in parcel.groups:
            alone = Parcel(parcel.subject, (group,), parcel.cost_s)
            yield from (Unit(alone, number) for number in range(len(group.keys)))


def _scheduler(shared: Shared) -> GroupedAsha | None:
    if not any(unit.is_asha for unit in shared.units):
        return None
    rungs = [unit.parcel.groups[0].rungs for unit in shared.units]
    return GroupedAsha([unit.bundle for unit in shared.units], rungs)


def _reason(errors: Sequence[Exception]) -> str:
    """Say why trials failed, where that was the fault of a machine and they can be tried again."""
    for error in errors:
        if not isinstance(error, INFRASTRUCTURE):
            raise RunError(f"a trial failed ({_said(error)})", fix=LOOK)
    return line(errors[0]) if errors else "they ended without a result"


def _said(error: Exception) -> str:
    return line(cause(error) if isinstance(error, rx.RayTaskError) else error)
