"""The patch input of MAEST: the frames of MusiCNN, standardised with constants of the training."""

from __future__ import annotations

import numpy as np

from embedlib.records import Float32

# Mean and standard deviation of the training set, as `_mean` and `_std` in Essentia,
# src/algorithms/machinelearning/tensorflowpredictmaest.h at commit b9fa6cb. The halving is there
# too, in the .cpp: twice the deviation becomes one.
SHIFT = np.float32(-2.06755686098554)
SCALE = np.float32(1.0 / (2.0 * 1.268292820667291))


def normalise(patch: Float32) -> Float32:
    """Bring a patch to the range of values that MAEST was trained with.

    Parameters
    ----------
    patch : np.ndarray [shape=(n_frames, 96), float32]
        Frames of the front end ``musicnn-mel``; 1876 of them for the model of 30 s.

    Returns
    -------
    patch : np.ndarray [shape=(n_frames, 96), float32]
        A new array; silence is -0.815.

    Examples
    --------
    >>> normalise(np.zeros((1, 2), np.float32))
    array([[-0.8150944, -0.8150944]], dtype=float32)
    """
    return (patch + SHIFT) * SCALE
