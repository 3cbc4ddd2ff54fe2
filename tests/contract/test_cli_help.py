"""Help: of every verb, with an example, and before anything heavy is loaded."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

import embedlib
from embedlib.cli.app import app, show_help

HEAVY = ("numpy", "openvino", "pandas", "pyarrow", "pydantic", "ray")

# Ends the process as the command does, with the names of what was loaded on stderr.
REPORT_LOADED = f"""
import sys
from embedlib.cli.app import main
try:
    main()
finally:
    print(*(sys.modules.keys() & set({HEAVY!r})), file=sys.stderr)
"""


def verbs_of(command: Any, *path: str) -> dict[tuple[str, ...], Any]:
    """The commands under a group, by their names from the top."""
    if not hasattr(command, "commands"):
        return {path: command}
    verbs = {}
    for name, one in command.commands.items():
        verbs |= verbs_of(one, *path, name)
    return verbs


VERBS = verbs_of(typer.main.get_command(app))


def test_the_verbs_are_these() -> None:
    top = {verb[0] for verb in VERBS}
    writing, reading = (
        {"plan", "extract", "retry", "index", "compact", "vacuum", "export", "explore"},
        {
            "status",
            "verify",
            "failures",
            "provenance",
            "repro",
            "diff",
            "files",
            "history",
            "drift",
        },
    )
    others = {"models", "tasks", "probe", "report", "search", "submission-id", "repro"}
    assert top == writing | reading | others | {"doctor", "demo"}


@pytest.mark.parametrize("verb", VERBS, ids=" ".join)
def test_the_help_of_a_verb_ends_with_an_example_of_it(verb: tuple[str, ...]) -> None:
    last = VERBS[verb].help.splitlines()[-1]
    assert last.startswith(f"Example: embedlib {' '.join(verb)}")


@pytest.mark.parametrize("verb", [(), *VERBS], ids=" ".join)
@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_both_help_flags_show_what_typer_would_show(
    verb: tuple[str, ...], flag: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert show_help([*verb, flag])
    shown = capsys.readouterr().out
    result = CliRunner().invoke(app, [*verb, flag], prog_name="embedlib")
    assert result.exit_code == 0
    assert shown.split() == result.stdout.split()
    assert "Example: embedlib" in shown


@pytest.mark.parametrize(
    "arguments", [[], ["extract"], ["extrakt", "-h"], ["extract", "a.wav", "-h"]], ids=" ".join
)
def test_what_asks_for_more_than_help_is_left_to_typer(arguments: list[str]) -> None:
    assert not show_help(arguments)


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["extract", "--help"], ["models", "--help"], ["probe", "sweep", "--help"]],
    ids=" ".join,
)
def test_help_loads_nothing_heavy(arguments: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", REPORT_LOADED, *arguments], capture_output=True, text=True
    )
    assert (done.returncode, done.stderr.split()) == (0, [])


def test_the_version_is_that_of_the_package() -> None:
    result = CliRunner().invoke(app, ["--version", "extract"])
    assert (result.exit_code, result.stdout) == (0, f"embedlib {embedlib.__version__}\n")


def test_the_help_of_extract_names_its_exit_codes() -> None:
    text = " ".join(CliRunner().invoke(app, ["extract", "--help"]).stdout.split())
    assert "Exit codes: 0 all done, 1 an error, 2 wrong usage, 3 finished" in text
    assert "130 and 143 ended by SIGINT and SIGTERM" in text


def test_no_arguments_show_the_help() -> None:
    assert "Usage:" in CliRunner().invoke(app, []).output
