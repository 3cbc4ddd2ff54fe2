"""Untrained graphs: the same bytes again, the right size, the right nodes."""

from __future__ import annotations

import hashlib
import json
from math import prod
from pathlib import Path

import numpy as np
import pytest

from embedlib.errors import ConfigError
from embedlib.models.builder import build_untrained
from embedlib.models.graph import const_array, list_nodes, parse_graph
from embedlib.models.registry import model_spec, model_specs
from embedlib.models.spec import ModelSpec

GOLDEN = Path(__file__).parents[1] / "golden"
TRAINABLE = ("/kernel", "/bias", "/gamma", "/beta")

every_spec = pytest.mark.parametrize("spec", model_specs(), ids=lambda spec: spec.name)


def nodes_of(spec: ModelSpec, seed: int = 0) -> dict:
    graph = parse_graph(build_untrained(spec, seed=seed), origin=spec.name)
    return {node.name: node for node in list_nodes(graph)}


@every_spec
def test_the_graph_has_as_many_trainable_parameters_as_the_paper_says(spec: ModelSpec) -> None:
    weights = [node for name, node in nodes_of(spec).items() if name.endswith(TRAINABLE)]
    assert sum(prod(node.shape) for node in weights) == spec.n_trainable


@every_spec
def test_the_graph_has_the_nodes_of_the_spec_in_their_shapes(spec: ModelSpec) -> None:
    nodes = nodes_of(spec)
    assert nodes[spec.input_node].shape == (None, *spec.input_shape)
    assert nodes[spec.embedding_node].shape == (None, spec.n_dims)
    assert nodes["model/Sigmoid"].shape == (None, spec.n_activations)


@every_spec
def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(spec: ModelSpec) -> None:
    once = build_untrained(spec, seed=3)
    assert build_untrained(spec.as_untrained(), seed=3) == once
    assert build_untrained(spec, seed=4) != once


def test_no_two_models_share_their_weights() -> None:
    kernels = [
        const_array(node).tobytes()
        for spec in model_specs()
        for node in parse_graph(build_untrained(spec), origin=spec.name).node
        if node.op == "Const" and node.name.endswith("/kernel")
    ]
    assert len(set(kernels)) == len(kernels)


def test_the_musicnn_graph_has_every_node_of_the_published_file() -> None:
    golden = json.loads((GOLDEN / "msd-musicnn-1.nodes.json").read_text())
    published = {name: (op, shape, dtype) for name, op, shape, dtype in golden["nodes"]}
    built = {
        name: (node.op, None if node.shape is None else list(node.shape), node.dtype)
        for name, node in nodes_of(model_spec("msd-musicnn-1")).items()
    }
    assert built == published


@pytest.mark.parametrize(
    ("name", "digest"),
    [
        ("msd-musicnn-1", "40e25d14477c4948"),
        ("msd-vgg-1", "64918d15a6e449b1"),
    ],
)
def test_weights_of_builder_version_1_stay_as_they_are(name: str, digest: str) -> None:
    # Tables name the builder's version and the seed: other weights need another version.
    sha256 = hashlib.sha256()
    for node in parse_graph(build_untrained(model_spec(name)), origin=name).node:
        if node.op == "Const":
            sha256.update(np.ascontiguousarray(const_array(node)))
    assert sha256.hexdigest()[:16] == digest


def test_a_negative_seed_is_refused() -> None:
    with pytest.raises(ConfigError, match="seed=-1 is negative"):
        build_untrained(model_spec("msd-vgg-1"), seed=-1)
