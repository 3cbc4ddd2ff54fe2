"""What a trained probe makes of vectors."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.neural_network import MLPClassifier

from embedlib.probes import probe as module
from embedlib.probes.probe import Probe, standardise

N_DIMS = 5


def vectors(n_rows: int, *, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal((n_rows, N_DIMS), dtype=np.float32)


def random_probe(n_classes: int) -> Probe:
    rng = np.random.default_rng(1)
    n_outputs = 1 if n_classes == 2 else n_classes
    shapes = [(N_DIMS,), (N_DIMS,), (N_DIMS, 8), (8,), (8, n_outputs), (n_outputs,)]
    shift, scale, *weights = [rng.standard_normal(shape, dtype=np.float32) for shape in shapes]
    return Probe(tuple("abcdef"[:n_classes]), shift, np.abs(scale) + 1, *weights)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_probabilities_are_those_of_scikit_learn(n_classes: int) -> None:
    probe = random_probe(n_classes)
    mlp = MLPClassifier((8,)).partial_fit(
        vectors(9), np.arange(9) % n_classes, classes=range(n_classes)
    )
    mlp.coefs_ = [probe.w1.astype(np.float64), probe.w2.astype(np.float64)]
    mlp.intercepts_ = [probe.b1.astype(np.float64), probe.b2.astype(np.float64)]
    rows = standardise(vectors(20), probe.shift, probe.scale).astype(np.float64)

    np.testing.assert_allclose(
        probe.probabilities(vectors(20)), mlp.predict_proba(rows), rtol=0, atol=1e-12
    )


@pytest.mark.parametrize("n_classes", [2, 5])
def test_probabilities_sum_to_one(n_classes: int) -> None:
    sums = random_probe(n_classes).probabilities(100 * vectors(30)).sum(axis=1)

    np.testing.assert_allclose(sums, 1, atol=1e-12)


def test_a_row_has_the_same_result_in_any_company(monkeypatch: pytest.MonkeyPatch) -> None:
    probe, x = random_probe(3), vectors(50)
    together = probe.probabilities(x)
    monkeypatch.setattr(module, "ROWS_AT_ONCE", 7)

    np.testing.assert_allclose(probe.probabilities(x), together, rtol=0, atol=1e-14)
    np.testing.assert_allclose(probe.probabilities(x[3:4]), together[3:4], rtol=0, atol=1e-14)


def test_a_track_is_judged_by_the_mean_over_its_vectors() -> None:
    probe, x = random_probe(3), vectors(6)

    tracks = probe.track_probabilities(x, np.array([0, 4, 6]))

    rows = probe.probabilities(x)
    np.testing.assert_allclose(tracks, [rows[:4].mean(axis=0), rows[4:].mean(axis=0)], atol=1e-15)


@pytest.mark.parametrize("starts", [[0, 0, 2], [0, 2, 2], [0, 0, 0]])
def test_a_track_without_vectors_has_no_probabilities(starts: list[int]) -> None:
    tracks = random_probe(3).track_probabilities(vectors(starts[-1]), np.array(starts))

    np.testing.assert_array_equal(np.isnan(tracks).all(axis=1), np.diff(starts) == 0)


def test_using_a_probe_leaves_the_vectors_as_they_are() -> None:
    x = vectors(4)

    random_probe(2).probabilities(x)

    np.testing.assert_array_equal(x, vectors(4))
