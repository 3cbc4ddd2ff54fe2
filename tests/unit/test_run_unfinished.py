"""Marks of shards that are being decoded: believed only when their process is gone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest

from embedlib.run import unfinished
from embedlib.run.unfinished import (
    MARK_FILE,
    SILENT_S,
    DecodingMark,
    Mark,
    left_behind,
    process_start,
)

BEGIN = """
import sys
from pathlib import Path
from embedlib.run.unfinished import DecodingMark
DecodingMark(Path(sys.argv[1]), "run").begin("0a")
print("begun", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def decoder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that has begun to decode a shard."""
    line = [sys.executable, "-c", BEGIN, str(tmp_path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(line, text=True, **pipes) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        yield process
        process.kill()


def write_mark(out: Path, **fields: object) -> None:
    """Write the mark of a run, of this process but for the fields given."""
    DecodingMark(out, "run").begin("0a")
    path = out / "runs" / "run" / MARK_FILE
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def test_a_shard_is_left_behind_when_its_process_was_killed_and_not_before(
    decoder: subprocess.Popen[str], tmp_path: Path
) -> None:
    assert left_behind(tmp_path) == ()
    decoder.kill()
    os.waitid(os.P_PID, decoder.pid, os.WEXITED | os.WNOWAIT)  # a zombie now
    assert left_behind(tmp_path) == ("0a",)
    decoder.wait()
    assert left_behind(tmp_path) == ("0a",)


def test_a_shard_of_this_very_process_is_not_left_behind(tmp_path: Path) -> None:
    DecodingMark(tmp_path, "run").begin("0a")
    assert left_behind(tmp_path) == ()


def test_a_process_that_has_got_the_number_of_a_dead_one_is_another(tmp_path: Path) -> None:
    write_mark(tmp_path, process_start="17")
    assert left_behind(tmp_path) == ("0a",)


@pytest.mark.parametrize("elsewhere", [{"host": "other"}, {"process_start": ""}])
@pytest.mark.parametrize(("age_s", "found"), [(0, ()), (SILENT_S + 1, ("0a",))])
def test_a_process_that_cannot_be_looked_at_is_gone_when_it_has_been_silent_for_long(
    elsewhere: dict[str, str], age_s: float, found: tuple[str, ...], tmp_path: Path
) -> None:
    write_mark(tmp_path, renewed_unix_s=time.time() - age_s, **elsewhere)
    assert left_behind(tmp_path) == found


def test_marks_of_several_runs_name_each_shard_once(tmp_path: Path) -> None:
    dead = {"host": "here", "pid": 1, "process_start": "17", "renewed_unix_s": 0.0}
    for number, shard_id in enumerate(["0b", "0a", "0b"]):
        folder = tmp_path / "runs" / str(number)
        folder.mkdir(parents=True)
        (folder / MARK_FILE).write_text(json.dumps(asdict(Mark(shard_id, **dead))))
    assert left_behind(tmp_path) == ("0a", "0b")


@pytest.mark.parametrize("text", ["", '{"shard_id": "0a"', '{"shard": "0a"}', "[]"])
def test_a_mark_that_is_being_written_says_nothing(text: str, tmp_path: Path) -> None:
    write_mark(tmp_path, process_start="17")
    (tmp_path / "runs" / "run" / MARK_FILE).write_text(text)
    assert left_behind(tmp_path) == ()


def test_a_shard_that_was_decoded_to_its_end_leaves_no_mark(tmp_path: Path) -> None:
    mark = DecodingMark(tmp_path, "run")
    mark.begin("0a")
    mark.end()
    mark.end()
    mark.renew()
    assert list((tmp_path / "runs" / "run").iterdir()) == []


def test_a_mark_that_cannot_be_deleted_does_not_hide_why_a_run_ended(tmp_path: Path) -> None:
    mark = DecodingMark(tmp_path, "run")
    mark.begin("0a")
    path = tmp_path / "runs" / "run" / MARK_FILE
    path.unlink()
    path.mkdir()  # no file that can be unlinked, not even by root
    mark.end()
    assert path.exists()


def test_a_mark_is_renewed_when_it_is_old_and_not_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark = DecodingMark(tmp_path, "run")
    mark.begin("0a")
    path = tmp_path / "runs" / "run" / MARK_FILE
    first = path.read_text()
    mark.renew()
    assert path.read_text() == first
    monkeypatch.setattr(unfinished, "RENEW_S", 0.0)
    mark.renew()
    before, after = (Mark(**json.loads(text)) for text in (first, path.read_text()))
    assert before.renewed_unix_s < after.renewed_unix_s
    assert before.shard_id == after.shard_id


def test_a_process_that_does_not_exist_has_no_start() -> None:
    assert process_start(os.getpid()).isdigit()
    assert process_start(2**22 + 1) == ""  # above PID_MAX_LIMIT
