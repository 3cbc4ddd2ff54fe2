"""Write samples to audio files: for demonstrations, tests and benchmarks, never in a run."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import cast

import av
import numpy as np
from av.audio.stream import AudioStream
from av.container import Flags, OutputContainer

from embedlib.errors import ConfigError
from embedlib.records import Float32

DEFAULT_CODECS = {
    ".wav": "pcm_s16le",
    ".aiff": "pcm_s16be",
    ".flac": "flac",
    ".mp3": "libmp3lame",
    ".m4a": "aac",
    ".aac": "aac",
    ".opus": "libopus",
    ".ogg": "vorbis",
}
"""FFmpeg's encoder by the suffix of the file; all are in PyAV's wheels."""

LAYOUTS = ("mono", "stereo", "2.1", "quad", "5.0", "5.1", "6.1", "7.1")
"""FFmpeg's channel layouts by number of channels, from one on."""

ENCODED_SAMPLES = 65_536
"""Samples per channel that are handed to the encoder at once."""


def write_audio(
    path: Path, y: Float32 | Iterable[Float32], *, sr_hz: int, codec: str | None = None
) -> None:
    """Encode samples to a file: with one version of FFmpeg, equal samples give equal bytes.

    Parameters
    ----------
    path : pathlib.Path
        Its suffix is the container, one of `DEFAULT_CODECS`.
    y : np.ndarray [shape=(n_channels, n_samples), float32] or iterable of such arrays
        The samples, or blocks of them, which are written as they come, in bounded memory.
    sr_hz : int
        Samples per second.
    codec : str or None
        FFmpeg's name of the encoder, such as ``pcm_s24le`` or ``pcm_f32le`` for WAV; None takes
        that of the suffix.

    Raises
    ------
    ConfigError
        If the suffix is not known, or the encoder does not take this rate or these channels.
    """
    if path.suffix not in DEFAULT_CODECS:
        raise ConfigError(
            f"{path.name} has a suffix that cannot be written",
            fix=f"use one of {', '.join(DEFAULT_CODECS)}",
        )
    blocks = [y] if isinstance(y, np.ndarray) else y
    name = codec or DEFAULT_CODECS[path.suffix]
    try:
        _encode(path, blocks, sr_hz=sr_hz, codec=name)
    except (av.FFmpegError, ValueError) as exc:  # PyAV raises both
        raise ConfigError(
            f"{name} cannot encode {path.name} at sr_hz={sr_hz}: {exc}",
            fix="use a rate and a number of channels that it takes",
        ) from exc


def _encode(path: Path, blocks: Iterable[Float32], *, sr_hz: int, codec: str) -> None:
    stream: AudioStream | None = None
    with av.open(str(path), "w") as container:
        # Else the serial number of an Ogg stream is random.
        container.flags |= cast(int, Flags.bitexact.value)
        for block in blocks:
            layout = LAYOUTS[len(block) - 1]
            stream = stream or _add_stream(container, codec, sr_hz=sr_hz, layout=layout)
            for start in range(0, block.shape[1], ENCODED_SAMPLES):
                # Interleaved, because PyAV 18 miscounts the planes of eight channels.
                samples = block[:, start : start + ENCODED_SAMPLES].T.reshape(1, -1)
                frame = av.AudioFrame.from_ndarray(samples, format="flt", layout=layout)
                frame.sample_rate = sr_hz
                container.mux(stream.encode(frame))
        if stream is not None:
            container.mux(stream.encode(None))


def _add_stream(container: OutputContainer, codec: str, *, sr_hz: int, layout: str) -> AudioStream:
    # FFmpeg counts its own Vorbis encoder as experimental.
    options = {"strict": "experimental"}
    stream = container.add_stream(codec, rate=sr_hz, layout=layout, options=options)
    if not isinstance(stream, AudioStream):
        raise ConfigError(f"codec={codec!r} is not one of audio", fix="leave it out")
    return stream
