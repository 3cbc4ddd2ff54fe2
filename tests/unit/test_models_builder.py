"""Untrained graphs: the same bytes again, the right size, the right nodes."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from embedlib.errors import ConfigError
from embedlib.models.builder import build_untrained
from embedlib.models.graph import const_array, list_nodes, parse_graph
from embedlib.models.registry import model_spec, model_specs
from embedlib.models.spec import ModelSpec

GOLDEN = Path(__file__).parents[1] / "golden"

# The others are written by the same code, but take a second each.
SMALL = [spec for spec in model_specs() if spec.write_graph and spec.n_trainable < 10_000_000]

every_small_spec = pytest.mark.parametrize("spec", SMALL, ids=lambda spec: spec.name)


def nodes_of(spec: ModelSpec) -> dict:
    graph = parse_graph(build_untrained(spec), origin=spec.name)
    return {node.name: node for node in list_nodes(graph)}


@every_small_spec
def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(spec: ModelSpec) -> None:
    once = build_untrained(spec, seed=3)
    assert build_untrained(spec.as_untrained(), seed=3) == once
    assert build_untrained(spec, seed=4) != once


def test_no_two_models_share_their_weights() -> None:
    kernels = [
        const_array(node).tobytes()
        for spec in SMALL
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
        ("deepsquare-k16-3", "36e15fa6ddc4fef3"),
        ("openl3-music-mel128-emb512-3", "0f17350c1b440438"),
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


def test_a_model_whose_graph_nothing_here_writes_is_refused() -> None:
    with pytest.raises(
        ConfigError, match=r"no untrained stand-in for discogs-effnet-bs64-1; .*pull"
    ):
        build_untrained(model_spec("discogs-effnet-bs64-1"))
