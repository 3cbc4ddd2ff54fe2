"""The demonstration runs to its end, and the lines that it ends with can be run."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

N_TRACKS = 28
N_FAILED = 2

# Runs one line as a notebook would: everything, then the value of its last expression.
SHOW_LENGTH = """
import ast, sys
*before, last = ast.parse(sys.argv[1]).body
names = {}
exec(compile(ast.Module(before, []), "line", "exec"), names)
value = eval(compile(ast.Expression(last.value), "line", "eval"), names)
print("length:", len(value) if value is not None else "shown")
"""


@pytest.fixture(scope="module")
def demo(environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Where the demonstration ran, and what it printed; there are no published weights."""
    folder = tmp_path_factory.mktemp("demo")
    bare = {name: value for name, value in environment.items() if name != "EMBEDLIB_MODELS"}
    line = [sys.executable, "-m", "embedlib.cli.app", "demo", "--local", "--quiet"]
    done = subprocess.run(
        line, env=bare, cwd=folder, capture_output=True, text=True, timeout=120, check=True
    )
    assert done.stderr == ""
    return folder, done.stdout


def test_the_demonstration_says_that_random_weights_mean_nothing(demo: tuple[Path, str]) -> None:
    _, printed = demo
    (note,) = (line for line in printed.splitlines() if line.startswith("note: "))
    assert "untrained-msd-musicnn-1, untrained-msd-vgg-1" in note
    assert "mean nothing" in note


def test_the_demonstration_embeds_with_two_models_and_names_what_failed(
    demo: tuple[Path, str],
) -> None:
    _, printed = demo
    assert printed.startswith(f"{2 * N_TRACKS} rows, ")
    assert "failed rows: 2 empty, 2 undecodable; see `embedlib failures " in printed


@pytest.mark.parametrize(
    ("reader", "expected"),
    [
        ("embedlib", f"length: {N_TRACKS - N_FAILED}"),
        ("pandas", f"length: {N_TRACKS}"),
        ("polars", f"length: {N_TRACKS}"),
        ("duckdb", f"{N_TRACKS} rows"),
    ],
)
def test_a_line_that_the_demonstration_prints_reads_the_rows(
    demo: tuple[Path, str], reader: str, expected: str
) -> None:
    folder, printed = demo
    pytest.importorskip(reader)
    (code,) = re.findall(rf"^  {reader}: +(.+)$", printed, flags=re.MULTILINE)
    done = subprocess.run(
        [sys.executable, "-c", SHOW_LENGTH, code], cwd=folder, capture_output=True, text=True
    )
    assert expected in done.stdout, done.stdout + done.stderr


def test_a_second_demonstration_finds_everything_done(
    demo: tuple[Path, str], environment: dict[str, str]
) -> None:
    bare = {name: value for name, value in environment.items() if name != "EMBEDLIB_MODELS"}
    line = [sys.executable, "-m", "embedlib.cli.app", "demo", "--local"]
    done = subprocess.run(line, env=bare, cwd=demo[0], capture_output=True, text=True)
    assert done.returncode == 0
    assert done.stdout.startswith(f"nothing to do: all {N_TRACKS} tracks are in ")
