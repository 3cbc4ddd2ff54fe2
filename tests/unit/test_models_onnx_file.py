"""Published ONNX files: what is taken, and what is refused before a runtime sees it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from embedlib.errors import GraphRefusedError, ModelError
from embedlib.models.builder import build_untrained
from embedlib.models.onnx_file import is_onnx_file, read_onnx
from embedlib.models.onnx_writer import OnnxModel
from embedlib.models.registry import model_spec

onnx = pytest.importorskip("onnx")
helper = onnx.helper

SHAPE = (2, 4)


def value(name: str, shape: tuple[object, ...] = ("batch", 4)) -> Any:
    return helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)


def tensor(name: str = "weights") -> Any:
    return onnx.numpy_helper.from_array(np.ones(4, np.float32), name)


def external(name: str = "weights") -> Any:
    kept = tensor(name)
    kept.data_location = onnx.TensorProto.EXTERNAL
    kept.external_data.add(key="location", value="/etc/passwd")
    return kept


@pytest.fixture
def model() -> Any:
    """Two outputs, one with the port of TensorFlow in its name."""
    nodes = [
        helper.make_node("Add", ["in:0", "weights"], ["sum"]),
        helper.make_node("Relu", ["sum"], ["out:0"]),
    ]
    graph = helper.make_graph(
        nodes, "test", [value("in:0")], [value("sum"), value("out:0")], [tensor()]
    )
    return helper.make_model(graph)


def read(model: Any, *, node: str = "in", outputs: tuple[str, ...] = ("sum", "out")) -> OnnxModel:
    data = model.SerializeToString()
    return read_onnx(data, origin="test.onnx", input_node=node, outputs=outputs, shape=SHAPE)


@pytest.mark.parametrize("node", ["in", "in:0"])
@pytest.mark.parametrize("output", ["out", "out:0"])
def test_names_are_found_with_and_without_their_port(model: Any, node: str, output: str) -> None:
    found = read(model, node=node, outputs=("sum", output))
    assert (found.input_name, found.output_names) == ("in:0", ("sum", "out:0"))


def test_the_batch_is_fixed(model: Any) -> None:
    dims = onnx.load_model_from_string(read(model).data).graph.input[0].type.tensor_type.shape.dim
    assert tuple(dim.dim_value for dim in dims) == SHAPE


def test_weights_that_are_declared_as_inputs_need_not_be_fed(model: Any) -> None:
    model.graph.input.append(value("weights", (4,)))
    assert read(model).input_name == "in:0"


def test_a_missing_output_comes_with_those_that_are_there(model: Any) -> None:
    with pytest.raises(ModelError, match=r"no output 'gone', but out:0, sum; choose one of these"):
        read(model, outputs=("gone",))


def test_a_missing_input_comes_with_the_one_that_is_there(model: Any) -> None:
    with pytest.raises(ModelError, match=r"test\.onnx has no input 'gone', but in:0"):
        read(model, node="gone")


def test_a_second_input_is_refused(model: Any) -> None:
    model.graph.input.append(value("training"))
    with pytest.raises(ModelError, match="wants the inputs training too"):
        read(model)


@pytest.mark.parametrize("shape", [(64, 4), ("batch", 5), ("batch", 1, 4)])
def test_another_shape_than_the_file_takes_is_refused(model: Any, shape: tuple[object]) -> None:
    model.graph.input[0].CopyFrom(value("in:0", shape))
    with pytest.raises(ModelError, match=r"takes batches of the shape .*, not \(2, 4\)"):
        read(model)


@pytest.mark.parametrize("data", [b"", b"This is no model.", b"\x08\x08"])
def test_what_is_no_model_is_refused(data: bytes) -> None:
    with pytest.raises(ModelError, match=r"text\.onnx (is not an ONNX model|holds no node)"):
        read_onnx(data, origin="text.onnx", input_node="in", outputs=["out"], shape=SHAPE)


def in_weights(model: Any) -> None:
    model.graph.initializer[0].CopyFrom(external())


def in_a_constant(model: Any) -> None:
    model.graph.node.append(helper.make_node("Constant", [], ["c"], value=external()))


def in_a_branch(model: Any) -> None:
    branch = helper.make_graph([], "branch", [], [], [external()])
    condition = helper.make_node("If", ["sum"], ["c"], then_branch=branch, else_branch=branch)
    model.graph.node.append(condition)


def in_a_sparse_tensor(model: Any) -> None:
    sparse = model.graph.sparse_initializer.add()
    sparse.values.CopyFrom(external())


@pytest.mark.parametrize("hide", [in_weights, in_a_constant, in_a_branch, in_a_sparse_tensor])
def test_weights_in_another_file_are_refused_wherever_they_hide(model: Any, hide: Any) -> None:
    hide(model)
    with pytest.raises(GraphRefusedError, match="keeps the tensor 'weights' in another file"):
        read(model)


@pytest.mark.parametrize("domain", ["com.microsoft", "custom", "ai.onnx.ml"])
def test_ops_that_are_not_standard_are_refused(model: Any, domain: str) -> None:
    model.graph.node.append(helper.make_node("Run", ["sum"], ["r"], name="n", domain=domain))
    with pytest.raises(GraphRefusedError, match=rf"the op {domain}\.Run in node 'n'"):
        read(model)


def test_ops_that_are_not_standard_are_refused_inside_a_branch(model: Any) -> None:
    inner = helper.make_node("Run", ["sum"], ["r"], domain="custom")
    branch = helper.make_graph([inner], "branch", [], [value("r")])
    node = helper.make_node("If", ["sum"], ["c"], then_branch=branch, else_branch=branch)
    model.graph.node.append(node)
    with pytest.raises(GraphRefusedError, match=r"the op custom\.Run"):
        read(model)


def test_functions_of_a_file_are_refused(model: Any) -> None:
    node = helper.make_node("Relu", ["x"], ["y"])
    opset = [helper.make_opsetid("", 17)]
    model.functions.append(helper.make_function("", "Relu", ["x"], ["y"], [node], opset))
    with pytest.raises(GraphRefusedError, match="brings functions of its own"):
        read(model)


def test_a_model_is_told_from_a_graph_whatever_its_name(model: Any, tmp_path: Path) -> None:
    copy, graph = tmp_path / "copy.pb", tmp_path / "graph.pb"
    copy.write_bytes(model.SerializeToString())
    graph.write_bytes(build_untrained(model_spec("msd-vgg-1")))
    assert is_onnx_file(copy)
    assert not is_onnx_file(graph)
    assert is_onnx_file(tmp_path / "named.onnx")
    assert not is_onnx_file(tmp_path / "gone.pb")
