"""The short-time Fourier transform of Spleeter as nodes of a graph, there and back.

Both follow ``tf.signal.stft`` and ``tf.signal.inverse_stft`` with a periodic Hann window, as
Spleeter calls them (deezer/spleeter, model/__init__.py).
"""

from __future__ import annotations

import numpy as np

from embedlib.models.graph_writer import GraphWriter
from embedlib.models.shaping import expand_dims, first_along, length, pad_end, transpose, unstack

FRAME_SAMPLES = 4096
STEP_SAMPLES = 1024
N_BINS = FRAME_SAMPLES // 2 + 1

_STEPS_PER_FRAME = FRAME_SAMPLES // STEP_SAMPLES

# The squares of a periodic Hann window add up to 3/2 at a quarter of its length: Spleeter's
# WINDOW_COMPENSATION_FACTOR.
_COMPENSATION = 2.0 / 3.0


def write_stft(writer: GraphWriter, waveform: str) -> str:
    """Write the transform of all channels of a waveform, whose end is padded with zeros.

    Parameters
    ----------
    writer : GraphWriter
        The graph.
    waveform : str
        Input node, samples x channels.

    Returns
    -------
    node : str
        Full name of a complex64 tensor, frames x `N_BINS` x channels; a frame starts at every
        `STEP_SAMPLES` below the number of samples.
    """
    with writer.name_scope("stft"):
        n_samples = length(writer, waveform, name="n_samples", axis=0)
        n_frames = _n_frames(writer, n_samples)
        channels = transpose(writer, waveform, name="transpose", order=(1, 0))
        steps = _steps(writer, channels, n_samples=n_samples, n_frames=n_frames)
        frames = _gather_frames(writer, steps, n_frames=n_frames)
        windowed = writer.op("Mul", "mul", [frames, _window(writer)])
        size = writer.const("rfft/fft_length", [FRAME_SAMPLES])
        spectra = writer.op(
            "RFFT", "rfft", [windowed, size], T=None, Treal="float32", Tcomplex="complex64"
        )
        return transpose(writer, spectra, name="transpose_1", order=(1, 2, 0), dtype="complex64")


def write_inverse_stft(writer: GraphWriter, stft: str, *, n_samples: str) -> str:
    """Write the waveform of a transform.

    Parameters
    ----------
    writer : GraphWriter
        The graph.
    stft : str
        Input node, as `write_stft` gives it.
    n_samples : str
        Node of an int32 scalar: samples to keep.

    Returns
    -------
    node : str
        Full name of a tensor, samples x channels.
    """
    with writer.name_scope("inverse_stft"):
        spectra = transpose(writer, stft, name="transpose", order=(2, 0, 1), dtype="complex64")
        size = writer.const("irfft/fft_length", [FRAME_SAMPLES])
        frames = writer.op(
            "IRFFT", "irfft", [spectra, size], T=None, Treal="float32", Tcomplex="complex64"
        )
        windowed = writer.op("Mul", "mul", [frames, _window(writer)])
        channels = _overlap_and_add(writer, windowed)
        factor = writer.const("compensation", _COMPENSATION, dtype="float32")
        scaled = writer.op("Mul", "mul_1", [channels, factor])
        waveform = transpose(writer, scaled, name="transpose_1", order=(1, 0))
        return first_along(writer, waveform, name="strided_slice", axis=0, stop=n_samples)


def _n_frames(writer: GraphWriter, n_samples: str) -> str:
    """Count the frames that start inside of the waveform."""
    step = writer.const("step", STEP_SAMPLES)
    last = writer.op("Add", "add", [n_samples, writer.const("add/y", STEP_SAMPLES - 1)], T="int32")
    return writer.op("FloorDiv", "n_frames", [last, step], T="int32")


def _steps(writer: GraphWriter, channels: str, *, n_samples: str, n_frames: str) -> str:
    """Pad the end for the last frame and cut into steps: channels x steps x samples."""
    overlap = writer.const("overlap", _STEPS_PER_FRAME - 1)
    n_steps = writer.op("Add", "n_steps", [n_frames, overlap], T="int32")
    step = writer.const("step_1", STEP_SAMPLES)
    covered = writer.op("Mul", "covered", [n_steps, step], T="int32")
    missing = writer.op("Sub", "missing", [covered, n_samples], T="int32")
    padded = pad_end(writer, channels, name="Pad", axis=1, rank=2, n_zeros=missing)
    target = writer.const("Reshape/shape", [2, -1, STEP_SAMPLES])
    return writer.op("Reshape", "Reshape", [padded, target], Tshape="int32")


def _gather_frames(writer: GraphWriter, steps: str, *, n_frames: str) -> str:
    """Join the steps of each frame: channels x frames x samples."""
    zero, one = writer.const("range/start", 0), writer.const("range/delta", 1)
    first = writer.op("Range", "range", [zero, n_frames, one], T=None, Tidx="int32")
    column = expand_dims(writer, first, name="ExpandDims", axis=1, dtype="int32")
    offsets = writer.const("offsets", [list(range(_STEPS_PER_FRAME))])
    indices = writer.op("Add", "indices", [column, offsets], T="int32")
    gathered = writer.op(
        "GatherV2",
        "GatherV2",
        [steps, indices, writer.const("GatherV2/axis", 1)],
        T=None,
        Tparams="float32",
        Tindices="int32",
        Taxis="int32",
        batch_dims=0,
    )
    target = writer.const("Reshape_1/shape", [2, -1, FRAME_SAMPLES])
    return writer.op("Reshape", "Reshape_1", [gathered, target], Tshape="int32")


def _overlap_and_add(writer: GraphWriter, frames: str) -> str:
    """Shift each quarter of the frames to its place and add: channels x samples."""
    target = writer.const("Reshape/shape", [2, -1, _STEPS_PER_FRAME, STEP_SAMPLES])
    quarters = writer.op("Reshape", "Reshape", [frames, target], Tshape="int32")
    shifted = []
    parts = unstack(writer, quarters, name="unstack", axis=2, n_parts=_STEPS_PER_FRAME)
    for index, part in enumerate(parts):
        name = f"Pad_{index}"
        around = [[0, 0], [index, _STEPS_PER_FRAME - 1 - index], [0, 0]]
        paddings = writer.const(f"{name}/paddings", around)
        shifted.append(writer.op("Pad", name, [part, paddings], Tpaddings="int32"))
    total = writer.op("AddN", "AddN", shifted, N=len(shifted))
    joined = writer.const("Reshape_1/shape", [2, -1])
    return writer.op("Reshape", "Reshape_1", [total, joined], Tshape="int32")


def _window(writer: GraphWriter) -> str:
    angles = 2.0 * np.pi * np.arange(FRAME_SAMPLES) / FRAME_SAMPLES
    return writer.const("hann_window", 0.5 - 0.5 * np.cos(angles), dtype="float32")
