"""The synthetic catalogue: the same every time, and with every kind of trouble in it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from embedlib.audio.encode import write_audio
from embedlib.audio.synth import FORMATS, STYLES, synthesise_catalogue, synthesise_music
from embedlib.audio.waveform import AudioStream, as_failure
from embedlib.errors import AudioError, ConfigError
from embedlib.records import DecodedTrack, Float32, Signal, Track


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return synthesise_catalogue(tmp_path_factory.mktemp("catalogue"))


@pytest.fixture(scope="module")
def facts(catalogue: list[Path]) -> list[DecodedTrack]:
    return [facts_of(path) for path in catalogue]


def facts_of(path: Path) -> DecodedTrack:
    with AudioStream(Track("t", str(path), -1, ""), signals=[Signal(16_000)]) as stream:
        try:
            list(stream)
        except AudioError as exc:
            return as_failure(stream.decoded(0), exc)
        return stream.decoded(0)


def music(style: str = "drums", seed: int = 0, sr_hz: int = 8_000) -> Float32:
    blocks = synthesise_music(20.0, sr_hz=sr_hz, seed=seed, style=style)
    return np.concatenate(list(blocks), axis=1)


def test_the_clips_decode_and_the_damaged_ones_fail_as_meant(facts: list[DecodedTrack]) -> None:
    statuses = Counter(str(fact.status) for fact in facts)
    assert statuses == {"ok": 24, "empty": 1, "undecodable": 1, "damaged": 1, "truncated": 1}


def test_rates_channels_and_lengths_are_spread(facts: list[DecodedTrack]) -> None:
    whole = facts[:24]
    assert {8_000, 44_100, 96_000} <= {fact.sr_hz for fact in whole}
    assert {1, 2} < {fact.n_channels for fact in whole}
    assert min(fact.duration_s for fact in whole) == pytest.approx(0.3, abs=0.01)
    assert max(fact.duration_s for fact in whole) == pytest.approx(40.0, abs=0.1)


def test_every_format_and_every_style_is_there(catalogue: list[Path]) -> None:
    assert {path.suffix for path in catalogue[:24]} == set(FORMATS)
    assert {path.parent.name for path in catalogue[:24]} == set(STYLES)
    assert any(" " in path.name and not str(path).isascii() for path in catalogue)


def test_the_same_seed_writes_the_same_samples(tmp_path: Path) -> None:
    first = synthesise_catalogue(tmp_path / "a", n_clips=3, seed=5)
    second = synthesise_catalogue(tmp_path / "b", n_clips=3, seed=5)
    assert [path.read_bytes() for path in first[:2]] == [path.read_bytes() for path in second[:2]]


@pytest.mark.parametrize("style", STYLES)
def test_music_is_loud_and_never_clips(style: str) -> None:
    y = music(style)
    assert y.dtype == np.float32
    assert 0.01 < y.std() < 0.5
    assert np.abs(y).max() < 1.0


def test_drums_have_the_treble_and_chords_lie_above_the_bass() -> None:
    treble = {style: band_share(music(style)[0], 0.5, 1.0) for style in STYLES}
    middle = {style: band_share(music(style)[0], 0.1, 0.5) for style in STYLES}
    assert treble["drums"] > 5 * max(treble["bass"], treble["chords"])
    assert middle["chords"] > 5 * max(middle["bass"], middle["drums"])


def band_share(y: Float32, low: float, high: float) -> float:
    """Share of the energy in a band, which is given in parts of the Nyquist frequency."""
    power = np.abs(np.fft.rfft(y)) ** 2
    band = slice(int(low * len(power)), int(high * len(power)))
    return float(power[band].sum() / power.sum())


def test_other_seeds_play_other_music() -> None:
    assert not np.array_equal(music(seed=0)[:, :8_000], music(seed=1)[:, :8_000])


def test_blocks_are_written_as_one_array(tmp_path: Path) -> None:
    y = music()
    write_audio(tmp_path / "whole.wav", y, sr_hz=8_000)
    write_audio(tmp_path / "blocks.wav", np.split(y, [5, 70_000], axis=1), sr_hz=8_000)
    assert (tmp_path / "whole.wav").read_bytes() == (tmp_path / "blocks.wav").read_bytes()


def test_an_unknown_suffix_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"y\.xyz has a suffix that cannot be written"):
        write_audio(tmp_path / "y.xyz", np.zeros((1, 10), np.float32), sr_hz=8_000)


@pytest.mark.parametrize(
    ("name", "sr_hz", "codec"), [("y.opus", 44_100, None), ("y.wav", 8_000, "mpeg4")]
)
def test_what_an_encoder_cannot_take_is_refused(
    tmp_path: Path, name: str, sr_hz: int, codec: str | None
) -> None:
    with pytest.raises(ConfigError):
        write_audio(tmp_path / name, np.zeros((1, 10), np.float32), sr_hz=sr_hz, codec=codec)
