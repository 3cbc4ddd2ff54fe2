"""Known vulnerabilities of what a lock file installs, as `pip-audit` knows them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from audit_part import Part

NAME: Final = "vulnerabilities"
COLUMNS: Final = ("distribution", "version", "vulnerability", "fixed in")
# The lock names every version, so that nothing has to be resolved, downloaded or installed.
COMMAND: Final = (
    *(sys.executable, "-m", "pip_audit", "--no-deps", "--disable-pip"),
    *("--format", "json", "--progress-spinner", "off"),
)


def vulnerabilities(lock: Path, *, environment: Mapping[str, str] | None = None) -> Part:
    """Ask for the known vulnerabilities of the distributions of a lock file.

    Parameters
    ----------
    lock : Path
        Requirements with exact versions.
    environment : mapping of str to str, optional
        For the process that asks; this one's by default.

    Returns
    -------
    part : Part
        A distribution that the service does not know counts as not checked: a package index that
        serves files alone answers so for every one.
    """
    ended = subprocess.run(
        [*COMMAND, "--requirement", str(lock)],
        env=None if environment is None else dict(environment),
        capture_output=True,
        text=True,
        check=False,
    )
    try:
        answers = json.loads(ended.stdout)["dependencies"]
    except ValueError:
        return Part(NAME, 0, COLUMNS, unchecked=(_refusal(ended.stderr),))
    return _judged(answers)


def _judged(answers: list[dict[str, Any]]) -> Part:
    skipped = [answer["name"] for answer in answers if "skip_reason" in answer]
    rows = tuple(row for answer in answers for row in _rows(answer))
    return Part(
        NAME,
        len(answers) - len(skipped),
        COLUMNS,
        rows,
        findings=tuple(_finding(row) for row in rows),
        unchecked=tuple(_unknown(skipped, n_asked=len(answers))),
    )


def _rows(answer: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    for each in answer.get("vulns", []):
        yield answer["name"], answer["version"], each["id"], ", ".join(each["fix_versions"])


def _finding(row: tuple[str, ...]) -> str:
    name, version, vulnerability, fixed = row
    return f"{name} {version} has {vulnerability}; " + (f"take {fixed}" if fixed else "no fix yet")


def _unknown(names: list[str], *, n_asked: int) -> Iterator[str]:
    if names:
        yield (
            f"vulnerabilities of {len(names)} of {n_asked} distributions were not checked: the"
            f" service does not know {', '.join(names[:3])}{', …' if len(names) > 3 else ''}"
        )


def _refusal(stderr: str) -> str:
    reason = (stderr.strip().splitlines() or ["it said nothing"])[-1]
    is_offline = any(sign in stderr for sign in ("ConnectionError", "ProxyError", "Timeout"))
    cause = "no network" if is_offline else "pip-audit did not run"
    return f"{cause}: vulnerabilities were not checked ({reason})"
