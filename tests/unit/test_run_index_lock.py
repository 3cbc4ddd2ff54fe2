"""The lock of an index run: held by one, renewed, taken over from the silent, by one of many."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from embedlib.catalog.stores import StorePath
from embedlib.errors import OutputError, RunError
from embedlib.run import index_lock
from embedlib.run.index_lock import LOCK_FILE, SILENT_S, IndexLock

HOLD = """
import sys
from pathlib import Path
from embedlib.run.index_lock import IndexLock
with IndexLock(Path(sys.argv[1]), "first"):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index_lock, "BEAT_S", 0.05)


@pytest.fixture
def lock_path(tmp_path: Path) -> Path:
    return tmp_path / "runs" / LOCK_FILE


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lock."""
    line = [sys.executable, "-c", HOLD, str(tmp_path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(line, text=True, **pipes) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def leave_lock(path: Path, **fields: Any) -> dict[str, Any]:
    """Leave a lock as another run would, of another machine but for the fields given."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {
        "run_id": "first",
        "host": "elsewhere",
        "pid": 17,
        "process_start": "99",
        "nonce": "0123456789abcdef",
        "since": "2026-11-01T02:15:00Z",
        "renewed_unix_s": time.time(),
    }
    path.write_text(json.dumps(content | fields))
    return content | fields


def silent_since(age_s: float) -> float:
    return time.time() - age_s


def test_a_lock_is_there_while_it_is_held_and_gone_afterwards(
    tmp_path: Path, lock_path: Path
) -> None:
    with IndexLock(tmp_path, "run") as lock:
        assert json.loads(lock_path.read_text())["pid"] == os.getpid()
        assert lock.taken_from is None
    assert list(lock_path.parent.iterdir()) == []


def test_a_lock_is_gone_after_an_error_too(tmp_path: Path, lock_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), IndexLock(tmp_path, "run"):
        _ = 1 // 0
    assert not lock_path.exists()


def test_a_second_run_is_told_who_holds_the_lock(
    holder: subprocess.Popen[str], tmp_path: Path
) -> None:
    with (
        pytest.raises(RunError, match=rf"host .+, process {holder.pid}, since \d{{4}}-.+Z"),
        IndexLock(tmp_path, "second"),
    ):
        pass


def test_the_lock_of_a_process_that_was_killed_here_is_taken_over_at_once(
    holder: subprocess.Popen[str], tmp_path: Path
) -> None:
    holder.kill()
    holder.wait()
    with IndexLock(tmp_path, "second") as lock:
        assert lock.taken_from is not None
        assert lock.taken_from.pid == holder.pid


def test_a_lock_of_elsewhere_that_is_renewed_is_respected(tmp_path: Path, lock_path: Path) -> None:
    content = leave_lock(lock_path)
    renewal = threading.Timer(
        0.2, lambda: leave_lock(lock_path, renewed_unix_s=content["renewed_unix_s"] + 30)
    )
    renewal.start()
    with (
        pytest.raises(RunError, match="host elsewhere, process 17, since 2026-11-01T02:15:00Z"),
        IndexLock(tmp_path, "second"),
    ):
        pass
    renewal.join()


def test_a_lock_that_was_just_left_elsewhere_is_outwaited(
    tmp_path: Path, lock_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index_lock, "SILENT_S", 0.5)
    leave_lock(lock_path)
    started = time.monotonic()
    with IndexLock(tmp_path, "second") as lock:
        assert lock.taken_from is not None
    assert time.monotonic() - started > 0.3


@pytest.mark.parametrize(
    "fields", [{"host": "elsewhere"}, {"host": socket.gethostname(), "process_start": ""}]
)
def test_a_lock_that_was_silent_for_ten_minutes_is_taken_over(
    fields: dict[str, str], tmp_path: Path, lock_path: Path
) -> None:
    leave_lock(lock_path, renewed_unix_s=silent_since(SILENT_S + 1), **fields)
    with IndexLock(tmp_path, "second") as lock:
        assert str(lock.taken_from).endswith("process 17, since 2026-11-01T02:15:00Z")
        assert json.loads(lock_path.read_text())["run_id"] == "second"
    assert list(lock_path.parent.iterdir()) == []


def test_silence_is_ten_minutes() -> None:
    assert SILENT_S == 600


def test_of_many_that_take_over_exactly_one_succeeds(tmp_path: Path, lock_path: Path) -> None:
    leave_lock(lock_path, renewed_unix_s=silent_since(SILENT_S + 1))
    n_runs = 16
    ready, done = threading.Barrier(n_runs), threading.Event()

    def try_it(number: int) -> bool:
        ready.wait()
        try:
            with IndexLock(tmp_path, str(number)):
                done.wait()
        except RunError:
            return False
        return True

    with ThreadPoolExecutor(n_runs) as pool:
        tries = [pool.submit(try_it, number) for number in range(n_runs)]
        deadline = time.monotonic() + 10
        while sum(each.done() for each in tries) < n_runs - 1:
            assert time.monotonic() < deadline, "more than one holds the lock"
            time.sleep(0.01)
        done.set()
        assert sum(each.result() for each in tries) == 1
    assert list(lock_path.parent.iterdir()) == []


def test_a_claim_whose_owner_died_is_passed_over(tmp_path: Path, lock_path: Path) -> None:
    left = leave_lock(lock_path, renewed_unix_s=silent_since(2 * SILENT_S))
    claim = lock_path.with_name(f"{LOCK_FILE}.{left['nonce']}.0")
    leave_lock(claim, nonce="aa", renewed_unix_s=silent_since(SILENT_S + 1))
    with IndexLock(tmp_path, "third") as lock:
        assert lock.taken_from is not None
    assert list(lock_path.parent.iterdir()) == []


def test_a_claim_of_one_who_is_at_it_is_respected(tmp_path: Path, lock_path: Path) -> None:
    left = leave_lock(lock_path, renewed_unix_s=silent_since(2 * SILENT_S))
    claim = lock_path.with_name(f"{LOCK_FILE}.{left['nonce']}.0")
    leave_lock(claim, nonce="aa", pid=18)
    with pytest.raises(RunError, match="process 18"), IndexLock(tmp_path, "third"):
        pass
    assert json.loads(lock_path.read_text()) == left


def test_a_held_lock_is_renewed(tmp_path: Path, lock_path: Path) -> None:
    with IndexLock(tmp_path, "run"):
        first = json.loads(lock_path.read_text())
        deadline = time.monotonic() + 5
        while (now := json.loads(lock_path.read_text())) == first:
            assert time.monotonic() < deadline
            time.sleep(0.01)
    assert now["renewed_unix_s"] > first["renewed_unix_s"]
    assert {**now, "renewed_unix_s": 0} == {**first, "renewed_unix_s": 0}


def test_a_lock_that_another_has_taken_is_neither_renewed_nor_deleted(
    tmp_path: Path, lock_path: Path
) -> None:
    with IndexLock(tmp_path, "run"):
        theirs = leave_lock(lock_path)
        time.sleep(0.2)
        assert json.loads(lock_path.read_text()) == theirs
    assert json.loads(lock_path.read_text()) == theirs


@pytest.fixture
def store() -> Iterator[StorePath]:
    """An output in a store, here of this process."""
    yield StorePath("memory://bucket/out")
    MemoryFileSystem.store.clear()
    MemoryFileSystem.pseudo_dirs[:] = [""]


def test_a_lock_in_a_store_is_renewed_refused_and_released(store: StorePath) -> None:
    path = store / "runs" / LOCK_FILE
    with IndexLock(store, "first"):
        first = path.read_bytes()
        with pytest.raises(RunError, match=f"process {os.getpid()}"), IndexLock(store, "second"):
            pass
        deadline = time.monotonic() + 5
        while path.read_bytes() == first:
            assert time.monotonic() < deadline
            time.sleep(0.01)
    assert not path.exists()


def test_a_silent_lock_in_a_store_is_taken_over(store: StorePath, lock_path: Path) -> None:
    leave_lock(lock_path, renewed_unix_s=silent_since(SILENT_S + 1))
    (store / "runs" / LOCK_FILE).write_bytes(lock_path.read_bytes())
    with IndexLock(store, "second") as lock:
        assert lock.taken_from is not None
    assert list((store / "runs").iterdir()) == []


def test_a_damaged_lock_is_named(tmp_path: Path, lock_path: Path) -> None:
    lock_path.parent.mkdir()
    lock_path.write_text("not JSON")
    with pytest.raises(OutputError, match=r"index\.lock is damaged"), IndexLock(tmp_path, "run"):
        pass
