"""Folding dead filters: which go, what stays, and when nothing is touched.

That the folded graph gives the numbers of the whole one is tested in
``tests/contract/test_fidelity_fold.py``, where runtimes run both.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from tensorboardX.proto.graph_pb2 import GraphDef

from embedlib.errors import ModelError
from embedlib.models.builder import build_untrained
from embedlib.models.fold import DEAD_BELOW, fold_dead_filters
from embedlib.models.graph import const_array, list_nodes, parse_graph, resolve_node
from embedlib.models.registry import model_spec, model_specs
from embedlib.models.spec import ModelSpec

EMBEDDINGS = "model/dense/BiasAdd"
MUSICNN = model_spec("msd-musicnn-1")
FRONT_END = ("conv2d", "conv2d_1", "conv2d_2", "conv2d_3", "conv2d_4")

Edit = Callable[[GraphDef], None]


def untrained(spec: ModelSpec = MUSICNN) -> GraphDef:
    return parse_graph(build_untrained(spec), origin=spec.name)


def node_of(graph: GraphDef, name: str):
    return next(node for node in graph.node if node.name == name)


def weights(graph: GraphDef, name: str) -> np.ndarray:
    return const_array(node_of(graph, name))


def set_filters(graph: GraphDef, name: str, filters: Sequence[int], value: float) -> None:
    """Set the values of some filters, the last axis, in a constant."""
    values = np.array(weights(graph, name))
    values[..., filters] = value
    node_of(graph, name).attr["value"].tensor.tensor_content = values.tobytes()


def half_dead() -> GraphDef:
    graph = untrained()
    for layer in FRONT_END:
        set_filters(graph, f"{layer}/kernel", range(0, 51, 2), 1e-30)
    return graph


def n_filters(graph: GraphDef) -> list[int]:
    shapes = {node.name: node.shape for node in list_nodes(graph)}
    return [shapes[f"{layer}/kernel"][-1] for layer in FRONT_END]


SMALL = [spec for spec in model_specs() if spec.write_graph and spec.n_trainable < 10_000_000]


@pytest.mark.parametrize("spec", SMALL, ids=lambda spec: spec.name)
def test_an_untrained_graph_has_nothing_to_fold(spec: ModelSpec) -> None:
    graph = untrained(spec)
    for output in spec.outputs:
        nodes = [resolve_node(graph, node) for node in output.nodes]
        assert fold_dead_filters(graph, outputs=nodes) is graph


def test_dead_filters_are_gone_and_living_ones_are_kept_in_order() -> None:
    graph = half_dead()
    folded = fold_dead_filters(graph, outputs=[EMBEDDINGS])
    assert n_filters(folded) == [204 - 26, 204 - 26, 25, 25, 25]
    np.testing.assert_array_equal(
        weights(folded, "conv2d_3/kernel"), weights(graph, "conv2d_3/kernel")[..., 1::2]
    )


def test_all_that_reads_a_dead_filter_gets_narrower() -> None:
    folded = fold_dead_filters(half_dead(), outputs=[EMBEDDINGS])
    shapes = {node.name: node.shape for node in list_nodes(folded)}
    n_front = sum(n_filters(folded))
    assert shapes["model/concat"] == (None, 187, n_front)
    assert shapes["model/flatten/Reshape"] == (None, 2 * (n_front + 3 * 64))
    assert shapes[EMBEDDINGS] == (None, 200)


def test_the_bias_of_the_mid_end_differs_in_the_first_and_last_three_frames_only() -> None:
    folded = fold_dead_filters(half_dead(), outputs=[EMBEDDINGS])
    (bias,) = weights(folded, "conv2d_5/bias")[:, :, 0]
    assert bias.shape == (187, 64)
    inner = np.abs(bias - bias[93]).max(axis=1) == 0
    np.testing.assert_array_equal(np.flatnonzero(~inner), [0, 1, 2, 184, 185, 186])


def test_the_bias_of_the_mid_end_is_what_its_taps_make_of_the_constants() -> None:
    graph = untrained()
    set_filters(graph, "conv2d/kernel", [7], 0.0)
    gamma, beta, mean, variance = (
        weights(graph, f"batch_normalization_1/{part}")[7]
        for part in ("gamma", "beta", "moving_mean", "moving_variance")
    )
    heard = max(0.0, weights(graph, "conv2d/bias")[7])
    value = (heard - mean) / np.sqrt(variance + 1e-3) * gamma + beta
    taps = weights(graph, "conv2d_5/kernel")[:, 7, 0]
    folded = fold_dead_filters(graph, outputs=[EMBEDDINGS])
    added = weights(folded, "conv2d_5/bias")[0, :, 0] - weights(graph, "conv2d_5/bias")
    # Frame 0 is reached by the taps 3 to 6, the last one by 0 to 3.
    np.testing.assert_allclose(added[0], value * taps[3:].sum(axis=0), atol=1e-6)
    np.testing.assert_allclose(added[90], value * taps.sum(axis=0), atol=1e-6)
    np.testing.assert_allclose(added[186], value * taps[:4].sum(axis=0), atol=1e-6)


def test_a_small_kernel_behind_a_large_scale_lives() -> None:
    graph = untrained()
    set_filters(graph, "conv2d_4/kernel", [3, 4], 1e-10)
    set_filters(graph, "batch_normalization_5/gamma", [4], 1e5)
    assert n_filters(fold_dead_filters(graph, outputs=[EMBEDDINGS])) == [204, 204, 51, 51, 50]


def test_a_filter_that_its_batch_norm_silences_is_dead() -> None:
    graph = untrained()
    set_filters(graph, "batch_normalization_2/gamma", [0, 203], 0.0)
    assert n_filters(fold_dead_filters(graph, outputs=[EMBEDDINGS])) == [204, 202, 51, 51, 51]


def test_a_layer_of_dead_filters_keeps_one() -> None:
    graph = untrained()
    set_filters(graph, "conv2d_2/kernel", range(51), 0.0)
    assert n_filters(fold_dead_filters(graph, outputs=[EMBEDDINGS])) == [204, 204, 1, 51, 51]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_dead_filter_whose_value_is_not_finite_stays_without_a_warning(value: float) -> None:
    graph = half_dead()
    set_filters(graph, "conv2d_2/bias", range(51), value)
    set_filters(graph, "batch_normalization_4/moving_variance", range(51), -1.0)
    assert n_filters(fold_dead_filters(graph, outputs=[EMBEDDINGS])) == [178, 178, 51, 51, 25]


@pytest.mark.parametrize("factor", [0.99, 1.01])
def test_a_filter_dies_at_the_threshold(factor: float) -> None:
    graph = untrained()
    set_filters(graph, "conv2d_4/kernel", [0], 0.0)
    scale = 1 / np.sqrt(weights(graph, "batch_normalization_4/moving_variance")[9] + 1e-3)
    scale *= weights(graph, "batch_normalization_4/gamma")[9]
    # Kernels of 64 taps: a constant one has 8 times the norm of its values.
    set_filters(graph, "conv2d_3/kernel", [9], factor * DEAD_BELOW / scale / 8)
    n_left = n_filters(fold_dead_filters(graph, outputs=[EMBEDDINGS]))[3]
    assert n_left == (50 if factor < 1 else 51)


@pytest.mark.parametrize("outputs", [["model/dense_1/BiasAdd"], [EMBEDDINGS, "model/Sigmoid"]])
def test_nodes_behind_the_embeddings_may_be_wanted(outputs: list[str]) -> None:
    folded = fold_dead_filters(half_dead(), outputs=outputs)
    names = {node.name for node in folded.node}
    assert names.issuperset(outputs)
    assert n_filters(folded) == [178, 178, 25, 25, 25]


@pytest.mark.parametrize(
    "node",
    ["model/Squeeze", "model/concat_3", "model/transpose", "model/Squeeze_5", "model/dense/MatMul"],
)
def test_a_wanted_node_before_the_embeddings_leaves_the_graph_alone(node: str) -> None:
    graph = half_dead()
    assert fold_dead_filters(graph, outputs=[node]) is graph
    assert fold_dead_filters(graph, outputs=[EMBEDDINGS, node]) is graph


def test_a_head_that_reads_the_front_end_leaves_the_graph_alone() -> None:
    graph = half_dead()
    graph.node.add(op="Relu", name="head", input=[EMBEDDINGS])
    graph.node.add(op="Relu", name="skip", input=["model/Squeeze_1:0"])
    graph.node.add(op="Pack", name="both", input=["head", "skip"])
    assert fold_dead_filters(graph, outputs=["both"]) is graph
    assert fold_dead_filters(graph, outputs=["head"]) is not graph


def pad_fewer_frames(graph: GraphDef) -> None:
    paddings = np.array([[0, 0], [2, 2], [0, 0], [0, 0]], "<i4")
    node_of(graph, "model/Pad_1/paddings").attr["value"].tensor.tensor_content = paddings.tobytes()


def stride_two(graph: GraphDef) -> None:
    node_of(graph, "model/conv2d_6/Conv2D").attr["strides"].list.i[1] = 2


def larger_epsilon(graph: GraphDef) -> None:
    node_of(graph, "model/batch_normalization_3/FusedBatchNorm").attr["epsilon"].f = 0.1


def larger_epsilon_of_the_vector(graph: GraphDef) -> None:
    name = "model/batch_normalization_9/batchnorm/add/y"
    node_of(graph, name).attr["value"].tensor.float_val[0] = 0.1


def mean_before_maximum(graph: GraphDef) -> None:
    inputs = node_of(graph, "model/concat_2").input
    inputs[0], inputs[1] = inputs[1], inputs[0]


def other_activation(graph: GraphDef) -> None:
    node_of(graph, "model/conv2d/Relu").op = "Elu"


def another_name(graph: GraphDef) -> None:
    node_of(graph, "model/ExpandDims_1").name = "model/wide"
    for node in graph.node:
        node.input[:] = ["model/wide" if x == "model/ExpandDims_1" else x for x in node.input]


def wider_dense(graph: GraphDef) -> None:
    node_of(graph, "dense/bias").attr["value"].tensor.tensor_shape.dim[0].size = 100


@pytest.mark.parametrize(
    "edit",
    [
        pad_fewer_frames,
        stride_two,
        larger_epsilon,
        larger_epsilon_of_the_vector,
        mean_before_maximum,
        other_activation,
        another_name,
        wider_dense,
    ],
)
def test_a_graph_that_is_almost_musicnn_is_left_alone(edit: Edit) -> None:
    graph = half_dead()
    edit(graph)
    assert fold_dead_filters(graph, outputs=[EMBEDDINGS]) is graph


def test_folding_changes_nothing_in_the_graph_that_it_was_given() -> None:
    graph = half_dead()
    before = graph.SerializeToString(deterministic=True)
    fold_dead_filters(graph, outputs=[EMBEDDINGS])
    assert graph.SerializeToString(deterministic=True) == before


def test_a_folded_graph_is_a_graph_without_anything_to_fold() -> None:
    once, again = (
        fold_dead_filters(half_dead(), outputs=[EMBEDDINGS]).SerializeToString(deterministic=True)
        for _ in range(2)
    )
    folded = parse_graph(once, origin="folded")
    assert again == once
    assert fold_dead_filters(folded, outputs=[EMBEDDINGS]) is folded


def test_a_wanted_node_that_is_not_there_is_named() -> None:
    with pytest.raises(ModelError, match="the graph has no node 'model/nowhere'; see"):
        fold_dead_filters(half_dead(), outputs=[EMBEDDINGS, "model/nowhere"])


def test_a_weight_with_a_wrong_number_of_values_is_named() -> None:
    graph = half_dead()
    node_of(graph, "dense/kernel").attr["value"].tensor.tensor_content = b"\0" * 8
    with pytest.raises(ModelError, match="'dense/kernel' holds 2 values for the shape"):
        fold_dead_filters(graph, outputs=[EMBEDDINGS])
