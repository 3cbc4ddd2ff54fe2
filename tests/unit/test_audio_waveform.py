"""Audio streams: one decode, all signals, and facts that survive a failure."""

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
from embedlib.audio.waveform import AudioStream, as_failure
from embedlib.errors import (
    AudioError,
    ChangedAudioError,
    ConfigError,
    MissingAudioError,
    TooLongAudioError,
    UndecodableAudioError,
)
from embedlib.records import DecodedTrack, Float32, Signal, Status, Track

MONO = Signal(16_000)
STEREO = Signal(44_100, 2)
SIGNALS = (MONO, Signal(11_025), Signal(48_000), Signal(48_000, 2), STEREO)


def track_of(path: Path, start_s: float | None = None, end_s: float | None = None) -> Track:
    return Track("t", str(path), -1, "", start_s, end_s)


def gather(stream: AudioStream) -> dict[Signal, Float32]:
    with stream:
        blocks = list(stream)
    return {
        signal: np.concatenate([block[signal] for block in blocks], axis=-1) for signal in blocks[0]
    }


@pytest.fixture
def song(tmp_path: Path) -> Path:
    path = tmp_path / "song.flac"
    write_audio(path, synthesise_music(5.0, sr_hz=44_100), sr_hz=44_100)
    return path


def test_a_long_file_gives_the_same_samples_as_one_block(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    y = noise(2, 5 * BLOCK_SAMPLES, rng)
    write_audio(tmp_path / "y.wav", y, sr_hz=44_100)
    streamed = gather(AudioStream(track_of(tmp_path / "y.wav"), signals=[MONO]))[MONO]
    mono = (y[0] + y[1]) / np.float32(2)
    np.testing.assert_array_equal(streamed, soxr.resample(mono, 44_100, 16_000, quality="HQ"))


def test_every_signal_comes_with_every_block(song: Path) -> None:
    with AudioStream(track_of(song), signals=[*SIGNALS, MONO]) as stream:
        assert all(tuple(blocks) == SIGNALS for blocks in stream)


def test_signals_do_not_influence_each_other(song: Path) -> None:
    together = gather(AudioStream(track_of(song), signals=SIGNALS))
    for signal in SIGNALS:
        alone = gather(AudioStream(track_of(song), signals=[signal]))
        np.testing.assert_array_equal(together[signal], alone[signal])


@pytest.mark.parametrize("signal", SIGNALS)
def test_shapes_follow_from_the_facts(song: Path, signal: Signal) -> None:
    stream = AudioStream(track_of(song), signals=[signal])
    y = gather(stream)[signal]
    n_samples = stream.decoded(0).n_samples
    length = resampled_length(n_samples, sr_in_hz=44_100, sr_out_hz=signal.sr_hz)
    assert y.shape == ((length,) if signal.n_channels == 1 else (2, length))


def test_stereo_at_the_rate_of_the_file_is_the_file(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    y = noise(2, 2 * BLOCK_SAMPLES, rng)
    write_audio(tmp_path / "y.flac", y, sr_hz=44_100)
    stream = AudioStream(track_of(tmp_path / "y.flac"), signals=[STEREO])
    np.testing.assert_array_equal(gather(stream)[STEREO], y)
    assert stream.n_resamplings == 0


def test_a_channel_of_stereo_is_resampled_as_a_mono_file_of_it(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    y = noise(2, 2 * BLOCK_SAMPLES, rng)
    write_audio(tmp_path / "both.wav", y, sr_hz=48_000)
    write_audio(tmp_path / "right.wav", y[1:], sr_hz=48_000)
    both = gather(AudioStream(track_of(tmp_path / "both.wav"), signals=[STEREO]))[STEREO]
    right = Signal(44_100)
    expected = gather(AudioStream(track_of(tmp_path / "right.wav"), signals=[right]))[right]
    np.testing.assert_array_equal(both[1], expected)


@pytest.mark.parametrize("n_channels", [1, 3, 6])
def test_without_left_and_right_both_channels_are_the_mono_mix(
    tmp_path: Path, rng: np.random.Generator, n_channels: int
) -> None:
    write_audio(tmp_path / "y.wav", noise(n_channels, 8_000, rng), sr_hz=48_000)
    mono = Signal(STEREO.sr_hz)
    stream = AudioStream(track_of(tmp_path / "y.wav"), signals=[STEREO, mono])
    signals = gather(stream)
    np.testing.assert_array_equal(signals[STEREO], [signals[mono], signals[mono]])
    assert stream.n_resamplings == 1


def test_a_file_is_resampled_once_for_each_signal_that_is_not_at_its_rate(song: Path) -> None:
    stream = AudioStream(track_of(song), signals=[*SIGNALS, *SIGNALS])
    assert stream.n_resamplings == 0
    gather(stream)
    assert stream.n_resamplings == len({MONO, *SIGNALS} - {STEREO})


def noise(n_channels: int, n_samples: int, rng: np.random.Generator) -> Float32:
    """Noise on a grid of 16 bits, which every lossless codec keeps."""
    samples = rng.integers(-(2**15), 2**15, (n_channels, n_samples))
    return (samples / 2**15).astype(np.float32)


def test_a_clip_is_resampled_as_a_file_of_its_own(tmp_path: Path, song: Path) -> None:
    clip = gather(AudioStream(track_of(song, 1.0, 2.5), signals=[Signal(44_100)]))[Signal(44_100)]
    write_audio(tmp_path / "clip.wav", clip[np.newaxis], sr_hz=44_100, codec="pcm_f32le")
    expected = gather(AudioStream(track_of(tmp_path / "clip.wav"), signals=[MONO]))[MONO]
    actual = gather(AudioStream(track_of(song, 1.0, 2.5), signals=[MONO]))[MONO]
    np.testing.assert_array_equal(actual, expected)


def test_the_facts_are_those_of_the_file(song: Path) -> None:
    stream = AudioStream(track_of(song), signals=[MONO])
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
    with AudioStream(track_of(path), signals=[MONO, STEREO]) as stream:
        tracemalloc.start()
        for _ in stream:
            pass
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    return peak


def test_a_missing_file_has_no_facts(tmp_path: Path) -> None:
    stream = AudioStream(track_of(tmp_path / "gone.wav"), signals=[MONO])
    with pytest.raises(MissingAudioError):
        gather(stream)
    assert stream.decoded(3) == DecodedTrack(3, Status.OK)


def test_a_file_that_fails_keeps_its_size_and_hash(tmp_path: Path) -> None:
    path = tmp_path / "text.mp3"
    path.write_text("no music\n" * 100)
    stream = AudioStream(track_of(path), signals=[MONO])
    with pytest.raises(UndecodableAudioError):
        gather(stream)
    assert stream.decoded(0).size == 900
    assert stream.decoded(0).content_hash


def test_a_failure_half_way_keeps_what_was_learned(tmp_path: Path) -> None:
    path = tmp_path / "y.mp3"
    write_audio(path, np.zeros((1, 44_100 * 9), np.float32), sr_hz=44_100)
    path.write_bytes(path.read_bytes().replace(b"Xing", b"none").replace(b"Info", b"none"))
    stream = AudioStream(track_of(path), signals=[MONO], limits=AudioLimits(max_duration_s=5.0))
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
    with AudioStream(track_of(song), signals=[MONO]) as stream:
        blocks = iter(stream)
        next(blocks)
        song.write_bytes(song.read_bytes() + b"more")
        with pytest.raises(ChangedAudioError):
            list(blocks)


def test_a_stream_that_is_left_early_closes_quietly(song: Path) -> None:
    with AudioStream(track_of(song), signals=[MONO]) as stream:
        next(iter(stream))
        song.unlink()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"signals": []}, "at least one"),
        ({"signals": [MONO, Signal(0)]}, "sr_hz=0 with n_channels=1 is no signal"),
        ({"signals": [Signal(16_000, 3)]}, "sr_hz=16000 with n_channels=3 is no signal"),
        ({"decoder": "sox"}, "decoder='sox' is not known"),
        ({"resampler": "linear"}, "resampler='linear' is not known"),
        ({"decoder": "essentia"}, "resampler='soxr-hq' does not go with decoder='essentia'"),
    ],
)
def test_an_impossible_request_is_refused_before_anything_is_opened(
    options: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        AudioStream(Track("t", "gone.wav", -1, ""), **{"signals": [MONO], **options})  # type: ignore[arg-type]


def essentia_stream(path: Path, *clip: float) -> AudioStream:
    pytest.importorskip("essentia")
    return AudioStream(
        track_of(path, *clip),
        signals=SIGNALS,
        decoder="essentia",
        resampler="essentia-q1",
    )


def test_essentia_gives_the_samples_of_its_mono_loader(song: Path) -> None:
    signals = gather(essentia_stream(song))
    standard = pytest.importorskip("essentia.standard")
    for sr_hz in (16_000, 11_025, 48_000):
        loader = standard.MonoLoader(filename=str(song), sampleRate=sr_hz, resampleQuality=1)
        np.testing.assert_array_equal(signals[Signal(sr_hz)], loader())


def test_essentia_gives_the_samples_of_its_audio_loader_in_stereo(song: Path) -> None:
    signals = gather(essentia_stream(song))
    standard = pytest.importorskip("essentia.standard")
    samples = standard.AudioLoader(filename=str(song))()[0]
    np.testing.assert_array_equal(signals[STEREO], samples.T)
    resample = standard.Resample(inputSampleRate=44_100, outputSampleRate=48_000, quality=1)
    right = resample(np.ascontiguousarray(samples[:, 1]))
    np.testing.assert_array_equal(signals[Signal(48_000, 2)][1], right)


def test_essentia_gives_a_mono_file_twice_in_stereo(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    y = noise(1, 8_000, rng)
    write_audio(tmp_path / "y.wav", y, sr_hz=44_100)
    signals = gather(essentia_stream(tmp_path / "y.wav"))
    mono = signals[Signal(48_000)]
    np.testing.assert_array_equal(signals[Signal(48_000, 2)], [mono, mono])
    np.testing.assert_array_equal(signals[STEREO], [y[0], y[0]])


def test_essentia_and_pyav_agree_on_the_facts(song: Path) -> None:
    pyav, essentia = AudioStream(track_of(song), signals=[MONO]), essentia_stream(song)
    gather(pyav)
    gather(essentia)
    assert essentia.decoded(0) == pyav.decoded(0)


def test_essentia_cuts_clips_at_the_new_rate(song: Path) -> None:
    whole, stream = gather(essentia_stream(song)), essentia_stream(song, 1.0, 2.5)
    clip = gather(stream)
    np.testing.assert_array_equal(clip[MONO], whole[MONO][16_000:40_000])
    np.testing.assert_array_equal(clip[STEREO], whole[STEREO][:, 44_100:110_250])
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
