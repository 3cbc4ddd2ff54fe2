"""Engines: the same patches give the same embeddings, whatever else is in the batch."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from tensorboardX.proto.graph_pb2 import GraphDef
from tensorboardX.proto.node_def_pb2 import NodeDef

from embedlib.engines.engine import Engine, GraphSpec
from embedlib.engines.load import load_engine, resolve_engine
from embedlib.errors import ConfigError, EngineError, ModelError, WeightsMissingError
from embedlib.models.graph_writer import GraphWriter
from embedlib.models.registry import model_spec
from embedlib.models.store import locate
from embedlib.records import Float32

NODES = ("model/dense/BiasAdd", "model/Sigmoid")
PATCH = (187, 96)
N_PATCHES = 16

# Sums in another order differ by a few units of the last place of float32.
ACROSS_BATCH_SIZES = 1e-6
ACROSS_ENGINES = 1e-5

DT_FLOAT = 1  # in TensorFlow's types.proto

both_engines = pytest.mark.parametrize("name", ["openvino", "essentia"])


@pytest.fixture(scope="module", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EMBEDLIB_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module", params=["msd-musicnn-1", "untrained-msd-musicnn-1"])
def graph(request: pytest.FixtureRequest) -> Iterator[Path]:
    """The real weights and random ones."""
    with pytest.MonkeyPatch.context() as patch:
        if not request.param.startswith("untrained"):
            patch.setenv("EMBEDLIB_MODELS", str(request.getfixturevalue("shared_models")))
        yield locate(model_spec(request.param)).path


@pytest.fixture(scope="module")
def patches() -> Float32:
    return np.random.default_rng(7).random((N_PATCHES, *PATCH), np.float32)


def load(name: str, graph: Path, *, batch_size: int = 4, precision: str = "f32") -> Engine:
    pytest.importorskip(name)
    spec = GraphSpec(graph, "model/Placeholder", NODES, PATCH, batch_size, precision)
    return load_engine(name, spec)


def written(writer: GraphWriter, folder: Path) -> Path:
    path = folder / "small.pb"
    path.write_bytes(writer.serialise())
    return path


def embed(engine: Engine, patches: Float32, *, batch_size: int = 4) -> Float32:
    batches = patches.reshape(-1, batch_size, *PATCH)
    return np.concatenate([engine(batch)[0] for batch in batches])


def relative_l2(found: Float32, expected: Float32) -> float:
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


@both_engines
def test_an_engine_gives_one_output_per_node(name: str, graph: Path, patches: Float32) -> None:
    embeddings, activations = load(name, graph)(patches[:4])
    assert (embeddings.shape, activations.shape) == ((4, 200), (4, 50))
    assert embeddings.dtype == activations.dtype == np.float32
    assert ((activations > 0) & (activations < 1)).all()


def test_a_patch_gives_the_same_bits_whatever_its_neighbours(
    graph: Path, patches: Float32, rng: np.random.Generator
) -> None:
    engine = load("openvino", graph)
    expected = embed(engine, patches)
    order = rng.permutation(N_PATCHES)
    assert np.array_equal(embed(engine, patches[order]), expected[order])


def test_a_patch_gives_the_same_bits_among_silence(graph: Path, patches: Float32) -> None:
    engine = load("openvino", graph)
    batch = np.zeros((4, *PATCH), np.float32)
    batch[0] = patches[0]
    assert np.array_equal(engine(batch)[0][0], engine(patches[:4])[0][0])


@both_engines
def test_embeddings_do_not_depend_on_the_size_of_batches(
    name: str, graph: Path, patches: Float32
) -> None:
    one = embed(load(name, graph, batch_size=1), patches, batch_size=1)
    sixteen = embed(load(name, graph, batch_size=16), patches, batch_size=16)
    assert relative_l2(one, sixteen) <= ACROSS_BATCH_SIZES


def test_openvino_gives_what_the_reference_gives(graph: Path, patches: Float32) -> None:
    expected = embed(load("essentia", graph), patches)
    assert relative_l2(embed(load("openvino", graph), patches), expected) <= ACROSS_ENGINES


def test_two_loads_of_one_graph_give_the_same_bits(graph: Path, patches: Float32) -> None:
    one, other = (embed(load("openvino", graph), patches) for _ in range(2))
    assert np.array_equal(one, other)


@both_engines
def test_results_stay_when_the_engine_is_called_again(
    name: str, graph: Path, patches: Float32
) -> None:
    engine = load(name, graph)
    (first, _), kept = engine(patches[:4]), engine(patches[:4])[0].copy()
    engine(patches[4:8])
    assert np.array_equal(first, kept)


@both_engines
def test_a_batch_that_may_not_be_written_to_is_taken(
    name: str, graph: Path, patches: Float32
) -> None:
    batch = patches[:4].copy()
    batch.flags.writeable = False
    assert load(name, graph)(batch)[0].shape == (4, 200)


@both_engines
def test_a_node_that_is_not_there_is_refused(name: str, graph: Path) -> None:
    pytest.importorskip(name)
    with pytest.raises(ModelError, match="models nodes"):
        load_engine(name, GraphSpec(graph, "model/Placeholder", ("model/gone",), PATCH))


def test_a_file_that_is_no_graph_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.pb").write_text("This is no graph.")
    with pytest.raises(ModelError, match=r"text\.pb"):
        load("openvino", tmp_path / "text.pb")


def test_a_graph_that_cannot_be_converted_is_refused_in_one_line(tmp_path: Path) -> None:
    writer = GraphWriter()
    patch = writer.placeholder("patch", shape=[-1, 96])
    kernel = writer.variable("kernel", np.ones((187, 16), np.float32))
    writer.op("MatMul", "product", [patch, kernel], transpose_a=False, transpose_b=False)
    spec = GraphSpec(written(writer, tmp_path), "patch", ("product",), (96,), 2)
    with pytest.raises(ModelError, match=r"OpenVINO cannot use small.pb: .*dimension=96") as caught:
        load_engine("openvino", spec)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsMissingError, match=r"gone\.pb"):
        load("openvino", tmp_path / "gone.pb")


@both_engines
@pytest.mark.parametrize("patch_shape", [(6,), (5, 6), (4, 5, 6), (4, 5, 1), (1, 1, 3)])
def test_patches_of_any_rank_come_back_in_their_shape(
    name: str, patch_shape: tuple[int, ...], tmp_path: Path, rng: np.random.Generator
) -> None:
    pytest.importorskip(name)
    writer = GraphWriter(scope="m")
    writer.op("Relu", "out", [writer.placeholder("in", shape=(-1, *patch_shape))])
    spec = GraphSpec(written(writer, tmp_path), "m/in", ("m/out",), patch_shape, batch_size=3)
    batch = rng.standard_normal((3, *patch_shape), np.float32)
    (output,) = load_engine(name, spec)(batch)
    np.testing.assert_array_equal(output, np.maximum(batch, 0))


@both_engines
@pytest.mark.parametrize("lengths", [(1, 6), (1, 1, 6), (6, 1), (3, 1, 2)])
def test_axes_of_length_one_are_kept_where_the_graph_has_them(
    name: str, lengths: tuple[int, ...], tmp_path: Path, rng: np.random.Generator
) -> None:
    pytest.importorskip(name)
    writer = GraphWriter(scope="m")
    batch = rng.standard_normal((2, 6), np.float32)
    target = writer.const("target", (-1, *lengths))
    writer.op("Reshape", "out", [writer.placeholder("in", shape=(-1, 6)), target], Tshape="int32")
    spec = GraphSpec(written(writer, tmp_path), "m/in", ("m/out",), (6,), batch_size=2)
    (output,) = load_engine(name, spec)(batch)
    np.testing.assert_array_equal(output, batch.reshape(2, *lengths))


@both_engines
def test_further_outputs_of_an_op_are_read_by_their_port(
    name: str, tmp_path: Path, rng: np.random.Generator
) -> None:
    pytest.importorskip(name)
    writer = GraphWriter(scope="m")
    image = writer.placeholder("in", shape=(-1, 6))
    writer.op("Split", "split", [writer.const("axis", 1), image], num_split=2)
    nodes = ("m/split:1", "m/split", "m/split:0")
    spec = GraphSpec(written(writer, tmp_path), "m/in", nodes, (6,), batch_size=2)
    batch = rng.standard_normal((2, 6), np.float32)
    second, first, also_first = load_engine(name, spec)(batch)
    np.testing.assert_array_equal(np.concatenate([first, second], axis=1), batch)
    np.testing.assert_array_equal(also_first, first)


@both_engines
def test_what_a_function_of_the_graph_gives_is_read_by_its_port(
    name: str, tmp_path: Path, rng: np.random.Generator
) -> None:
    pytest.importorskip(name)
    path = tmp_path / "function.pb"
    path.write_bytes(graph_with_a_function())
    spec = GraphSpec(path, "in", ("PartitionedCall:1", "PartitionedCall:0"), (6,), batch_size=2)
    batch = rng.standard_normal((2, 6), np.float32)
    sigmoid, relu = load_engine(name, spec)(batch)
    np.testing.assert_array_equal(relu, np.maximum(batch, 0))
    np.testing.assert_allclose(sigmoid, 1 / (1 + np.exp(-batch)), rtol=1e-6)


def graph_with_a_function() -> bytes:
    """Write a call of a function of two results, as TensorFlow 2 exports models."""
    writer = GraphWriter(scope="")
    writer.placeholder("in", shape=(-1, 6))
    graph = GraphDef.FromString(writer.serialise())
    call = graph.node.add(name="PartitionedCall", op="PartitionedCall", input=["in"])
    call.attr["Tin"].list.type.append(DT_FLOAT)
    call.attr["Tout"].list.type.extend([DT_FLOAT, DT_FLOAT])
    call.attr["f"].func.name = "body"
    # Messages of tensorboardX have no function library: numbers as in TensorFlow's function.proto
    # and op_def.proto.
    arguments = [(2, b"x"), (3, b"relu"), (3, b"sigmoid")]
    signature = field(1, b"body") + b"".join(
        field(number, field(1, argument) + bytes([3 << 3, DT_FLOAT]))
        for number, argument in arguments
    )
    function = field(1, signature)
    for result, op in ((b"relu", "Relu"), (b"sigmoid", "Sigmoid")):
        node = NodeDef(name=op, op=op, input=["x"])
        node.attr["T"].type = DT_FLOAT
        port = "activations" if op == "Relu" else "y"
        function += field(3, node.SerializeToString())
        function += field(4, field(1, result) + field(2, f"{op}:{port}:0".encode()))
    return bytes(graph.SerializeToString() + field(2, field(1, function)))


def field(number: int, data: bytes) -> bytes:
    """Encode a protobuf field of less than 16 KiB."""
    low, high = len(data) & 0x7F, len(data) >> 7
    length = bytes([low | 0x80, high]) if high else bytes([low])
    return bytes([number << 3 | 2]) + length + data


@both_engines
def test_an_inner_tensor_is_fed_without_what_lies_before_it(
    name: str, graph: Path, patches: Float32
) -> None:
    embeddings, activations = load(name, graph)(patches[:4])
    spec = GraphSpec(graph, NODES[0], NODES[1:], (200,), batch_size=4)
    (same,) = load_engine(name, spec)(embeddings)
    assert relative_l2(same, activations) <= ACROSS_BATCH_SIZES


@both_engines
def test_a_training_flag_is_off(name: str, tmp_path: Path, rng: np.random.Generator) -> None:
    pytest.importorskip(name)
    writer = GraphWriter(scope="m")
    image, flag = writer.placeholder("in", shape=(-1, 6)), writer.flag_placeholder("flag")
    switch = writer.op("Switch", "switch", [image, flag])
    branches = [writer.op("Relu", "after", [switch]), writer.op("Elu", "training", [f"{switch}:1"])]
    writer.op("Merge", "out", branches, N=2)
    spec = GraphSpec(written(writer, tmp_path), "m/in", ("m/out",), (6,), batch_size=2)
    batch = rng.standard_normal((2, 6), np.float32)
    np.testing.assert_array_equal(load_engine(name, spec)(batch)[0], np.maximum(batch, 0))


@both_engines
def test_patches_that_the_graph_does_not_take_are_refused(name: str, graph: Path) -> None:
    pytest.importorskip(name)
    with pytest.raises(
        ModelError, match=r"takes patches of the shape \(187, 96\), not \(96, 187\)"
    ):
        load_engine(name, GraphSpec(graph, "model/Placeholder", NODES, (96, 187)))


@both_engines
def test_another_batch_than_the_graph_takes_is_refused(name: str, tmp_path: Path) -> None:
    pytest.importorskip(name)
    writer = GraphWriter(scope="m")
    writer.op("Relu", "out", [writer.placeholder("in", shape=(64, 6))])
    spec = GraphSpec(written(writer, tmp_path), "m/in", ("m/out",), (6,), batch_size=2)
    with pytest.raises(ModelError, match="exactly 64 patches, not 2; use a batch size of 64"):
        load_engine(name, spec)


@pytest.mark.parametrize("patch_shape", [(1, 2, 3, 4), (1, 200), (1,)])
def test_essentia_refuses_patches_that_a_pool_cannot_hold(
    patch_shape: tuple[int, ...], graph: Path
) -> None:
    pytest.importorskip("essentia")
    with pytest.raises(ConfigError, match=r"shape \(1,.* not possible .*; use --engine openvino"):
        load_engine("essentia", GraphSpec(graph, "model/Placeholder", NODES, patch_shape))


@pytest.mark.parametrize("patch_shape", [(1, 6), (1, 2, 3, 4)])
def test_openvino_takes_patches_that_essentia_refuses(
    patch_shape: tuple[int, ...], tmp_path: Path, rng: np.random.Generator
) -> None:
    pytest.importorskip("openvino")
    writer = GraphWriter(scope="m")
    writer.op("Relu", "out", [writer.placeholder("in", shape=(-1, *patch_shape))])
    spec = GraphSpec(written(writer, tmp_path), "m/in", ("m/out",), patch_shape, batch_size=3)
    batch = rng.standard_normal((3, *patch_shape), np.float32)
    np.testing.assert_array_equal(load_engine("openvino", spec)(batch)[0], np.maximum(batch, 0))


def test_essentia_refuses_what_it_cannot_do(graph: Path) -> None:
    with pytest.raises(ConfigError, match="precision='bf16' is not possible with the essentia"):
        load("essentia", graph, precision="bf16")


def test_auto_means_openvino_where_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("embedlib.engines.load.find_spec", lambda _: object())
    assert resolve_engine("auto") == "openvino"


@pytest.mark.parametrize(
    ("installed", "expected"), [({"essentia"}, "essentia"), ({"openvino"}, "openvino")]
)
def test_auto_takes_what_is_installed(
    installed: set[str], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "embedlib.engines.load.find_spec", lambda name: name if name in installed else None
    )
    assert resolve_engine("auto") == expected


@pytest.mark.parametrize("name", ["auto", "openvino", "essentia"])
def test_an_engine_that_is_not_installed_comes_with_the_line_that_installs_it(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("embedlib.engines.load.find_spec", lambda _: None)
    with pytest.raises(EngineError, match="is not installed; pip install "):
        resolve_engine(name)


def test_an_unknown_engine_is_refused() -> None:
    with pytest.raises(ConfigError, match="engine='torchscript' is unknown; use one of auto"):
        resolve_engine("torchscript")


@pytest.mark.parametrize(
    ("options", "words"),
    [({"batch_size": 0}, "batch_size=0"), ({"precision": "f16"}, "precision='f16'")],
)
def test_a_graph_spec_refuses_impossible_values(options: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        GraphSpec(Path("a.pb"), "in", ("out",), PATCH, **options)
