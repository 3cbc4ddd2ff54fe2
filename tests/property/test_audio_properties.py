"""Properties of the audio code: lengths follow one rule, blocks and cuts leave no trace."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embedlib.audio.encode import write_audio
from embedlib.audio.resample import make_resampler, resampled_length
from embedlib.audio.samples import ClipCutter
from embedlib.audio.synth import synthesise_music
from embedlib.audio.waveform import AudioStream
from embedlib.errors import AudioError
from embedlib.records import KEPT, Float32, Signal, Status, Track

rates_hz = st.integers(8_000, 192_000)


def stream(y: Float32, bounds: list[int], *, sr_in_hz: int, sr_out_hz: int) -> Float32:
    resampler = make_resampler(
        "soxr-hq",
        sr_in_hz=sr_in_hz,
        sr_out_hz=sr_out_hz,
        n_channels=1 if y.ndim == 1 else len(y),
    )
    blocks = [resampler.push(block) for block in np.split(y, sorted(bounds), axis=-1)]
    return np.concatenate([*blocks, resampler.flush()], axis=-1)


@given(n_samples=st.integers(0, 30_000), sr_in_hz=rates_hz, sr_out_hz=rates_hz)
@settings(deadline=None, max_examples=60)
def test_the_length_after_resampling_is_known_before(
    n_samples: int, sr_in_hz: int, sr_out_hz: int
) -> None:
    y = stream(np.zeros(n_samples, np.float32), [], sr_in_hz=sr_in_hz, sr_out_hz=sr_out_hz)
    assert len(y) == resampled_length(n_samples, sr_in_hz=sr_in_hz, sr_out_hz=sr_out_hz)


@given(
    n_samples=st.integers(0, 30_000),
    shape=st.sampled_from([(), (2,)]),
    bounds=st.lists(st.integers(0, 30_000), max_size=5),
    sr_in_hz=st.sampled_from([8_000, 22_050, 44_100, 48_000, 96_000]),
    sr_out_hz=st.sampled_from([11_025, 16_000, 44_100, 48_000]),
)
@settings(deadline=None, max_examples=40)
def test_resampling_does_not_depend_on_the_blocks(
    n_samples: int, shape: tuple[int, ...], bounds: list[int], sr_in_hz: int, sr_out_hz: int
) -> None:
    y = np.random.default_rng(seed=440).uniform(-1, 1, (*shape, n_samples)).astype(np.float32)
    whole = stream(y, [], sr_in_hz=sr_in_hz, sr_out_hz=sr_out_hz)
    blocks = stream(y, bounds, sr_in_hz=sr_in_hz, sr_out_hz=sr_out_hz)
    np.testing.assert_array_equal(blocks, whole)


@given(
    times_s=st.lists(st.floats(0, 10), max_size=5).map(sorted),
    n_block=st.integers(1, 200),
    sr_hz=st.sampled_from([7, 10, 16]),
)
def test_clips_that_meet_make_up_the_whole(times_s: list[float], n_block: int, sr_hz: int) -> None:
    signal = np.arange(200, dtype=np.float32)[np.newaxis]
    kept = []
    for start_s, end_s in zip([None, *times_s], [*times_s, None], strict=True):
        cutter = ClipCutter(start_s, end_s, sr_hz=sr_hz)
        kept += [cutter.cut(signal[:, i : i + n_block]) for i in range(0, 200, n_block)]
    np.testing.assert_array_equal(np.concatenate(kept, axis=1), signal)


@pytest.fixture(scope="module")
def intact(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Files of one second, by suffix."""
    folder = tmp_path_factory.mktemp("intact")
    for suffix in (".wav", ".flac", ".mp3", ".m4a", ".opus", ".aiff"):
        write_audio(folder / f"y{suffix}", synthesise_music(1.0, sr_hz=48_000), sr_hz=48_000)
    return {path.suffix: path.read_bytes() for path in folder.iterdir()}


@given(
    suffix=st.sampled_from([".wav", ".flac", ".mp3", ".m4a", ".opus", ".aiff"]),
    places=st.lists(st.floats(0, 1, exclude_max=True), min_size=1, max_size=20),
    is_header=st.booleans(),
    kept_share=st.floats(0.1, 1.0),
    byte=st.integers(0, 255),
)
@settings(deadline=None, max_examples=60)
def test_whatever_the_bytes_the_track_ends_in_a_status(
    intact: dict[str, bytes],
    tmp_path_factory: pytest.TempPathFactory,
    suffix: str,
    places: list[float],
    is_header: bool,
    kept_share: float,
    byte: int,
) -> None:
    content = bytearray(intact[suffix])
    for place in places:
        content[int(place * (300 if is_header else len(content)))] = byte
    path = tmp_path_factory.getbasetemp() / f"corrupted{suffix}"
    path.write_bytes(content[: int(kept_share * len(content))])
    assert status_of(path) in set(Status) - {Status.CRASHED, Status.MISSING, Status.CHANGED}


@given(place=st.floats(0, 1), n_bytes=st.integers(1, 5_000))
@settings(deadline=None, max_examples=60, derandomize=True)  # 16 bits of checksum may agree by luck
def test_no_damage_to_the_frames_of_flac_passes_as_ok(
    intact: dict[str, bytes],
    tmp_path_factory: pytest.TempPathFactory,
    place: float,
    n_bytes: int,
) -> None:
    content = bytearray(intact[".flac"])
    first_frame = content.index(b"\xff\xf8")
    start = first_frame + int(place * (len(content) - n_bytes - first_frame))
    for at in range(start, start + n_bytes):
        content[at] ^= 0xFF
    path = tmp_path_factory.getbasetemp() / "flipped.flac"
    path.write_bytes(content)
    assert status_of(path) in {Status.DAMAGED, Status.TRUNCATED}


def status_of(path: Path) -> Status:
    mono, stereo = Signal(16_000), Signal(16_000, 2)
    with AudioStream(Track("t", str(path), -1, ""), signals=[mono, stereo]) as stream:
        try:
            shapes = [(len(blocks[mono]), *blocks[stereo].shape) for blocks in stream]
        except AudioError as exc:
            return Status(exc.status)
        facts = stream.decoded(0)
    assert facts.status in KEPT
    n_samples = resampled_length(facts.n_samples, sr_in_hz=facts.sr_hz, sr_out_hz=16_000)
    assert sum(n_mono for n_mono, _, _ in shapes) == n_samples
    assert all(shape == (shape[0], 2, shape[0]) for shape in shapes)
    return facts.status
