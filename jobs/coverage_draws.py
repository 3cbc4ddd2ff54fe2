"""Embeddings that are drawn, so that the best possible accuracy on them is known.

The classes of a task are the corners of a regular simplex, with Gaussian noise around them, in a
space of few dimensions that is turned at random into the many of a model; a little noise is added
to these. No classifier is better than to take the nearest corner, and how often that is right is
one integral.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.integrate import quad
from scipy.optimize import brentq
from scipy.stats import norm

from embedlib.models.registry import model_spec, paper_models
from embedlib.probes.records import Float64, Int, derived_seed
from embedlib.records import Float32
from embedlib.tasks.paper import paper_scores, paper_tasks

N_LATENT: Final = 16
"""Dimensions of the space of the classes: the most classes of a task are ten, the rest is noise."""

BEYOND_PAPER: Final = 0.2
"""Share of the paper's errors that the best possible classifier does not make."""

MIN_TRACKS_PER_CLASS: Final = 10
"""In the mean, however small the scale: each fold needs some of each class."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One model on one task.

    Attributes
    ----------
    task, model : str
        Names of embedlib.
    classes : tuple of str
        Of the task.
    n_tracks : int
        Labelled tracks.
    n_dims : int
        Length of an embedding.
    paper : float
        Balanced accuracy of the paper in five-fold cross-validation, 0 to 1.
    seed : int
        Of the whole catalogue.
    """

    task: str
    model: str
    classes: tuple[str, ...]
    n_tracks: int
    n_dims: int
    paper: float
    seed: int = 0

    @property
    def bayes(self) -> float:
        """Balanced accuracy that no classifier exceeds: a bit above the paper's."""
        return self.paper + BEYOND_PAPER * (1 - self.paper)

    @property
    def labels(self) -> Int:
        """Class of each track [shape=(n_tracks,)], the same for all models."""
        y = np.repeat(np.arange(len(self.classes)), class_counts(self.n_tracks, len(self.classes)))
        return np.random.default_rng(self._seed_of("labels", "")).permutation(y)

    def source(self) -> Gaussians:
        """Where embeddings of this cell are drawn from, for training and for judging alike."""
        return Gaussians.of_accuracy(
            self.bayes,
            n_classes=len(self.classes),
            n_dims=self.n_dims,
            rng=np.random.default_rng(self._seed_of("space", self.model)),
        )

    def draw(self, y: Int, *, purpose: str) -> Float32:
        """Draw an embedding for each label; another purpose gives independent ones."""
        rng = np.random.default_rng(self._seed_of(purpose, self.model))
        return self.source().draw(y, rng=rng)

    def _seed_of(self, purpose: str, model: str) -> int:
        return derived_seed("coverage", self.seed, purpose, self.task, model)


@dataclass(frozen=True, slots=True, eq=False)
class Gaussians:
    """One Gaussian for each class, all of one shape.

    Attributes
    ----------
    corners : np.ndarray [shape=(n_classes, N_LATENT), float64]
        Means, at equal distances of each other; deviation 1 in each dimension around them.
    basis : np.ndarray [shape=(n_dims, N_LATENT), float64]
        Orthonormal columns. Noise of deviation ``1 / sqrt(n_dims)`` is added to each dimension.
    """

    corners: Float64
    basis: Float64

    @classmethod
    def of_accuracy(
        cls, accuracy: float, *, n_classes: int, n_dims: int, rng: np.random.Generator
    ) -> Gaussians:
        """Put the corners so far from each other that the best accuracy is the one wanted."""
        side = separation(accuracy, n_classes=n_classes) * math.sqrt(1 + 1 / n_dims)
        corners = np.zeros((n_classes, N_LATENT))
        corners[:, :n_classes] = side / math.sqrt(2) * (np.eye(n_classes) - 1 / n_classes)
        return cls(corners, np.linalg.qr(rng.standard_normal((n_dims, N_LATENT)))[0])

    def draw(self, y: Int, *, rng: np.random.Generator) -> Float32:
        """Draw one vector for each label [shape=(n, n_dims)]."""
        latent = self.corners[y] + rng.standard_normal((len(y), N_LATENT))
        n_dims = len(self.basis)
        x = rng.standard_normal((len(y), n_dims), dtype=np.float32)
        x /= np.float32(math.sqrt(n_dims))
        x += (latent @ self.basis.T).astype(np.float32)
        return x

    def nearest(self, x: Float32) -> Int:
        """Decide as well as can be: the nearest corner [shape=(n,)]."""
        latent = x @ self.basis
        distances = np.linalg.norm(latent[:, None] - self.corners, axis=2)
        return np.asarray(distances.argmin(axis=1))


def bayes_accuracy(side: float, *, n_classes: int) -> float:
    """Give the accuracy of the best classifier on a regular simplex with unit noise.

    The corners can be moved to ``side / sqrt(2)`` on as many axes without any change of their
    distances; then the value on the own axis must exceed those on all others.

    Parameters
    ----------
    side : float >= 0
        Distance between two corners.
    n_classes : int >= 2
        Corners.

    Returns
    -------
    accuracy : float
        The same for each class.

    Examples
    --------
    >>> bayes_accuracy(0.0, n_classes=4), round(bayes_accuracy(2.0, n_classes=2), 6)
    (0.25, 0.841345)
    """
    mean = side / math.sqrt(2)
    value, _ = quad(
        lambda z: norm.pdf(z - mean) * norm.cdf(z) ** (n_classes - 1), mean - 9, mean + 9
    )
    return round(float(value), 12)


def separation(accuracy: float, *, n_classes: int) -> float:
    """Give the distance between two corners at which the best accuracy is the one wanted.

    Parameters
    ----------
    accuracy : float
        More than chance, less than one.
    n_classes : int >= 2
        Corners.

    Returns
    -------
    side : float
        In deviations of the noise.
    """
    return float(
        brentq(lambda side: bayes_accuracy(side, n_classes=n_classes) - accuracy, 0.0, 30.0)
    )


def class_counts(n_tracks: int, n_classes: int) -> Int:
    """Share tracks out, twice as many to the largest class as to the smallest.

    Parameters
    ----------
    n_tracks, n_classes : int
        How many.

    Returns
    -------
    counts : np.ndarray [shape=(n_classes,), int64]
        Ascending, of the sum `n_tracks`.

    Examples
    --------
    >>> class_counts(301, 2)
    array([100, 201])
    """
    weights = np.linspace(1, 2, n_classes)
    ends = np.floor(np.cumsum(weights) / weights.sum() * n_tracks + 1e-9).astype(np.int64)
    return np.diff(ends, prepend=0)


def paper_cells(
    tasks: list[str] | None, models: list[str] | None, *, scale: float, seed: int
) -> list[Cell]:
    """Make cells with the sizes, classes and dimensions of the paper.

    Parameters
    ----------
    tasks, models : list of str or None
        Names; None for all.
    scale : float > 0
        Times so many tracks.
    seed : int
        Of the catalogue.

    Returns
    -------
    cells : list of Cell
        By task, then by model.
    """
    five_fold = {(each.task, each.model): each.five_fold_pct / 100 for each in paper_scores()}
    return [
        Cell(
            task=task.task,
            model=model,
            classes=task.classes,
            n_tracks=max(round(task.size * scale), MIN_TRACKS_PER_CLASS * len(task.classes)),
            n_dims=model_spec(model).n_dims,
            paper=five_fold[task.task, model],
            seed=seed,
        )
        for task in paper_tasks()
        if tasks is None or task.task in tasks
        for model in models or paper_models()
    ]
