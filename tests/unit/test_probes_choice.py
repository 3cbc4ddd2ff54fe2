"""Which fit is reported, and how to train on all tracks."""

from __future__ import annotations

import numpy as np
import pytest

from embedlib.errors import ConfigError
from embedlib.probes.choice import choose, whole_setting
from embedlib.probes.records import Fit, FitKey, Params, Role, Split

NONE = np.array([], dtype=np.int64)
SMALL, MIDDLE, LARGE = Params(n_hidden=10), Params(n_hidden=20), Params(n_hidden=30)


def fit(
    val_loss: float,
    params: Params = SMALL,
    *,
    fold: int = 0,
    is_final: bool = True,
    best_epoch: int = 5,
) -> Fit:
    key = FitKey(Role.CV, "toy", "tiny", "pooled", Split.STRATIFIED, params, 5, fold=fold)
    return Fit(
        "fit", "group", key, "cohort", "cohort", "emb", "emb", "fingerprint", 0, "sync:9",
        key.seed, 9, 3, NONE, NONE, NONE, 9, best_epoch, 0, is_final, val_loss, (), (), 0.0,
    )  # fmt: skip


def test_the_fit_of_least_validation_loss_is_chosen() -> None:
    fits = [fit(0.3, SMALL), fit(0.1, LARGE), fit(0.2, MIDDLE)]

    assert choose(fits) is fits[1]


def test_a_fit_that_was_dropped_is_not_chosen_however_low_its_loss() -> None:
    fits = [fit(0.1, SMALL, is_final=False), fit(0.2, LARGE)]

    assert choose(fits) is fits[1]


@pytest.mark.parametrize("order", [1, -1])
def test_of_equal_losses_the_least_parameters_are_chosen(order: int) -> None:
    fits = [fit(0.1, LARGE), fit(0.1, SMALL), fit(0.1, MIDDLE)][::order]

    assert choose(fits).key.params == SMALL


@pytest.mark.parametrize("fits", [[], [fit(0.1, is_final=False)]])
def test_no_final_fit_is_said_so(fits: list[Fit]) -> None:
    with pytest.raises(ConfigError, match="none of the fits took part in the last rung"):
        choose(fits)
    with pytest.raises(ConfigError, match="none of the fits took part in the last rung"):
        whole_setting(fits)


def test_the_whole_set_takes_what_was_chosen_in_each_fold() -> None:
    fits = [fit(0.1, LARGE, fold=fold, best_epoch=10 * fold) for fold in range(5)]

    assert whole_setting(fits) == (LARGE, 20)


def test_parameters_of_least_mean_loss_win_among_those_of_all_folds() -> None:
    fits = [
        fit(0.1, SMALL, fold=0), fit(0.5, SMALL, fold=1),
        fit(0.2, LARGE, fold=0), fit(0.2, LARGE, fold=1),
        fit(0.0, MIDDLE, fold=0),
    ]  # fmt: skip

    assert whole_setting(fits)[0] == LARGE


def test_where_none_is_in_all_folds_the_most_often_chosen_wins() -> None:
    fits = [fit(0.3, LARGE, fold=0), fit(0.1, SMALL, fold=1), fit(0.3, LARGE, fold=2)]

    assert whole_setting(fits)[0] == LARGE


def test_of_equally_often_chosen_ones_the_least_mean_loss_wins() -> None:
    fits = [fit(0.3, SMALL, fold=0), fit(0.1, LARGE, fold=1)]

    assert whole_setting(fits)[0] == LARGE


def test_epochs_are_the_lower_median_of_the_best() -> None:
    fits = [fit(0.1, fold=fold, best_epoch=epoch) for fold, epoch in enumerate((9, 40, 3, 20))]

    assert whole_setting(fits)[1] == 9
