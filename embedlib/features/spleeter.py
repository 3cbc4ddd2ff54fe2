"""Around Spleeter's five U-Nets: from stereo samples to their input, from bottlenecks to vectors.

The published graph takes a waveform and transforms it inside, at several times the cost; here its
U-Nets take magnitudes. Patches are cut by the rule ``pad``, 511 hops and a frame long and 512 hops
apart, so that the patches of a track are its whole short-time transform in pieces of 512 frames.
Deezer's code puts 4096 zeros in front of the audio since July 2020; whether the exported graph
does is not known, and none are put here.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import scipy

from embedlib.errors import ConfigError, EngineError
from embedlib.records import Float32

# github.com/deezer/spleeter at commit 64daa5a: configs/5stems/base_config.json (`frame_length`,
# `frame_step`, `T`, `F`, `n_channels`) and spleeter/model/__init__.py (periodic Hann window).
FRAME_SAMPLES = 4096
HOP_SAMPLES = 1024
N_FRAMES = 512
N_BINS = 1024
N_CHANNELS = 2
PATCH_SAMPLES = (N_FRAMES - 1) * HOP_SAMPLES + FRAME_SAMPLES

# Spectra of a block stay in a core's L2 cache (32 x 2049 x 8 bytes = 0.5 MB).
BLOCK_FRAMES = 32

# src/feature_spleeter.py of github.com/xaviliz/musicnn-training at commit 69076ab: five stems,
# blocks of 4 x 4, and float32's epsilon inside the logarithm.
N_STEMS = 5
BOTTLENECK = (8, 16, 512)
BLOCK = 4
STEM_DIMS = (BOTTLENECK[0] // BLOCK) * (BOTTLENECK[2] // BLOCK)
EPSILON = np.finfo(np.float32).eps

# No float32 but -EPSILON itself brings ``|x + EPSILON|`` below this; see `_signed_log10`.
SMALLEST_SUM = np.float32(2.0**-47)


def stft_magnitude(patch: Float32) -> Float32:
    """Transform a patch of samples to the magnitudes that the U-Nets take.

    Parameters
    ----------
    patch : np.ndarray [shape=(527360, n_channels), float32]
        Samples at 44.1 kHz; one channel is taken for both.

    Returns
    -------
    magnitudes : np.ndarray [shape=(512, 1024, 2), float32]
        Frames, bins from 0 Hz to 11 kHz, channels; not scaled.

    Raises
    ------
    ConfigError
        If `patch` has another shape.

    Examples
    --------
    >>> click = np.zeros((527360, 1), np.float32)
    >>> click[2048] = 1.0  # in the middle of the first frame
    >>> magnitudes = stft_magnitude(click)
    >>> magnitudes.shape, magnitudes[:4, 100, 1].round(2)
    ((512, 1024, 2), array([1. , 0.5, 0. , 0. ], dtype=float32))
    """
    if patch.ndim != 2 or len(patch) != PATCH_SAMPLES or not 1 <= patch.shape[1] <= N_CHANNELS:
        raise ConfigError(
            f"a patch of shape {patch.shape} is not {PATCH_SAMPLES} samples, mono or stereo",
            fix=f"cut patches of {PATCH_SAMPLES} rows from the front end stereo-44k or mono-44k",
        )
    magnitudes = np.empty((N_FRAMES, N_BINS, N_CHANNELS), np.float32)
    # Samples beyond all reason become infinite here, and the run records them as nonfinite.
    with np.errstate(over="ignore", invalid="ignore"):
        for channel in range(patch.shape[1]):
            _transform(np.ascontiguousarray(patch[:, channel]), out=magnitudes[..., channel])
    if patch.shape[1] == 1:
        magnitudes[..., 1] = magnitudes[..., 0]
    return magnitudes


def sum_bands(outputs: tuple[Float32, ...]) -> Float32:
    """Read vectors as the paper's code does: sums of 4 x 4 blocks.

    Parameters
    ----------
    outputs : tuple of np.ndarray [shape=(batch, 8, 16, 512), float32]
        Bottlenecks of the five U-Nets in the order of the graph: time, frequency, channels.

    Returns
    -------
    vectors : np.ndarray [shape=(batch, 16, 1280), float32]
        One vector per frequency position: 256 values per stem, with signed logarithm.

    Raises
    ------
    EngineError
        If there are not five arrays of that shape.

    See Also
    --------
    max_bands : The same with maxima, as the paper's text has it.

    Examples
    --------
    >>> bottleneck = np.full((1, 8, 16, 512), 10.0, np.float32)
    >>> vectors = sum_bands((bottleneck,) * 5)
    >>> vectors.shape, vectors[0, 0, 0].round(3)  # log10(16 * 10)
    ((1, 16, 1280), np.float32(2.204))
    """
    return _pool(outputs, np.add)


def max_bands(outputs: tuple[Float32, ...]) -> Float32:
    """Read vectors as the paper's text has it: maxima of 4 x 4 blocks.

    Parameters
    ----------
    outputs : tuple of np.ndarray [shape=(batch, 8, 16, 512), float32]
        Bottlenecks of the five U-Nets in the order of the graph: time, frequency, channels.

    Returns
    -------
    vectors : np.ndarray [shape=(batch, 16, 1280), float32]
        One vector per frequency position: 256 values per stem, with signed logarithm.

    Raises
    ------
    EngineError
        If there are not five arrays of that shape.

    See Also
    --------
    sum_bands : The same with sums, as the paper's code has it.
    """
    return _pool(outputs, np.maximum)


def _transform(y: Float32, *, out: Float32) -> None:
    """Write the magnitudes of one channel into `out`, of shape (512, 1024)."""
    frames = np.lib.stride_tricks.sliding_window_view(y, FRAME_SAMPLES)[::HOP_SAMPLES]
    for start in range(0, N_FRAMES, BLOCK_FRAMES):
        stop = start + BLOCK_FRAMES
        spectra = scipy.fft.rfft(frames[start:stop] * _window())
        out[start:stop] = np.abs(spectra[:, :N_BINS])


def _pool(outputs: tuple[Float32, ...], reduce: np.ufunc) -> Float32:
    shapes = [output.shape[1:] for output in outputs]
    if shapes != [BOTTLENECK] * N_STEMS:
        raise EngineError(
            f"the nodes gave {shapes}, not {N_STEMS} times {BOTTLENECK}",
            fix="choose the bottlenecks of the five stems",
        )
    with np.errstate(over="ignore", invalid="ignore"):
        stems = [_pool_stem(output, reduce) for output in outputs]
        return _signed_log10(np.concatenate(stems, axis=-1))


def _pool_stem(bottleneck: Float32, reduce: np.ufunc) -> Float32:
    """Reduce blocks of 4 frames and 4 channels: (batch, 8, 16, 512) to (batch, 16, 256)."""
    n_times, n_bands, n_channels = BOTTLENECK
    shape = (-1, n_times // BLOCK, BLOCK, n_bands, n_channels // BLOCK, BLOCK)
    # One axis at a time: the order of a sum over two would depend on the size of the batch. Time
    # first, which runs along memory and leaves a quarter for the slow axis.
    over_time = reduce.reduce(bottleneck.reshape(shape), axis=2)
    blocks = reduce.reduce(over_time, axis=4)
    by_band: Float32 = blocks.transpose(0, 2, 1, 3).reshape(-1, n_bands, STEM_DIMS)
    return by_band


def _signed_log10(x: Float32) -> Float32:
    """Compress as the paper's code does, which flips the sign where ``|x| < 1``.

    At -EPSILON alone the paper's formula is infinite and would void a whole track; there the
    neighbouring float32's value is taken.
    """
    size: Float32 = np.maximum(np.abs(x + EPSILON), SMALLEST_SUM)
    return np.sign(x) * np.log10(size)


@cache
def _window() -> Float32:
    # Periodic: as long as the symmetric window of one sample more, without its last zero.
    return np.hanning(FRAME_SAMPLES + 1)[:-1].astype(np.float32)
