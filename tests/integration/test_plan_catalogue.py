"""A catalogue is listed and planned as a stream: memory hardly grows with the number of tracks."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

JOB = Path(__file__).parents[2] / "jobs" / "plan_catalogue.py"


def planned(tmp_path: Path, n_tracks: int, *options: str) -> dict[str, dict[str, Any]]:
    """Let the job plan a catalogue twice; figures of both runs."""
    found = tmp_path / f"{n_tracks}.json"
    line = (JOB, "--tracks", n_tracks, "--folder", tmp_path, "--out", found, *options)
    subprocess.run([sys.executable, *map(str, line)], check=True, capture_output=True)
    figures: dict[str, dict[str, Any]] = json.loads(found.read_text())
    return figures


def test_a_second_run_finds_the_catalogue_and_half_of_the_work(tmp_path: Path) -> None:
    first, second = planned(tmp_path, 3_200, "--format", "csv", "--shuffled").values()
    assert (first["n_tracks"], first["n_new"], first["n_pending_shards"]) == (3_200, 3_200, 1_067)
    assert (second["n_tracks"], second["n_new"], second["n_pending_shards"]) == (3_200, 0, 533)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_million_tracks_take_little_more_memory_than_a_thousand(tmp_path: Path) -> None:
    few, many = (planned(tmp_path, n_tracks, "--shuffled") for n_tracks in (1_000, 1_000_000))
    for run, figures in many.items():
        assert figures["n_tracks"] == 1_000_000
        assert figures["peak_mib"] - few[run]["peak_mib"] < 300
        assert figures["peak_mib"] < 600
