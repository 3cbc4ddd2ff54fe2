"""One training: what it draws, when it stops, and what it keeps."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import log_loss
from sklearn.model_selection import StratifiedKFold
from sklearn.neural_network import MLPClassifier

from embedlib.errors import ConfigError
from embedlib.probes.folds import assign_folds, fold_parts, shuffled
from embedlib.probes.records import (
    PAPER,
    POOLED,
    FitKey,
    Params,
    Parts,
    Protocol,
    Role,
    Sample,
    Split,
    derived_seed,
)
from embedlib.probes.rows import moments, rows_of
from embedlib.probes.training import Training
from embedlib.tasks.cohort import Cohort

N_DIMS = 6
CLASSES = ("calm", "glad", "sad")
SHORT_PAPER = replace(PAPER, max_epochs=30, patience_epochs=3)
SHORT_POOLED = replace(POOLED, max_epochs=30, stop_epochs=4)


@dataclass(frozen=True)
class Toy:
    """Tracks of classes that are Gaussians around corners, some of them without a vector."""

    cohort: Cohort
    sample: Sample

    @property
    def parts(self) -> Parts:
        folds = assign_folds(self.cohort, n_folds=5, repeat=0, split=Split.STRATIFIED)
        return fold_parts(folds, fold=1, has_vectors=self.sample.has_vectors)

    def training(self, protocol: Protocol, *, parts: Parts | None = None) -> Training:
        return Training(
            key(protocol),
            sample=self.sample,
            y=self.cohort.y,
            classes=self.cohort.classes,
            parts=parts or self.parts,
            protocol=protocol,
        )


def key(protocol: Protocol, *, rate: float = 1e-2) -> FitKey:
    params = Params(n_hidden=16, rate=rate)
    return FitKey(Role.CV, "toy", "tiny", protocol.name, Split.STRATIFIED, params, 5, fold=1)


def toy(
    *, n_tracks: int = 120, n_patches: int = 1, n_classes: int = 3, distance: float = 1.5
) -> Toy:
    rng = np.random.default_rng(3)
    y = rng.permutation(np.arange(n_tracks) % n_classes)
    counts = np.full(n_tracks, n_patches)
    if n_patches > 1:
        counts += rng.integers(n_patches, size=n_tracks)
    counts[::17] = 0
    centres = np.repeat(np.eye(n_classes, N_DIMS)[y] * distance, counts, axis=0)
    x = (5 + centres + rng.standard_normal(centres.shape)).astype(np.float32)
    starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    track_ids = tuple(f"t{number:04}" for number in range(n_tracks))
    return Toy(
        Cohort("toy", CLASSES[:n_classes], track_ids, y), Sample("tiny", x, starts, "embeddings")
    )


def independent_probabilities(data: Toy, protocol: Protocol) -> tuple[NDArray[np.float64], int]:
    """Means over the vectors of each tested track, and the best epoch, by scikit-learn alone."""
    y, x, starts = data.cohort.y, data.sample.x, data.sample.starts
    splitter = StratifiedKFold(5, shuffle=True, random_state=derived_seed("folds", "toy", 0))
    dealt = [tested for _, tested in splitter.split(y, y)]
    train, val, test = (
        [i for fold in folds for i in dealt[fold] if starts[i] < starts[i + 1]]
        for folds in ((0, 3, 4), (2,), (1,))
    )
    train, val, test = sorted(train), sorted(val), sorted(test)
    if protocol.standardises:
        rows = np.concatenate([x[starts[i] : starts[i + 1]] for i in train]).astype(np.float64)
        x = (x - rows.mean(axis=0).astype(np.float32)) / rows.std(axis=0).astype(np.float32)
    seed = key(protocol).seed
    clf = MLPClassifier(
        (16,),
        alpha=32e-5,
        learning_rate_init=1e-2,
        batch_size=32,
        random_state=np.random.RandomState(seed),
    )
    rng = np.random.default_rng(seed)
    n_rows = np.array([starts[i + 1] - starts[i] for i in train])

    def judged(tracks: list[int], model: MLPClassifier) -> NDArray[np.float64]:
        rows = x.astype(np.float64)
        return np.array(
            [model.predict_proba(rows[starts[i] : starts[i + 1]]).mean(axis=0) for i in tracks]
        )

    best_loss, best, best_epoch, stale = np.inf, np.empty(0), 0, 0
    for epoch in range(1, protocol.max_epochs + 1):
        drawn = starts[train] + rng.integers(n_rows)
        clf.partial_fit(x[drawn], y[train], classes=np.unique(y))
        weights = 1 / np.bincount(y[val])[y[val]]
        loss = log_loss(y[val], judged(val, clf), sample_weight=weights)
        stale += 1
        if loss < best_loss:
            best_loss, best, best_epoch, stale = loss, judged(test, clf), epoch, 0
        elif stale == protocol.patience_epochs:
            clf._optimizer.learning_rate_init /= 2
            stale = 0
        if stale == protocol.stop_epochs > 0:
            break
    return best, best_epoch


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize(("protocol", "n_patches"), [(SHORT_PAPER, 4), (SHORT_POOLED, 1)])
def test_a_loop_of_plain_scikit_learn_gives_the_same_probabilities(
    protocol: Protocol, n_patches: int, n_classes: int
) -> None:
    data = toy(n_patches=n_patches, n_classes=n_classes, distance=0.5)
    training = data.training(protocol)
    training.advance(protocol.max_epochs)

    outcome = training.outcome(0, True)
    ours = outcome.probe.track_probabilities(*rows_of(data.sample, outcome.test_index))
    theirs, best_epoch = independent_probabilities(data, protocol)

    assert outcome.best_epoch == best_epoch < outcome.n_epochs
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-9)
    np.testing.assert_array_equal(outcome.predicted, theirs.argmax(axis=1))


@pytest.mark.parametrize("protocol", [SHORT_PAPER, SHORT_POOLED], ids=lambda one: one.name)
def test_training_in_pieces_after_other_work_changes_no_bit(protocol: Protocol) -> None:
    data = toy(n_patches=3)
    whole, pieces = data.training(protocol), data.training(protocol)
    whole.advance(30)

    pieces.advance(10)
    np.random.seed(5)  # noqa: NPY002
    data.training(replace(protocol, name="other")).advance(3)
    pieces.advance(20)
    pieces.advance(30)

    one, other = whole.outcome(0, True), pieces.outcome(0, True)
    assert one.val_curve == other.val_curve
    np.testing.assert_array_equal(one.probe.w1, other.probe.w1)


def test_another_fold_or_parameter_has_another_seed() -> None:
    keys = [key(POOLED), key(POOLED, rate=2e-3), replace(key(POOLED), fold=2)]

    assert len({one.seed for one in keys}) == 3


def test_the_best_epoch_is_the_first_of_least_loss_and_its_weights_are_kept() -> None:
    data = toy()
    training = data.training(SHORT_PAPER, parts=data.parts)
    training.advance(30)

    outcome = training.outcome(0, True)

    assert outcome.best_epoch == int(np.argmin(outcome.val_curve)) + 1 < outcome.n_epochs
    assert outcome.val_loss == min(outcome.val_curve) == training.val_loss
    val = outcome.probe.track_probabilities(*rows_of(data.sample, data.parts.val))
    y = data.cohort.y[data.parts.val]
    weights = 1 / np.bincount(y)[y]
    assert outcome.val_loss == pytest.approx(log_loss(y, val, sample_weight=weights), abs=1e-6)


def test_training_stops_after_so_many_epochs_without_gain() -> None:
    training = toy(distance=0).training(replace(POOLED, stop_epochs=7))

    training.advance(200)

    outcome = training.outcome(0, True)
    assert training.is_over
    assert outcome.n_epochs == outcome.best_epoch + 7 == len(outcome.val_curve) < 200


def test_training_ends_at_its_bound() -> None:
    training = toy().training(replace(PAPER, max_epochs=4))

    training.advance(99)

    assert training.is_over
    assert training.n_epochs == 4


def test_the_rate_is_halved_each_time_patience_ends() -> None:
    training = toy(distance=0).training(replace(PAPER, max_epochs=60, patience_epochs=5))

    training.advance(60)

    outcome = training.outcome(0, True)
    n_halved = (60 - outcome.best_epoch) // 5
    assert n_halved >= 2
    assert training._network._mlp._optimizer.learning_rate_init <= 1e-2 / 2**n_halved


def test_each_epoch_draws_one_vector_of_each_training_track() -> None:
    data = toy(n_patches=4)
    owners = np.repeat(np.arange(len(data.cohort)), np.diff(data.sample.starts))
    sample = replace(data.sample, x=np.column_stack([owners, np.arange(len(owners))]))
    training = Toy(data.cohort, sample).training(PAPER)

    drawn = np.stack([training._drawn() for _ in range(200)])

    assert (drawn[:, :, 0] == data.parts.train).all()
    assert set(drawn[:, :, 1].ravel()) == set(np.flatnonzero(np.isin(owners, data.parts.train)))


def test_standardisation_is_of_the_training_tracks_alone() -> None:
    data = toy(n_patches=3)
    rows, _ = rows_of(data.sample, data.parts.train)
    others, _ = rows_of(replace(data.sample, x=np.arange(len(data.sample.x))), data.parts.val)
    x = data.sample.x.copy()
    x[others] += 1000

    training = Toy(data.cohort, replace(data.sample, x=x)).training(SHORT_POOLED)
    training.advance(1)
    probe = training.outcome(0, True).probe

    np.testing.assert_allclose(probe.shift, rows.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(probe.scale, rows.std(axis=0), rtol=1e-5)


@pytest.mark.parametrize("value", [0.0, 0.1, -1e6 / 3, 1e-40])
def test_a_constant_dimension_is_not_scaled(value: float) -> None:
    shift, scale = moments(np.full((999, 1), value, dtype=np.float32))

    assert scale == 1
    assert shift == np.float32(value)


def test_the_paper_protocol_takes_vectors_as_they_are() -> None:
    training = toy().training(SHORT_PAPER)
    training.advance(1)

    probe = training.outcome(0, True).probe

    assert (probe.shift == 0).all()
    assert (probe.scale == 1).all()


def test_a_track_without_vectors_takes_no_part() -> None:
    data = toy()
    training = data.training(SHORT_POOLED)
    training.advance(1)

    outcome = training.outcome(0, True)

    n_tracks = outcome.n_train + outcome.n_val + len(outcome.test_index)
    assert n_tracks == np.count_nonzero(data.sample.has_vectors) < len(data.cohort)


def test_a_class_without_vectors_to_train_on_is_refused_in_one_line() -> None:
    data = toy()
    train = data.parts.train[data.cohort.y[data.parts.train] != 2]

    with pytest.raises(ConfigError, match=r"toy: class 'sad' .* of tiny .*\(fold 1 tests\)"):
        data.training(SHORT_POOLED, parts=replace(data.parts, train=train))


def test_without_validation_the_last_epoch_is_kept() -> None:
    data = toy()
    training = data.training(SHORT_POOLED, parts=replace(data.parts, val=np.array([], dtype=int)))
    training.advance(30)

    outcome = training.outcome(0, True)

    assert (outcome.n_epochs, outcome.best_epoch, outcome.val_curve) == (30, 30, ())
    assert math.isnan(outcome.val_loss)
    np.testing.assert_array_equal(outcome.probe.w1, training._network.weights.w1)


def test_an_outcome_does_not_change_when_training_goes_on() -> None:
    training = toy().training(SHORT_PAPER)
    training.advance(1)
    outcome = training.outcome(0, False)
    before = outcome.probe.w1.copy()

    training.advance(9)

    np.testing.assert_array_equal(outcome.probe.w1, before)


@pytest.mark.parametrize("protocol", [POOLED, replace(PAPER, max_epochs=150)], ids=str)
def test_two_gaussians_are_told_apart_about_as_well_as_bayes_could(protocol: Protocol) -> None:
    data = toy(n_tracks=1500, n_classes=2, distance=math.sqrt(2))
    training = data.training(protocol)
    training.advance(protocol.max_epochs)

    outcome = training.outcome(0, True)

    rng = np.random.default_rng(8)
    y = np.arange(20_000) % 2
    fresh = 5 + np.eye(2, N_DIMS)[y] * math.sqrt(2) + rng.standard_normal((len(y), N_DIMS))
    predicted = outcome.probe.probabilities(fresh.astype(np.float32)).argmax(axis=1)
    bayes = 0.5 * (1 + math.erf(1 / math.sqrt(2)))  # the centres are two deviations apart
    assert bayes - 0.03 < np.mean(predicted == y) < bayes + 0.01


def test_shuffled_labels_score_about_chance() -> None:
    data = toy(n_tracks=900)
    scores = []
    for number in range(4):
        permuted = Toy(shuffled(data.cohort, shuffle=number), data.sample)
        training = permuted.training(SHORT_POOLED)
        training.advance(30)
        outcome = training.outcome(0, True)
        scores.append(np.mean(outcome.predicted == permuted.cohort.y[outcome.test_index]))

    assert np.mean(scores) == pytest.approx(1 / 3, abs=0.06)
