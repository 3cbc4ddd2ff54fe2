"""The threat model: each threat names a test that there is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROWS = [
    [cell.strip() for cell in line.strip("|").split(" | ")]
    for line in (ROOT / "SECURITY.md").read_text().splitlines()
    if line.startswith("| ") and "`test_" in line
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0][:40])
def test_each_threat_names_tests_that_there_are(row: list[str]) -> None:
    path = ""
    for name in re.findall(r"`([^`]+)`", row[-1]):
        if name.endswith(".py"):
            path = name
        elif name.startswith("test_"):
            assert f"def {name}(" in (ROOT / "tests" / path).read_text()


def test_every_part_of_the_model_has_threats() -> None:
    text = (ROOT / "SECURITY.md").read_text()
    parts = re.split(r"^#+ ", text.partition("## Threats")[2], flags=re.MULTILINE)[1:]
    of_threats = [part for part in parts if not part.startswith("What is not defended")]
    assert all("`test_" in part for part in of_threats)
    assert len(of_threats) == 6
