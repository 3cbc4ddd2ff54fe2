"""Mel filterbanks as Essentia's MelBands builds them, in float64, handed over as float32."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from embedlib.records import Float32

Float64 = NDArray[np.float64]

MelScale = Literal["slaney", "htk"]
"""Which formula spaces the bands, see `MelBands`."""
Slopes = Literal["linear", "warped"]
"""Along which axis the sides of a band are straight, see `MelBands`."""
Norm = Literal["unit_tri", "unit_max", "unit_sum"]
"""What is one about a band, see `MelBands`."""

# Slaney's Auditory Toolbox (1998), as librosa 0.11 `hz_to_mel(htk=False)` and Essentia's
# `slaneyMel` have it: linear below 1 kHz, logarithmic above.
SLANEY_LINEAR_HZ_PER_MEL = 200.0 / 3.0
SLANEY_BREAK_HZ = 1000.0
SLANEY_LOG_STEP = np.log(6.4) / 27.0

# O'Shaughnessy's formula as the HTK Book (3.4, section 5.4), librosa's `hz_to_mel(htk=True)` and
# Essentia's `htkMel` (`hz2mel10` in src/essentia/essentiamath.h) have it.
HTK_MEL_PER_DECADE = 2595.0
HTK_BREAK_HZ = 700.0


@dataclass(frozen=True, slots=True)
class MelBands:
    """Position, shape and height of triangular bands, equally spaced in mels.

    Attributes
    ----------
    n_bands : int > 0
        Number of bands.
    fmin_hz, fmax_hz : float
        Lower edge of the first and upper edge of the last band.
    scale : {'slaney', 'htk'}
        Formula of the mels (Essentia's ``warpingFormula``).
    slopes : {'linear', 'warped'}
        The sides of a triangle are straight lines in Hz, or in HTK's mels whatever the scale
        (Essentia's ``weighting``).
    norm : {'unit_tri', 'unit_max', 'unit_sum'}
        A triangle has an area of one on the axis of its sides (in Hz, librosa's
        ``norm="slaney"``), or a vertex of one, or its weights add up to one (Essentia's
        ``normalize``).

    References
    ----------
    .. [1] Essentia, ``src/algorithms/spectral/{melbands,triangularbands}.cpp`` at commit b9fa6cb;
       compared with the wheel 2.1b6.dev1389 by the tests.
    """

    n_bands: int
    fmin_hz: float
    fmax_hz: float
    scale: MelScale = "slaney"
    slopes: Slopes = "linear"
    norm: Norm = "unit_tri"


def slaney_hz_to_mel(frequency_hz: Float64) -> Float64:
    """Convert frequencies to Slaney's mel scale.

    Parameters
    ----------
    frequency_hz : np.ndarray [shape=(n,), float64]
        Frequencies, not negative.

    Returns
    -------
    mel : np.ndarray [shape=(n,), float64]
        The same frequencies in mel.

    See Also
    --------
    slaney_mel_to_hz : The inverse.

    Examples
    --------
    >>> slaney_hz_to_mel(np.array([0.0, 200.0, 1000.0, 6400.0]))
    array([ 0.,  3., 15., 42.])
    """
    frequency_hz = np.asarray(frequency_hz, np.float64)
    break_mel = SLANEY_BREAK_HZ / SLANEY_LINEAR_HZ_PER_MEL
    above = np.log(np.maximum(frequency_hz, SLANEY_BREAK_HZ) / SLANEY_BREAK_HZ) / SLANEY_LOG_STEP
    below = np.minimum(frequency_hz, SLANEY_BREAK_HZ) / SLANEY_LINEAR_HZ_PER_MEL
    return np.where(frequency_hz < SLANEY_BREAK_HZ, below, break_mel + above)


def slaney_mel_to_hz(mel: Float64) -> Float64:
    """Convert Slaney's mels to frequencies.

    Parameters
    ----------
    mel : np.ndarray [shape=(n,), float64]
        Values on the mel scale, not negative.

    Returns
    -------
    frequency_hz : np.ndarray [shape=(n,), float64]
        The same values in Hz.

    See Also
    --------
    slaney_hz_to_mel : The inverse.
    """
    mel = np.asarray(mel, np.float64)
    break_mel = SLANEY_BREAK_HZ / SLANEY_LINEAR_HZ_PER_MEL
    above = SLANEY_BREAK_HZ * np.exp(SLANEY_LOG_STEP * np.maximum(mel - break_mel, 0.0))
    return np.where(mel < break_mel, SLANEY_LINEAR_HZ_PER_MEL * mel, above)


def htk_hz_to_mel(frequency_hz: Float64) -> Float64:
    """Convert frequencies to HTK's mel scale.

    Parameters
    ----------
    frequency_hz : np.ndarray [shape=(n,), float64]
        Frequencies, not negative.

    Returns
    -------
    mel : np.ndarray [shape=(n,), float64]
        The same frequencies in mel.

    See Also
    --------
    htk_mel_to_hz : The inverse.

    Examples
    --------
    >>> htk_hz_to_mel(np.array([0.0, 6300.0]))
    array([   0., 2595.])
    """
    frequency_hz = np.asarray(frequency_hz, np.float64)
    mel: Float64 = HTK_MEL_PER_DECADE * np.log10(1.0 + frequency_hz / HTK_BREAK_HZ)
    return mel


def htk_mel_to_hz(mel: Float64) -> Float64:
    """Convert HTK's mels to frequencies.

    Parameters
    ----------
    mel : np.ndarray [shape=(n,), float64]
        Values on the mel scale, not negative.

    Returns
    -------
    frequency_hz : np.ndarray [shape=(n,), float64]
        The same values in Hz.

    See Also
    --------
    htk_hz_to_mel : The inverse.
    """
    mel = np.asarray(mel, np.float64)
    return HTK_BREAK_HZ * (np.power(10.0, mel / HTK_MEL_PER_DECADE) - 1.0)


def mel_filterbank(bands: MelBands, *, n_fft: int, sr_hz: int) -> Float32:
    """Build the weights of bands for the bins of a spectrum.

    Parameters
    ----------
    bands : MelBands
        Which bands.
    n_fft : int > 0
        Length of the transform, in samples.
    sr_hz : int > 0
        Sampling rate.

    Returns
    -------
    filterbank : np.ndarray [shape=(n_bands, n_fft // 2 + 1), float32]
        Weight of each bin of the spectrum in each band.

    Examples
    --------
    >>> mel_filterbank(MelBands(2, fmin_hz=0.0, fmax_hz=300.0), n_fft=8, sr_hz=800)
    array([[0.  , 0.01, 0.  , 0.  , 0.  ],
           [0.  , 0.  , 0.01, 0.  , 0.  ]], dtype=float32)
    """
    edges = _edges_hz(bands)
    positions = np.arange(n_fft // 2 + 1, dtype=np.float64) * (sr_hz / n_fft)
    if bands.slopes == "warped":
        edges, positions = htk_hz_to_mel(edges), htk_hz_to_mel(positions)
    triangles = _triangles(positions, edges=edges)
    return (triangles * _heights(triangles, edges=edges, norm=bands.norm)).astype(np.float32)


class _Scale(NamedTuple):
    to_mel: Callable[[Float64], Float64]
    to_hz: Callable[[Float64], Float64]


_SCALES: dict[MelScale, _Scale] = {
    "slaney": _Scale(slaney_hz_to_mel, slaney_mel_to_hz),
    "htk": _Scale(htk_hz_to_mel, htk_mel_to_hz),
}


def _edges_hz(bands: MelBands) -> Float64:
    """Edges of the bands with Essentia's rounding: it adds up mels in float32.

    The sum drifts by some 1e-5, which moves an edge across the bottom of a steep spectrum: with
    exact edges the embeddings of a voice were 1.5e-5 (relative l2) off, with these 1.3e-6.
    """
    to_mel, to_hz = _SCALES[bands.scale]
    mel_min, mel_max = to_mel(np.array([bands.fmin_hz, bands.fmax_hz])).astype(np.float32)
    n_steps = bands.n_bands + 1
    steps = np.full(n_steps + 1, (mel_max - mel_min) / np.float32(n_steps), np.float32)
    steps[0] = mel_min
    edges_mel = np.cumsum(steps, dtype=np.float32)
    return to_hz(edges_mel.astype(np.float64)).astype(np.float32).astype(np.float64)


def _triangles(positions: Float64, *, edges: Float64) -> Float64:
    """Give triangles of height one over three neighbouring edges each."""
    lower, centre, upper = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    rising = (positions - lower) / (centre - lower)
    falling = (upper - positions) / (upper - centre)
    triangles: Float64 = np.maximum(0.0, np.minimum(rising, falling))
    return triangles


def _heights(triangles: Float64, *, edges: Float64, norm: Norm) -> Float64:
    if norm == "unit_max":
        return np.ones((len(triangles), 1))
    if norm == "unit_sum":
        sums: Float64 = triangles.sum(axis=1, keepdims=True)
        return 1.0 / sums
    return 2.0 / (edges[2:, None] - edges[:-2, None])
