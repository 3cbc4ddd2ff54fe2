"""The job that holds the intervals of a sweep against the truth, as a user starts it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

JOB = Path(__file__).parents[2] / "jobs" / "probe_coverage.py"


def test_a_small_grid_is_drawn_swept_and_judged(tmp_path: Path) -> None:
    grid = ["--tasks", "sad", "--models", "msd-musicnn-1", "--scale", "0.5", "--local"]
    place = tmp_path / "figures.json"
    ended = subprocess.run(
        [sys.executable, JOB, *grid, "--out", place], capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stderr
    found = json.loads(place.read_text())
    (cell,) = found["cells"]
    assert (cell["task"], cell["n_tracks"]) == ("sad", 115)
    assert cell["low"] <= cell["five_fold"] <= cell["high"]
    assert 0.6 < cell["true"] < cell["bayes"]
    assert found["figures"]["n_fits"] == 5
    assert found["figures"]["peak_pss_bytes"] > 2**26
    assert found["faults"] == []
    assert "intervals that hold the truth" in ended.stdout
