"""Converted models that are kept: the same numbers, whatever happens to the cache."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import numpy as np
import pytest

from embedlib.engines.engine import GraphSpec
from embedlib.engines.ir_cache import ir_folder, read_or_convert
from embedlib.engines.ir_convert import convert
from embedlib.engines.openvino import OpenVinoEngine
from embedlib.errors import HashMismatchError, ModelError
from embedlib.models.graph_writer import GraphWriter
from embedlib.models.locks import file_sha256
from embedlib.records import Float32

ov = pytest.importorskip("openvino")

N_IN, N_OUT = 64, 32
NODES = ("m/MatMul", "m/Relu", "m/Softmax")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("EMBEDLIB_CACHE", str(folder))
    return folder


@pytest.fixture
def graph(tmp_path: Path, rng: np.random.Generator) -> Path:
    return write_dense(tmp_path / "dense.pb", rng)


@pytest.fixture
def batch(rng: np.random.Generator) -> Float32:
    return rng.standard_normal((3, N_IN), np.float32)


def write_dense(path: Path, rng: np.random.Generator) -> Path:
    writer = GraphWriter(scope="m")
    kernel = writer.variable("kernel", rng.standard_normal((N_IN, N_OUT), np.float32))
    patches = writer.placeholder("in", shape=(-1, N_IN))
    flags = {"transpose_a": False, "transpose_b": False}
    product = writer.op("MatMul", "MatMul", [patches, kernel], **flags)
    writer.op("Softmax", "Softmax", [writer.op("Relu", "Relu", [product])])
    path.write_bytes(writer.serialise())
    return path


def spec_of(graph: Path, **options: Any) -> GraphSpec:
    return GraphSpec(graph, "m/in", **{"output_nodes": NODES, "patch_shape": (N_IN,)} | options)


def outputs(spec: GraphSpec, batch: Float32) -> tuple[Float32, ...]:
    return OpenVinoEngine(spec)(batch)


def counted(calls: list[GraphSpec]) -> Callable[..., Any]:
    def convert_and_count(spec: GraphSpec) -> Any:
        calls.append(spec)
        return convert(spec)

    return convert_and_count


def n_conversions(*specs: GraphSpec) -> int:
    calls: list[GraphSpec] = []
    for spec in specs:
        read_or_convert(ov.Core(), spec, convert=counted(calls))
    return len(calls)


def kept() -> Path:
    (folder,) = ir_folder().iterdir()
    return folder


def assert_equal(found: tuple[Float32, ...], expected: tuple[Float32, ...]) -> None:
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("precision", ["f32", "bf16"])
def test_a_kept_model_gives_the_bits_of_a_fresh_one(
    graph: Path, batch: Float32, cache: Path, monkeypatch: pytest.MonkeyPatch, precision: str
) -> None:
    spec = spec_of(graph, batch_size=3, precision=precision)
    first, second = outputs(spec, batch), outputs(spec, batch)
    monkeypatch.setenv("EMBEDLIB_CACHE", os.devnull)
    fresh = outputs(spec, batch)
    assert_equal(first, fresh)
    assert_equal(second, fresh)


def test_a_graph_is_converted_once(graph: Path) -> None:
    assert n_conversions(*[spec_of(graph)] * 3) == 1


def test_all_precisions_share_a_model(graph: Path) -> None:
    assert n_conversions(spec_of(graph), spec_of(graph, precision="bf16")) == 1


@pytest.mark.parametrize(
    "other",
    [{"batch_size": 2}, {"output_nodes": NODES[:1]}, {"output_nodes": NODES[::-1]}],
)
def test_what_makes_another_model_is_kept_beside(graph: Path, other: dict[str, Any]) -> None:
    assert n_conversions(spec_of(graph), spec_of(graph, **other)) == 2


def test_other_weights_under_the_same_name_are_noticed(
    graph: Path, batch: Float32, rng: np.random.Generator
) -> None:
    before = outputs(spec_of(graph, batch_size=3), batch)
    write_dense(graph, rng)
    after = outputs(spec_of(graph, batch_size=3), batch)
    assert not np.array_equal(before[0], after[0])


@pytest.mark.parametrize("nodes", [NODES, NODES[::-1], (NODES[1], NODES[0], NODES[1])])
def test_a_kept_model_gives_its_outputs_in_the_order_of_the_spec(
    graph: Path, batch: Float32, nodes: tuple[str, ...]
) -> None:
    whole = dict(zip(NODES, outputs(spec_of(graph, batch_size=3), batch), strict=True))
    spec = spec_of(graph, batch_size=3, output_nodes=nodes)
    for _ in range(2):
        assert_equal(outputs(spec, batch), tuple(whole[node] for node in nodes))


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip_a_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("damage", [cut_short, flip_a_bit, Path.unlink])
@pytest.mark.parametrize("name", ["model.bin", "model.xml", "sha256.json"])
def test_a_damaged_model_is_made_again(
    graph: Path, batch: Float32, name: str, damage: Callable[[Path], None]
) -> None:
    spec = spec_of(graph, batch_size=3)
    expected = outputs(spec, batch)
    damage(kept() / name)
    assert n_conversions(spec, spec) == 1
    assert_equal(outputs(spec, batch), expected)


def test_nothing_temporary_stays_in_the_cache(graph: Path) -> None:
    n_conversions(spec_of(graph))
    cut_short(kept() / "model.bin")
    n_conversions(spec_of(graph))
    assert {path.name for path in kept().iterdir()} == {"model.xml", "model.bin", "sha256.json"}


def test_a_cache_that_cannot_be_written_to_is_done_without(
    graph: Path, batch: Float32, cache: Path
) -> None:
    cache.write_text("a file in the place of the folder")
    assert outputs(spec_of(graph, batch_size=3), batch)[0].shape == (3, N_OUT)
    assert n_conversions(*[spec_of(graph)] * 2) == 2


def test_a_cache_that_may_only_be_read_is_read(graph: Path, cache: Path) -> None:
    n_conversions(spec_of(graph))
    ir_folder().chmod(0o500)
    try:
        assert n_conversions(spec_of(graph)) == 0
    finally:
        ir_folder().chmod(0o700)


def test_four_that_save_at_once_leave_one_model(graph: Path) -> None:
    barrier = Barrier(4)

    def convert_together(spec: GraphSpec) -> Any:
        model = convert(spec)
        barrier.wait(timeout=60)
        return model

    def load(_: int) -> Any:
        return read_or_convert(ov.Core(), spec_of(graph), convert=convert_together)

    with ThreadPoolExecutor(4) as pool:
        assert len({tuple(model.outputs[0].shape) for model in pool.map(load, range(4))}) == 1
    assert kept().is_dir()
    assert n_conversions(spec_of(graph)) == 0


LOAD_WHEN_ALL_ARE_READY = f"""
import sys, time
from pathlib import Path
import numpy as np
from embedlib.engines.engine import GraphSpec
from embedlib.engines.openvino import OpenVinoEngine
from embedlib.engines.openvino_core import import_openvino
graph, ready, go = map(Path, sys.argv[1:])
import_openvino()
ready.touch()
while not go.exists():
    time.sleep(0.001)
spec = GraphSpec(graph, "m/in", ("m/Relu",), ({N_IN},), 3)
print(OpenVinoEngine(spec)(np.ones((3, {N_IN}), np.float32))[0].tobytes().hex())
"""


def test_processes_that_load_at_once_give_the_same_bits(graph: Path, tmp_path: Path) -> None:
    signals = [tmp_path / f"ready-{number}" for number in range(3)]
    go = tmp_path / "go"
    command = [sys.executable, "-c", LOAD_WHEN_ALL_ARE_READY, str(graph)]
    children = [
        subprocess.Popen([*command, str(ready), str(go)], stdout=subprocess.PIPE, text=True)
        for ready in signals
    ]
    while not all(ready.exists() for ready in signals):
        time.sleep(0.01)
    go.touch()
    answers = {child.communicate(timeout=60)[0] for child in children}
    assert [child.returncode for child in children] == [0, 0, 0]
    assert len(answers) == 1
    assert kept().is_dir()


CONVERT_AND_FILL_THE_DISK = f"""
import resource, signal, sys
from pathlib import Path
from embedlib.engines.engine import GraphSpec
from embedlib.engines.openvino_core import openvino_core
from embedlib.engines.ir_cache import ir_folder, read_or_convert
from embedlib.engines.ir_convert import convert
def convert_and_fill(spec):
    model = convert(spec)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
    return model
spec = GraphSpec(Path(sys.argv[1]), "m/in", ("m/Relu",), ({N_IN},), 3)
print(read_or_convert(openvino_core(), spec, convert=convert_and_fill).outputs[0].shape)
"""


@pytest.mark.parametrize("limit_bytes", [0, 1000, 8000])
def test_a_disk_that_fills_up_while_saving_does_no_harm(graph: Path, limit_bytes: int) -> None:
    command = [sys.executable, "-c", CONVERT_AND_FILL_THE_DISK, str(graph), str(limit_bytes)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.stdout.strip(), done.stderr, done.returncode) == ("[3,32]", "", 0)
    assert n_conversions(*[spec_of(graph, output_nodes=("m/Relu",), batch_size=3)] * 2) == 1


def test_a_file_that_is_not_the_one_that_was_asked_for_is_refused(graph: Path) -> None:
    with pytest.raises(HashMismatchError, match=rf"dense\.pb has the sha256 .* {'0' * 64}"):
        n_conversions(spec_of(graph, sha256="0" * 64))
    assert not ir_folder().exists()


def test_a_kept_model_that_is_asked_for_by_its_hash_needs_no_file(
    graph: Path, batch: Float32
) -> None:
    sha256 = file_sha256(graph)
    before = outputs(spec_of(graph, batch_size=3), batch)
    graph.write_bytes(b"another graph")
    assert_equal(outputs(spec_of(graph, batch_size=3, sha256=sha256), batch), before)


def test_a_graph_that_cannot_be_cut_leaves_nothing(graph: Path) -> None:
    with pytest.raises(ModelError, match="'m/gone'"):
        n_conversions(spec_of(graph, output_nodes=("m/gone",)))
    assert not ir_folder().exists()
