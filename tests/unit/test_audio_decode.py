"""Decoding: every sample format, clips to the sample, damage counted, limits kept."""

from __future__ import annotations

import os
from pathlib import Path

import av
import numpy as np
import pytest

from embedlib.audio.blocks import BLOCK_SAMPLES, PACKETS_PER_LOOK, BlockReader
from embedlib.audio.container import CHECKSUM_CODECS, DEMUXERS, open_audio
from embedlib.audio.decode import AudioLimits, Decoding, verdict
from embedlib.audio.encode import write_audio
from embedlib.audio.fetch import local_copy
from embedlib.audio.synth import flip_bytes, synthesise_music
from embedlib.errors import (
    AudioDeadlineError,
    AudioError,
    EmptyAudioError,
    NonfiniteError,
    TooLongAudioError,
    UndecodableAudioError,
)
from embedlib.records import DecodedTrack, Float32, Status, Track


def decode(
    path: Path,
    start_s: float | None = None,
    end_s: float | None = None,
    limits: AudioLimits | None = None,
) -> tuple[Float32, DecodedTrack]:
    with local_copy(Track("t", str(path), -1, "")) as audio:
        decoding = Decoding(audio, start_s=start_s, end_s=end_s, limits=limits)
        blocks = list(decoding)
        assert all(block.shape[1] <= BLOCK_SAMPLES for block in blocks)
        return np.concatenate(blocks, axis=1), decoding.facts(0)


def noise(n_channels: int, n_samples: int, rng: np.random.Generator) -> Float32:
    """Noise on a grid of 16 bits, which every lossless codec keeps."""
    samples = rng.integers(-(2**15), 2**15, (n_channels, n_samples))
    return (samples / 2**15).astype(np.float32)


def cut_in_half(path: Path) -> Path:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    return path


@pytest.mark.parametrize("n_channels", [1, 2, 3, 4, 6, 8])
@pytest.mark.parametrize("suffix", [".wav", ".flac"])
def test_lossless_files_give_back_every_sample_of_every_channel(
    tmp_path: Path, rng: np.random.Generator, suffix: str, n_channels: int
) -> None:
    y = noise(n_channels, 5_000, rng)
    write_audio(tmp_path / f"y{suffix}", y, sr_hz=44_100)
    decoded, facts = decode(tmp_path / f"y{suffix}")
    np.testing.assert_array_equal(decoded, y)
    assert (facts.n_channels, facts.n_samples, facts.sr_hz) == (n_channels, 5_000, 44_100)


def test_eight_planes_come_out_as_eight_channels(tmp_path: Path) -> None:
    levels = np.linspace(0.1, 0.8, 8, dtype=np.float32)[:, np.newaxis]
    tone = np.sin(2 * np.pi * 80 * np.arange(44_100, dtype=np.float32) / 44_100)
    write_audio(tmp_path / "y.m4a", levels * tone, sr_hz=44_100)
    decoded, _ = decode(tmp_path / "y.m4a")
    np.testing.assert_allclose(decoded[:, 4_000:40_000].max(axis=1), levels[:, 0], atol=0.06)


@pytest.mark.parametrize(
    "codec", ["pcm_s16le", "pcm_s24le", "pcm_s32le", "pcm_s64le", "pcm_f32le", "pcm_f64le"]
)
def test_all_widths_of_wav_give_the_same_samples(
    tmp_path: Path, rng: np.random.Generator, codec: str
) -> None:
    y = noise(2, 1_000, rng)
    write_audio(tmp_path / "y.wav", y, sr_hz=8_000, codec=codec)
    decoded, facts = decode(tmp_path / "y.wav")
    np.testing.assert_array_equal(decoded, y)
    assert facts.status == Status.OK


def test_eight_bits_are_centred(tmp_path: Path) -> None:
    y = np.array([[-1.0, 0.0, 0.5]], dtype=np.float32)
    write_audio(tmp_path / "y.wav", y, sr_hz=8_000, codec="pcm_u8")
    assert decode(tmp_path / "y.wav")[0].tolist() == y.tolist()


@pytest.mark.parametrize("suffix", [".mp3", ".m4a", ".ogg", ".opus"])
def test_a_lossy_file_is_complete(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"y{suffix}"
    write_audio(path, synthesise_music(2.0, sr_hz=48_000), sr_hz=48_000)
    decoded, facts = decode(path)
    assert facts.status == Status.OK
    assert 2.0 <= facts.duration_s < 2.05
    assert decoded.std() > 0.01


@pytest.mark.parametrize(
    ("start_s", "end_s"), [(None, 0.5), (0.25, 1.0), (1.0, None), (1.5, 1.75), (0.0, 3.0)]
)
@pytest.mark.parametrize("suffix", [".wav", ".flac"])
def test_a_clip_is_the_slice_it_claims(
    tmp_path: Path,
    rng: np.random.Generator,
    suffix: str,
    start_s: float | None,
    end_s: float | None,
) -> None:
    y = noise(2, 3 * 44_100, rng)
    write_audio(tmp_path / f"y{suffix}", y, sr_hz=44_100)
    clip, facts = decode(tmp_path / f"y{suffix}", start_s, end_s)
    first, end = round((start_s or 0) * 44_100), round((end_s or 3) * 44_100)
    np.testing.assert_array_equal(clip, y[:, first:end])
    assert (facts.status, facts.n_samples) == (Status.OK, end - first)


def test_a_clip_beyond_the_end_is_truncated(tmp_path: Path) -> None:
    write_audio(tmp_path / "y.wav", np.ones((1, 8_000), np.float32), sr_hz=8_000)
    clip, facts = decode(tmp_path / "y.wav", 0.5, 2.0)
    assert clip.shape == (1, 4_000)
    assert facts.status == Status.TRUNCATED
    assert facts.error == "ends at 1.000 s instead of 2.000 s"


def test_a_clip_after_the_end_is_empty(tmp_path: Path) -> None:
    write_audio(tmp_path / "y.wav", np.ones((1, 8_000), np.float32), sr_hz=8_000)
    with pytest.raises(EmptyAudioError, match=r"start_s=2\.0 to end_s=3\.0"):
        decode(tmp_path / "y.wav", 2.0, 3.0)


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".mp3", ".aiff"])
def test_half_a_file_is_truncated_and_kept(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"y{suffix}"
    write_audio(path, synthesise_music(4.0, sr_hz=44_100), sr_hz=44_100)
    decoded, facts = decode(cut_in_half(path))
    assert facts.status == Status.TRUNCATED
    assert decoded.shape[1] == facts.n_samples > 44_100


def test_an_mp3_that_declares_no_length_is_never_truncated(tmp_path: Path) -> None:
    path = tmp_path / "y.mp3"
    write_audio(path, synthesise_music(4.0, sr_hz=44_100), sr_hz=44_100)
    path.write_bytes(path.read_bytes().replace(b"Xing", b"none").replace(b"Info", b"none"))
    assert decode(cut_in_half(path))[1].status == Status.OK


def test_a_streamed_wav_that_declares_no_length_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "y.wav"
    write_audio(path, np.ones((1, 8_000), np.float32), sr_hz=8_000)
    content = bytearray(path.read_bytes())
    at = content.index(b"data") + 4
    content[at : at + 4] = b"\xff" * 4
    path.write_bytes(content)
    assert decode(path)[1].status == Status.OK


def test_a_flac_with_a_hole_is_damaged_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "y.flac"
    write_audio(path, synthesise_music(5.0, sr_hz=44_100), sr_hz=44_100)
    flip_bytes(path, n_bytes=5_000)
    decoded, facts = decode(path)
    assert facts.status == Status.DAMAGED
    assert facts.n_bad_packets > 0
    assert 4.5 * 44_100 < decoded.shape[1] < 5.0 * 44_100


SUFFIXES = {
    "ac3": ".ac3",
    "eac3": ".eac3",
    "flac": ".flac",
    "tta": ".tta",
    "wavpack": ".wv",
}


def encode_as(codec: str, path: Path) -> Path:
    """Write two seconds with a codec that `write_audio` does not offer."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=48_000, layout="stereo")
        for block in synthesise_music(2.0, sr_hz=48_000):
            samples = block.T.reshape(1, -1)
            frame = av.AudioFrame.from_ndarray(samples, format="flt", layout="stereo")
            frame.sample_rate = 48_000
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def is_cut_from(kept: Float32, whole: Float32) -> bool:
    """Tell whether one stretch of samples was taken out, and all others are as they were."""
    differs = (kept != whole[:, : kept.shape[1]]).any(axis=0)
    n_before = int(differs.argmax()) if differs.any() else kept.shape[1]
    after = kept[:, n_before:]
    return np.array_equal(after, whole[:, whole.shape[1] - after.shape[1] :])


def test_every_codec_with_a_checksum_is_tried_below() -> None:
    assert set(SUFFIXES) == CHECKSUM_CODECS


@pytest.mark.parametrize("codec", sorted(CHECKSUM_CODECS))
def test_one_wrong_byte_is_noticed_where_frames_have_checksums(tmp_path: Path, codec: str) -> None:
    path = encode_as(codec, tmp_path / f"y{SUFFIXES[codec]}")
    assert decode(path)[1].status == Status.OK
    flip_bytes(path, n_bytes=1)
    _, facts = decode(path)
    assert (facts.status, facts.n_bad_packets) == (Status.DAMAGED, 1)


@pytest.mark.parametrize("n_bytes", [1, 100, 2_000])
@pytest.mark.parametrize("codec", ["flac", "tta", "wavpack"])
def test_what_is_kept_of_a_damaged_lossless_file_is_right(
    tmp_path: Path, codec: str, n_bytes: int
) -> None:
    path = encode_as(codec, tmp_path / f"y{SUFFIXES[codec]}")
    whole, _ = decode(path)
    flip_bytes(path, n_bytes=n_bytes)
    kept, facts = decode(path)
    assert facts.status in (Status.DAMAGED, Status.TRUNCATED)
    assert is_cut_from(kept, whole)


def test_an_error_behind_good_frames_of_one_packet_is_a_bad_packet(tmp_path: Path) -> None:
    # FLAC's parser hands on the four frames from before the hole to its end as one packet, and
    # PyAV raises nothing for an error behind a good frame: such files used to end as ok.
    path = tmp_path / "y.flac"
    write_audio(path, synthesise_music(3.0, sr_hz=22_050, style="chords"), sr_hz=22_050)
    whole, _ = decode(path)
    flip_bytes(path, n_bytes=2_000)
    kept, facts = decode(path)
    assert (facts.status, facts.n_bad_packets) == (Status.DAMAGED, 1)
    assert is_cut_from(kept, whole)


@pytest.mark.parametrize("frame", [1, -1], ids=["second", "last"])
def test_a_lost_frame_that_leaves_no_gap_is_a_bad_packet(tmp_path: Path, frame: int) -> None:
    path = tmp_path / "y.flac"
    write_audio(path, synthesise_music(1.0, sr_hz=48_000), sr_hz=48_000)
    with av.open(str(path)) as container:
        starts = [packet.pos for packet in container.demux() if packet.size]
    content = bytearray(path.read_bytes())
    content[starts[frame]] ^= 0xFF
    path.write_bytes(content)
    decoded, facts = decode(path)
    assert (facts.status, facts.n_bad_packets) == (Status.DAMAGED, 1)
    assert decoded.shape[1] < 48_000


def test_a_flac_that_ends_behind_its_header_is_empty(tmp_path: Path) -> None:
    path = tmp_path / "y.flac"
    write_audio(path, synthesise_music(1.0, sr_hz=48_000), sr_hz=48_000)
    content = path.read_bytes()
    path.write_bytes(content[: content.index(b"\xff\xf8")])
    with pytest.raises(EmptyAudioError, match="holds no sample"):
        decode(path)


@pytest.mark.parametrize("n_samples", [1, 4_607, 4_608, 4_609, 100_000])
def test_a_flac_of_any_length_is_ok(tmp_path: Path, n_samples: int) -> None:
    write_audio(tmp_path / "y.flac", np.ones((1, n_samples), np.float32) / 2, sr_hz=48_000)
    assert decode(tmp_path / "y.flac")[1].status == Status.OK


def test_a_flac_that_declares_no_length_is_ok(tmp_path: Path) -> None:
    path = tmp_path / "y.flac"
    write_audio(path, synthesise_music(1.0, sr_hz=48_000), sr_hz=48_000)
    content = bytearray(path.read_bytes())
    content[21] &= 0xF0  # RFC 9639, section 8.2: 36 bits of STREAMINFO, 13.5 bytes after its start
    content[22:26] = bytes(4)
    path.write_bytes(content)
    with av.open(str(path)) as container:
        assert container.streams.audio[0].duration is None
    assert decode(path)[1].status == Status.OK


def test_a_flac_with_a_tag_at_its_end_is_ok(tmp_path: Path) -> None:
    path = tmp_path / "y.flac"
    write_audio(path, synthesise_music(1.0, sr_hz=44_100), sr_hz=44_100)
    whole, _ = decode(path)
    path.write_bytes(path.read_bytes() + b"TAG".ljust(128, b"\0"))
    tagged, facts = decode(path)
    np.testing.assert_array_equal(tagged, whole)
    assert facts.status == Status.OK


def test_an_mp3_behind_a_large_picture_is_read(tmp_path: Path) -> None:
    path = tmp_path / "y.mp3"
    write_audio(path, synthesise_music(2.0, sr_hz=44_100), sr_hz=44_100)
    plain, _ = decode(path)
    path.write_bytes(id3_tag(300_000) + path.read_bytes())
    tagged, facts = decode(path)
    np.testing.assert_array_equal(tagged, plain)
    assert facts.status == Status.OK


def test_half_an_mp3_behind_a_large_picture_is_truncated(tmp_path: Path) -> None:
    path = tmp_path / "y.mp3"
    write_audio(path, synthesise_music(2.0, sr_hz=44_100), sr_hz=44_100)
    path.write_bytes(id3_tag(300_000) + cut_in_half(path).read_bytes())
    assert decode(path)[1].status == Status.TRUNCATED


def id3_tag(n_bytes: int) -> bytes:
    picture = b"\0image/png\0\3\0" + b"\x89PNG" * (n_bytes // 4)
    frame = b"APIC" + len(picture).to_bytes(4, "big") + b"\0\0" + picture
    size = bytes(len(frame) >> shift & 0x7F for shift in (21, 14, 7, 0))
    return b"ID3\3\0\0" + size + frame


@pytest.mark.parametrize(
    "playlist",
    ["ffconcat version 1.0\nfile 'secret.wav'\n", "#EXTM3U\n#EXTINF:1,\nsecret.wav\n"],
    ids=["ffconcat", "m3u"],
)
@pytest.mark.parametrize("suffix", [".mp3", ".wav", ".m3u8"])
def test_a_playlist_is_not_followed(tmp_path: Path, playlist: str, suffix: str) -> None:
    secret, path = tmp_path / "secret.wav", tmp_path / f"list{suffix}"
    write_audio(secret, np.ones((1, 8_000), np.float32), sr_hz=8_000)
    os.utime(secret, (0, secret.stat().st_mtime))
    path.write_text(playlist)
    with pytest.raises(UndecodableAudioError, match="audio"):
        decode(path)
    assert secret.stat().st_atime == 0, "the listed file was read"


def test_only_containers_of_audio_are_on_the_list() -> None:
    refused = {"concat", "hls", "dash", "image2", "srt", "ass", "lavfi", "sdp", "rtsp", "tty"}
    assert not refused & set(DEMUXERS.split(","))


def test_a_film_without_sound_is_undecodable(tmp_path: Path) -> None:
    path = tmp_path / "film.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height = 16, 16
        picture = av.VideoFrame.from_ndarray(np.zeros((16, 16, 3), np.uint8), format="rgb24")
        container.mux([*stream.encode(picture), *stream.encode(None)])
    with pytest.raises(UndecodableAudioError, match="has no audio stream"):
        decode(path)


def test_tags_that_are_not_utf8_do_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "y.flac"
    write_audio(path, np.ones((1, 8_000), np.float32) / 2, sr_hz=8_000)
    path.write_bytes(path.read_bytes().replace(b"Lavf", b"L\xe4vf"))
    assert decode(path)[1].status == Status.OK


@pytest.mark.parametrize("name", ["y.mp3", "y.flac", "y.wav", "y.ogg", "y.m4a", "y"])
def test_random_bytes_are_an_audio_error(
    tmp_path: Path, rng: np.random.Generator, name: str
) -> None:
    (tmp_path / name).write_bytes(rng.bytes(3_000))
    with pytest.raises((UndecodableAudioError, EmptyAudioError)):
        decode(tmp_path / name)


@pytest.mark.parametrize("sr_hz", [1, 999, 1_000_001])
def test_a_rate_that_no_audio_has_is_undecodable(tmp_path: Path, sr_hz: int) -> None:
    write_audio(tmp_path / "y.wav", np.ones((1, 8_000), np.float32), sr_hz=sr_hz)
    with pytest.raises(UndecodableAudioError, match=f"sr_hz={sr_hz} with n_channels=1"):
        decode(tmp_path / "y.wav")


def test_no_bytes_are_empty(tmp_path: Path) -> None:
    (tmp_path / "y.wav").touch()
    with pytest.raises(EmptyAudioError, match="has no bytes"):
        decode(tmp_path / "y.wav")


# Above 1e19 spectra overflow, and networks made finite embeddings of that, with status ok.
@pytest.mark.parametrize("value", [np.nan, np.inf, 3e38, -1e19])
def test_samples_that_are_no_numbers_are_refused(tmp_path: Path, value: float) -> None:
    y = np.zeros((1, 1_000), np.float32)
    y[0, 500] = value
    write_audio(tmp_path / "y.wav", y, sr_hz=8_000, codec="pcm_f32le")
    with pytest.raises(NonfiniteError, match="NaN or infinite"):
        decode(tmp_path / "y.wav")


def test_samples_as_large_as_integers_of_32_bits_are_taken(tmp_path: Path) -> None:
    y = np.full((2, 1_000), -(2.0**31), np.float32)
    write_audio(tmp_path / "y.wav", y, sr_hz=8_000, codec="pcm_f32le")
    np.testing.assert_array_equal(decode(tmp_path / "y.wav")[0], y)


def test_a_declared_length_beyond_the_limit_is_refused_before_decoding(tmp_path: Path) -> None:
    write_audio(tmp_path / "y.wav", np.ones((1, 80_000), np.float32), sr_hz=8_000)
    with local_copy(Track("t", str(tmp_path / "y.wav"), -1, "")) as audio:
        decoding = Decoding(audio, limits=AudioLimits(max_duration_s=5.0))
        with pytest.raises(TooLongAudioError, match=r"at least 10\.0 s .* max_duration_s=5"):
            next(iter(decoding))
        assert decoding.facts(0).n_samples == 0


def test_an_undeclared_length_is_noticed_while_decoding(tmp_path: Path) -> None:
    path = tmp_path / "y.mp3"
    write_audio(path, np.zeros((1, 44_100 * 9), np.float32), sr_hz=44_100)
    path.write_bytes(path.read_bytes().replace(b"Xing", b"none").replace(b"Info", b"none"))
    with pytest.raises(TooLongAudioError, match="max_duration_s=5"):
        decode(path, limits=AudioLimits(max_duration_s=5.0))


def test_the_limit_of_a_clip_is_that_of_its_own_length(tmp_path: Path) -> None:
    write_audio(tmp_path / "y.wav", np.ones((1, 80_000), np.float32), sr_hz=8_000)
    clip, _ = decode(tmp_path / "y.wav", 2.0, 4.0, AudioLimits(max_duration_s=2.0))
    assert clip.shape == (1, 16_000)


def test_the_deadline_stops_decoding(tmp_path: Path) -> None:
    write_audio(tmp_path / "y.wav", np.ones((1, 80_000), np.float32), sr_hz=8_000)
    with pytest.raises(AudioDeadlineError, match="cpu_deadline_s=1e-09"):
        decode(tmp_path / "y.wav", limits=AudioLimits(cpu_deadline_s=1e-9))


def test_the_clock_is_looked_at_before_the_first_block_is_full(tmp_path: Path) -> None:
    write_audio(tmp_path / "y.mp3", np.zeros((1, BLOCK_SAMPLES - 5_000), np.float32), sr_hz=44_100)
    track = Track("t", str(tmp_path / "y.mp3"), -1, "")
    with local_copy(track) as audio, open_audio(audio) as (container, stream):
        *looks, block = BlockReader(container, stream)
    assert block is not None
    assert looks == [None] * ((BLOCK_SAMPLES - 5_000) // 1_152 // PACKETS_PER_LOOK)


@pytest.mark.parametrize(
    ("expected_s", "reached_s", "n_bad_packets", "status"),
    [
        (None, 3.0, 0, Status.OK),
        (None, 3.0, 2, Status.DAMAGED),
        (1.0, 0.91, 0, Status.OK),
        (1.0, 0.89, 0, Status.TRUNCATED),
        (100.0, 99.1, 0, Status.OK),
        (100.0, 98.9, 1, Status.TRUNCATED),
        (100.0, 200.0, 1, Status.DAMAGED),
    ],
)
def test_the_verdict_follows_the_end_and_then_the_packets(
    expected_s: float | None, reached_s: float, n_bad_packets: int, status: Status
) -> None:
    found, error = verdict(expected_s=expected_s, reached_s=reached_s, n_bad_packets=n_bad_packets)
    assert found == status
    assert bool(error) == (status != Status.OK)


EDGE = {
    "1024_samples.wav": "ok",
    "cat_purrrr22050.wav": "ok",
    "cat_purrrr24bit.wav": "ok",
    "cat_purrrr32bit.wav": "ok",
    "silence.flac": "ok",
    "unsupported.au": "ok",
    "impulses_1second_44100_bad_stream_info.flac": "ok",
    "multistream1.mka": "ok",
    "4channels.flac": "damaged",
    "test-unicode.flac": "damaged",
    "unsupported.sd2": "undecodable",
    "empty/empty.wav": "empty",
    "empty/empty.mp3": "empty",
    "empty/empty.aiff": "empty",
    "empty/empty.ogg": "empty",
}


@pytest.mark.parametrize(("name", "status"), EDGE.items())
def test_odd_files_end_as_they_should(shared_edge: Path, name: str, status: str) -> None:
    assert status_of(shared_edge / name) == status


def test_real_files_are_ok(shared_audio: Path, shared_sonic_pi: Path) -> None:
    files = [*shared_audio.iterdir(), *sorted(shared_sonic_pi.glob("*.flac"))[::10]]
    statuses = {path.name: status_of(path) for path in files}
    assert set(statuses.values()) == {"ok"}, statuses


def status_of(path: Path) -> str:
    try:
        return decode(path)[1].status
    except AudioError as exc:
        return exc.status
