"""Untrained stand-ins: the same graph as a published model, with random weights from a seed."""

from __future__ import annotations

from zlib import crc32

import numpy as np

from embedlib.errors import ConfigError
from embedlib.models.graph_writer import GraphWriter
from embedlib.models.layers import Layers
from embedlib.models.spec import ModelSpec

BUILDER_VERSION = 1
"""Goes up when a change of the code changes a number in a graph."""


def build_untrained(spec: ModelSpec, *, seed: int = 0) -> bytes:
    """Build the graph of a model with random weights.

    Weights are uniform with He's variance, batch norms close to the identity, so that activations
    keep their size from layer to layer. Its embeddings hardly tell one input from another.

    Parameters
    ----------
    spec : ModelSpec
        The model, by its own name or the untrained one.
    seed : int >= 0
        Source of the weights, together with the name of the model.

    Returns
    -------
    graph : bytes
        A frozen TensorFlow GraphDef; the same bytes for the same model and seed.

    Raises
    ------
    ConfigError
        If the seed is negative.

    Examples
    --------
    >>> from embedlib.models.registry import model_spec
    >>> len(build_untrained(model_spec("msd-vgg-1"))) // 1000
    2442
    """
    if seed < 0:
        raise ConfigError(f"seed={seed} is negative", fix="use 0 or more")
    write_graph = spec.as_untrained().write_graph
    if write_graph is None:  # as_untrained has refused already
        raise ConfigError(f"nothing writes the graph of {spec.name}")
    rng = np.random.default_rng([seed, crc32(spec.base_name.encode())])
    writer = GraphWriter()
    write_graph(writer, Layers(writer, rng=rng), spec)
    return writer.serialise()
