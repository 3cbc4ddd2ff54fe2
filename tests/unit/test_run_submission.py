"""Names of jobs: one per output and try, fit for a URL."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedlib.errors import ConfigError
from embedlib.run.journal import RECORD_FILE
from embedlib.run.lookout import SILENT_S
from embedlib.run.standing import RunRecord, Standing
from embedlib.run.submission import submission_id, try_number

FIRST, SECOND, THIRD = (f"2026010{day}-000000-000000-aaaaaa" for day in (1, 2, 3))


def leave_run(out: Path, run_id: str, *, ended: str = "", written_unix_s: float = 0.0) -> None:
    """Leave what a run on another machine says of itself, by default just now."""
    record = RunRecord(
        run_id=run_id, host="elsewhere", pid=1, process_start="7", models=("m",),
        started_unix_s=time.time() - 60.0, written_unix_s=written_unix_s or time.time(),
        n_written=3, ended=ended, standing=Standing(),
    )  # fmt: skip
    (out / "runs" / run_id).mkdir(parents=True, exist_ok=True)
    (out / "runs" / run_id / RECORD_FILE).write_text(record.to_json())


def try_of(out: Path) -> int:
    return int(submission_id(str(out)).rpartition("-try")[2])


def test_the_name_tells_the_output_and_counts_the_runs(tmp_path: Path) -> None:
    out = tmp_path / "index"
    names = [submission_id(str(out))]
    for run_id in ("20260101-000000-aaaaaa", "20260102-000000-bbbbbb"):
        (out / "runs" / run_id).mkdir(parents=True)
        names.append(submission_id(str(out)))
    assert [re.sub("-[0-9a-f]{8}-", "-#-", name) for name in names] == [
        "embedlib-index-#-try1",
        "embedlib-index-#-try2",
        "embedlib-index-#-try3",
    ]


def test_outputs_of_one_name_in_two_folders_have_two_names(tmp_path: Path) -> None:
    assert submission_id(str(tmp_path / "a" / "out")) != submission_id(str(tmp_path / "b" / "out"))


def test_one_output_has_one_name_however_it_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert submission_id("out") == submission_id(str(tmp_path / "out"))


@pytest.mark.parametrize("name", ["mein Index (2026)", "é/ü", "-", "x" * 200])
def test_any_name_gives_one_that_a_url_can_hold(tmp_path: Path, name: str) -> None:
    assert re.fullmatch(r"[A-Za-z0-9_-]{1,80}", submission_id(str(tmp_path / name)))


def test_a_place_where_no_output_can_lie_is_refused() -> None:
    with pytest.raises(ConfigError, match="tables cannot be written"):
        submission_id("https://host/out")


@pytest.mark.parametrize(
    ("ended", "tries"),
    [("", (1, 1)), ("done", (2, 2)), ("SIGTERM", (2, 2)), ("RunError: no node", (2, 2))],
)
def test_while_a_run_works_its_name_is_given_again(
    tmp_path: Path, ended: str, tries: tuple[int, int]
) -> None:
    leave_run(tmp_path, FIRST, ended=ended)
    (tmp_path / "runs" / "index.lock").write_text("{}")
    assert (try_of(tmp_path), try_of(tmp_path)) == tries


def test_a_run_that_was_killed_has_given_its_name_back(tmp_path: Path) -> None:
    leave_run(tmp_path, FIRST, written_unix_s=time.time() - 2 * SILENT_S)
    assert try_of(tmp_path) == 2


def test_the_run_that_works_is_named_though_a_later_one_has_ended(tmp_path: Path) -> None:
    leave_run(tmp_path, FIRST, ended="done")
    leave_run(tmp_path, SECOND)
    leave_run(tmp_path, THIRD, ended="done")
    assert try_of(tmp_path) == 2


def test_a_job_that_left_no_run_does_not_block_the_next(tmp_path: Path) -> None:
    failed = {submission_id(str(tmp_path)): True}
    second = submission_id(str(tmp_path), has_ended=failed)
    third = submission_id(str(tmp_path), has_ended=failed | {second: True})
    assert [name[-5:] for name in (*failed, second, third)] == ["-try1", "-try2", "-try3"]


def test_a_job_that_waits_or_works_is_named_again_until_it_has_ended(tmp_path: Path) -> None:
    failed = {submission_id(str(tmp_path)): True}
    waiting = submission_id(str(tmp_path), has_ended=failed)
    jobs = failed | {waiting: False}
    assert submission_id(str(tmp_path), has_ended=jobs) == waiting
    leave_run(tmp_path, FIRST)
    assert submission_id(str(tmp_path), has_ended=jobs) == waiting
    leave_run(tmp_path, FIRST, ended="done")
    assert submission_id(str(tmp_path), has_ended=failed | {waiting: True})[-5:] == "-try3"


def test_jobs_of_other_outputs_do_not_count(tmp_path: Path) -> None:
    name = submission_id(str(tmp_path / "out"))
    other = submission_id(str(tmp_path / "b" / "out"))
    jobs = {other: False, f"{name}0-more": False, "raysubmit_4LamXRuQpYdSMg7J": False}
    assert submission_id(str(tmp_path / "out"), has_ended=jobs) == name


@given(n_runs=st.integers(0, 9), has_ended=st.dictionaries(st.integers(1, 12), st.booleans()))
def test_a_try_is_named_again_exactly_while_one_has_not_ended(
    n_runs: int, has_ended: dict[int, bool]
) -> None:
    number = try_number(n_runs=n_runs, n_until_working=0, has_try_ended=has_ended)
    assert (number in has_ended) == (not all(has_ended.values()))
    assert number > n_runs or number in has_ended
