"""Damaged audio files without end, each from two numbers: what is fuzzed.

A recipe says which sound file is damaged and how, in plain numbers, so that a file that found
something is kept as one line of JSON. Sound files are made of nothing by the encoders at hand; a
recipe makes the same bytes wherever those are the same.
"""

from __future__ import annotations

import math
import re
import struct
import tempfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from embedlib.audio.encode import write_audio
from embedlib.audio.synth import synthesise_music


@dataclass(frozen=True, slots=True)
class Sound:
    """A sound file before it is damaged.

    Attributes
    ----------
    duration_s : float
        Short, so that ten thousand are decoded in minutes, but of several codec frames.
    sr_hz, n_channels : int
        Of the file.
    codec : str or None
        FFmpeg's encoder; None for that of the suffix.
    """

    duration_s: float
    sr_hz: int
    n_channels: int
    codec: str | None = None


SOUNDS = {
    "speech.wav": Sound(1.0, 16_000, 1),
    "float.wav": Sound(0.5, 22_050, 2, "pcm_f32le"),
    "double.wav": Sound(0.5, 8_000, 1, "pcm_f64le"),
    "deep.wav": Sound(0.5, 11_025, 6, "pcm_s24le"),
    "plain.aiff": Sound(0.7, 22_050, 2),
    "float.aiff": Sound(0.5, 11_025, 1, "pcm_f32be"),
    "stereo.flac": Sound(1.0, 22_050, 2),
    "deep.flac": Sound(0.6, 44_100, 1),
    "stereo.mp3": Sound(2.0, 44_100, 2),
    "mono.mp3": Sound(1.2, 16_000, 1),
    "stereo.ogg": Sound(2.5, 22_050, 2),
    "opus.ogg": Sound(2.5, 48_000, 2, "libopus"),
    "voice.opus": Sound(2.5, 48_000, 1),
    "stereo.m4a": Sound(1.0, 44_100, 2),
    "mono.m4a": Sound(0.6, 16_000, 1, "alac"),
    "stereo.aac": Sound(1.0, 44_100, 2),
    "mono.aac": Sound(1.5, 16_000, 1),
}
"""Eight formats, fifteen ways to fill them; integer and float samples, one to six channels."""

FORMATS = tuple(dict.fromkeys(Path(name).suffix[1:] for name in SOUNDS))

HEAD_BYTES = 128
"""Where headers lie: stretches begin here as often as anywhere else."""

MOST_FLIPS = 256
MOST_HEAD_FLIPS = 8
MOST_LOST_SHARE = 0.5
OGG_SUFFIXES = (".ogg", ".opus")
OGG_HEAD_BYTES = 27
OGG_POLYNOMIAL = 0x04C1_1DB7
"""RFC 3533, section 6."""

FILLINGS = (0x00, 0x7F, 0x80, 0xFF)
"""Bytes that make fields of a header extreme, and stretches silent."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """How one damaged file is made.

    Attributes
    ----------
    sound : str
        Key of `SOUNDS`.
    mutation : str
        Key of `MUTATIONS`.
    numbers : tuple of int
        Its parameters; places beyond the end of the file are taken modulo its length.
    donor : str
        Key of `SOUNDS`, where the mutation takes bytes of another file.
    is_mended : bool
        Whether the checksums of Ogg pages are made right afterwards: a page with a wrong one never
        reaches a decoder.
    """

    sound: str
    mutation: str
    numbers: tuple[int, ...]
    donor: str = ""
    is_mended: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "numbers", tuple(self.numbers))  # a list where it was JSON

    @property
    def format(self) -> str:
        """The suffix without its dot."""
        return Path(self.sound).suffix[1:]


Damage = Callable[[bytes, bytes, tuple[int, ...]], bytes]
"""Content, content of the donor and numbers in, damaged content out."""


def _flip(content: bytes, _: bytes, bits: tuple[int, ...]) -> bytes:
    damaged = bytearray(content)
    for bit in bits:
        place, shift = divmod(bit % (8 * len(content)), 8)
        damaged[place] ^= 1 << shift
    return bytes(damaged)


def _cut(content: bytes, _: bytes, numbers: tuple[int, ...]) -> bytes:
    (end,) = numbers
    return content[: end % len(content)]


def _lose(content: bytes, _: bytes, numbers: tuple[int, ...]) -> bytes:
    start, end = sorted(number % len(content) for number in numbers)
    return content[:start] + content[end:]


def _fill(content: bytes, _: bytes, numbers: tuple[int, ...]) -> bytes:
    start, n_bytes, byte = numbers
    start %= len(content)
    end = min(start + n_bytes, len(content))
    return content[:start] + bytes([byte]) * (end - start) + content[end:]


def _splice(content: bytes, donor: bytes, numbers: tuple[int, ...]) -> bytes:
    donor_end, start = numbers
    return donor[: donor_end % len(donor)] + content[start % len(content) :]


def _insert(content: bytes, donor: bytes, numbers: tuple[int, ...]) -> bytes:
    place, start, end = numbers
    place %= len(content)
    start, end = sorted((start % len(donor), end % len(donor)))
    return content[:place] + donor[start:end] + content[place:]


MUTATIONS: dict[str, Damage] = {
    "flip": _flip,
    "head": _flip,
    "cut": _cut,
    "lose": _lose,
    "fill": _fill,
    "splice": _splice,
    "insert": _insert,
}
"""Bits inverted, anywhere or in the head; the end, or a stretch, gone; a stretch of one byte; the
head of another file; a stretch of another file in between."""

FROM_DONORS = ("splice", "insert")
"""Mutations that take bytes of another file."""


def sound_files() -> dict[str, bytes]:
    """Make the sound files.

    Returns
    -------
    contents : dict of str to bytes
        By the keys of `SOUNDS`.
    """
    with tempfile.TemporaryDirectory() as scratch:
        return {name: _sound_file(Path(scratch) / name, SOUNDS[name]) for name in SOUNDS}


def _sound_file(path: Path, sound: Sound) -> bytes:
    music = synthesise_music(
        sound.duration_s,
        sr_hz=sound.sr_hz,
        n_channels=sound.n_channels,
        seed=zlib.crc32(path.name.encode()),  # so that recipes outlive changes of the table
    )
    write_audio(path, music, sr_hz=sound.sr_hz, codec=sound.codec)
    return path.read_bytes()


def draw_recipe(seed: int, index: int, *, contents: Mapping[str, bytes]) -> Recipe:
    """Draw the recipe of one file; its neighbours do not matter.

    Parameters
    ----------
    seed, index : int
        Of the run, and of the file in it.
    contents : mapping of str to bytes
        The sound files.

    Returns
    -------
    recipe : Recipe
        All formats and mutations are equally likely.
    """
    rng = np.random.default_rng([seed, index])
    sound, donor = _draw_sound(rng), _draw_sound(rng)
    mutation = str(rng.choice(list(MUTATIONS)))
    n_bytes, donor_bytes = len(contents[sound]), len(contents[donor])
    numbers = _draw_numbers(mutation, rng, n_bytes=n_bytes, donor_bytes=donor_bytes)
    return Recipe(
        sound,
        mutation,
        numbers,
        donor if mutation in FROM_DONORS else "",
        is_mended=sound.endswith(OGG_SUFFIXES) and bool(rng.integers(2)),
    )


def mutate(recipe: Recipe, contents: Mapping[str, bytes]) -> bytes:
    r"""Make a damaged file.

    Parameters
    ----------
    recipe : Recipe
        How.
    contents : mapping of str to bytes
        The sound files.

    Returns
    -------
    content : bytes
        Of the damaged file; possibly none.

    Examples
    --------
    >>> mutate(Recipe("a.wav", "flip", (0, 15)), {"a.wav": bytes([0, 0, 7])})
    b'\x01\x80\x07'
    """
    donor = contents[recipe.donor] if recipe.donor else b""
    damaged = MUTATIONS[recipe.mutation](contents[recipe.sound], donor, recipe.numbers)
    return mend_pages(damaged) if recipe.is_mended else damaged


def mend_pages(content: bytes) -> bytes:
    """Make the checksums of Ogg pages right, as RFC 3533 has them.

    Parameters
    ----------
    content : bytes
        Of a file, in which pages are found by their first four bytes.

    Returns
    -------
    mended : bytes
        The same but for four bytes per page.
    """
    mended = bytearray(content)
    starts = [match.start() for match in re.finditer(b"OggS", content)]
    for start in starts:
        head = mended[start : start + OGG_HEAD_BYTES]
        if len(head) < OGG_HEAD_BYTES:
            break
        sizes = mended[start + OGG_HEAD_BYTES :][: head[-1]]
        end = start + OGG_HEAD_BYTES + len(sizes) + sum(sizes)
        mended[start + 22 : start + 26] = bytes(4)
        mended[start + 22 : start + 26] = struct.pack("<I", _ogg_checksum(mended[start:end]))
    return bytes(mended)


def _ogg_checksum(page: bytes | bytearray) -> int:
    checksum = 0
    for byte in page:
        checksum = (checksum << 8 & 0xFFFF_FFFF) ^ _CHECKSUM_TABLE[checksum >> 24 ^ byte]
    return checksum


def _checksum_of_byte(byte: int) -> int:
    checksum = byte << 24
    for _ in range(8):
        carry = OGG_POLYNOMIAL if checksum & 0x8000_0000 else 0
        checksum = (checksum << 1 & 0xFFFF_FFFF) ^ carry
    return checksum


_CHECKSUM_TABLE = tuple(map(_checksum_of_byte, range(256)))


def _draw_sound(rng: np.random.Generator) -> str:
    suffix = f".{rng.choice(FORMATS)}"
    return str(rng.choice([name for name in SOUNDS if name.endswith(suffix)]))


def _draw_numbers(
    mutation: str, rng: np.random.Generator, *, n_bytes: int, donor_bytes: int
) -> tuple[int, ...]:
    match mutation:
        case "flip":
            return _draw_bits(rng, MOST_FLIPS, n_bytes=n_bytes)
        case "head":
            return _draw_bits(rng, MOST_HEAD_FLIPS, n_bytes=HEAD_BYTES)
        case "cut":
            return (int(rng.integers(n_bytes)),)
        case "lose":
            start = _draw_place(rng, n_bytes)
            return start, start + _draw_log(rng, round(MOST_LOST_SHARE * n_bytes))
        case "fill":
            n_filled = _draw_log(rng, n_bytes // 4)
            return _draw_place(rng, n_bytes), n_filled, int(rng.choice(FILLINGS))
        case "splice":
            return _draw_place(rng, donor_bytes), _draw_place(rng, n_bytes)
        case _:
            start = _draw_place(rng, donor_bytes)
            return _draw_place(rng, n_bytes), start, start + _draw_log(rng, donor_bytes // 4)


def _draw_bits(rng: np.random.Generator, most: int, *, n_bytes: int) -> tuple[int, ...]:
    return tuple(map(int, rng.integers(8 * n_bytes, size=_draw_log(rng, most))))


def _draw_place(rng: np.random.Generator, n_bytes: int) -> int:
    return int(rng.integers(n_bytes if rng.random() < 0.5 else min(n_bytes, HEAD_BYTES)))


def _draw_log(rng: np.random.Generator, most: int) -> int:
    """Draw from 1 to `most`, small and large alike."""
    return round(math.exp(rng.uniform(0.0, math.log(most))))
