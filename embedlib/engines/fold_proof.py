"""Proof that a simpler graph gives the numbers of the whole one, before it takes its place."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from tensorboardX.proto.graph_pb2 import GraphDef

from embedlib.engines.engine import GraphSpec
from embedlib.engines.openvino_core import openvino_core
from embedlib.models.tensors import tensor_name
from embedlib.records import Float32

MAX_RELATIVE_L2 = 1e-5
"""Of one output for a batch. The published MusiCNN differs by up to 1.4e-6 when it is folded."""

# Largest magnitudes of the random patches: silence, and far less and far more than front ends give.
_SCALES = (0.0, 1e-2, 1.0, 1e2, 1e4)

_EXACT = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}

_LOG = logging.getLogger("embedlib")


def proven(
    simple: GraphDef, whole: GraphDef, spec: GraphSpec, *, read: Callable[..., Any]
) -> GraphDef:
    """Take the simpler of two graphs if both give the same numbers for random patches.

    Parameters
    ----------
    simple, whole : GraphDef
        Cut to the outputs of `spec`; where they are one graph, nothing is run.
    spec : GraphSpec
        What is wanted of them.
    read : callable
        Makes the ``openvino.Model`` of a graph and a spec.

    Returns
    -------
    graph : GraphDef
        `simple`, or `whole` with a warning in the log.
    """
    if simple is whole:
        return whole
    # One after the other, so that one compiled model is in memory at a time.
    theirs = list(_outputs(read(whole, spec), spec))
    ours = list(_outputs(read(simple, spec), spec))
    worst = float(np.max([_relative_l2(*pair) for pair in zip(ours, theirs, strict=True)]))
    if worst <= MAX_RELATIVE_L2:
        return simple
    _LOG.warning(
        "%s is run as it is: without its dead filters it would differ by %.1e of its outputs",
        spec.path.name,
        worst,
    )
    return whole


def _outputs(model: Any, spec: GraphSpec) -> Iterator[Float32]:
    """Give the outputs for one batch of each scale, the same for each model."""
    request = openvino_core().compile_model(model, "CPU", _EXACT).create_infer_request()
    rng = np.random.default_rng(0)
    for scale in _SCALES:
        batch = rng.uniform(-scale, scale, (spec.batch_size, *spec.patch_shape))
        request.infer([batch.astype(np.float32)])
        for node in spec.output_nodes:
            yield np.array(request.get_tensor(tensor_name(node)).data, np.float32)


def _relative_l2(ours: Float32, theirs: Float32) -> float:
    if ours.shape != theirs.shape:
        return float("inf")
    error, size = (np.linalg.norm(np.float64(values)) for values in (ours - theirs, theirs))
    return float(error / size) if error else 0.0
