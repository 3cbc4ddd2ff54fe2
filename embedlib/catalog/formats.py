"""Which file names are taken for audio, and how many bytes a second of each takes."""

from __future__ import annotations

import posixpath

CD_BYTES_PER_S = 176_400
"""44,100 Hz, two channels, 16 bits: uncompressed CD audio (IEC 60908)."""

_UNCOMPRESSED = (".wav", ".aif", ".aiff", ".aifc", ".au", ".snd", ".voc", ".w64", ".caf", ".sd2")
_LOSSLESS = (".flac", ".wv", ".ape", ".tta", ".tak")
_MPEG = (".mp3", ".mp2", ".mpc", ".ac3", ".eac3")
_AAC = (".aac", ".m4a", ".m4b", ".mp4", ".mka", ".weba", ".webm", ".wma")

BYTES_PER_S: dict[str, int] = {
    ".dsf": 705_600,
    **dict.fromkeys(_UNCOMPRESSED, CD_BYTES_PER_S),
    **dict.fromkeys(_LOSSLESS, 100_000),
    **dict.fromkeys(_MPEG, 24_000),
    **dict.fromkeys((".ogg", ".oga"), 20_000),
    **dict.fromkeys(_AAC, 16_000),
    ".opus": 12_000,
    ".amr": 1_525,
}
"""Extensions of audio files, and the bytes per second that are usual for them.

These are estimates that only balance shards; nothing else depends on them. DSD at 64 times the rate
of CD, CD audio for the uncompressed formats, about 57 % of it for the lossless ones, 192 kbit/s for
MPEG layers 2 and 3, Musepack and AC-3, 160 for Vorbis, 128 for AAC and what usually holds it, 96
for Opus, 12.2 for AMR (3GPP TS 26.071).
"""

UNKNOWN_BYTES_PER_S = BYTES_PER_S[".mp3"]
"""Estimate for files of any other extension."""


def extension(uri: str) -> str:
    """Tell the extension of a path or URL.

    Parameters
    ----------
    uri : str
        Path or URL without a query.

    Returns
    -------
    extension : str
        In lower case, with the dot; empty when there is none.

    Examples
    --------
    >>> extension("s3://bucket/a.b/Song.MP3")
    '.mp3'
    """
    return posixpath.splitext(uri)[1].lower()


def is_audio_name(name: str) -> bool:
    """Tell whether a listing takes the file for audio.

    Parameters
    ----------
    name : str
        Path or URL without a query.

    Returns
    -------
    is_audio : bool
        Whether the extension is a key of `BYTES_PER_S`.

    Examples
    --------
    >>> is_audio_name("a/Song.MP3"), is_audio_name("a/cover.jpg")
    (True, False)
    """
    return extension(name) in BYTES_PER_S
