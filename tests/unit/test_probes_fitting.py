"""Successive halving over the parameters of one fold, and fits on all tracks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from embedlib.errors import ConfigError
from embedlib.probes.fitting import Outcome, default_rungs, fit_group, fit_whole
from embedlib.probes.records import (
    PAPER,
    POOLED,
    FitKey,
    Params,
    Parts,
    Protocol,
    Role,
    Sample,
    SearchSpace,
    Split,
)
from embedlib.probes.training import Training

CLASSES = ("calm", "glad")
N_TRACKS = 150
RNG = np.random.default_rng(0)
Y = RNG.integers(2, size=N_TRACKS)
X = (Y[:, None] + RNG.standard_normal((N_TRACKS, 4))).astype(np.float32)
SAMPLE = Sample("tiny", X, np.arange(N_TRACKS + 1), "embeddings")
PARTS = Parts(np.arange(90), np.arange(90, 120), np.arange(120, N_TRACKS))
NOTHING = np.array([], dtype=np.int64)
PROTOCOL = replace(POOLED, max_epochs=12)
RUNGS = (2, 4, 12)
SPACE = SearchSpace(n_hidden=(4, 8), rate=(1e-4, 1e-3, 1e-2, 1e-1))


def key(params: Params) -> FitKey:
    return FitKey(Role.CV, "toy", "tiny", "pooled", Split.STRATIFIED, params, 5, fold=0)


KEYS = [key(params) for params in SPACE]


def group(
    keys: list[FitKey] = KEYS,
    *,
    sample: Sample = SAMPLE,
    y: np.ndarray = Y,
    parts: Parts = PARTS,
    rungs: tuple[int, ...] = RUNGS,
) -> tuple[Outcome, ...]:
    return fit_group(
        keys, sample=sample, y=y, classes=CLASSES, parts=parts, protocol=PROTOCOL, rungs=rungs
    )


def lone(one: FitKey, *, n_epochs: int) -> Outcome:
    training = Training(one, sample=SAMPLE, y=Y, classes=CLASSES, parts=PARTS, protocol=PROTOCOL)
    training.advance(n_epochs)
    return training.outcome(0, True)


@pytest.fixture(scope="module")
def outcomes() -> tuple[Outcome, ...]:
    return group()


def test_outcomes_are_in_the_order_of_the_keys(outcomes: tuple[Outcome, ...]) -> None:
    assert [outcome.key for outcome in outcomes] == KEYS


def test_of_eight_three_go_on_and_one_is_final(outcomes: tuple[Outcome, ...]) -> None:
    assert sorted(outcome.rung for outcome in outcomes) == [0, 0, 0, 0, 0, 1, 1, 2]
    assert [outcome.is_final for outcome in outcomes] == [outcome.rung == 2 for outcome in outcomes]


def test_the_better_third_by_validation_loss_goes_on(outcomes: tuple[Outcome, ...]) -> None:
    at_first_rung = [min(outcome.val_curve[:2]) for outcome in outcomes]

    went_on = {number for number, outcome in enumerate(outcomes) if outcome.rung > 0}

    assert went_on == set(np.argsort(at_first_rung)[:3])


def test_a_rung_bounds_the_epochs(outcomes: tuple[Outcome, ...]) -> None:
    assert [outcome.n_epochs for outcome in outcomes] == [RUNGS[o.rung] for o in outcomes]


@pytest.mark.parametrize("number", [0, 3, 6])
def test_a_probe_is_the_same_in_a_group_and_alone(
    outcomes: tuple[Outcome, ...], number: int
) -> None:
    in_group = outcomes[number]

    alone = lone(in_group.key, n_epochs=in_group.n_epochs)

    assert alone.val_curve == in_group.val_curve
    np.testing.assert_array_equal(alone.probe.w2, in_group.probe.w2)
    np.testing.assert_array_equal(alone.predicted, in_group.predicted)


def test_the_order_of_keys_changes_no_outcome(outcomes: tuple[Outcome, ...]) -> None:
    reverse = group(KEYS[::-1])[::-1]

    assert [o.rung for o in reverse] == [o.rung for o in outcomes]
    assert [o.val_curve for o in reverse] == [o.val_curve for o in outcomes]


def test_tested_tracks_change_neither_choice_nor_weights(outcomes: tuple[Outcome, ...]) -> None:
    y, x = Y.copy(), X.copy()
    y[PARTS.test] = 1 - y[PARTS.test]
    x[PARTS.test] = 1000

    others = group(sample=replace(SAMPLE, x=x), y=y)

    assert [(o.rung, o.val_curve) for o in others] == [(o.rung, o.val_curve) for o in outcomes]
    for other, outcome in zip(others, outcomes, strict=True):
        np.testing.assert_array_equal(other.probe.w1, outcome.probe.w1)


@pytest.mark.parametrize("rungs", [(), (0, 5), (5, 5), (9, 3)])
def test_rungs_that_do_not_ascend_are_refused(rungs: tuple[int, ...]) -> None:
    with pytest.raises(ConfigError, match="do not ascend"):
        group(rungs=rungs)


def test_a_fold_without_validation_is_refused_in_one_line() -> None:
    with pytest.raises(ConfigError, match=r"toy: fold 0 of tiny has no track .* to validate on"):
        group(parts=replace(PARTS, val=NOTHING))


def test_a_fold_without_tested_vectors_predicts_nothing() -> None:
    outcome, *_ = group(parts=replace(PARTS, test=NOTHING), rungs=(1,))

    assert len(outcome.predicted) == len(outcome.test_index) == 0


@pytest.mark.parametrize(
    ("n_params", "protocol", "rungs"),
    [
        (1, POOLED, (200,)),
        (3, POOLED, (200,)),
        (4, POOLED, (10, 200)),
        (9, POOLED, (10, 200)),
        (10, POOLED, (10, 30, 200)),
        (81, POOLED, (10, 30, 90, 200)),
        (9999, POOLED, (10, 30, 90, 200)),
        (4, PAPER, (50, 1000)),
        (9, replace(POOLED, max_epochs=1), (1,)),
    ],
)
def test_default_rungs_leave_about_three_to_the_last(
    n_params: int, protocol: Protocol, rungs: tuple[int, ...]
) -> None:
    assert default_rungs(n_params, protocol=protocol) == rungs


def test_a_fit_on_all_tracks_is_a_training_on_them_without_validation() -> None:
    probe, curve = fit_whole(
        KEYS[1], sample=SAMPLE, y=Y, classes=CLASSES, protocol=PROTOCOL, n_epochs=20
    )

    parts = Parts(np.arange(N_TRACKS), NOTHING, NOTHING)
    protocol = replace(PROTOCOL, max_epochs=20)
    training = Training(
        KEYS[1], sample=SAMPLE, y=Y, classes=CLASSES, parts=parts, protocol=protocol
    )
    training.advance(20)
    np.testing.assert_array_equal(probe.w1, training.outcome(0, True).probe.w1)
    assert len(curve) == 20
    assert curve[-1] < curve[0]


def test_a_fit_on_all_tracks_leaves_those_without_vectors_out() -> None:
    keep = np.arange(N_TRACKS) % 5 != 0
    starts = np.concatenate([[0], np.cumsum(keep)])
    holed = Sample("tiny", X[keep], starts, "embeddings")
    whole = Sample("tiny", X[keep], np.arange(keep.sum() + 1), "embeddings")

    probes = [
        fit_whole(KEYS[1], sample=sample, y=y, classes=CLASSES, protocol=PROTOCOL, n_epochs=3)[0]
        for sample, y in ((holed, Y), (whole, Y[keep]))
    ]

    np.testing.assert_array_equal(probes[0].w1, probes[1].w1)
