"""From vectors to two dimensions: principal axes at once, UMAP where its package is there.

Vectors are scaled to length one first, because neighbours are compared by angle, and the map should
show the same geometry.
"""

from __future__ import annotations

import importlib
import warnings
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from embedlib.errors import ConfigError
from embedlib.records import Float32
from embedlib.report.explore_options import LayoutName

Float64 = NDArray[np.float64]

UMAP_SEED: Final = 440
"""UMAP starts at random; with a seed the same vectors give the same map."""

UMAP_NEIGHBOURS: Final = 15
"""The default of umap-learn 0.5."""

FEWEST_FOR_UMAP: Final = 4
"""So few points have no shape that it could find."""

_BLOCK_ROWS: Final = 8_192


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """Places on the map.

    Attributes
    ----------
    positions : np.ndarray [shape=(n_tracks, 2), float32]
        The middle of the map is zero and its farther side one; both axes have one scale.
    shares : tuple of float
        Of the variance, on each of the two axes; empty where axes have no such meaning.
    """

    positions: Float32
    shares: tuple[float, ...] = ()


def unit_vectors(vectors: Float32) -> Float64:
    """Scale vectors to length one.

    Parameters
    ----------
    vectors : np.ndarray [shape=(n_tracks, n_dims), float32]
        Any finite vectors; zeros stay zeros.

    Returns
    -------
    units : np.ndarray [shape=(n_tracks, n_dims), float64]
        New.

    Examples
    --------
    >>> unit_vectors(np.float32([[3, 4], [0, 0]]))
    array([[0.6, 0.8],
           [0. , 0. ]])
    """
    units = vectors.astype(np.float64)
    lengths = np.sqrt(np.einsum("td,td->t", units, units))
    units /= np.where(lengths > 0, lengths, 1.0)[:, None]
    return units


def lay_out(units: Float64, *, name: LayoutName) -> Layout:
    """Give every vector a place.

    Parameters
    ----------
    units : np.ndarray [shape=(n_tracks, n_dims), float64]
        Of length one.
    name : LayoutName
        How.

    Returns
    -------
    layout : Layout
        Equal vectors give equal layouts.

    Raises
    ------
    ConfigError
        If UMAP is asked for and not installed.
    """
    return _umap(units) if name is LayoutName.UMAP else pca(units)


def pca(units: Float64) -> Layout:
    """Project vectors on their two principal axes.

    The sign of an axis is free; the component that is largest in absolute value is made positive.

    Parameters
    ----------
    units : np.ndarray [shape=(n_tracks, n_dims), float64]
        At least one.

    Returns
    -------
    layout : Layout
        With the shares of the variance; an axis without variance is all zeros.

    Examples
    --------
    >>> pca(np.array([[0.0, 2.0], [0.0, 4.0], [0.0, 6.0]])).positions
    array([[-1.,  0.],
           [ 0.,  0.],
           [ 1.,  0.]], dtype=float32)
    """
    mean = units.mean(axis=0)
    variances, axes = np.linalg.eigh(_scatter(units, mean))
    axes = _signed(axes[:, ::-1][:, :2])
    variances = np.maximum(variances[::-1], 0.0)
    total = float(variances.sum()) or 1.0
    places = np.zeros((len(units), 2))
    for start in range(0, len(units), _BLOCK_ROWS):
        block = slice(start, start + _BLOCK_ROWS)
        places[block, : axes.shape[1]] = (units[block] - mean) @ axes
    # What rounding leaves on an axis without variance would else fill the map.
    places[:, : axes.shape[1]][:, variances[:2] <= 1e-15 * total] = 0.0
    return Layout(_scaled(places), tuple(float(each) / total for each in variances[:2]))


def _scatter(units: Float64, mean: Float64) -> Float64:
    """Sum the outer products of what differs from the mean, block by block."""
    scatter = np.zeros((units.shape[1],) * 2)
    for start in range(0, len(units), _BLOCK_ROWS):
        block = units[start : start + _BLOCK_ROWS] - mean
        scatter += block.T @ block
    return scatter


def _signed(axes: Float64) -> Float64:
    strongest = np.abs(axes).argmax(axis=0)
    signs: Float64 = np.where(axes[strongest, np.arange(axes.shape[1])] < 0, -1.0, 1.0)
    return axes * signs


def _scaled(places: Float64) -> Float32:
    low, high = places.min(axis=0), places.max(axis=0)
    reach = float((high - low).max()) / 2 or 1.0
    scaled: Float32 = ((places - (low + high) / 2) / reach).astype(np.float32)
    return scaled


def _umap(units: Float64) -> Layout:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of numba, and of what UMAP could do beside
        umap = _umap_module()
        if len(units) <= FEWEST_FOR_UMAP:
            return pca(units)
        reducer = umap.UMAP(
            n_neighbors=min(UMAP_NEIGHBOURS, len(units) - 1),
            metric="cosine",
            init="pca",  # the spectral one fails on few points
            random_state=UMAP_SEED,
            n_jobs=1,  # what a seed demands
        )
        places = reducer.fit_transform(units.astype(np.float32))
    return Layout(_scaled(np.asarray(places, np.float64)))


def _umap_module() -> Any:
    try:
        return importlib.import_module("umap")
    except ImportError as exc:
        raise ConfigError(
            "the layout umap needs a package that is not installed",
            fix="pip install 'embedlib[umap]', or take --layout pca",
        ) from exc
