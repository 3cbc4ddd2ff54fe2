"""What the processes of a run import: with eight models ten of them start at once."""

from __future__ import annotations

import subprocess
import sys

import pytest

MODEL_WORKER = "embedlib.run.actors, embedlib.run.worker, embedlib.engines.openvino"
DECODER = "embedlib.run.actors, embedlib.run.decoding"


@pytest.mark.parametrize(
    ("process", "spared"),
    [
        pytest.param(MODEL_WORKER, {"av", "tensorboardX", "deltalake", "ray"}, id="model worker"),
        pytest.param(DECODER, {"openvino", "tensorboardX", "deltalake", "ray"}, id="decoder"),
    ],
)
def test_a_worker_does_not_import_what_only_others_need(process: str, spared: set[str]) -> None:
    script = f"import sys, {process}\nprint(*sys.modules)"
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    assert spared & set(ended.stdout.split()) == set()
