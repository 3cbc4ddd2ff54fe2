"""The loop of ``MLPClassifier.partial_fit``: order, rate, penalty, precision."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.neural_network import MLPClassifier
from sklearn.utils import shuffle
from threadpoolctl import threadpool_info

from embedlib.errors import ConfigError
from embedlib.probes.network import Network, plain_numerics
from embedlib.probes.records import Params

N_ROWS = 50
X = np.random.default_rng(0).standard_normal((N_ROWS, 6), dtype=np.float32)
Y = np.arange(N_ROWS) % 3
ADAM_BETA_1 = 0.9


def network(*, n_classes: int = 3, n_rows: int = N_ROWS, **params: float) -> Network:
    return Network(
        Params(**{"n_hidden": 8, "batch_size": 16, **params}),  # type: ignore[arg-type]
        n_classes=n_classes,
        n_rows=n_rows,
        seed=7,
    )


def first_gradient(one: Network) -> NDArray[np.float32]:
    """Of the weights into the hidden layer: the first moment of Adam after one step holds it."""
    one.run_epoch(X, Y)
    return one._mlp._optimizer.ms[0] / (1 - ADAM_BETA_1)  # type: ignore[no-any-return]


def test_each_epoch_has_a_new_order_from_one_stream() -> None:
    ours = network()
    ordered = MLPClassifier((8,), alpha=16e-5, batch_size=16, random_state=7, shuffle=False)
    stream = np.random.RandomState(7)
    for fan_in, fan_out in ((6, 8), (8, 3)):  # the weights, then the offsets of each layer
        stream.uniform(size=(fan_in + 1, fan_out))
    orders = [shuffle(np.arange(N_ROWS), random_state=stream) for _ in range(3)]

    for order in orders:
        ours.run_epoch(X, Y)
        ordered.partial_fit(X[order], Y[order], classes=range(3))

    np.testing.assert_array_equal(ours.weights.w1, ordered.coefs_[0])
    assert (orders[0] != orders[1]).any()


def test_epochs_differ_from_those_of_an_integer_seed_which_repeats_one_order() -> None:
    ours = network(l2=0.0)
    repeating = MLPClassifier((8,), alpha=0, batch_size=16, random_state=7)

    ours.run_epoch(X, Y)
    repeating.partial_fit(X, Y, classes=range(3))
    np.testing.assert_array_equal(ours.weights.w1, repeating.coefs_[0])
    ours.run_epoch(X, Y)
    repeating.partial_fit(X, Y)

    assert (ours.weights.w1 != repeating.coefs_[0]).any()


def test_a_rate_takes_effect_at_the_next_step() -> None:
    one = network()
    one.run_epoch(X, Y)
    before = one.weights.w1.copy()

    one.set_rate(1e-30)
    one.run_epoch(X, Y)
    np.testing.assert_array_equal(one.weights.w1, before)
    one.set_rate(1e-3)
    one.run_epoch(X, Y)

    assert (one.weights.w1 != before).all()


def test_half_the_rate_makes_half_the_step() -> None:
    full, half = network(batch_size=N_ROWS), network(batch_size=N_ROWS)
    for one in (full, half):
        one.run_epoch(X, Y)
    before = full.weights.w1.astype(np.float64)

    half.set_rate(0.5e-3)
    for one in (full, half):
        one.run_epoch(X, Y)

    steps = [one.weights.w1 - before for one in (full, half)]
    np.testing.assert_allclose(steps[1], steps[0] / 2, atol=1e-7)


@pytest.mark.parametrize("batch_size", [N_ROWS, 4 * N_ROWS])
def test_the_gradient_has_l2_times_the_weights_whatever_the_batch_size(batch_size: int) -> None:
    l2 = 0.25
    start = network(rate=1e-30)
    start.run_epoch(X, Y)

    with_penalty = first_gradient(network(l2=l2, batch_size=batch_size))
    without = first_gradient(network(l2=0.0, batch_size=batch_size))

    np.testing.assert_allclose(with_penalty - without, l2 * start.weights.w1, atol=1e-6)


@pytest.mark.parametrize(("n_classes", "n_outputs"), [(2, 1), (3, 3), (5, 5)])
def test_weights_are_in_single_precision_with_one_output_for_two_classes(
    n_classes: int, n_outputs: int
) -> None:
    one = network(n_classes=n_classes)

    one.run_epoch(X, Y % n_classes)

    assert [array.shape for array in one.weights.arrays] == [
        (6, 8),
        (8,),
        (8, n_outputs),
        (n_outputs,),
    ]
    assert {array.dtype for array in one.weights.arrays} == {np.dtype(np.float32)}


def test_a_batch_larger_than_the_rows_is_all_of_them() -> None:
    large, exact = network(batch_size=999), network(batch_size=N_ROWS)

    assert large.run_epoch(X, Y) == exact.run_epoch(X, Y)


def test_a_network_that_does_not_train_is_said_so_in_one_line() -> None:
    with (
        plain_numerics(),
        pytest.raises(ConfigError, match=r'"rate": 0.001.* does not train: .* lower its rate'),
    ):
        network().run_epoch(X * np.float32(np.nan), Y)


def test_training_computes_on_one_thread_and_gives_the_others_back() -> None:
    before = threadpool_info()

    with plain_numerics():
        during = [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]

    assert set(during) == {1}
    assert threadpool_info() == before
