"""How the setting of a probe on a whole task is found: from a sweep of the same data, or within."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from embedlib.errors import ConfigError
from embedlib.probes.records import (
    PAPER,
    POOLED,
    Fit,
    FitKey,
    Params,
    Protocol,
    Role,
    Sample,
    Split,
)
from embedlib.probes.train_setting import TrainingSet, inner_setting, swept_setting
from embedlib.tasks.cohort import Cohort

N_TRACKS = 30
SMALL, LARGE = Params(n_hidden=10), Params(n_hidden=20)


def cohort_of(n_tracks: int = N_TRACKS, **fields: tuple[str, ...]) -> Cohort:
    ids = tuple(f"{number:03}" for number in range(n_tracks))
    return Cohort("colours", ("red", "blue"), ids, np.arange(n_tracks) % 2, **fields)


def sample_of(cohort: Cohort, *, n_rows: int = 1) -> Sample:
    """Vectors that tell the classes apart, `n_rows` for each track."""
    noise = np.random.default_rng(0).standard_normal((n_rows * len(cohort), 4), dtype=np.float32)
    x = noise + 3 * np.repeat(cohort.y, n_rows)[:, None].astype(np.float32)
    return Sample("eye", x, n_rows * np.arange(len(cohort) + 1), "embeddings")


def fit_of(cohort: Cohort, fold: int, **changes: object) -> Fit:
    key_names = ("role", "model", "protocol", "split", "repeat", "params")
    key = FitKey(Role.CV, cohort.task, "eye", "pooled", Split.STRATIFIED, SMALL, 5, fold=fold)
    key = replace(key, **{name: changes.pop(name) for name in key_names if name in changes})
    index = np.flatnonzero(np.arange(len(cohort)) % 5 == fold)
    fit = Fit(
        fit_id=f"{key}",
        group_id=f"{replace(key, params=SMALL)}",
        key=key,
        cohort_id=cohort.cohort_id,
        test_cohort_id=cohort.cohort_id,
        embeddings_id="embeddings",
        test_embeddings_id="embeddings",
        fingerprint="",
        table_version=0,
        schedule="sync:200",
        seed=key.seed,
        n_train=18,
        n_val=6,
        test_index=index,
        truth=cohort.y[index],
        predicted=cohort.y[index],
        n_epochs=40,
        best_epoch=20 + fold,
        rung=0,
        is_final=True,
        val_loss=0.5,
        train_curve=(0.5,),
        val_curve=(0.5,),
        wall_s=1.0,
    )
    return replace(fit, **changes)


def sweep_of(cohort: Cohort, **changes: object) -> list[Fit]:
    return [fit_of(cohort, fold, **changes) for fold in range(5)]


def test_params_and_epochs_of_a_whole_sweep_are_taken_over() -> None:
    cohort = cohort_of()
    fits = sweep_of(cohort) + sweep_of(cohort, params=LARGE, val_loss=0.1)
    setting = swept_setting(fits, TrainingSet(cohort, sample_of(cohort), POOLED))
    assert setting is not None
    assert (setting.params, setting.n_epochs, setting.n_folds) == (LARGE, 22, 5)
    assert setting.score is not None
    assert (setting.score.balanced_accuracy, setting.score.n_tracks) == (1.0, N_TRACKS)


@pytest.mark.parametrize(
    "changes",
    [
        {"cohort_id": "other tracks or labels"},
        {"embeddings_id": "other embeddings"},
        {"role": Role.CONTROL},
        {"repeat": 1},
        {"protocol": "paper"},
        {"model": "ear"},
        {"is_final": False},
    ],
    ids=str,
)
def test_a_sweep_of_something_else_is_not(changes: dict[str, object]) -> None:
    cohort = cohort_of()
    fits = sweep_of(cohort, **changes)
    assert swept_setting(fits, TrainingSet(cohort, sample_of(cohort), POOLED)) is None


def test_a_sweep_that_lacks_a_fold_is_not() -> None:
    cohort = cohort_of()
    fits = sweep_of(cohort)[:-1]
    assert swept_setting(fits, TrainingSet(cohort, sample_of(cohort), POOLED)) is None


GROUPS = tuple(f"artist {number // 3}" for number in range(N_TRACKS))


@pytest.mark.parametrize(
    ("protocol", "name", "split"),
    [(POOLED, "pooled", Split.GROUPED), (PAPER, "paper", Split.STRATIFIED)],
)
def test_of_two_splits_the_one_of_the_protocol_is_taken(
    protocol: Protocol, name: str, split: Split
) -> None:
    cohort = cohort_of(groups=GROUPS)
    fits = [
        fit
        for each in (Split.STRATIFIED, Split.GROUPED)
        for fit in sweep_of(cohort, split=each, protocol=name)
    ]
    setting = swept_setting(fits, TrainingSet(cohort, sample_of(cohort), protocol))
    assert setting is not None
    assert setting.split is split


def test_another_split_is_better_than_none() -> None:
    cohort = cohort_of(groups=GROUPS)
    fits = sweep_of(cohort, split=Split.OFFICIAL)
    setting = swept_setting(fits, TrainingSet(cohort, sample_of(cohort), POOLED))
    assert setting is not None
    assert setting.split is Split.OFFICIAL


@pytest.mark.parametrize("n_rows", [1, 3])
@pytest.mark.parametrize("protocol", [POOLED, PAPER], ids=lambda each: each.name)
def test_without_a_sweep_the_paper_s_params_train_until_the_left_out_tracks_gain_no_more(
    protocol: Protocol, n_rows: int
) -> None:
    cohort, bounded = cohort_of(), replace(protocol, max_epochs=30)
    given = TrainingSet(cohort, sample_of(cohort, n_rows=n_rows), bounded)
    setting = inner_setting(given)
    assert setting == inner_setting(given)
    assert setting.params == Params()
    assert 1 <= setting.n_epochs <= 30
    assert setting.score is None


def test_a_class_of_too_few_tracks_is_one_line() -> None:
    cohort = cohort_of(6)
    with pytest.raises(ConfigError, match="class 'red' has 3 tracks for 5 folds"):
        inner_setting(TrainingSet(cohort, sample_of(cohort), POOLED))
