"""Small files that ask for much: hours in a few kilobytes, absurd headers, tables without end.

Each is built from bytes by the specification of its container; the names say what is wrong, and
their suffixes which demuxer is to read them.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable, Iterable
from functools import cache

import av
import numpy as np
from fuzz_files import mend_pages

from embedlib.audio.synth import synthesise_music
from embedlib.records import Float32

SILENCE_S, SILENCE_HZ = 7_200, 1_000
"""Two hours: at the lowest rate that is taken for audio they are encoded in no time."""

MOST_16, MOST_32, MOST_64 = 0xFFFF, 0xFFFF_FFFF, 0xFFFF_FFFF_FFFF_FFFF

N_STREAMS = 5_000
N_ENTRIES = 80_000_000
"""Of tables that need no byte per entry: FFmpeg takes 24 bytes for each, and up to 2 GiB."""

TAG_BYTES = 255 << 20
"""Just below the 2**28 bytes that the size of an ID3v2 tag can say."""

COVER_PIXELS = 16_000
"""Per side: FFmpeg decodes pictures of that size, in RGB of a gigabyte."""

Build = Callable[[], bytes]


# Sound


def encoded(blocks: Iterable[Float32], *, sr_hz: int, codec: str, container: str) -> bytes:
    """Encode mono samples with any encoder that FFmpeg has."""
    file = io.BytesIO()
    with av.open(file, "w", format=container) as output:
        stream = output.add_stream(codec, rate=sr_hz, layout="mono")
        for block in blocks:
            frame = av.AudioFrame.from_ndarray(block, format="flt", layout="mono")
            frame.sample_rate = sr_hz
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return file.getvalue()


@cache
def silence(codec: str, container: str) -> bytes:
    """Encode hours of nothing."""
    block = np.zeros((1, 60 * SILENCE_HZ), np.float32)
    blocks = (block for _ in range(SILENCE_S // 60))
    return encoded(blocks, sr_hz=SILENCE_HZ, codec=codec, container=container)


def silence_without_length() -> bytes:
    """Encode hours of nothing as FLAC whose header does not say so."""
    content = bytearray(silence("flac", "flac"))
    content[21] &= 0xF0  # RFC 9639, section 8.2: 36 bits of STREAMINFO
    content[22:26] = bytes(4)
    return bytes(content)


def mp3(seconds: float = 1.0) -> bytes:
    """Encode some music."""
    music = synthesise_music(seconds, sr_hz=44_100, n_channels=1)
    return encoded(music, sr_hz=44_100, codec="libmp3lame", container="mp3")


# RIFF, RF64, Sony Wave64


def riff_chunk(name: bytes, content: bytes, size: int | None = None) -> bytes:
    """Make a chunk that may lie about its size."""
    return name + struct.pack("<I", len(content) if size is None else size) + content


def wave_format(n_channels: int = 1, sr_hz: int = 16_000, align: int = 2, bits: int = 16) -> bytes:
    """Describe PCM."""
    bytes_per_s = sr_hz * align & MOST_32
    return struct.pack("<HHIIHH", 1, n_channels, sr_hz, bytes_per_s, align, bits)


def wav(*chunks: bytes, size: int = MOST_32, name: bytes = b"RIFF") -> bytes:
    """Make a WAV file of chunks."""
    return name + struct.pack("<I", size) + b"WAVE" + b"".join(chunks)


PCM = bytes(range(256)) * 250
"""Two seconds at 16 kHz."""

FMT = riff_chunk(b"fmt ", wave_format())
DATA = riff_chunk(b"data", PCM)

WAVE64_TAIL = bytes.fromhex("f3acd3118cd100c04f8edb8a")
WAVE64_RIFF = b"riff" + bytes.fromhex("2e91cf11a5d628db04c10000")


def wave64(fmt_size: int, data_size: int) -> bytes:
    """Make a Wave64 file whose chunks lie about their size."""
    fmt, data = (
        name + WAVE64_TAIL + struct.pack("<Q", size) + content
        for name, size, content in (
            (b"fmt ", fmt_size, wave_format()),
            (b"data", data_size, PCM),
        )
    )
    return WAVE64_RIFF + struct.pack("<Q", MOST_64) + b"wave" + WAVE64_TAIL + fmt + data


# AIFF, AU, CAF


def aiff(rate: bytes, n_channels: int = 1, n_frames: int = 32_000) -> bytes:
    """Make an AIFF file with a rate of 80 bits."""
    common = struct.pack(">hIh", n_channels, n_frames, 16) + rate
    chunks = b"COMM" + struct.pack(">I", len(common)) + common
    chunks += b"SSND" + struct.pack(">I", 8 + len(PCM)) + bytes(8) + PCM
    return b"FORM" + struct.pack(">I", MOST_32) + b"AIFF" + chunks


def caf(*chunks: tuple[bytes, int, bytes], sr_hz: float = 16_000.0, n_channels: int = 1) -> bytes:
    """Make a CAF file of AAC from chunks of name, size and content."""
    description = struct.pack(">d4sIIIII", sr_hz, b"aac ", 0, 0, 1_024, n_channels, 0)
    parts = [(b"desc", len(description), description), *chunks]
    return b"caff\0\1\0\0" + b"".join(
        name + struct.pack(">Q", size) + content for name, size, content in parts
    )


# MP4


def atom(name: bytes, *parts: bytes) -> bytes:
    """Make an atom of parts."""
    content = b"".join(parts)
    return struct.pack(">I", 8 + len(content)) + name + content


def table(name: bytes, *entries: int) -> bytes:
    """Make a full atom of words, behind version and flags."""
    return atom(name, bytes(4), struct.pack(f">{len(entries)}I", *entries))


def track(*tables: bytes, reference: bytes = b"", edits: bytes = b"") -> bytes:
    """Make a track of AAC with the tables of its samples; `reference` is where its data lie."""
    entry = bytes(6) + struct.pack(">HQHHII", 1, 0, 1, 16, 0, 16_000 << 16)
    described = atom(b"stsd", bytes(4), struct.pack(">I", 1), atom(b"mp4a", entry))
    references = reference or atom(b"url ", struct.pack(">I", 1))
    data = atom(b"dinf", atom(b"dref", bytes(4), struct.pack(">I", 1), references))
    handler = atom(b"hdlr", bytes(8), b"soun", bytes(13))
    minf = atom(b"minf", data, atom(b"stbl", described, *tables))
    mdia = atom(b"mdia", table(b"mdhd", 0, 0, 16_000, 32_000, 0), handler, minf)
    return atom(b"trak", table(b"tkhd", 0, 0, 1, 0, 32_000, *[0] * 15), edits, mdia)


SOME_TABLES = (
    table(b"stts", 1, 4, 1_024),
    table(b"stsc", 1, 1, 4, 1),
    table(b"stsz", 64, 4),
    table(b"stco", 1, 48),
)
"""Four samples of 64 bytes in one chunk."""

MANY_SAMPLES = (
    table(b"stsc", 1, 1, N_ENTRIES, 1),
    table(b"stsz", 1, N_ENTRIES),
    table(b"stco", 1, 48),
)


def mp4(*tracks: bytes, behind: bytes = b"") -> bytes:
    """Make an MP4 file of tracks."""
    kind = atom(b"ftyp", b"M4A \0\0\0\0isom")
    data = atom(b"mdat", bytes(1_024))
    header = table(b"mvhd", 0, 0, 1_000, 2_000, *[0] * 20)
    return kind + data + atom(b"moov", header, *tracks) + behind


def fragment() -> bytes:
    """Make a fragment with samples that take no byte to list."""
    run = atom(b"trun", bytes(4), struct.pack(">I", N_ENTRIES))
    header = atom(b"tfhd", struct.pack(">II", 0x02_0000, 1))
    return atom(b"moof", table(b"mfhd", 1), atom(b"traf", header, run))


def fragmented() -> bytes:
    """Make an MP4 file of one fragment."""
    extends = atom(b"mvex", table(b"trex", 1, 1, 1_024, 1, 0))
    empty = [table(name, 0) for name in (b"stts", b"stsc", b"stco")]
    return mp4(track(*empty, table(b"stsz", 0, 0)), extends, behind=fragment())


# Ogg, Matroska


def ogg_page(packet: bytes, *, serial: int, flags: int) -> bytes:
    """Make a page of one packet below 255 bytes."""
    head = struct.pack("<4sBBQIIIBB", b"OggS", 0, flags, 0, serial, 0, 0, 1, len(packet))
    return head + packet


def many_ogg_streams() -> bytes:
    """Begin many Vorbis streams at once."""
    header = b"\1vorbis" + struct.pack("<IBIiiiBB", 0, 1, 16_000, 0, 64_000, 0, 0xB8, 1)
    pages = (ogg_page(header, serial=number, flags=2) for number in range(N_STREAMS))
    return mend_pages(b"".join(pages))


def element(name: str, content: bytes, size: int | None = None) -> bytes:
    """Make an EBML element with a size of eight bytes, which may lie."""
    length = len(content) if size is None else size
    return bytes.fromhex(name) + struct.pack(">Q", 1 << 56 | length) + content


def matroska(*elements: bytes) -> bytes:
    """Make a Matroska file of the elements of its segment, and one cluster without a block."""
    head = element("1a45dfa3", element("4282", b"matroska"))
    cluster = element("1f43b675", element("e7", b"\0"))
    return head + element("18538067", b"".join(elements) + cluster)


def sound_track(number: int, further: bytes = b"") -> bytes:
    """Describe a track of PCM."""
    audio = element("e1", element("b5", struct.pack(">d", 16_000.0)) + element("9f", b"\1"))
    codec = element("86", b"A_PCM/INT/LIT")
    return element("ae", element("d7", bytes([number % 250 + 1])) + _KIND + codec + audio + further)


_KIND = element("83", b"\2")


def nested(name: str, depth: int) -> bytes:
    """Put an element into itself."""
    content = b""
    for _ in range(depth):
        content = element(name, content)
    return content


# ID3v2 and pictures


def syncsafe(number: int) -> bytes:
    """Write 28 bits into four bytes, as sizes of ID3v2 are."""
    return bytes(number >> shift & 0x7F for shift in (21, 14, 7, 0))


def id3_tag(content: bytes, size: int | None = None) -> bytes:
    """Make an ID3v2.4 tag that may lie about its size."""
    return b"ID3\4\0\0" + syncsafe(len(content) if size is None else size) + content


def id3_frame(name: bytes, content: bytes, flags: int = 0) -> bytes:
    """Make a frame of a tag."""
    return name + syncsafe(len(content)) + struct.pack(">H", flags) + content


def cover(kind: str, picture: bytes) -> bytes:
    """Make a tag with a front cover."""
    return id3_tag(id3_frame(b"APIC", b"\0image/" + kind.encode() + b"\0\3\0" + picture))


def compressed_tag() -> bytes:
    """Make a tag with a frame of 255 MiB, compressed."""
    deflate = zlib.compressobj(1)
    zeros = bytes(1 << 20)
    content = b"".join(deflate.compress(zeros) for _ in range(TAG_BYTES >> 20)) + deflate.flush()
    return id3_tag(id3_frame(b"APIC", syncsafe(TAG_BYTES) + content, flags=0x09))


def gif(n_pixels: int) -> bytes:
    """Make a GIF that is large by its header, with one pixel."""
    screen = struct.pack("<HHBBB", n_pixels, n_pixels, 0x80, 0, 0) + bytes(6)
    image = b"," + struct.pack("<HHHHB", 0, 0, n_pixels, n_pixels, 0) + b"\2\2\x44\1\0"
    return b"GIF89a" + screen + image + b";"


def bmp(n_pixels: int) -> bytes:
    """Make a BMP that is large by its header."""
    size = struct.pack("<IiiHHIIiiII", 40, n_pixels, n_pixels, 1, 24, 0, 0, 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", MOST_32 // 2, 0, 0, 54) + size + bytes(1_000)


def png(n_pixels: int) -> bytes:
    """Make a PNG that is large by its header."""
    head = b"IHDR" + struct.pack(">IIBBBBB", n_pixels, n_pixels, 8, 6, 0, 0, 0)
    data = b"IDAT" + zlib.compress(bytes(1_000))
    chunks = (
        struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
        for chunk in (head, data, b"IEND")
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


# Others


def tta(n_samples: int, sr_hz: int) -> bytes:
    """Make a TTA file with a table of seeks that is as long as its header says."""
    head = b"TTA1" + struct.pack("<HHHII", 1, 1, 16, sr_hz, n_samples)
    return head + struct.pack("<I", zlib.crc32(head)) + bytes(1_000)


def ape(n_frames: int) -> bytes:
    """Make a Monkey's Audio file with a table of seeks that is as long as its header says."""
    sizes = struct.pack("<HHIIIIIII", 3_990, 0, 52, 24, 4 * n_frames, 0, 1_000, 0, 0) + bytes(16)
    head = struct.pack("<HHIIIHHI", 2_000, 0, 73_728, 1, n_frames, 16, 2, 44_100)
    return b"MAC " + sizes + head + bytes(1_000)


BOMBS: dict[str, Build] = {
    "hours.flac": lambda: silence("flac", "flac"),
    "hours-undeclared.flac": silence_without_length,
    "hours.wv": lambda: silence("wavpack", "wv"),
    "hours.tta": lambda: silence("tta", "tta"),
    "sizes.wav": lambda: wav(FMT, riff_chunk(b"data", PCM, MOST_32)),
    "format-size.wav": lambda: wav(riff_chunk(b"fmt ", wave_format(), MOST_32), DATA),
    "list-size.wav": lambda: wav(FMT, riff_chunk(b"LIST", b"INFO", MOST_32 - 1), DATA),
    "rate.wav": lambda: wav(riff_chunk(b"fmt ", wave_format(sr_hz=4_000_000_000)), DATA),
    "channels.wav": lambda: wav(riff_chunk(b"fmt ", wave_format(n_channels=MOST_16)), DATA),
    "align.wav": lambda: wav(riff_chunk(b"fmt ", wave_format(align=MOST_16, bits=64)), DATA),
    "bits.wav": lambda: wav(riff_chunk(b"fmt ", wave_format(bits=MOST_16)), DATA),
    "chunks.wav": lambda: wav(FMT, riff_chunk(b"junk", b"") * 200_000, DATA),
    "sizes-rf64.wav": lambda: wav(
        riff_chunk(b"ds64", struct.pack("<QQQI", MOST_64, MOST_64, MOST_64, MOST_32)),
        FMT,
        riff_chunk(b"data", PCM, MOST_32),
        name=b"RF64",
    ),
    "format-size.w64": lambda: wave64(MOST_64 >> 2, 24 + len(PCM)),
    "data-size.w64": lambda: wave64(24 + 16, MOST_64 >> 1),
    "rate-infinite.aiff": lambda: aiff(bytes.fromhex("7fff8000000000000000")),
    "rate-huge.aiff": lambda: aiff(bytes.fromhex("7ffe8000000000000000")),
    "rate-negative.aiff": lambda: aiff(bytes.fromhex("c00cfa00000000000000")),
    "rate-zero.aiff": lambda: aiff(bytes(10)),
    "channels.aiff": lambda: aiff(bytes.fromhex("400cfa00000000000000"), n_channels=32_767),
    "frames.aiff": lambda: aiff(bytes.fromhex("400cfa00000000000000"), n_frames=MOST_32),
    "rate.au": lambda: struct.pack(">4sIIIII", b".snd", 24, MOST_32, 3, MOST_32, 1) + PCM,
    "channels.au": lambda: struct.pack(">4sIIIII", b".snd", 24, MOST_32, 3, 8_000, MOST_32) + PCM,
    "offset.au": lambda: struct.pack(">4sIIIII", b".snd", MOST_32, 0, 3, 8_000, 1) + PCM,
    "rate.caf": lambda: caf((b"data", 4 + len(PCM), bytes(4) + PCM), sr_hz=1e300),
    "channels.caf": lambda: caf((b"data", 4 + len(PCM), bytes(4) + PCM), n_channels=MOST_32),
    "packets.caf": lambda: caf(
        (b"pakt", 24 + 8, struct.pack(">qqii", N_ENTRIES, 1 << 40, 0, 0) + bytes(8)),
        (b"data", MOST_64, bytes(4) + PCM),
    ),
    "cookie.caf": lambda: caf((b"kuki", MOST_32 >> 1, bytes(64)), (b"data", MOST_64, PCM)),
    "streams.m4a": lambda: mp4(*[track(*SOME_TABLES)] * N_STREAMS),
    "index.m4a": lambda: mp4(track(table(b"stts", 1, N_ENTRIES, 1_024), *MANY_SAMPLES)),
    "composition.m4a": lambda: mp4(
        track(table(b"stts", 1, 1 << 30, 1_024), table(b"ctts", 1, 1 << 30, 1), *MANY_SAMPLES)
    ),
    "times.m4a": lambda: mp4(track(table(b"stts", MOST_32, 1, 1_024), *SOME_TABLES[1:])),
    "chunks.m4a": lambda: mp4(track(*SOME_TABLES[:3], table(b"stco", MOST_32, 48))),
    "edits.m4a": lambda: mp4(
        track(*SOME_TABLES, edits=atom(b"edts", table(b"elst", MOST_32, *[1, 0, 1 << 16] * 50_000)))
    ),
    "fragment.m4a": fragmented,
    "deep.m4a": lambda: mp4() + struct.pack(">I4s", MOST_32 >> 1, b"moov") * 100_000,
    "sizes.m4a": lambda: mp4() + struct.pack(">I4sQ", 1, b"moov", MOST_64 >> 1) + PCM,
    "streams.ogg": many_ogg_streams,
    "streams.mka": lambda: matroska(
        element("1654ae6b", b"".join(map(sound_track, range(N_STREAMS))))
    ),
    "deep.mka": lambda: matroska(element("1254c367", nested("67c8", 5_000))),
    "sizes.mka": lambda: matroska(
        element("1654ae6b", sound_track(0, element("63a2", b"", (1 << 56) - 2)), (1 << 56) - 2)
    ),
    "attachment.mka": lambda: matroska(
        element("1941a469", element("61a7", element("465c", b"", 1 << 40)))
    ),
    "tag-size.mp3": lambda: id3_tag(bytes(1_000), TAG_BYTES) + mp3(),
    "tags.mp3": lambda: id3_tag(b"") * 100_000 + mp3(),
    "text.mp3": lambda: id3_tag(id3_frame(b"TXXX", b"\3" + b"a" * (16 << 20))) + mp3(),
    "compressed.mp3": lambda: compressed_tag() + mp3(),
    "cover-gif.mp3": lambda: cover("gif", gif(COVER_PIXELS)) + mp3(),
    "cover-bmp.mp3": lambda: cover("bmp", bmp(COVER_PIXELS)) + mp3(),
    "cover-png.mp3": lambda: cover("png", png(1 << 30)) + mp3(),
    "seeks.tta": lambda: tta(MOST_32, 16),
    "seeks.ape": lambda: ape(MOST_32 // 64),
}
"""By name."""
