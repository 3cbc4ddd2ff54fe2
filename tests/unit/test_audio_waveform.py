"""Mono streams: one decode, all rates, and facts that survive a failure."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import soxr

from embedlib.audio.blocks import BLOCK_SAMPLES
from embedlib.audio.decode import AudioLimits
from embedlib.audio.encode import write_audio
from embedlib.audio.resample import resampled_length
from embedlib.audio.synth import synthesise_music
from embedlib.audio.waveform import MonoStream, as_failure
from embedlib.errors import (
    AudioError,
    ChangedAudioError,
    ConfigError,
    MissingAudioError,
    TooLongAudioError,
    UndecodableAudioError,
)
from embedlib.records import DecodedTrack, Float32, Status, Track

RATES_HZ = (16_000, 11_025, 48_000)


def track_of(path: Path, start_s: float | None = None, end_s: float | None = None) -> Track:
    return Track("t", str(path), -1, "", start_s, end_s)


def gather(stream: MonoStream) -> dict[int, Float32]:
    with stream:
        blocks = list(stream)
    return {rate_hz: np.concatenate([block[rate_hz] for block in blocks]) for rate_hz in blocks[0]}


@pytest.fixture
def song(tmp_path: Path) -> Path:
    path = tmp_path / "song.flac"
    write_audio(path, synthesise_music(5.0, sr_hz=44_100), sr_hz=44_100)
    return path


def test_a_long_file_gives_the_same_samples_as_one_block(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    y = (rng.integers(-(2**15), 2**15, (2, 5 * BLOCK_SAMPLES)) / 2**15).astype(np.float32)
    write_audio(tmp_path / "y.wav", y, sr_hz=44_100)
    streamed = gather(MonoStream(track_of(tmp_path / "y.wav"), rates_hz=[16_000]))[16_000]
    mono = (y[0] + y[1]) / np.float32(2)
    np.testing.assert_array_equal(streamed, soxr.resample(mono, 44_100, 16_000, quality="HQ"))


def test_every_rate_comes_with_every_block(song: Path) -> None:
    with MonoStream(track_of(song), rates_hz=[*RATES_HZ, 16_000]) as stream:
        assert all(tuple(blocks) == RATES_HZ for blocks in stream)


def test_rates_do_not_influence_each_other(song: Path) -> None:
    together = gather(MonoStream(track_of(song), rates_hz=RATES_HZ))
    for rate_hz in RATES_HZ:
        alone = gather(MonoStream(track_of(song), rates_hz=[rate_hz]))
        np.testing.assert_array_equal(together[rate_hz], alone[rate_hz])


def test_lengths_follow_from_the_facts(song: Path) -> None:
    stream = MonoStream(track_of(song), rates_hz=RATES_HZ)
    lengths = {rate_hz: len(y) for rate_hz, y in gather(stream).items()}
    n_samples = stream.decoded(0).n_samples
    assert lengths == {
        rate_hz: resampled_length(n_samples, sr_in_hz=44_100, sr_out_hz=rate_hz)
        for rate_hz in RATES_HZ
    }


def test_a_clip_is_resampled_as_a_file_of_its_own(tmp_path: Path, song: Path) -> None:
    clip = gather(MonoStream(track_of(song, 1.0, 2.5), rates_hz=[44_100]))[44_100]
    write_audio(tmp_path / "clip.wav", clip[np.newaxis], sr_hz=44_100, codec="pcm_f32le")
    expected = gather(MonoStream(track_of(tmp_path / "clip.wav"), rates_hz=[16_000]))[16_000]
    actual = gather(MonoStream(track_of(song, 1.0, 2.5), rates_hz=[16_000]))[16_000]
    np.testing.assert_array_equal(actual, expected)


def test_the_facts_are_those_of_the_file(song: Path) -> None:
    stream = MonoStream(track_of(song), rates_hz=[16_000])
    gather(stream)
    facts = stream.decoded(7)
    assert (facts.index, facts.status, facts.duration_s) == (7, Status.OK, 5.0)
    assert (facts.sr_hz, facts.n_channels, facts.n_samples) == (44_100, 2, 220_500)
    assert facts.size == song.stat().st_size
    assert facts.content_hash.startswith("sha256:")


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    peaks = [peak_bytes(tmp_path, duration_s) for duration_s in (60, 600)]
    assert peaks[1] < 1.2 * peaks[0]


def peak_bytes(folder: Path, duration_s: int) -> int:
    path = folder / f"{duration_s}.wav"
    write_audio(path, synthesise_music(duration_s, sr_hz=8_000, n_channels=1), sr_hz=8_000)
    with MonoStream(track_of(path), rates_hz=[16_000]) as stream:
        tracemalloc.start()
        for _ in stream:
            pass
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    return peak


def test_a_missing_file_has_no_facts(tmp_path: Path) -> None:
    stream = MonoStream(track_of(tmp_path / "gone.wav"), rates_hz=[16_000])
    with pytest.raises(MissingAudioError):
        gather(stream)
    assert stream.decoded(3) == DecodedTrack(3, Status.OK)


def test_a_file_that_fails_keeps_its_size_and_hash(tmp_path: Path) -> None:
    path = tmp_path / "text.mp3"
    path.write_text("no music\n" * 100)
    stream = MonoStream(track_of(path), rates_hz=[16_000])
    with pytest.raises(UndecodableAudioError):
        gather(stream)
    assert stream.decoded(0).size == 900
    assert stream.decoded(0).content_hash


def test_a_failure_half_way_keeps_what_was_learned(tmp_path: Path) -> None:
    path = tmp_path / "y.mp3"
    write_audio(path, np.zeros((1, 44_100 * 9), np.float32), sr_hz=44_100)
    path.write_bytes(path.read_bytes().replace(b"Xing", b"none").replace(b"Info", b"none"))
    stream = MonoStream(track_of(path), rates_hz=[16_000], limits=AudioLimits(max_duration_s=5.0))
    with pytest.raises(TooLongAudioError):
        gather(stream)
    assert stream.decoded(0).sr_hz == 44_100
    assert stream.decoded(0).n_samples > 0


def test_a_failure_becomes_a_row_with_one_line() -> None:
    facts = DecodedTrack(5, Status.OK, sr_hz=8_000, size=3)
    failed = as_failure(facts, UndecodableAudioError("two\nlines", fix="leave it out"))
    assert failed == DecodedTrack(
        5, Status.UNDECODABLE, error="two lines; leave it out", sr_hz=8_000, size=3
    )


@pytest.mark.parametrize("error_class", AudioError.__subclasses__())
def test_every_audio_error_has_a_status(error_class: type[AudioError]) -> None:
    failed = as_failure(DecodedTrack(0, Status.OK), error_class("why"))
    assert failed.status == error_class.status != Status.OK


def test_a_file_that_changes_under_the_decoder_is_changed(song: Path) -> None:
    with MonoStream(track_of(song), rates_hz=[16_000]) as stream:
        blocks = iter(stream)
        next(blocks)
        song.write_bytes(song.read_bytes() + b"more")
        with pytest.raises(ChangedAudioError):
            list(blocks)


def test_a_stream_that_is_left_early_closes_quietly(song: Path) -> None:
    with MonoStream(track_of(song), rates_hz=[16_000]) as stream:
        next(iter(stream))
        song.unlink()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rates_hz": []}, "at least one"),
        ({"rates_hz": [16_000, 0]}, "must be positive"),
        ({"decoder": "sox"}, "decoder='sox' is not known"),
        ({"resampler": "linear"}, "resampler='linear' is not known"),
        ({"decoder": "essentia"}, "resampler='soxr-hq' does not go with decoder='essentia'"),
    ],
)
def test_an_impossible_request_is_refused_before_anything_is_opened(
    options: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        MonoStream(Track("t", "gone.wav", -1, ""), **{"rates_hz": [16_000], **options})  # type: ignore[arg-type]


def essentia_stream(path: Path, *clip: float) -> MonoStream:
    pytest.importorskip("essentia")
    return MonoStream(
        track_of(path, *clip),
        rates_hz=[16_000, 11_025],
        decoder="essentia",
        resampler="essentia-q1",
    )


def test_essentia_gives_the_samples_of_its_mono_loader(song: Path) -> None:
    signals = gather(essentia_stream(song))
    standard = pytest.importorskip("essentia.standard")
    for rate_hz, y in signals.items():
        loader = standard.MonoLoader(filename=str(song), sampleRate=rate_hz, resampleQuality=1)
        np.testing.assert_array_equal(y, loader())


def test_essentia_and_pyav_agree_on_the_facts(song: Path) -> None:
    pyav, essentia = MonoStream(track_of(song), rates_hz=[16_000]), essentia_stream(song)
    gather(pyav)
    gather(essentia)
    assert essentia.decoded(0) == pyav.decoded(0)


def test_essentia_cuts_clips_at_the_new_rate(song: Path) -> None:
    whole, stream = gather(essentia_stream(song)), essentia_stream(song, 1.0, 2.5)
    np.testing.assert_array_equal(gather(stream)[16_000], whole[16_000][16_000:40_000])
    assert stream.decoded(0).n_samples == round(1.5 * 44_100)


def test_essentia_refuses_more_than_two_channels_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "four.flac"
    write_audio(path, np.ones((4, 8_000), np.float32) / 2, sr_hz=8_000)
    with pytest.raises(UndecodableAudioError, match="more than 2 channels") as caught:
        gather(essentia_stream(path))
    assert "\n" not in str(caught.value)


def test_essentia_does_not_follow_a_playlist(tmp_path: Path, song: Path) -> None:
    path = tmp_path / "list.mp3"
    path.write_text(f"ffconcat version 1.0\nfile '{song.name}'\n")
    with pytest.raises(UndecodableAudioError, match="not in a container of audio"):
        gather(essentia_stream(path))
