"""What a run says where the cluster is not as it should be: no card, no node, nothing that moves.

Each script is a driver with a session of Ray of its own and, where it needs one, a worker that does
what is feared; the class is pickled whole because it belongs to the main module.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import embedlib

RunScript = Callable[..., subprocess.CompletedProcess[str]]

MODEL = "untrained-msd-musicnn-1"

SESSION = """
import os, pathlib, sys, time
from embedlib.run.auth import require_tokens
require_tokens(is_local=True)
import ray
from embedlib.cli.app import main
from embedlib.run import ray_backend, ray_nodes, ray_stalls
from embedlib.run.actors import ChunkHeader

def start(**resources):
    ray.init(address="local", include_dashboard=False, log_to_driver=False, **resources)
"""

ON_CARDS = """
folder = pathlib.Path(sys.argv[sys.argv.index("--out") + 1]).parent

class Measurer:
    def measure(self, job, graph):
        from embedlib.run.calibrate import Measured
        return Measured(1.0, job.batch_size)

class Card(ray_backend.ModelActor):
    def load(self, graph):
        (folder / f"cards-{os.environ['CUDA_VISIBLE_DEVICES']}").touch()
        while len([*folder.glob("cards-*")]) < 2:
            time.sleep(0.05)
        return super().load(graph)

ray_nodes.CalibrationActor = Measurer  # which no card is here for
ray_backend.ModelActor = Card
start(num_cpus=4, num_gpus=2)
main()
"""

WITHOUT_A_NODE = """
ray_nodes.NODE_WAIT_S = 1.0
start(num_cpus=0)
main()
"""

STUCK = """
ray_stalls.STALL_S = 1.0
folder = pathlib.Path(sys.argv[sys.argv.index("--out") + 1]).parent

class Stuck(ray_backend.ModelActor):
    is_first = True

    def extract(self, attempt_id, shard, *arguments):
        if self.is_first:
            (folder / "stuck").write_text(shard.tracks[0].uri)
            with open(shard.tracks[0].uri, "rb"):
                time.sleep(2.0 + shard.audio_s + 4.0)
        self.is_first = False
        return super().extract(attempt_id, shard, *arguments)

ray_backend.ModelActor = Stuck
start(num_cpus=1)
main()
"""

FAILS_AFTER_A_HEADER = """
folder = pathlib.Path(sys.argv[sys.argv.index("--out") + 1]).parent

class Failing(ray_backend.DecodeActor):
    def decode(self, shard, job):
        for item in super().decode(shard, job):
            yield item
            if isinstance(item, ChunkHeader) and not (folder / "failed").exists():
                (folder / "failed").touch()
                time.sleep(0.5)  # until the driver has the header
                {failure}

ray_backend.DecodeActor = Failing
start(num_cpus=2)
main()
"""


@pytest.fixture
def run_script(environment: dict[str, str], mixed_clips: Path, tmp_path: Path) -> RunScript:
    """Run `embedlib extract` over the five files of `mixed_clips` inside of a script."""

    def run(script: str, *options: str) -> subprocess.CompletedProcess[str]:
        line = ("extract", mixed_clips, "--models", MODEL, "--out", tmp_path / "out", "--quiet")
        line = (*line, "--shard-hours", "1e-9")
        return subprocess.run(
            [sys.executable, "-c", SESSION + script, *line, "--max-failed", "9", *options],
            env=environment,
            capture_output=True,
            text=True,
            timeout=240,
        )

    return run


def lines_of(done: subprocess.CompletedProcess[str], start: str) -> list[str]:
    return [line for line in done.stderr.splitlines() if line.startswith(start)]


def test_each_card_gets_a_worker_and_without_cuda_none_falls_back_to_the_cpu(
    run_script: RunScript, tmp_path: Path
) -> None:
    ort = pytest.importorskip("onnxruntime")
    if "CUDAExecutionProvider" in ort.get_available_providers():
        pytest.skip("this onnxruntime could use a card")
    done = run_script(ON_CARDS, "--device", "cuda", "--engine", "onnxruntime")
    (error,) = lines_of(done, "error: ")
    assert done.returncode == 1
    assert "GPU" in error
    assert "Traceback" not in done.stderr
    assert {path.name for path in tmp_path.glob("cards-*")} == {"cards-0", "cards-1"}
    assert not [*(tmp_path / "out" / MODEL).glob("part-*")]


def test_a_cluster_without_a_node_that_could_work_is_waited_for_up_to_a_limit(
    run_script: RunScript,
) -> None:
    done = run_script(WITHOUT_A_NODE)
    assert done.returncode == 1
    assert lines_of(done, "error: ") == [
        "error: no node that could work for 1 s; start one; what is committed stays, the same "
        "command continues"
    ]


def test_a_stall_is_told_once_with_shard_stage_and_file(
    run_script: RunScript, tmp_path: Path
) -> None:
    done = run_script(STUCK)
    (line,) = [line for line in lines_of(done, "shard=") if "has not moved" in line]
    assert done.returncode == 0, done.stderr
    assert "stage=extract" in line
    assert f"file={(tmp_path / 'stuck').read_text()} tracks=1" in line


def embedded_in_spite_of(failure: str, run_script: RunScript, tmp_path: Path) -> list[str]:
    """Run two models while a decoder fails once, see that no row is lost, and give stderr."""
    script = FAILS_AFTER_A_HEADER.format(failure=failure)
    done = run_script(script, "--models", MODEL, f"{MODEL}:as=second")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "failed").exists()
    assert embedlib.verify(tmp_path / "out").problems == ()
    return done.stderr.splitlines()


def test_a_decoder_that_dies_between_a_header_and_its_chunk_is_alone_to_blame(
    run_script: RunScript, tmp_path: Path
) -> None:
    lines = embedded_in_spite_of("os._exit(1)", run_script, tmp_path)
    (lost,) = [line for line in lines if line.endswith(" lost")]
    assert "ActorDiedError" in lost
    assert not [line for line in lines if line.startswith("worker=")]  # said of a model worker


@pytest.mark.slow
def test_a_decoder_that_fails_between_a_header_and_its_chunk_is_tried_again(
    run_script: RunScript, tmp_path: Path
) -> None:
    failure = "raise OSError('no room for the chunk')"
    lines = embedded_in_spite_of(failure, run_script, tmp_path)
    assert any("no room for the chunk" in line for line in lines)
