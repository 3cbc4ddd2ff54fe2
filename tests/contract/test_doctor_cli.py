"""``embedlib doctor``: what it prints, and how it ends."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from embedlib.cli.app import main

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the command in this process; its exit code, stdout and stderr."""

    def run_one(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["embedlib", "doctor", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        return (int(ended.value.code or 0), *capsys.readouterr())

    return run_one


def test_json_is_one_object_in_which_each_fault_has_a_fix(run: Run, tmp_path: Path) -> None:
    code, stdout, stderr = run("--out", tmp_path / "out", "--json")
    found = json.loads(stdout)
    names = {check["name"] for check in found["checks"]}
    verdicts = [check["verdict"] for check in found["checks"]]
    assert (code, stderr) == (1 if found["n_faults"] else 0, "")
    assert names >= {"python", "cores", "memory", "cache", "sockets", "card", "weights", "store"}
    assert verdicts.count("fault") == found["n_faults"]
    assert verdicts.count("warning") == found["n_warnings"]
    assert all(bool(check["fix"]) == (check["verdict"] != "ok") for check in found["checks"])
    assert [*tmp_path.iterdir()] == []


def test_people_get_a_line_for_each_thing_and_one_for_its_fix(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cache").touch()
    monkeypatch.setenv("EMBEDLIB_CACHE", str(tmp_path / "cache"))
    code, stdout, _ = run()
    lines = stdout.splitlines()
    (number,) = (n for n, line in enumerate(lines) if line.startswith("fault    cache "))
    assert code == 1
    assert lines[number + 1].strip() == "fix: export EMBEDLIB_CACHE=/a/folder/with/room"
    assert lines[-1].split()[1] == "faults,"


def test_a_token_in_the_environment_is_not_printed(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_AUTH_TOKEN", "hush-hush-hush")
    _, stdout, stderr = run()
    assert "in RAY_AUTH_TOKEN" in stdout
    assert "hush" not in stdout + stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--device", "tpu"), "device='tpu' is unknown"),
        (("--out", "ftp://host/out"), "tables cannot be written to ftp://host/out"),
    ],
)
def test_wrong_usage_ends_with_2_before_anything_is_looked_at(
    run: Run, arguments: tuple[str, ...], message: str
) -> None:
    code, stdout, stderr = run(*arguments)
    assert (code, stdout) == (2, "")
    assert stderr.startswith(f"error: {message}")


def test_a_cluster_that_is_not_there_is_a_fault_with_the_line_that_starts_it(run: Run) -> None:
    code, stdout, _ = run("--address", "127.0.0.1:1")
    assert code == 1
    assert "nobody listens at 127.0.0.1:1" in stdout
    assert "fix: RAY_AUTH_MODE=token ray start --head --port 1" in stdout
