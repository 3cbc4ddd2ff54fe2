"""Files named as audio that point elsewhere: lists, scripts, pictures, archives, containers.

Each is built to name one local file and one address, which nobody who decodes it may open. The
texts are what players and FFmpeg's own demuxers of that name understand.
"""

from __future__ import annotations

import gzip
import io
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable

from fuzz_bombs import (
    SOME_TABLES,
    cover,
    element,
    gif,
    id3_frame,
    id3_tag,
    matroska,
    mp3,
    mp4,
    png,
    sound_track,
    track,
)

Build = Callable[[str, str], bytes]
"""Path of a local file and an address in, content out."""

ABSOLUTE_PATH = 2
"""Kind of an entry of a Macintosh alias, as FFmpeg reads it."""

TEXTS = {
    "m3u": "{path}\n{url}\n",
    "m3u-extended": "#EXTM3U\n#EXTINF:1,one\n{path}\n#EXTINF:1,two\n{url}\n",
    "hls": (
        "#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-TARGETDURATION:1\n#EXT-X-MEDIA-SEQUENCE:0\n"
        '#EXT-X-MAP:URI="{url}"\n#EXT-X-KEY:METHOD=AES-128,URI="{url}"\n'
        "#EXTINF:1.0,\n{path}\n#EXTINF:1.0,\n{url}\n#EXT-X-ENDLIST\n"
    ),
    "hls-master": (
        '#EXTM3U\n#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="a",NAME="a",URI="{path}"\n'
        '#EXT-X-STREAM-INF:BANDWIDTH=1,AUDIO="a"\n{url}\n'
    ),
    "hls-behind-a-tag": "ID3\4\0\0\0\0\0\0#EXTM3U\n#EXTINF:1.0,\n{path}\n{url}\n#EXT-X-ENDLIST\n",
    "pls": "[playlist]\nNumberOfEntries=2\nFile1={path}\nFile2={url}\nVersion=2\n",
    "xspf": (
        '<?xml version="1.0"?><playlist version="1" xmlns="http://xspf.org/ns/0/"><trackList>'
        "<track><location>file://{path}</location></track>"
        "<track><location>{url}</location></track></trackList></playlist>"
    ),
    "asx": '<asx version="3.0"><entry><ref href="{url}"/></entry><entryref href="{path}"/></asx>',
    "asf-reference": "[Reference]\r\nRef1={url}\r\nRef2={path}\r\n",
    "smil": '<smil><body><seq><audio src="{path}"/><audio src="{url}"/></seq></body></smil>',
    "ram": "{url}\nfile://{path}\n",
    "ffconcat": "ffconcat version 1.0\nfile '{path}'\nfile '{url}'\n",
    "ffconcat-protocols": (
        "ffconcat version 1.0\nfile 'concat:{path}|{path}'\nfile 'file:{path}'\n"
        "file 'subfile,,start,0,end,100,,:{path}'\nfile 'crypto:{path}'\nfile 'cache:{url}'\n"
    ),
    "sdp": (
        "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\na=control:{url}\n"
        "m=audio 5004 RTP/AVP 0\na=rtpmap:0 PCMU/8000\n"
    ),
    "dash": (
        '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" '
        'mediaPresentationDuration="PT1S"><BaseURL>{url}</BaseURL><Period><AdaptationSet '
        'mimeType="audio/mp4"><Representation id="1" bandwidth="1"><BaseURL>{path}</BaseURL>'
        "</Representation></AdaptationSet></Period></MPD>"
    ),
    "smooth-streaming": (
        '<?xml version="1.0"?><SmoothStreamingMedia MajorVersion="2"><StreamIndex Type="audio" '
        'Url="{url}"/></SmoothStreamingMedia>'
    ),
    "imf": (
        '<?xml version="1.0"?><AssetMap xmlns="http://www.smpte-ra.org/schemas/429-9/2007/AM">'
        "<AssetList><Asset><ChunkList><Chunk><Path>{path}</Path></Chunk></ChunkList></Asset>"
        "</AssetList></AssetMap>"
    ),
    "cue": 'FILE "{path}" WAVE\n  TRACK 01 AUDIO\n    INDEX 01 00:00:00\nFILE "{url}" MP3\n',
    "avisynth": 'WavSource("{path}")\n',
    "ffmetadata": ";FFMETADATA1\ntitle={path}\nartist={url}\n",
    "lavfi": "amovie={path}\n",
    "subrip": "1\n00:00:00,000 --> 00:00:01,000\n<img src='{url}'>{path}\n",
    "webvtt": (
        "WEBVTT\n\nSTYLE\n::cue {{ background: url({url}) }}\n\n00:00.000 --> 00:01.000\n{path}\n"
    ),
    "ass": (
        "[Script Info]\nScriptType: v4.00+\n"
        "[Fonts]\nfontname: {path}\n[Graphics]\nfilename: {url}\n"
    ),
    "svg": (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink">'
        '<image xlink:href="{url}"/><image xlink:href="file://{path}"/></svg>'
    ),
    "html": '<html><audio src="{url}"></audio><audio src="{path}"></audio></html>',
    "desktop-link": "[InternetShortcut]\nURL={url}\nIconFile={path}\n",
}
"""Texts, with places for the file and the address."""


def zipped(path: str, url: str) -> bytes:
    """Make a ZIP archive of a file whose name leads outside."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(f"../..{path}", url)
    return file.getvalue()


def tarred(path: str, url: str) -> bytes:
    """Make a tar archive of a link to a file, and a file of its name."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        link = tarfile.TarInfo("song.wav")
        link.type, link.linkname = tarfile.SYMTYPE, path
        archive.addfile(link)
        member = tarfile.TarInfo(f"../..{path}")
        member.size = len(url)
        archive.addfile(member, io.BytesIO(url.encode()))
    return file.getvalue()


def seven_zip(path: str, url: str) -> bytes:
    """Make the head of a 7z archive."""
    names = (path + url).encode("utf-16-le")
    start = struct.pack("<QQI", 0, len(names), zlib.crc32(names))
    return b"7z\xbc\xaf\x27\x1c\0\4" + struct.pack("<I", zlib.crc32(start)) + start + names


def text_chunk(path: str, url: str) -> bytes:
    """Make a PNG with the names in its texts."""
    text = b"tEXtSource\0" + path.encode() + b" " + url.encode()
    chunk = struct.pack(">I", len(text) - 4) + text + struct.pack(">I", zlib.crc32(text))
    picture = png(8)
    return picture[:33] + chunk + picture[33:]  # behind signature and IHDR


def jpeg(path: str, url: str) -> bytes:
    """Make the head of a JPEG with the names in its comment."""
    comment = f"{path} {url}".encode()
    return b"\xff\xd8\xff\xfe" + struct.pack(">H", 2 + len(comment)) + comment + b"\xff\xd9"


def webp(path: str, url: str) -> bytes:
    """Make the head of an animated WebP with the names in its metadata."""
    names = f"{path} {url}".encode()
    names += bytes(len(names) % 2)
    animated = b"VP8X" + struct.pack("<IB9x", 10, 0x06) + b"ANIM" + struct.pack("<I6x", 6)
    chunks = animated + b"XMP " + struct.pack("<I", len(names)) + names
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WEBP" + chunks


def reference(kind: bytes, location: bytes) -> bytes:
    """Make a data reference of MP4 that is not the file itself."""
    return struct.pack(">I4sI", 12 + len(location), kind, 0) + location


def url_reference(path: str, url: str) -> bytes:
    """Make an MP4 file whose samples are at an address, and in a file."""
    places = (f"file://{path}", url)
    return mp4(
        *(
            track(*SOME_TABLES, reference=reference(b"url ", place.encode() + b"\0"))
            for place in places
        )
    )


def alias_reference(path: str, url: str) -> bytes:
    """Make a QuickTime file whose samples an alias of a Macintosh finds in a sister folder."""
    volume, name = b"\1a".ljust(28, b"\0"), path.rpartition("/")[2].encode()[:63]
    head = bytes(10) + volume + bytes(12) + bytes([len(name)]) + name.ljust(63, b"\0")
    levels = bytes(16) + struct.pack(">HH", 2, 2) + bytes(16)  # one up, one down
    full = path.encode()
    entry = struct.pack(">HH", ABSOLUTE_PATH, len(full)) + full + bytes(len(full) % 2)
    return mp4(
        track(*SOME_TABLES, reference=reference(b"alis", head + levels + entry + b"\xff\xff\0\0"))
    )


def linked_segment(path: str, url: str) -> bytes:
    """Make a Matroska file whose segment goes on in other files."""
    linked = element("3c83ab", path.encode()) + element("3e83bb", url.encode())
    unique = element("73a4", bytes(16)) + element("3eb923", bytes(range(16)))
    return matroska(element("1549a966", linked + unique), element("1654ae6b", sound_track(0)))


def mxf(path: str, url: str) -> bytes:
    """Make the head of an MXF file with a network locator of its essence."""
    header = bytes.fromhex("060e2b34020501010d01020101020400")
    locator = bytes.fromhex("060e2b34025301010d01010101013200")
    location = url.encode("utf-16-be") + path.encode("utf-16-be")
    item = struct.pack(">HH", 0x4001, len(location)) + location
    return header + b"\x84" + bytes(4) + locator + b"\x83" + len(item).to_bytes(3, "big") + item


def linked_cover(path: str, url: str) -> bytes:
    """Make an MP3 file whose cover is a link; and so are some of its other frames."""
    frames = (
        id3_frame(b"APIC", b"\0-->\0\3\0" + url.encode()),
        id3_frame(b"APIC", b"\0-->\0\4\0file://" + path.encode()),
        id3_frame(b"WOAF", url.encode()),
        id3_frame(b"LINK", b"TIT2" + path.encode() + b"\0"),
    )
    return id3_tag(b"".join(frames)) + mp3()


def text_of(name: str) -> Build:
    """Make what fills in a text."""
    return lambda path, url: TEXTS[name].format(path=path, url=url).encode()


LISTS: dict[str, Build] = {
    **{name: text_of(name) for name in TEXTS},
    "gzip": lambda path, url: gzip.compress(text_of("hls")(path, url), mtime=0),
    "zip": zipped,
    "tar": tarred,
    "7z": seven_zip,
    "png": text_chunk,
    "jpeg": jpeg,
    "gif": lambda path, url: gif(8) + f"{path} {url}".encode(),
    "webp": webp,
    "mxf": mxf,
    "mov-url": url_reference,
    "mov-alias": alias_reference,
    "matroska-links": linked_segment,
    "mp3-links": linked_cover,
    "mp3-of-a-list": lambda path, url: cover("png", text_of("hls")(path, url)) + mp3(),
}
"""By what they are."""
