"""Open a local file with FFmpeg's demuxers and decoders for audio, and with nothing else.

A file that claims to be audio may be a playlist that pulls in other files, so the demuxers are
an allow-list and the only protocol is the local file. Pictures in a file stay undecoded, and what
a header lists without end is looked at up to a limit.
"""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from itertools import islice
from typing import IO

import av
from av.audio.stream import AudioStream
from av.codec.codec import UnknownCodecError
from av.container import InputContainer

from embedlib.audio.fetch import LocalAudio
from embedlib.errors import MissingAudioError, UndecodableAudioError

DEMUXERS = (
    "aac,ac3,aiff,amr,ape,asf,au,caf,dsf,eac3,flac,matroska,mov,mp3,mpc,mpc8,ogg,tak,tta,voc,"
    "w64,wav,wv"
)
"""Containers of audio by FFmpeg's names: no playlist, concat, image, text or subtitle."""

SMALL_PROBE_BYTES = 1 << 15
"""Opening a WAV file with FFmpeg's default of 5 MB takes 22 ms, with 64 KiB 2.6 ms, with this 1 ms.
That far it is searched for DTS in the place of PCM, of which four frames must be seen."""

HEADER_LENGTH_DEMUXERS = frozenset(
    {"aiff", "ape", "asf", "au", "caf", "dsf", "flac", "mpc", "mpc8", "tak", "tta", "w64", "wv"}
    | {"mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm"}
)
"""Containers whose header states a length that FFmpeg hands on. Elsewhere FFmpeg estimates it from
the size of the file or from its last page, so it says nothing about what was cut off."""

XING_FRAME = re.compile(rb"\xff[\xe0-\xff]..(?:.{9,34}(?:Xing|Info)|.{32}VBRI)", re.DOTALL)
"""First frame of an MPEG audio file that holds the number of frames instead of sound."""

MAX_MPEG_FRAME_BYTES = 1_441
"""320 kbit/s at 32 kHz, ISO 11172-3: ``144 * 320_000 / 32_000 + 1``."""

CHECKSUM_CODECS = frozenset({"ac3", "eac3", "flac", "tta", "wavpack"})
"""Codecs, by FFmpeg's names, each frame of which carries a checksum of the whole of it. Others have
none, or one that is optional and covers a header, as that of MP3."""

REFUSE_WRONG_CHECKSUMS = {"err_detect": "crccheck+explode"}
"""FFmpeg looks at no checksum unless told to, and gives out wrong samples as if they were right;
``crccheck`` alone only logs."""

STREAMED_WAV_BYTES = 0x7FFF_F000
"""Writers that cannot seek back leave a data size of 0, or at least about this."""

MAX_STREAMS = 128
"""Streams of one file, which FFmpeg sets up one by one before there is a sample; its own limit is
1,000. A film with all its dubs, subtitles and fonts has fewer."""

MAX_LISTED = 1_000
"""Chunks of a WAV file, and tags before an MP3, that are looked at: a file can be made of them."""


@contextmanager
def open_audio(audio: LocalAudio) -> Iterator[tuple[InputContainer, AudioStream]]:
    """Open the first audio stream of a local file.

    Parameters
    ----------
    audio : LocalAudio
        The file.

    Yields
    ------
    container : av.container.InputContainer
        Closed at the end of the context.
    stream : av.audio.stream.AudioStream
        The first one with audio, decoded by one thread; a frame with a wrong checksum is an error.

    Raises
    ------
    UndecodableAudioError
        If no demuxer on the allow-list knows the bytes, or there is no audio in it.
    """
    with _open_first_probe_that_works(audio) as container:
        stream = container.streams.audio[0]
        stream.codec_context.thread_count = 1  # one process per core is the rule here
        if stream.codec_context.name in CHECKSUM_CODECS:
            stream.codec_context.options = REFUSE_WRONG_CHECKSUMS
        yield container, stream


def _open_first_probe_that_works(audio: LocalAudio) -> InputContainer:
    """Open with a small probe; large tags before the audio need FFmpeg's own probe size."""
    with suppress(UndecodableAudioError):
        container = _open({"probesize": str(SMALL_PROBE_BYTES)}, audio)
        if _lack(container) is None and container.streams.audio[0].rate:
            return container
        container.close()
    container = _open({}, audio)
    if lack := _lack(container):
        container.close()
        raise UndecodableAudioError(f"{audio.name} {lack}", fix="leave it out")
    return container


def _lack(container: InputContainer) -> str | None:
    """Tell why there is nothing to decode, None if there is."""
    if not container.streams.audio:
        return "has no audio stream"
    if container.streams.audio[0].codec_context is None:
        return "has audio of a codec that FFmpeg does not know"
    return None


def _open(probing: dict[str, str], audio: LocalAudio) -> InputContainer:
    options = {
        "format_whitelist": DEMUXERS,
        "protocol_whitelist": "file",
        "codec_whitelist": audio_decoders(),
        "max_streams": str(MAX_STREAMS),
        **probing,
    }
    try:
        # Tags are never used, so those that are not UTF-8 need not fail.
        return av.open(audio.path, options=options, metadata_errors="replace")
    except av.error.FileNotFoundError as exc:
        raise MissingAudioError(
            f"{audio.name} does not exist", fix="`embedlib index --out OUT` lists the sources again"
        ) from exc
    except av.error.MemoryError as exc:  # what FFmpeg says of too many streams, too
        raise UndecodableAudioError(
            f"{audio.name} asks for more memory than a file may take, or for more than "
            f"{MAX_STREAMS} streams",
            fix="leave it out",
        ) from exc
    except av.error.ArgumentError as exc:
        raise UndecodableAudioError(
            f"{audio.name} is not in a container of audio", fix="leave it out"
        ) from exc
    except av.FFmpegError as exc:
        # Also EIO, which demuxers give for short reads: true ones came up when it was hashed.
        raise UndecodableAudioError(
            f"{audio.name} is not audio: {exc.strerror}", fix="leave it out"
        ) from exc


@cache
def audio_decoders() -> str:
    """Name the decoders that may run while a file is opened.

    FFmpeg decodes a little of each stream to learn about it. Of a picture that is the whole: a
    cover of 20 KB can take a gigabyte.

    Returns
    -------
    names : str
        FFmpeg's decoders of audio, all of them, separated by commas.

    Examples
    --------
    >>> {"flac", "mp3float", "png", "h264"} & set(audio_decoders().split(",")) == {
    ...     "flac", "mp3float"}
    True
    """
    return ",".join(sorted(filter(_decodes_audio, av.codecs_available)))


def _decodes_audio(name: str) -> bool:
    try:
        return av.Codec(name, "r").type == "audio"
    except UnknownCodecError:  # it only encodes
        return False


def declared_duration_s(container: InputContainer, stream: AudioStream, path: str) -> float | None:
    """Tell the length that the header of a file states.

    Parameters
    ----------
    container : av.container.InputContainer
        An open one.
    stream : av.audio.stream.AudioStream
        Its first audio stream.
    path : str
        Of the same file.

    Returns
    -------
    duration_s : float or None
        Seconds; None where the header states none, which is not the same as FFmpeg knowing none.
    """
    name = container.format.name
    if name == "wav":
        return _wav_duration_s(path) if stream.codec_context.name.startswith("pcm_") else None
    if name in HEADER_LENGTH_DEMUXERS or (name == "mp3" and _has_xing_frame(path)):
        return _ffmpeg_duration_s(container, stream)
    return None


def _ffmpeg_duration_s(container: InputContainer, stream: AudioStream) -> float | None:
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    if container.duration and len(container.streams) == 1:
        return container.duration / av.time_base
    return None  # of the longest stream, which may be the picture


def _has_xing_frame(path: str) -> bool:
    with open(path, "rb") as file:
        file.seek(_first_frame(file))
        return XING_FRAME.match(file.read(MAX_MPEG_FRAME_BYTES)) is not None


def _first_frame(file: IO[bytes]) -> int:
    """Skip tags; a tagger may put its own before another."""
    first_frame = 0
    for _ in range(MAX_LISTED):
        file.seek(first_frame)
        if not (tag_bytes := _id3_bytes(file.read(10))):
            break
        first_frame += tag_bytes
    return first_frame


def _id3_bytes(head: bytes) -> int:
    """Length of an ID3v2 tag, four times seven bits, its own header included."""
    if len(head) < 10 or head[:3] != b"ID3":
        return 0
    size = 0
    for byte in head[6:10]:
        size = size << 7 | byte & 0x7F
    return size + 10


def _wav_duration_s(path: str) -> float | None:
    """Length by the chunks ``fmt`` and ``data``; FFmpeg trusts the size of the file instead."""
    bytes_per_s = 0
    with open(path, "rb") as file:
        if file.read(12)[:4] not in (b"RIFF", b"RF64"):
            return None
        for name, size in islice(_riff_chunks(file), MAX_LISTED):
            if name == b"fmt ":
                bytes_per_s = struct.unpack("<8xI", file.read(12).ljust(12, b"\0"))[0]
            if name == b"data":
                streamed = size == 0 or size >= STREAMED_WAV_BYTES
                return size / bytes_per_s if bytes_per_s and not streamed else None
    return None


def _riff_chunks(file: IO[bytes]) -> Iterator[tuple[bytes, int]]:
    """Give name and size of each chunk, the file standing at its content."""
    while len(head := file.read(8)) == 8:
        name, size = struct.unpack("<4sI", head)
        content = file.tell()
        yield name, size
        file.seek(content + size + size % 2, os.SEEK_SET)
