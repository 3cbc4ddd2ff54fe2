"""The vectors of some tracks, and what all trainings of one fold share of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from embedlib.probes.probe import standardise
from embedlib.probes.records import Int, Parts, Protocol, Sample
from embedlib.records import Float32


@dataclass(frozen=True, slots=True, eq=False)
class FoldData:
    """What all trainings of one fold share.

    Attributes
    ----------
    shift, scale : np.ndarray [shape=(n_dims,), float32]
        Mean and deviation of all vectors of the training tracks, or 0 and 1.
    val_x : np.ndarray [shape=(n_rows, n_dims), float32]
        Standardised vectors of the validation tracks.
    val_starts : np.ndarray [shape=(n_val + 1,), int64]
        ``val_x[val_starts[i]:val_starts[i + 1]]`` belongs to the i-th of them.
    """

    shift: Float32
    scale: Float32
    val_x: Float32
    val_starts: Int


def fold_data(sample: Sample, *, parts: Parts, protocol: Protocol) -> FoldData:
    """Prepare what all trainings of one fold share.

    Parameters
    ----------
    sample : Sample
        Vectors of all tracks.
    parts : Parts
        Tracks of the fold.
    protocol : Protocol
        Whether to standardise.

    Returns
    -------
    data : FoldData
        Made from the vectors of the training and validation tracks alone.
    """
    n_dims = sample.x.shape[1]
    shift, scale = np.zeros(n_dims, dtype=np.float32), np.ones(n_dims, dtype=np.float32)
    val_x, val_starts = rows_of(sample, parts.val)
    if protocol.standardises:
        shift, scale = moments(rows_of(sample, parts.train)[0])
        val_x = standardise(val_x, shift, scale)
    return FoldData(shift, scale, val_x, val_starts)


def rows_of(sample: Sample, tracks: Int) -> tuple[Float32, Int]:
    """Gather the vectors of some tracks.

    Parameters
    ----------
    sample : Sample
        Vectors of all tracks.
    tracks : np.ndarray [shape=(n_tracks,), int64]
        Indices, in any order.

    Returns
    -------
    x : np.ndarray [shape=(n_rows, n_dims), float32]
        Their vectors, one track after the other.
    starts : np.ndarray [shape=(n_tracks + 1,), int64]
        ``x[starts[i]:starts[i + 1]]`` belongs to the i-th of them.

    Examples
    --------
    >>> x = np.array([[0], [1], [2]], dtype=np.float32)
    >>> rows_of(Sample("tiny", x, np.array([0, 2, 3]), "id"), np.array([1, 0]))
    (array([[2.],
           [0.],
           [1.]], dtype=float32), array([0, 1, 3]))
    """
    counts = np.diff(sample.starts)[tracks]
    starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    offsets = np.repeat(sample.starts[tracks] - starts[:-1], counts)
    return sample.x[np.arange(starts[-1]) + offsets], starts


def moments(x: Float32) -> tuple[Float32, Float32]:
    """Mean and deviation of each dimension, summed in double precision.

    Parameters
    ----------
    x : np.ndarray [shape=(n_rows, n_dims), float32]
        At least one row.

    Returns
    -------
    shift : np.ndarray [shape=(n_dims,), float32]
        Mean.
    scale : np.ndarray [shape=(n_dims,), float32]
        Deviation (of the rows, not of what they were drawn from); 1 where that is zero.

    Examples
    --------
    >>> moments(np.array([[0.1, 1], [0.1, 5]], dtype=np.float32))
    (array([0.1, 3. ], dtype=float32), array([1., 2.], dtype=float32))
    """
    shift = x.mean(axis=0, dtype=np.float64).astype(np.float32)
    scale = x.std(axis=0, dtype=np.float64).astype(np.float32)
    scale[scale == 0] = 1
    return shift, scale
