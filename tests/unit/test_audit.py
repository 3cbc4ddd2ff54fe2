"""The audit: what it finds, what it says it did not look at, and that it shows no secret."""

from __future__ import annotations

import doctest
import importlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import Distribution, PackageNotFoundError
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
ANSWERS = "import json, sys; sys.stdout.write(json.dumps({answers!r})); sys.exit(1)"
CLOSED_PORT = "http://127.0.0.1:9"


@pytest.fixture(scope="module", autouse=True)
def _jobs() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "jobs"))
        yield


@pytest.fixture
def part() -> ModuleType:
    return importlib.import_module("audit_part")


@pytest.fixture
def licences() -> ModuleType:
    return importlib.import_module("audit_licences")


@pytest.fixture
def secrets() -> ModuleType:
    return importlib.import_module("audit_secrets")


@pytest.fixture
def vulnerabilities() -> ModuleType:
    return importlib.import_module("audit_vulnerabilities")


@pytest.fixture
def rules(licences: ModuleType) -> Any:
    text = (ROOT / "configs" / "audit" / "licences.yaml").read_text()
    return licences.LicenceRules.model_validate(yaml.safe_load(text))


def aws_key(letter: str = "Q") -> str:
    """The pattern of a key, made here so that no file of this repository holds one."""
    return "AKIA" + letter * 8 + "2" * 8


@pytest.fixture
def repository(tmp_path: Path, secrets: ModuleType) -> Path:
    """A repository with nothing in it, and nothing accepted yet."""
    root = tmp_path / "repository"
    subprocess.run(["git", "init", "--quiet", str(root)], check=True)
    secrets.accept(root, accepted=root / "accepted.json")
    return root


def scan(secrets: ModuleType, root: Path) -> Any:
    return secrets.secrets(root, accepted=root / "accepted.json")


def installed(folder: Path, metadata: str) -> Callable[[str], Distribution]:
    """Find one distribution, called ``made-up``."""
    place = folder / "made_up-1.0.dist-info"
    place.mkdir()
    (place / "METADATA").write_text(f"Metadata-Version: 2.4\nName: made-up\n{metadata}\n")

    def find(name: str) -> Distribution:
        if name != "made-up":
            raise PackageNotFoundError(name)
        return Distribution.at(place)

    return find


def lock_of(folder: Path, *lines: str) -> Path:
    path = folder / "requirements.lock"
    path.write_text("\n".join(lines) + "\n")
    return path


def answering(folder: Path, *answers: dict[str, Any]) -> dict[str, str]:
    """An environment whose pip-audit answers as told."""
    (folder / "pip_audit.py").write_text(ANSWERS.format(answers={"dependencies": list(answers)}))
    return os.environ | {"PYTHONPATH": str(folder)}


@pytest.mark.parametrize("name", ["audit_part", "audit_licences"])
def test_the_examples_run(name: str) -> None:
    result = doctest.testmod(importlib.import_module(name))
    assert result.attempted
    assert not result.failed


@pytest.mark.parametrize(
    ("codes", "expected"), [((0, 0), 0), ((0, 3), 3), ((3, 1), 1), ((1, 3), 1), ((), 0)]
)
def test_what_was_found_goes_before_what_was_not_looked_at(
    part: ModuleType, codes: tuple[int, ...], expected: int
) -> None:
    lines = {0: {}, 1: {"findings": ("a",)}, 3: {"unchecked": ("b",)}}
    assert part.exit_code(part.Part("p", 1, (), **lines[code]) for code in codes) == expected


def test_a_key_in_a_file_is_found_by_its_place_and_not_shown(
    secrets: ModuleType, repository: Path
) -> None:
    (repository / "config.py").write_text(f'\nkey = "{aws_key()}"\n')
    found = scan(secrets, repository)
    assert found.exit_code == 1
    assert "config.py:2 looks like a AWS Access Key" in found.findings
    assert aws_key() not in repr(found)


def test_what_was_accepted_is_not_found_again_also_on_another_line(
    secrets: ModuleType, repository: Path
) -> None:
    (repository / "config.py").write_text(f'key = "{aws_key()}"\n')
    assert secrets.accept(repository, accepted=repository / "accepted.json")
    (repository / "config.py").write_text(f'\n\nkey = "{aws_key()}"\n')
    assert scan(secrets, repository).exit_code == 0
    assert aws_key() not in (repository / "accepted.json").read_text()


def test_what_was_accepted_in_one_clone_holds_in_another(
    secrets: ModuleType, repository: Path
) -> None:
    (repository / "config.py").write_text(f'key = "{aws_key()}"\n')
    assert secrets.accept(repository, accepted=repository / "accepted.json")
    clone = repository.rename(repository.with_name("clone"))
    assert scan(secrets, clone).exit_code == 0


def test_another_key_in_a_file_with_an_accepted_one_is_found(
    secrets: ModuleType, repository: Path
) -> None:
    (repository / "config.py").write_text(f'key = "{aws_key()}"\n')
    secrets.accept(repository, accepted=repository / "accepted.json")
    (repository / "config.py").write_text(f'key = "{aws_key()}"\nkey = "{aws_key("Z")}"\n')
    assert {row[1] for row in scan(secrets, repository).rows} == {"2"}


def test_files_that_git_ignores_are_not_looked_at(secrets: ModuleType, repository: Path) -> None:
    (repository / ".gitignore").write_text("mine.env\n")
    (repository / "mine.env").write_text(f'key = "{aws_key()}"\n')
    found = scan(secrets, repository)
    assert (found.exit_code, found.n_checked) == (0, 1)


def test_without_a_repository_the_scan_says_that_it_did_not_look(
    secrets: ModuleType, tmp_path: Path
) -> None:
    found = scan(secrets, tmp_path)
    assert found.exit_code == 3
    assert "secrets were not looked for" in found.unchecked[0]


@pytest.mark.parametrize(
    ("metadata", "licence"),
    [
        ("License-Expression: MIT OR Apache-2.0", "MIT OR Apache-2.0"),
        (
            "License: BSD-3-Clause\nClassifier: License :: OSI Approved :: BSD License",
            "BSD-3-Clause",
        ),
        ("License: Apache 2.0", "Apache-2.0"),
        (
            "License: Copyright (c) 2025 Ann\nClassifier: License :: OSI Approved :: MIT License",
            "MIT",
        ),
        (
            "License: Dual License\nClassifier: License :: OSI Approved :: BSD License\n"
            "Classifier: License :: OSI Approved :: Apache Software License",
            "BSD-3-Clause AND Apache-2.0",
        ),
        (
            "Classifier: License :: OSI Approved :: MIT License\nClassifier: License :: Other",
            "unknown",
        ),
        ("License: ask Ann", "unknown"),
        ("Summary: none", "unknown"),
    ],
)
def test_a_licence_is_read_from_the_clearest_field_that_there_is(
    licences: ModuleType, rules: Any, tmp_path: Path, metadata: str, licence: str
) -> None:
    found = installed(tmp_path, metadata)("made-up")
    assert licences.licence_of(found, rules=rules) == licence


@pytest.mark.parametrize(
    ("metadata", "exit_code"),
    [
        ("License-Expression: MIT", 0),
        ("License-Expression: GPL-3.0-only OR MIT", 0),
        ("License-Expression: GPL-3.0-only AND MIT", 1),
        ("License-Expression: AGPL-3.0-only", 1),
        ("Summary: none", 1),
    ],
)
def test_a_licence_that_is_not_allowed_or_not_there_is_a_finding(
    licences: ModuleType, rules: Any, tmp_path: Path, metadata: str, exit_code: int
) -> None:
    find = installed(tmp_path, metadata)
    found = licences.licences(lock_of(tmp_path, "made-up==1.0"), rules=rules, find=find)
    assert found.exit_code == exit_code
    assert ["made-up says" in line for line in found.findings] == [True] * exit_code


@pytest.mark.parametrize(("says", "exit_code"), [("GPL-3.0-only", 0), ("GPL-2.0-only", 1)])
def test_a_judgement_holds_until_the_licence_changes(
    licences: ModuleType, rules: Any, tmp_path: Path, says: str, exit_code: int
) -> None:
    judged = {"made-up": licences.Judgement(says=says, why="a tool")}
    own = rules.model_copy(update={"judged": judged})
    find = installed(tmp_path, "License-Expression: GPL-3.0-only")
    found = licences.licences(lock_of(tmp_path, "made-up==1.0"), rules=own, find=find)
    assert found.exit_code == exit_code


def test_what_is_not_installed_here_is_not_checked(
    licences: ModuleType, rules: Any, tmp_path: Path
) -> None:
    find = installed(tmp_path, "License-Expression: MIT")
    lock = lock_of(tmp_path, "# a comment", "made-up==1.0", "away==2; sys_platform == 'win32'")
    found = licences.licences(lock, rules=rules, find=find)
    assert (found.exit_code, found.n_checked) == (3, 1)
    assert "away is not installed here" in found.unchecked[0]


def test_all_that_was_judged_is_in_the_lock(rules: Any) -> None:
    lock = (ROOT / "requirements.lock").read_text().splitlines()
    assert rules.judged.keys() <= {line.partition("==")[0] for line in lock}


def test_without_network_nothing_is_called_free_of_vulnerabilities(
    vulnerabilities: ModuleType, tmp_path: Path
) -> None:
    closed = os.environ | {"HTTPS_PROXY": CLOSED_PORT, "https_proxy": CLOSED_PORT}
    lock = lock_of(tmp_path, "tqdm==0.0.0")
    found = vulnerabilities.vulnerabilities(lock, environment=closed)
    assert (found.exit_code, found.n_checked) == (3, 0)
    assert found.unchecked[0].startswith("no network: vulnerabilities were not checked")
    assert found.verdict == "vulnerabilities: NOT CHECKED (exit code 3)"


def test_a_vulnerability_is_a_finding_with_the_version_to_take(
    vulnerabilities: ModuleType, tmp_path: Path
) -> None:
    known = {"id": "PYSEC-1", "fix_versions": ["1.1"], "aliases": [], "description": "bad"}
    environment = answering(tmp_path, {"name": "made-up", "version": "1.0", "vulns": [known]})
    lock = lock_of(tmp_path, "made-up==1.0")
    found = vulnerabilities.vulnerabilities(lock, environment=environment)
    assert found.exit_code == 1
    assert found.findings == ("made-up 1.0 has PYSEC-1; take 1.1",)


def test_a_distribution_that_the_service_does_not_know_is_not_checked(
    vulnerabilities: ModuleType, tmp_path: Path
) -> None:
    environment = answering(
        tmp_path,
        {"name": "made-up", "version": "1.0", "vulns": []},
        {"name": "away", "skip_reason": "not found"},
    )
    lock = lock_of(tmp_path, "made-up==1.0", "away==2")
    found = vulnerabilities.vulnerabilities(lock, environment=environment)
    assert (found.exit_code, found.n_checked) == (3, 1)
    assert "1 of 2 distributions were not checked" in found.unchecked[0]
    assert found.verdict.startswith("vulnerabilities: 1 checked, nothing to change, and not all")


def test_a_lock_that_cannot_be_read_is_not_called_no_network(
    vulnerabilities: ModuleType, tmp_path: Path
) -> None:
    found = vulnerabilities.vulnerabilities(lock_of(tmp_path, "not a requirement"))
    assert found.exit_code == 3
    assert found.unchecked[0].startswith("pip-audit did not run")


def test_the_job_prints_one_object_without_the_secret_and_exits_with_what_it_found(
    repository: Path, tmp_path: Path
) -> None:
    (repository / "config.py").write_text(f'key = "{aws_key()}"\n')
    environment = answering(tmp_path, {"name": "six", "version": "1", "vulns": []})
    lock = lock_of(tmp_path, "six==1")
    command = [sys.executable, str(ROOT / "jobs" / "audit.py"), "--json"]
    command += ["--root", str(repository), "--lock", str(lock)]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    answer = json.loads(ended.stdout)
    assert (ended.returncode, answer["exit_code"]) == (1, 1)
    codes = {name: each["exit_code"] for name, each in answer["parts"].items()}
    assert codes == {"vulnerabilities": 0, "licences": 0, "secrets": 1}
    assert aws_key() not in ended.stdout + ended.stderr
