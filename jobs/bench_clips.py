"""What bf16 does to a probe: the same labelled clips embedded in both precisions, and probed.

Run by jobs/bench.py: python jobs/bench_clips.py JOB.json, which leaves JOB.result

The clips are the samples of Sonic Pi, and the probe is that of configs/probes/sonic-pi.yaml, with
one split and without controls.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench_setting import ROOT

import embedlib
from embedlib.config import read_config
from embedlib.probes.scores import read_scores
from embedlib.probes.settings import sweep_config
from embedlib.probes.sweep import run_sweep
from embedlib.probes.table import read_fits

SWEEP = ROOT / "configs" / "probes" / "sonic-pi.yaml"
PRECISIONS = ("f32", "bf16")


def accuracy(out: Path) -> dict[str, float]:
    """Probe the embeddings of an output."""
    values = read_config(SWEEP)
    values["tasks"] = [{**each, "task": str(ROOT / each["task"])} for each in values["tasks"]]
    values |= {"out": str(out), "repeats": 1, "controls": 0, "local": True}
    run_sweep(sweep_config(values, origin=str(SWEEP)))
    (cell,) = read_scores(out).cells
    return {
        "accuracy": cell.five_fold,
        "low": cell.interval.low,
        "high": cell.interval.high,
        "n_tracks": cell.n_scored,
    }


def predictions(out: Path) -> dict[int, int]:
    """Give what the probe says of each clip while that is tested."""
    fits = [fit for fit in read_fits(out) if fit.is_final]
    pairs = (zip(fit.test_index, fit.predicted, strict=True) for fit in fits)
    return {int(index): int(label) for of_fold in pairs for index, label in of_fold}


def measure_clips(job: Mapping[str, Any]) -> dict[str, Any]:
    """Embed and probe the clips in each precision."""
    outs = {precision: Path(job["out"]) / precision for precision in PRECISIONS}
    accuracies = {}
    for precision, out in outs.items():
        embedlib.extract(
            [job["clips"]], models=[job["model"]], out=out, precision=precision, local=True
        )
        accuracies[precision] = accuracy(out)
    f32, bf16 = (predictions(out) for out in outs.values())
    n_changed = sum(label != bf16[index] for index, label in f32.items())
    return {"accuracies": accuracies, "n_changed": n_changed}


def main() -> None:
    """Carry out the job that the command line names."""
    job_file = Path(sys.argv[1])
    figures = measure_clips(json.loads(job_file.read_text()))
    job_file.with_suffix(".result").write_text(json.dumps(figures))


if __name__ == "__main__":
    main()
