"""Untrained graphs have the parameters, inputs and outputs that the publications state."""

from __future__ import annotations

import hashlib
from functools import cache
from math import prod

import numpy as np
import pytest
from tensorboardX.proto.graph_pb2 import GraphDef

from embedlib.models.builder import build_untrained
from embedlib.models.graph import const_array, list_nodes, parse_graph, prune, resolve_node
from embedlib.models.registry import model_spec, paper_models

TRAINABLE = ("kernel", "bias", "weights", "biases", "gamma", "beta")
MOVING = ("moving_mean", "moving_variance")

# The first, second, fifth and sixth are counted in published files or checkpoints, the others are
# sums over the layers that agree with the sizes of the files.
N_TRAINABLE = {
    "msd-musicnn-1": 787_159,
    "msd-musicnn-t200": 817_309,
    "msd-vgg-1": 605_748,
    "msd-vgg-t200": 644_298,
    "audioset-vggish-3": 72_141_184,
    "deepsquare-k16-3": 1_196_976,
    "openl3-music-mel128-emb512-3": 4_687_042,
    "spleeter-5s-3": 5 * 9_823_749,
}

every_paper_model = pytest.mark.parametrize("name", paper_models())


@cache
def graph_of(name: str) -> GraphDef:
    return parse_graph(build_untrained(model_spec(name)), origin=name)


@pytest.fixture(scope="module", autouse=True)
def forget_graphs_afterwards():
    yield
    graph_of.cache_clear()


def n_values(graph: GraphDef, parts: tuple[str, ...]) -> int:
    """Count the values of constants whose names end with one of some parts."""
    constants = (node for node in list_nodes(graph) if node.op == "Const")
    return sum(prod(node.shape) for node in constants if node.name.split("/")[-1] in parts)


@every_paper_model
def test_a_graph_has_as_many_trainable_parameters_as_published(name: str) -> None:
    assert n_values(graph_of(name), TRAINABLE) == N_TRAINABLE[name] == model_spec(name).n_trainable


@pytest.mark.parametrize(
    ("name", "n_floats"),
    [
        ("msd-musicnn-1", 792_079),
        ("deepsquare-k16-3", 1_198_704),
        ("openl3-music-mel128-emb512-3", 4_689_860),
        ("spleeter-5s-3", 49_133_795),
    ],
)
def test_with_the_moving_statistics_a_graph_has_the_floats_of_the_published_file(
    name: str, n_floats: int
) -> None:
    assert n_values(graph_of(name), TRAINABLE + MOVING) == n_floats


def test_less_than_half_of_spleeter_comes_before_the_bottlenecks() -> None:
    encoders = prune(graph_of("spleeter-5s-3"), outputs=model_spec("spleeter-5s-3").embedding.nodes)
    assert n_values(encoders, TRAINABLE) == 21_838_000


@every_paper_model
def test_a_graph_takes_the_patches_of_its_spec_in_batches_of_any_size(name: str) -> None:
    spec, graph = model_spec(name), graph_of(name)
    shapes = {node.name: node.shape for node in list_nodes(graph)}
    batch, *lengths = shapes[resolve_node(graph, spec.input_node)]
    assert batch is None
    assert len(lengths) == len(spec.input_shape)
    assert all(
        length in (None, wanted) for length, wanted in zip(lengths, spec.input_shape, strict=True)
    )


@every_paper_model
def test_a_graph_gives_vectors_of_the_length_of_its_spec(name: str) -> None:
    spec, graph = model_spec(name), graph_of(name)
    shapes = {node.name: node.shape for node in list_nodes(graph)}
    for output in spec.outputs:
        found = [shapes[resolve_node(graph, node)] for node in output.nodes]
        whole = (None, output.n_values) if output.readout == "vector" else (None, 8, 16, 512)
        assert found == [whole] * len(output.nodes)


def test_spleeter_gives_a_waveform_for_each_stem() -> None:
    shapes = {node.name: node.shape for node in list_nodes(graph_of("spleeter-5s-3"))}
    stems = {name: shape for name, shape in shapes.items() if name.startswith("waveform_")}
    assert stems == dict.fromkeys(
        (f"waveform_{stem}" for stem in ("vocals", "drums", "bass", "piano", "other")), (None, 2)
    )


@pytest.mark.parametrize(
    ("name", "digest"),
    [
        ("audioset-vggish-3", "e9d9332c9aeb9009"),
        ("spleeter-5s-3", "55de74d3fb78c513"),
    ],
)
def test_the_large_weights_of_builder_version_1_stay_as_they_are(name: str, digest: str) -> None:
    # Tables name the builder's version and the seed: other weights need another version.
    sha256 = hashlib.sha256()
    for node in graph_of(name).node:
        if node.op == "Const":
            sha256.update(np.ascontiguousarray(const_array(node)))
    assert sha256.hexdigest()[:16] == digest
