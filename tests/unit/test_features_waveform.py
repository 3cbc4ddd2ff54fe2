from __future__ import annotations

import numpy as np
import pytest

from embedlib.errors import ConfigError
from embedlib.features.front_end import FrontEnd
from embedlib.features.waveform import WAVEFORMS, WaveformFrontEnd
from embedlib.records import Float32, Signal

each_waveform = pytest.mark.parametrize("front_end", WAVEFORMS, ids=lambda each: each.name)


def noise(signal: Signal, n_samples: int, rng: np.random.Generator) -> Float32:
    shape = (n_samples,) if signal.n_channels == 1 else (signal.n_channels, n_samples)
    return rng.standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize(
    ("name", "sr_hz", "n_channels"),
    [("mono-48k", 48000, 1), ("mono-44k", 44100, 1), ("stereo-44k", 44100, 2)],
)
def test_the_name_tells_the_signal(name: str, sr_hz: int, n_channels: int) -> None:
    (front_end,) = (each for each in WAVEFORMS if each.name == name)
    assert front_end.signal == Signal(sr_hz, n_channels)
    assert (front_end.sr_hz, front_end.n_bands) == (sr_hz, n_channels)


@each_waveform
def test_a_frame_is_one_sample(front_end: FrontEnd) -> None:
    assert front_end.frame_samples == front_end.hop_samples == 1
    assert [front_end.n_frames(n) for n in (0, 1, 48000)] == [0, 1, 48000]
    assert front_end.lead_samples(5) == 0


@each_waveform
@pytest.mark.parametrize("cuts", [[], [1], [0, 500, 500, 999]])
def test_the_pieces_of_a_track_give_the_samples_of_the_whole(
    front_end: WaveformFrontEnd, cuts: list[int], rng: np.random.Generator
) -> None:
    y = noise(front_end.signal, 1000, rng)
    stream = front_end.stream()
    rows = [stream.push(piece) for piece in np.split(y, cuts, axis=-1)]
    frames = np.concatenate([*rows, stream.flush()])
    np.testing.assert_array_equal(frames, y.reshape(-1, 1000).T)
    assert len(frames) == front_end.n_frames(1000)


@each_waveform
def test_samples_are_passed_on_without_a_copy(
    front_end: WaveformFrontEnd, rng: np.random.Generator
) -> None:
    y = noise(front_end.signal, 100, rng)
    assert np.shares_memory(front_end.stream().push(y), y)


@pytest.mark.parametrize(
    ("n_channels", "shape"), [(1, (2, 9)), (2, (9,)), (2, (1, 9)), (2, (9, 2)), (1, (1, 1, 9))]
)
def test_other_numbers_of_channels_are_refused(n_channels: int, shape: tuple[int, ...]) -> None:
    stream = WaveformFrontEnd("any", Signal(44100, n_channels)).stream()
    with pytest.raises(ConfigError, match=rf"do not have {n_channels} channel"):
        stream.push(np.zeros(shape, np.float32))
