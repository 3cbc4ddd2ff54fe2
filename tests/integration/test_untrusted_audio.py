"""Nothing that is named as audio opens another file or address: seen by the kernel and a server.

Each file names a canary of its own: a file in a folder whose openings inotify(7) reports, whoever
opens it, and an address of a server that writes down what it is asked for.
"""

from __future__ import annotations

import ctypes
import http.server
import importlib
import json
import os
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import av
import numpy as np
import pytest

import embedlib
from embedlib.audio.encode import write_audio
from embedlib.audio.synth import synthesise_music
from embedlib.audio.waveform import AudioStream
from embedlib.errors import MissingAudioError
from embedlib.records import Signal, Track

ROOT = Path(__file__).parents[2]
SUFFIXES = (".mp3", ".wav", ".m4a", ".m3u8")
IN_ACCESS, IN_OPEN = 0x01, 0x20
"""From ``linux/inotify.h``."""

EVENT = struct.Struct("iIII")

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="inotify is Linux's")


class Canaries:
    """Files that nobody may open, and a server that nobody may ask.

    Parameters
    ----------
    folder : Path
        Where the files are; all sound.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self.asked: list[str] = []
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._inotify = self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def _handler(self) -> type[http.server.BaseHTTPRequestHandler]:
        asked = self.asked

        class Handler(http.server.BaseHTTPRequestHandler):
            def handle_one_request(self) -> None:
                line = self.rfile.readline().decode(errors="replace").split()
                asked.append(line[1] if len(line) > 1 else "?")
                self.close_connection = True

        return Handler

    def path(self, name: str) -> Path:
        """Give the file that something of this name points to."""
        return self.folder / f"{name}.wav"

    def url(self, name: str) -> str:
        """Give the address."""
        return f"http://127.0.0.1:{self._server.server_port}/{name}.ts"

    def watch(self) -> None:
        """Begin, when all files are written."""
        path = str(self.folder).encode()
        assert self._libc.inotify_add_watch(self._inotify, path, IN_ACCESS | IN_OPEN) >= 0

    def opened(self) -> set[str]:
        """Tell the files that were opened since it was last asked."""
        names = set()
        try:
            events = os.read(self._inotify, 1 << 20)
        except BlockingIOError:
            return names
        while events:
            *_, length = EVENT.unpack_from(events)
            names.add(events[EVENT.size : EVENT.size + length].rstrip(b"\0").decode())
            events = events[EVENT.size + length :]
        return names

    def close(self) -> None:
        """Stop watching."""
        self._server.shutdown()
        self._server.server_close()
        os.close(self._inotify)


@dataclass(frozen=True, slots=True)
class Seen:
    """What became of the files, and of their canaries."""

    outcomes: dict[str, dict[str, Any]]
    opened: set[str]
    asked: list[str]


@pytest.fixture(scope="module")
def lists() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "jobs"))
        yield importlib.import_module("fuzz_lists")


@pytest.fixture
def canaries(tmp_path: Path) -> Iterator[Canaries]:
    canaries = Canaries(tmp_path / "canaries")
    yield canaries
    canaries.close()


def write_lists(
    lists: ModuleType, folder: Path, canaries: Canaries, suffixes: tuple[str, ...]
) -> None:
    folder.mkdir()
    music = np.concatenate(list(synthesise_music(1.0, sr_hz=16_000)), axis=1)
    for kind, build in lists.LISTS.items():
        for suffix in suffixes:
            name = f"{kind}{suffix}"
            write_audio(canaries.path(name), music, sr_hz=16_000)
            (folder / name).write_bytes(build(str(canaries.path(name)), canaries.url(name)))
    canaries.watch()


@pytest.fixture(scope="module")
def seen(lists: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seen]:
    """Decode every list under every suffix, in a process of its own."""
    folder = tmp_path_factory.mktemp("lists")
    canaries = Canaries(folder / "canaries")
    write_lists(lists, folder / "files", canaries, suffixes=SUFFIXES)
    done = subprocess.run(
        [sys.executable, ROOT / "tests" / "decode_folder.py", folder / "files", "256"],
        capture_output=True,
        text=True,
        check=True,
    )
    outcomes = {each["name"]: each for each in map(json.loads, done.stdout.splitlines())}
    yield Seen(outcomes, canaries.opened(), canaries.asked)
    canaries.close()


KINDS = (
    *("m3u", "m3u-extended", "hls", "hls-master", "hls-behind-a-tag", "pls", "xspf", "asx"),
    *("asf-reference", "smil", "ram", "ffconcat", "ffconcat-protocols", "sdp", "dash", "imf"),
    *("smooth-streaming", "cue", "avisynth", "ffmetadata", "lavfi", "subrip", "webvtt", "ass"),
    *("svg", "html", "desktop-link", "gzip", "zip", "tar", "7z", "png", "jpeg", "gif", "webp"),
    *("mxf", "mov-url", "mov-alias", "matroska-links", "mp3-links", "mp3-of-a-list"),
)

SOUND = {"mp3-links", "mp3-of-a-list"}
"""Those that are music beside what they point to."""


def test_every_kind_is_tried(lists: ModuleType) -> None:
    assert set(KINDS) == lists.LISTS.keys()


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_named_as_audio_opens_nothing_else(seen: Seen, kind: str, suffix: str) -> None:
    name = f"{kind}{suffix}"
    assert seen.outcomes[name]["status"] in (["ok"] if kind in SOUND else ["undecodable", "empty"])
    assert f"{name}.wav" not in seen.opened
    assert not [path for path in seen.asked if name in path]


def test_nobody_asked_the_server_for_anything(seen: Seen) -> None:
    assert (seen.opened, seen.asked) == (set(), [])


# The canaries sing


def test_a_canary_that_is_opened_is_told(canaries: Canaries) -> None:
    canaries.path("a").write_bytes(b"0")
    canaries.path("b").write_bytes(b"0")
    canaries.watch()
    canaries.path("b").read_bytes()
    assert canaries.opened() == {"b.wav"}


OPEN_TO_ALL = {"protocol_whitelist": "file,http,tcp,crypto,data", "safe": "0"}


@pytest.mark.parametrize(
    ("kind", "suffix", "options"),
    [
        ("ffconcat", ".ffconcat", {}),
        ("hls", ".m3u8", {"allowed_extensions": "ALL", "extension_picky": "0"}),
        ("mov-alias", ".m4a", {"enable_drefs": "1", "use_absolute_path": "1"}),
    ],
)
def test_without_the_allow_lists_ffmpeg_follows(
    lists: ModuleType, canaries: Canaries, kind: str, suffix: str, options: dict[str, str]
) -> None:
    write_lists(lists, canaries.folder.parent / "files", canaries, suffixes=(suffix,))
    path = canaries.folder.parent / "files" / f"{kind}{suffix}"
    try:
        with av.open(str(path), options=OPEN_TO_ALL | options) as container:
            next(container.demux(), None)
    except av.FFmpegError:
        pass
    assert canaries.opened() == {f"{kind}{suffix}.wav"} or canaries.asked


# Names


@pytest.mark.parametrize(
    "name",
    [
        *("concat:{0}|{0}", "subfile,,start,0,end,100,,:{0}", "crypto:{0}", "file:{0}"),
        *("cache:{0}", "data:audio/wav;base64,{0}", "pipe:0", "fd:", "{0}%00.mp3"),
    ],
)
def test_a_name_that_ffmpeg_takes_for_a_protocol_is_a_file_that_is_not_there(
    canaries: Canaries, name: str
) -> None:
    canary = canaries.path("canary")
    write_audio(canary, synthesise_music(1.0, sr_hz=16_000), sr_hz=16_000)
    canaries.watch()
    track = Track("t", name.format(canary), -1, "")
    stream = AudioStream(track, signals=[Signal(16_000)])
    with stream, pytest.raises(MissingAudioError):
        next(iter(stream))
    assert canaries.opened() == set()


@pytest.mark.parametrize("name", ["concat:a.wav|b.wav", "song%02d.wav", "song*.wav", "a\nb.wav"])
def test_a_file_of_such_a_name_is_the_file(tmp_path: Path, name: str) -> None:
    path = tmp_path / "y.wav"
    write_audio(path, synthesise_music(1.0, sr_hz=16_000), sr_hz=16_000)
    path.rename(tmp_path / name)
    stream = AudioStream(Track("t", str(tmp_path / name), -1, ""), signals=[Signal(16_000)])
    with stream:
        assert sum(len(blocks[Signal(16_000)]) for blocks in stream) == 16_000


# Whole runs

STAND_IN = "untrained-deepsquare-k16-3"
N_GOOD = 3
MOST_BYTES = 2 << 30
"""What a process holds before it decodes, and `STEP_MEMORY_BYTES`."""


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        (("--local",), "driver"),
        pytest.param((), "model workers", marks=pytest.mark.slow),
    ],
    ids=["local", "ray"],
)
def test_a_run_over_hostile_files_gives_each_a_row(
    lists: ModuleType, canaries: Canaries, tmp_path: Path, options: tuple[str, ...], kind: str
) -> None:
    files, out = tmp_path / "files", tmp_path / "out"
    write_lists(lists, files, canaries, suffixes=(".mp3",))
    for name, build in importlib.import_module("fuzz_bombs").BOMBS.items():
        (files / name).write_bytes(build())
    for number in range(N_GOOD):
        music = synthesise_music(2.0, sr_hz=16_000, seed=number)
        write_audio(files / f"good-{number}.wav", music, sr_hz=16_000)
    line = ["extract", str(files), "--models", STAND_IN, "--out", str(out), "--quiet", *options]
    watch = importlib.import_module("fuzz_run").watch
    watched = watch([*line, "--max-duration-s", "60"], scratch=tmp_path / "scratch")
    table = embedlib.open(out).tracks(STAND_IN).to_arrow(["track_id", "status"])
    statuses = dict(zip(*(table[name].to_pylist() for name in table.column_names), strict=True))
    assert watched.exit_code == 3, watched.stderr
    assert statuses.keys() == {path.name for path in files.iterdir()}
    assert {statuses[f"good-{number}.wav"] for number in range(N_GOOD)} == {"ok"}
    assert embedlib.verify(out).problems == ()
    assert (canaries.opened(), canaries.asked) == (set(), [])
    assert watched.peak_bytes[kind] < MOST_BYTES
    assert (watched.outlived, watched.left) == ((), ())
