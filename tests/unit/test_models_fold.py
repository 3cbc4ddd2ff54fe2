"""Folding dead filters of MusiCNN: which go, what stays, and when nothing is touched.

That the folded graph gives the numbers of the whole one is tested in
``tests/contract/test_fidelity_fold.py``, where runtimes run both.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from tensorboardX.proto.graph_pb2 import GraphDef

from embedlib.errors import ModelError
from embedlib.models.builder import build_untrained
from embedlib.models.dead.facts import DEAD_BELOW
from embedlib.models.dead.fold import fold_dead_filters
from embedlib.models.graph import const_array, list_nodes, parse_graph, resolve_node
from embedlib.models.registry import model_spec, model_specs
from embedlib.models.spec import ModelSpec

EMBEDDINGS = "model/dense/BiasAdd"
MUSICNN = model_spec("msd-musicnn-1")
FRONT_END = ("conv2d", "conv2d_1", "conv2d_2", "conv2d_3", "conv2d_4")

NORM_PARTS = ("gamma", "moving_variance")


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


def fold(graph: GraphDef, *outputs: str) -> GraphDef:
    return fold_dead_filters(graph, outputs=outputs or (EMBEDDINGS,)).graph


def n_filters(graph: GraphDef) -> list[int]:
    shapes = {node.name: node.shape for node in list_nodes(graph)}
    return [shapes[f"model/{layer}/Conv2D"][-1] for layer in FRONT_END]


SMALL = [spec for spec in model_specs() if spec.write_graph and spec.n_trainable < 10_000_000]


@pytest.mark.parametrize("spec", SMALL, ids=lambda spec: spec.name)
def test_an_untrained_graph_has_nothing_to_fold(spec: ModelSpec) -> None:
    graph = untrained(spec)
    for output in spec.outputs:
        nodes = [resolve_node(graph, node) for node in output.nodes]
        folded = fold_dead_filters(graph, outputs=nodes)
        assert folded.graph is graph
        assert folded.report.n_dead == 0


def test_dead_filters_are_gone_and_living_ones_are_kept_in_order() -> None:
    graph = half_dead()
    folded = fold(graph)
    assert n_filters(folded) == [204 - 26, 204 - 26, 25, 25, 25]
    np.testing.assert_array_equal(
        weights(folded, "conv2d_3/kernel/read"), weights(graph, "conv2d_3/kernel")[..., 1::2]
    )


def test_all_that_reads_a_dead_filter_gets_narrower() -> None:
    folded = fold(half_dead())
    shapes = {node.name: node.shape for node in list_nodes(folded)}
    n_front = sum(n_filters(folded))
    assert shapes["model/concat"] == (None, 187, n_front)
    assert shapes["model/flatten/Reshape"] == (None, 2 * (n_front + 3 * 64))
    assert shapes[EMBEDDINGS] == (None, 200)


def test_the_bias_of_the_mid_end_differs_in_the_first_and_last_three_frames_only() -> None:
    folded = fold(half_dead())
    (bias,) = weights(folded, "conv2d_5/bias/read")[:, :, 0]
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
    folded = fold(graph)
    added = weights(folded, "conv2d_5/bias/read")[0, :, 0] - weights(graph, "conv2d_5/bias")
    # Frame 0 is reached by the taps 3 to 6, the last one by 0 to 3.
    np.testing.assert_allclose(added[0], value * taps[3:].sum(axis=0), atol=1e-6)
    np.testing.assert_allclose(added[90], value * taps.sum(axis=0), atol=1e-6)
    np.testing.assert_allclose(added[186], value * taps[:4].sum(axis=0), atol=1e-6)


def test_a_small_kernel_behind_a_large_scale_lives() -> None:
    graph = untrained()
    set_filters(graph, "conv2d_4/kernel", [3, 4], 1e-10)
    set_filters(graph, "batch_normalization_5/gamma", [4], 1e5)
    assert n_filters(fold(graph)) == [204, 204, 51, 51, 50]


def test_a_filter_that_its_batch_norm_silences_is_dead() -> None:
    graph = untrained()
    set_filters(graph, "batch_normalization_2/gamma", [0, 203], 0.0)
    assert n_filters(fold(graph)) == [204, 202, 51, 51, 51]


def test_a_layer_of_dead_filters_keeps_one() -> None:
    graph = untrained()
    set_filters(graph, "conv2d_2/kernel", range(51), 0.0)
    assert n_filters(fold(graph)) == [204, 204, 1, 51, 51]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_dead_filter_whose_value_is_not_finite_stays_without_a_warning(value: float) -> None:
    graph = half_dead()
    set_filters(graph, "conv2d_2/bias", range(51), value)
    set_filters(graph, "batch_normalization_4/moving_variance", range(51), -1.0)
    assert n_filters(fold(graph)) == [178, 178, 51, 51, 25]


def scale_of(graph: GraphDef, norm: str, index: int) -> float:
    """Give the scale that a batch norm is for one channel."""
    gamma, variance = (weights(graph, f"{norm}/{part}")[index] for part in NORM_PARTS)
    return float(gamma / np.sqrt(variance + 1e-3))


@pytest.mark.parametrize("factor", [0.99, 1.01])
def test_a_filter_dies_at_the_threshold(factor: float) -> None:
    graph = untrained()
    set_filters(graph, "conv2d_3/bias", [9], 0.5)
    scales = scale_of(graph, "batch_normalization", 0) * scale_of(graph, "batch_normalization_4", 9)
    # Each of the 64 taps sees inputs as large as the bound.
    set_filters(graph, "conv2d_3/kernel", [9], factor * DEAD_BELOW / scales / 64)
    assert n_filters(fold(graph))[3] == (50 if factor < 1 else 51)


@pytest.mark.parametrize("outputs", [["model/dense_1/BiasAdd"], [EMBEDDINGS, "model/Sigmoid"]])
def test_nodes_behind_the_embeddings_may_be_wanted(outputs: list[str]) -> None:
    folded = fold(half_dead(), *outputs)
    names = {node.name for node in folded.node}
    assert names.issuperset(outputs)
    assert n_filters(folded) == [178, 178, 25, 25, 25]


@pytest.mark.parametrize(
    ("node", "n_left"),
    [
        ("model/Squeeze", [204, 178, 25, 25, 25]),
        ("model/concat_3", [204, 204, 25, 25, 25]),
        ("model/concat", [204, 204, 51, 51, 51]),
        ("model/transpose", [178, 178, 25, 25, 25]),
        ("model/Squeeze_5", [204, 204, 51, 51, 51]),
        ("model/dense/MatMul", [178, 178, 25, 25, 25]),
    ],
)
def test_a_wanted_node_keeps_its_filters(node: str, n_left: list[int]) -> None:
    folded = fold(half_dead(), EMBEDDINGS, node)
    assert n_filters(folded) == n_left


def test_a_head_that_reads_the_front_end_keeps_what_it_reads() -> None:
    graph = half_dead()
    graph.node.add(op="Relu", name="head", input=[EMBEDDINGS])
    graph.node.add(op="Softplus", name="skip", input=["model/Squeeze_1:0"])
    graph.node.add(op="Pack", name="both", input=["head", "skip"])
    assert n_filters(fold(graph, "both")) == [178, 204, 25, 25, 25]
    assert n_filters(fold(graph, "head")) == [178, 178, 25, 25, 25]


def test_folding_changes_nothing_in_the_graph_that_it_was_given() -> None:
    graph = half_dead()
    before = graph.SerializeToString(deterministic=True)
    fold(graph)
    assert graph.SerializeToString(deterministic=True) == before


def test_a_folded_graph_is_a_graph_without_anything_to_fold() -> None:
    once, again = (fold(half_dead()).SerializeToString(deterministic=True) for _ in range(2))
    folded = parse_graph(once, origin="folded")
    assert again == once
    assert fold(folded) is folded


def test_a_wanted_node_that_is_not_there_is_named() -> None:
    with pytest.raises(ModelError, match="the graph has no node 'model/nowhere'; see"):
        fold(half_dead(), EMBEDDINGS, "model/nowhere")


def test_a_weight_with_a_wrong_number_of_values_is_named() -> None:
    graph = half_dead()
    node_of(graph, "dense/kernel").attr["value"].tensor.tensor_content = b"\0" * 8
    with pytest.raises(ModelError, match="'dense/kernel' holds 2 values for the shape"):
        fold(graph)
