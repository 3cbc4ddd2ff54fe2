"""A catalogue of music-like clips made of nothing: for demonstrations, tests and benchmarks.

Everything is seeded: the same arguments give the same samples on any machine with the same NumPy.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import numpy as np

from embedlib.audio.encode import write_audio
from embedlib.records import Float32

STYLES = {
    "drums": (0.8, 0.1, 0.0),
    "bass": (0.2, 0.6, 0.1),
    "chords": (0.0, 0.2, 0.7),
    "Übergänge und Töne": (0.4, 0.3, 0.2),
}
"""Folders of the catalogue, with the levels of drums, bass and chords in its clips."""

FORMATS: dict[str, tuple[int, ...]] = {
    ".wav": (8_000, 22_050, 44_100, 96_000),
    ".flac": (16_000, 44_100, 48_000, 96_000),
    ".mp3": (8_000, 22_050, 44_100, 48_000),
    ".m4a": (32_000, 44_100, 48_000),
    ".aiff": (11_025, 44_100),
    ".opus": (48_000,),
}
"""Suffixes of the catalogue and the rates at which each comes, in samples per second."""

SHORTEST_S, LONGEST_S = 0.3, 40.0

PROGRESSION = ((0, 4, 7), (7, 11, 14), (9, 12, 16), (5, 9, 12))
"""The chords I, V, vi, IV in semitones above the key; each lasts four beats."""

BEATS_PER_CHORD = 4
NOISE_LEVEL = 0.003
"""About -50 dB, so that no stretch is digitally silent."""


@dataclass(frozen=True, slots=True)
class Song:
    """What is drawn once per clip.

    Attributes
    ----------
    key_hz : float
        Frequency of the lowest note.
    beat_s : float
        Seconds per beat.
    levels : tuple of float
        Of drums, bass and chords; their sum stays below 1.
    """

    key_hz: float
    beat_s: float
    levels: tuple[float, float, float]


def synthesise_music(
    duration_s: float, *, sr_hz: int, n_channels: int = 2, seed: int = 0, style: str = "drums"
) -> Iterator[Float32]:
    """Play drums, bass and chords.

    A phrase of 16 beats is made once and repeated at changing loudness, so that hours of music
    need no more memory than seconds, and hardly more time than encoding them.

    Parameters
    ----------
    duration_s : float
        Seconds to play.
    sr_hz : int
        Samples per second.
    n_channels : int
        The chords differ between channels, drums and bass do not.
    seed : int
        Of key, tempo, noise and loudness.
    style : str
        One of `STYLES`.

    Yields
    ------
    block : np.ndarray [shape=(n_channels, n_samples), float32]
        One beat in [-1, 1]; the last is cut.

    Examples
    --------
    >>> blocks = list(synthesise_music(2.0, sr_hz=8_000, n_channels=1))
    >>> sum(block.shape[1] for block in blocks)
    16000
    """
    rng = np.random.default_rng(seed)
    key_hz, beat_s = 55.0 * 2 ** (rng.integers(0, 12) / 12), 60 / rng.uniform(90, 140)
    song = Song(key_hz, beat_s, STYLES[style])
    phrase: list[Float32] = []
    n_left = round(duration_s * sr_hz)
    for beat in count():
        if n_left <= 0:
            return
        if beat < len(PROGRESSION) * BEATS_PER_CHORD:
            phrase.append(_play_beat(beat, song, sr_hz=sr_hz, n_channels=n_channels, rng=rng))
        gain = np.float32(rng.uniform(0.7, 1.0))
        block = gain * phrase[beat % len(phrase)][:, :n_left]
        n_left -= block.shape[1]
        yield block


def _play_beat(
    beat: int, song: Song, *, sr_hz: int, n_channels: int, rng: np.random.Generator
) -> Float32:
    t_s = np.arange(round(song.beat_s * sr_hz), dtype=np.float32) / np.float32(sr_hz)
    drums, bass, chords = song.levels
    semitones = PROGRESSION[beat // BEATS_PER_CHORD]
    pitches_hz = [song.key_hz * 2 ** (semitone / 12) for semitone in semitones]
    noise = rng.standard_normal((n_channels, len(t_s)), dtype=np.float32)
    common = drums * _drum(beat, t_s, noise[0]) + bass * _bass(pitches_hz[0], t_s)
    block = NOISE_LEVEL * noise + common
    if chords:
        for channel in range(n_channels):
            block[channel] += chords * _chord(pitches_hz, t_s, channel)
    return np.asarray(np.clip(block, -1.0, 1.0), dtype=np.float32)


def _drum(beat: int, t_s: Float32, noise: Float32) -> Float32:
    """Play a falling sine on even beats and a burst of noise on odd ones."""
    if beat % 2:
        return np.asarray(0.3 * noise * np.exp(-18 * t_s), dtype=np.float32)
    cycles = 50 * t_s + 4 * (1 - np.exp(-25 * t_s))
    return np.asarray(np.sin(2 * np.pi * cycles) * np.exp(-7 * t_s), dtype=np.float32)


def _bass(pitch_hz: float, t_s: Float32) -> Float32:
    """Play four harmonics that die away."""
    harmonics = (np.sin(2 * np.pi * pitch_hz * n * t_s) / n for n in range(1, 5))
    return np.asarray(0.5 * sum(harmonics) * np.exp(-2 * t_s), dtype=np.float32)


def _chord(pitches_hz: list[float], t_s: Float32, channel: int) -> Float32:
    """Play three notes two octaves up, slightly out of tune, with soft ends."""
    detuned = 4 * (1 + 0.002 * channel)
    notes = sum(np.sin(2 * np.pi * detuned * pitch_hz * t_s) for pitch_hz in pitches_hz)
    swell = np.sqrt(np.sin(np.pi * t_s / (t_s[-1] + t_s[1])))
    return np.asarray(notes * swell / len(pitches_hz), dtype=np.float32)


def synthesise_catalogue(folder: Path, *, n_clips: int = 24, seed: int = 0) -> list[Path]:
    """Write a catalogue that has a bit of everything.

    Six formats, rates from 8 to 96 kHz, one to six channels, lengths from 0.3 to 40 s, a folder
    per style, names with spaces and letters beyond ASCII; and in the folder ``damaged`` an empty
    file, a text that claims to be an mp3, a FLAC with a hole and a WAV that was cut short.

    Parameters
    ----------
    folder : pathlib.Path
        Made if absent; files of the same names in it are replaced.
    n_clips : int
        Sound clips to write, besides the damaged ones.
    seed : int
        Of all that is drawn.

    Returns
    -------
    paths : list of pathlib.Path
        All files, those that are damaged last.
    """
    rng = np.random.default_rng(seed)
    durations_s = rng.permutation(np.geomspace(SHORTEST_S, LONGEST_S, n_clips))
    paths = [
        _write_clip(folder, index, float(duration_s), rng=rng)
        for index, duration_s in enumerate(durations_s)
    ]
    return paths + _write_damaged(folder / "damaged", seed=seed)


def _write_clip(folder: Path, index: int, duration_s: float, *, rng: np.random.Generator) -> Path:
    turn, format_index = divmod(index, len(FORMATS))
    suffix, rates_hz = list(FORMATS.items())[format_index]
    sr_hz = rates_hz[turn % len(rates_hz)]
    style = list(STYLES)[(index + turn) % len(STYLES)]
    # Some of the lossless ones have more channels than any loudspeaker pair.
    n_channels = int(rng.choice((1, 2, 2, 4, 6) if suffix in (".wav", ".flac") else (1, 2)))
    path = folder / style / f"clip {index:03}{suffix}"
    path.parent.mkdir(parents=True, exist_ok=True)
    music = synthesise_music(
        duration_s, sr_hz=sr_hz, n_channels=n_channels, seed=int(rng.integers(2**31)), style=style
    )
    write_audio(path, music, sr_hz=sr_hz)
    return path


def _write_damaged(folder: Path, *, seed: int) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    empty, text = folder / "empty.wav", folder / "not music.mp3"
    hole, cut = folder / "hole.flac", folder / "cut short.wav"
    empty.write_bytes(b"")
    text.write_text("This is not music.\n" * 50)
    for path in (hole, cut):
        write_audio(path, synthesise_music(5.0, sr_hz=22_050, seed=seed), sr_hz=22_050)
    flip_bytes(hole, n_bytes=2_000)
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])
    return [empty, text, hole, cut]


def flip_bytes(path: Path, *, n_bytes: int) -> None:
    """Invert bytes in the middle of a file, as a bad disk might.

    Parameters
    ----------
    path : pathlib.Path
        The file to damage.
    n_bytes : int
        How many.
    """
    content = bytearray(path.read_bytes())
    start = (len(content) - n_bytes) // 2
    content[start : start + n_bytes] = bytes(
        byte ^ 0xFF for byte in content[start : start + n_bytes]
    )
    path.write_bytes(content)
