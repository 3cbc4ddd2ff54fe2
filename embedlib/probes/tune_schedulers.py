"""Asynchronous successive halving that compares only trials of one fold with each other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from ray.tune.schedulers import ASHAScheduler, FIFOScheduler

from embedlib.probes.fitting import REDUCTION

if TYPE_CHECKING:
    from ray.tune.execution.tune_controller import TuneController
    from ray.tune.experiment import Trial

EPOCH: Final = "epoch"
VAL_LOSS: Final = "val_loss"


class GroupedAsha(FIFOScheduler):
    """Route each trial to the ASHA of its group.

    One ASHA for all would compare losses of different tasks and folds, and stop whole tasks.

    Parameters
    ----------
    groups : sequence of str
        Group of each trial, by the ``number`` in its configuration.
    rungs : sequence of tuple of int
        Epochs of the rungs of each trial, by the same number.
    """

    def __init__(self, groups: Sequence[str], rungs: Sequence[tuple[int, ...]]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._groups = groups
        self._by_group = {
            group: ASHAScheduler(
                time_attr=EPOCH,
                metric=VAL_LOSS,
                mode="min",
                grace_period=epochs[0],
                max_t=epochs[-1],
                reduction_factor=REDUCTION,
            )
            for group, epochs in zip(groups, rungs, strict=True)
        }

    def _of(self, trial: Trial) -> ASHAScheduler:
        return self._by_group[self._groups[trial.config["number"]]]

    def on_trial_add(self, tune_controller: TuneController, trial: Trial) -> None:
        """Let the ASHA of its group know a trial."""
        self._of(trial).on_trial_add(tune_controller, trial)

    def on_trial_result(
        self, tune_controller: TuneController, trial: Trial, result: dict[str, Any]
    ) -> str:
        """Say whether a trial goes on."""
        return str(self._of(trial).on_trial_result(tune_controller, trial, result))

    def on_trial_complete(
        self, tune_controller: TuneController, trial: Trial, result: dict[str, Any]
    ) -> None:
        """Let its last loss count for those that come later."""
        self._of(trial).on_trial_complete(tune_controller, trial, result)

    def on_trial_remove(self, tune_controller: TuneController, trial: Trial) -> None:
        """Forget a trial that never ran."""
        self._of(trial).on_trial_remove(tune_controller, trial)

    def debug_string(self) -> str:
        """Say what this is."""
        return f"ASHA for each of {len(self._by_group)} groups"
