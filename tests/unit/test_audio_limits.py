"""Small files that ask for much: each ends with a status, within memory, time and open files."""

from __future__ import annotations

import importlib
import json
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from embedlib.audio import container
from embedlib.audio.decode import AudioLimits
from embedlib.audio.encode import write_audio
from embedlib.audio.waveform import AudioStream
from embedlib.config import extract_config
from embedlib.errors import AudioDeadlineError, UndecodableAudioError, UnreadableAudioError
from embedlib.records import Shard, Signal, Track
from embedlib.run.job import DecodeJob
from embedlib.run.memory import STEP_MEMORY_BYTES, within_memory
from embedlib.run.planning import ready_jobs
from embedlib.run.poison import OPEN_FILES, bisect_shard
from embedlib.run.prepare import decode_job
from embedlib.run.proof import second_look

ROOT = Path(__file__).parents[2]
MEMORY_MIB = 128
SLACK_MIB = 64
MOST_S = 10.0

Outcomes = dict[str, dict[str, Any]]

ENDINGS = {
    "hours.flac": "too_long",
    "hours-undeclared.flac": "too_long",
    "hours.wv": "too_long",
    "hours.tta": "too_long",
    "sizes.wav": "ok",
    "format-size.wav": "undecodable",
    "list-size.wav": "undecodable",
    "rate.wav": "undecodable",
    "channels.wav": "undecodable",
    "align.wav": "ok",
    "bits.wav": "undecodable",
    "chunks.wav": "ok",
    "sizes-rf64.wav": "undecodable",
    "format-size.w64": "undecodable",
    "data-size.w64": "undecodable",
    "rate-infinite.aiff": "undecodable",
    "rate-huge.aiff": "undecodable",
    "rate-negative.aiff": "undecodable",
    "rate-zero.aiff": "undecodable",
    "channels.aiff": "undecodable",
    "frames.aiff": "undecodable",
    "rate.au": "undecodable",
    "channels.au": "undecodable",
    "offset.au": "undecodable",
    "rate.caf": "undecodable",
    "channels.caf": "undecodable",
    "packets.caf": "undecodable",
    "cookie.caf": "undecodable",
    "streams.m4a": "undecodable",
    "index.m4a": "empty",
    "composition.m4a": "empty",
    "times.m4a": "undecodable",
    "chunks.m4a": "undecodable",
    "edits.m4a": "undecodable",
    "fragment.m4a": "undecodable",
    "deep.m4a": "undecodable",
    "sizes.m4a": "undecodable",
    "streams.ogg": "undecodable",
    "streams.mka": "empty",
    "deep.mka": "undecodable",
    "sizes.mka": "empty",
    "attachment.mka": "undecodable",
    "tag-size.mp3": "undecodable",
    "tags.mp3": "ok",
    "text.mp3": "ok",
    "compressed.mp3": "ok",
    "cover-gif.mp3": "ok",
    "cover-bmp.mp3": "ok",
    "cover-png.mp3": "ok",
    "seeks.tta": "undecodable",
    "seeks.ape": "undecodable",
}


@pytest.fixture(scope="module", autouse=True)
def jobs() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "jobs"))
        yield


@pytest.fixture(scope="module")
def bombs(jobs: None) -> ModuleType:
    return importlib.import_module("fuzz_bombs")


@pytest.fixture(scope="module")
def outcomes(bombs: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Outcomes:
    """Decode all bombs in a process of their own, one after the other."""
    folder = tmp_path_factory.mktemp("bombs")
    for name, build in bombs.BOMBS.items():
        (folder / name).write_bytes(build())
    return decode_folder(folder)


def decode_folder(folder: Path) -> Outcomes:
    done = subprocess.run(
        [sys.executable, ROOT / "tests" / "decode_folder.py", folder, str(MEMORY_MIB)],
        capture_output=True,
        text=True,
        check=True,
        timeout=200,
    )
    found = map(json.loads, done.stdout.splitlines())
    return {each["name"]: each for each in found}


# Bombs


def test_every_bomb_is_named_with_its_ending(bombs: ModuleType) -> None:
    assert ENDINGS.keys() == bombs.BOMBS.keys()


@pytest.mark.parametrize("name", ENDINGS)
def test_a_bomb_ends_with_a_status(outcomes: Outcomes, name: str) -> None:
    assert outcomes[name]["status"] == ENDINGS[name], outcomes[name]["error"]


@pytest.mark.parametrize("name", ENDINGS)
def test_a_bomb_ends_within_memory_and_time_and_leaves_nothing_open(
    outcomes: Outcomes, name: str
) -> None:
    ended = outcomes[name]
    assert ended["grown_mib"] <= MEMORY_MIB + SLACK_MIB
    assert ended["spent_s"] <= MOST_S
    assert ended["n_left_open"] == 0


# Files without end


def refusal(path: Path, *, deadline_s: float = 30.0) -> Iterator[Any]:
    limits = AudioLimits(cpu_deadline_s=deadline_s)
    stream = AudioStream(Track("t", str(path), -1, ""), signals=[Signal(16_000)], limits=limits)
    with stream:
        yield from stream


def test_a_file_of_holes_ends_at_the_deadline(tmp_path: Path) -> None:
    path = tmp_path / "holes.wav"
    with path.open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(AudioDeadlineError, match=r"hash than cpu_deadline_s=0\.2"):
        next(refusal(path, deadline_s=0.2))


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.wav")
    with pytest.raises(UnreadableAudioError, match="is a pipe or a device"):
        next(refusal(tmp_path / "pipe.wav"))


def test_a_node_that_proves_its_sources_does_not_wait_for_a_pipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.wav")
    tracks = tuple(Track(f"{n}", str(tmp_path / "pipe.wav"), -1, "") for n in range(8))
    assert second_look(Shard("s", tracks, 1.0)) == ""


def test_a_device_behind_a_link_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "zero.wav").symlink_to("/dev/zero")
    with pytest.raises(UnreadableAudioError, match="is a pipe or a device"):
        next(refusal(tmp_path / "zero.wav"))


@pytest.mark.parametrize("n_more", [0, 1])
def test_a_file_may_have_so_many_streams_and_no_more(
    bombs: ModuleType, tmp_path: Path, n_more: int
) -> None:
    path = tmp_path / "y.m4a"
    path.write_bytes(
        bombs.mp4(*[bombs.track(*bombs.SOME_TABLES)] * (container.MAX_STREAMS + n_more))
    )
    reason = f"more than {container.MAX_STREAMS} streams" if n_more else "no packet that decodes"
    with pytest.raises(UndecodableAudioError, match=reason):
        next(refusal(path))


@pytest.mark.parametrize("n_tags", [3, container.MAX_LISTED + 1])
def test_tags_before_an_mp3_are_skipped_up_to_a_limit(
    bombs: ModuleType, tmp_path: Path, n_tags: int
) -> None:
    path = tmp_path / "y.mp3"
    path.write_bytes(bombs.id3_tag(b"") * n_tags + bombs.mp3())
    assert container._has_xing_frame(str(path)) is (n_tags <= container.MAX_LISTED)


# Memory


def grabs(*sizes: int) -> Iterator[int]:
    for size in sizes:
        yield len(bytearray(size))


def test_a_step_that_asks_for_too_much_is_an_undecodable_file() -> None:
    steps = within_memory(grabs(1 << 20, 1 << 29), n_bytes=1 << 27)
    assert next(steps) == 1 << 20
    with pytest.raises(UndecodableAudioError, match="more than 128 MiB of memory"):
        next(steps)


def test_what_is_taken_between_steps_does_not_count() -> None:
    kept = []
    for n_bytes in within_memory(grabs(*[1 << 20] * 3), n_bytes=1 << 26):
        kept.append(np.ones(1 << 27, np.uint8))
        assert n_bytes == 1 << 20
    assert len(kept) == 3


def test_the_limit_is_lifted_after_each_step_however_it_ends() -> None:
    before = resource.getrlimit(resource.RLIMIT_DATA)
    steps = within_memory(grabs(1, 1 << 29), n_bytes=1 << 27)
    assert next(steps) == 1
    assert resource.getrlimit(resource.RLIMIT_DATA) == before
    with pytest.raises(UndecodableAudioError):
        next(steps)
    assert resource.getrlimit(resource.RLIMIT_DATA) == before


def test_a_limit_that_is_there_already_is_not_raised() -> None:
    before = resource.getrlimit(resource.RLIMIT_DATA)
    lower = 1 << 42  # more than anybody has, and not without end

    def limits() -> Iterator[int]:
        yield resource.getrlimit(resource.RLIMIT_DATA)[0]

    resource.setrlimit(resource.RLIMIT_DATA, (lower, before[1]))
    try:
        assert list(within_memory(limits(), n_bytes=1 << 43)) == [lower]
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, before)


def config(**options: object) -> Any:
    values = {"sources": ["."], "models": ["untrained-deepsquare-k16-3"], "out": "out"}
    return extract_config(values | options)


def test_a_run_limits_what_a_step_may_ask_for(tmp_path: Path) -> None:
    assert ready_jobs(config(), out=tmp_path).decode.step_memory_bytes == STEP_MEMORY_BYTES


def test_the_process_of_a_user_is_not_limited() -> None:
    assert decode_job(config(), front_ends=["musicnn-mel"]).step_memory_bytes == 0


@pytest.mark.parametrize("decoder", ["pyav", "essentia"])
def test_essentia_which_holds_all_samples_is_not_limited(decoder: str) -> None:
    pytest.importorskip("essentia")
    asked = config(decoder=decoder, resampler="essentia-q0")
    job = decode_job(asked, front_ends=["musicnn-mel"], step_memory_bytes=1 << 30)
    assert job.step_memory_bytes == 0


# The search for poison

TELL_LIMITS = """
import os, resource, sys

def on_open(event, arguments):
    caller = sys._getframe().f_back if event == "open" else None
    if caller and caller.f_code.co_filename.endswith("fetch.py"):
        kinds = (resource.RLIMIT_CORE, resource.RLIMIT_NOFILE)
        os.write(2, " ".join(str(resource.getrlimit(kind)[0]) for kind in kinds).encode())
        os.abort()

sys.addaudithook(on_open)
"""


def test_a_process_that_searches_for_poison_leaves_no_core_and_opens_few_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sitecustomize.py").write_text(TELL_LIMITS)
    monkeypatch.syspath_prepend(tmp_path)
    write_audio(tmp_path / "a.wav", np.ones((1, 8_000), np.float32), sr_hz=8_000)
    shard = Shard("s", (Track("a", str(tmp_path / "a.wav"), -1, ""),), 1.0)
    job = DecodeJob(("musicnn-mel",), "pyav", "soxr-hq", AudioLimits(), 1 << 20)
    (crash,) = bisect_shard(shard, job, memory_bytes=1 << 29)
    assert crash.reason == f"SIGABRT: 0 {OPEN_FILES}"
