"""Train the network of a probe by scikit-learn's ``MLPClassifier``, one epoch at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import numpy as np
import sklearn
from sklearn.neural_network import MLPClassifier
from threadpoolctl import ThreadpoolController

from embedlib.errors import ConfigError
from embedlib.probes.probe import Weights
from embedlib.probes.records import Int, Params
from embedlib.records import Float32


class Network:
    """A network that is being trained by Adam, of which one epoch is run at a time.

    Parameters
    ----------
    params : Params
        What it is made of.
    n_classes : int >= 2
        Of which each may be absent from the rows of an epoch.
    n_rows : int > 0
        Rows of each epoch; a batch is never larger.
    seed : int
        Of the initial weights and of the order of all epochs.

    Notes
    -----
    Two classes have one logistic output in scikit-learn, which has the same functions as a
    softmax of two. L2 is for the weights alone: the paper's code put it on the offsets too, by
    a filter that did not do what it said.
    """

    def __init__(self, params: Params, *, n_classes: int, n_rows: int, seed: int) -> None:
        batch_size = min(params.batch_size, n_rows)
        self._params = params
        self._classes = np.arange(n_classes)
        self._mlp = MLPClassifier(
            hidden_layer_sizes=(params.n_hidden,),
            learning_rate_init=params.rate,
            batch_size=batch_size,
            # scikit-learn divides the penalty by the rows of the batch, as if it were for a sum.
            alpha=params.l2 * batch_size,
            # An integer would repeat one order of the batches at each call of partial_fit.
            random_state=np.random.RandomState(seed),
        )

    def run_epoch(self, x: Float32, y: Int) -> float:
        """Train on each row once, in batches of a new order.

        Parameters
        ----------
        x : np.ndarray [shape=(n_rows, n_dims), float32]
            Standardised vectors.
        y : np.ndarray [shape=(n_rows,), int64]
            Classes.

        Returns
        -------
        loss : float
            Mean log loss of the batches, each before its step, with the penalty.

        Raises
        ------
        ConfigError
            When the weights are no longer finite.
        """
        try:
            self._mlp.partial_fit(x, y, classes=self._classes)
        except ValueError as exc:
            raise ConfigError(
                f"a probe with {self._params.text} does not train: {exc}",
                fix="lower its rate, or look for vectors that are not finite",
            ) from exc
        return float(self._mlp.loss_)

    def set_rate(self, rate: float) -> None:
        """Change the learning rate from the next batch on, and keep the moments of Adam.

        Parameters
        ----------
        rate : float > 0
            As `Params.rate`.
        """
        # scikit-learn reads its own parameter once, when it makes the optimizer; each step then
        # starts from this number (AdamOptimizer._get_updates of scikit-learn 1.9.1).
        self._mlp._optimizer.learning_rate_init = rate

    @property
    def weights(self) -> Weights:
        """The arrays that the next epoch changes, not copies of them."""
        (w1, w2), (b1, b2) = self._mlp.coefs_, self._mlp.intercepts_
        return Weights(w1, b1, w2, b2)


@contextmanager
def plain_numerics() -> Iterator[None]:
    """Compute on one thread and without checks of input, for as long as the context lasts.

    One thread, because the order of sums depends on their number; fits run side by side instead.

    Yields
    ------
    None
        Nothing.
    """
    with (
        _threads().limit(limits=1, user_api="blas"),
        sklearn.config_context(assume_finite=True, skip_parameter_validation=True),
    ):
        yield


@cache
def _threads() -> ThreadpoolController:
    # Looking the libraries up takes 5 ms, setting their limit some microseconds.
    return ThreadpoolController()
