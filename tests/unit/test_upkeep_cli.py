"""The verbs compact and vacuum: what they print, and what they refuse."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from embedlib.cli import upkeep
from embedlib.errors import ConfigError
from embedlib.records import TrackRow
from embedlib.tables.reader import open_output

app = typer.Typer()
app.command("compact")(upkeep.compact)
app.command("vacuum")(upkeep.vacuum)


@pytest.fixture
def out(
    tmp_path: Path, make_output: Callable[..., Path], make_row: Callable[..., TrackRow]
) -> Path:
    return make_output(tmp_path / "out", [make_row(name) for name in "abcdef"])


def run(*line: str | Path) -> str:
    return CliRunner().invoke(app, list(map(str, line)), catch_exceptions=False).stdout


def test_compact_says_how_many_files_there_were_and_are(out: Path) -> None:
    lines = [line.split() for line in run("compact", out).splitlines()]
    assert [line[:4] for line in lines[1:]] == [
        ["catalog", "1", "->", "1"],
        ["tiny", "3", "->", "1"],
    ]


def test_both_print_one_object(out: Path) -> None:
    compacted = json.loads(run("compact", out, "--json"))
    assert compacted["tables"][1] | {"n_bytes_before": 0, "n_bytes_after": 0} == {
        "table": "tiny",
        "n_files_before": 3,
        "n_files_after": 1,
        "n_bytes_before": 0,
        "n_bytes_after": 0,
    }
    vacuumed = json.loads(run("vacuum", out, "--keep", "0d", "--json"))
    assert [(each["table"], each["n_files"]) for each in vacuumed["tables"]] == [
        ("catalog", 0),
        ("tiny", 3),
    ]


def test_a_week_is_kept_if_nothing_else_is_said(out: Path) -> None:
    run("compact", out)
    run("vacuum", out)
    assert len(open_output(out).tracks("tiny", at=1).to_arrow()) == 6


@pytest.mark.parametrize(
    "line", [("compact", "--target-mb", "0"), ("vacuum", "--keep", "a week")], ids=" ".join
)
def test_a_wrong_value_is_refused(out: Path, line: tuple[str, ...]) -> None:
    verb, *options = line
    with pytest.raises(ConfigError):
        run(verb, out, *options)
