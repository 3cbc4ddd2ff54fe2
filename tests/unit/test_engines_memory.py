"""Batches that do not fit into memory: halved in real processes whose memory has a limit."""

from __future__ import annotations

import math
import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from embedlib.config import extract_config
from embedlib.engines.engine import GraphSpec
from embedlib.engines.memory import memory_errors
from embedlib.errors import BatchMemoryError
from embedlib.records import Float32
from embedlib.run.job import ModelJob
from embedlib.run.model import LoadedModel
from embedlib.run.prepare import model_job
from embedlib.run.resolve import prepare_models

MODEL = "untrained-msd-musicnn-1"

N_PATCHES = 16
ROOM_BYTES = {"openvino": 450 << 20, "onnxruntime": 200 << 20}
"""How much a process may grow that has run one patch: enough for 8 of them, or for 4."""

NO_ROOM_BYTES = {"openvino": 60 << 20, "onnxruntime": 20 << 20}
"""Enough to load the graph again, and not for one patch."""

# The same patch in a batch of another size.
WORST_PATCH = 1e-6

EMBED = """
import logging, pickle, sys
from dataclasses import replace
from pathlib import Path
import numpy as np
from embedlib.run.memory import limit_growth
from embedlib.run.model import LoadedModel

logging.basicConfig(format="%(message)s")
folder = Path(sys.argv[1])
job, graph, room_bytes = pickle.loads((folder / "errand").read_bytes())
inputs = np.load(folder / "inputs.npy")
LoadedModel(replace(job, batch_size=1), graph)(inputs[:1])  # loads the libraries
limit_growth(room_bytes)
model = LoadedModel(job, graph)
for number in range(2):
    np.save(folder / f"{number}.npy", model(inputs)[0])
print(model.batch_size)
"""


def job_of(engine: str, *, batch_size: int) -> tuple[ModelJob, Path]:
    pytest.importorskip(engine)
    values = {"sources": ["a"], "models": [MODEL], "out": "o", "engine": engine}
    (prepared,) = prepare_models(extract_config(values))
    job = model_job(prepared, folder=Path())
    return replace(job, batch_size=batch_size), prepared.file.path


@pytest.fixture(scope="module")
def inputs() -> Float32:
    return np.random.default_rng(7).random((N_PATCHES, 187, 96), np.float32)


def embed_with_room(
    folder: Path, inputs: Float32, *, engine: str, room_bytes: int
) -> subprocess.CompletedProcess[str]:
    """Embed twice, in a process that may grow by so much."""
    job, graph = job_of(engine, batch_size=N_PATCHES)
    np.save(folder / "inputs.npy", inputs)
    (folder / "errand").write_bytes(pickle.dumps((job, graph, room_bytes)))
    return subprocess.run(
        [sys.executable, "-c", EMBED, str(folder)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def halvings(stderr: str) -> list[str]:
    return [line for line in stderr.splitlines() if line.startswith("model=")]


@pytest.mark.parametrize("engine", ROOM_BYTES)
def test_batches_that_do_not_fit_are_halved_for_good_and_no_patch_is_lost(
    engine: str, tmp_path: Path, inputs: Float32
) -> None:
    room_bytes = ROOM_BYTES[engine]
    done = embed_with_room(tmp_path, inputs, engine=engine, room_bytes=room_bytes)
    assert done.returncode == 0, done.stderr
    batch_size = int(done.stdout)
    assert 1 <= batch_size < N_PATCHES
    # Once each, though the inputs were embedded twice.
    assert len(halvings(done.stderr)) == math.log2(N_PATCHES / batch_size)
    expected = LoadedModel(*job_of(engine, batch_size=1))(inputs)[0][:, 0]
    for number in range(2):
        found = np.load(tmp_path / f"{number}.npy")[:, 0]
        distances = np.linalg.norm(found - expected, axis=1)
        assert (distances / np.linalg.norm(expected, axis=1)).max() <= WORST_PATCH


@pytest.mark.parametrize("engine", ROOM_BYTES)
def test_a_patch_that_does_not_fit_alone_ends_the_model(
    engine: str, tmp_path: Path, inputs: Float32
) -> None:
    room_bytes = NO_ROOM_BYTES[engine]
    done = embed_with_room(tmp_path, inputs, engine=engine, room_bytes=room_bytes)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("embedlib.errors.BatchMemoryError: a batch of 1")
    assert "; give each worker more memory" in done.stderr


# What runtimes say

SAID = {
    "onnxruntime on a CPU": (
        "[ONNXRuntimeError] : 1 : FAIL : Non-zero status code returned while running Conv node. "
        "Name:'Relu#34_nchwc' Status Message: /onnxruntime_src/onnxruntime/core/framework/"
        "bfc_arena.cc:360 void* onnxruntime::BFCArena::AllocateRawInternal(size_t, bool, "
        "onnxruntime::Stream*) Failed to allocate memory for requested buffer of size 298721280\n"
    ),
    # github.com/microsoft/onnxruntime, issues 9939 and 22702
    "onnxruntime on a card": (
        "[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : Non-zero status code returned while running "
        "FusedMatMul node. Name:'MatMul_92' Status Message: bfc_arena.cc:331 void* onnxruntime::"
        "BFCArena::AllocateRawInternal(size_t, bool) Failed to allocate memory for requested "
        "buffer of size 8388608000"
    ),
    # github.com/hacksider/Deep-Live-Cam, issue 645
    "cuBLAS": "CUBLAS failure 3: CUBLAS_STATUS_ALLOC_FAILED ; GPU=0 ; expr=cublasCreate(&handle);",
    "OpenVINO": (
        "Exception from src/inference/src/cpp/core.cpp:117:\nException from src/inference/src/dev/"
        "plugin.cpp:54:\nCheck 'ptr' failed at src/plugins/intel_cpu/src/cpu_memory.cpp:257:\n"
        "Failed to allocate 595292160 bytes of memory\n\n\n"
    ),
    "OpenVINO's compiler of kernels": "Exception from src/inference/src/cpp/core.cpp:117:\n"
    "can't alloc\n",
    "OpenVINO's threads": "Exception from src/inference/src/cpp/core.cpp:117:\n"
    "Resource temporarily unavailable\n",
    "C++": "std::bad_alloc",
    "TensorFlow": (
        "In TensorflowPredict.compute: TensorflowPredict: Error running the Tensorflow session. "
        "OOM when allocating tensor with shape[64,187,96,51] and type float on /job:localhost/"
        "replica:0/task:0/device:CPU:0 by allocator cpu\n\t [[{{node model/conv2d_4/Relu}}]]\n"
        "Hint: If you want to see a list of allocated tensors when OOM happens, add ..."
    ),
}
"""Recorded here under a limit of memory, or by others."""

SPEC = GraphSpec(Path("a.pb"), "in", ("out",), (6,), batch_size=8)


@pytest.mark.parametrize("runtime", SAID)
def test_a_runtime_that_lacks_memory_is_understood(runtime: str) -> None:
    with (
        pytest.raises(BatchMemoryError, match=r"^a batch of 8 of a\.pb does not fit into memory: "),
        memory_errors(SPEC, RuntimeError),
    ):
        raise RuntimeError(SAID[runtime])


def test_memory_that_python_lacks_is_that_of_the_batch() -> None:
    with pytest.raises(BatchMemoryError, match="into memory: MemoryError; "), memory_errors(SPEC):
        raise MemoryError


@pytest.mark.parametrize("exc", [RuntimeError("shapes differ"), ValueError("bad_alloc")])
def test_other_errors_stay_as_they_are(exc: Exception) -> None:
    with pytest.raises(type(exc), match=str(exc)), memory_errors(SPEC, RuntimeError):
        raise exc
