"""Names of jobs: one per output and try, fit for a URL."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from embedlib.errors import ConfigError
from embedlib.run.submission import submission_id


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
