"""What was found in a graph, and what of it was folded away."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from tensorboardX.proto.graph_pb2 import GraphDef

from embedlib.models.nodes import known_shapes
from embedlib.models.tensors import split_tensor
from embedlib.models.topology import data_inputs, with_ancestors


@dataclass(frozen=True, slots=True)
class LayerFilters:
    """The filters of one layer.

    Attributes
    ----------
    name : str
        Of the node that holds the sums.
    n_filters : int > 0
        Filters in the file.
    n_dead : int
        Those that are constants wherever they are read.
    n_removed : int
        Those of the dead that are folded away.
    kept_because : str
        Why the other dead ones stay; empty where there are none.
    """

    name: str
    n_filters: int
    n_dead: int
    n_removed: int
    kept_because: str = ""


@dataclass(frozen=True, slots=True)
class FoldReport:
    """What was folded in a graph.

    Attributes
    ----------
    layers : tuple of LayerFilters
        All with constant weights, in the order of the graph.
    gflop_before, gflop_after : float or None
        Operations per patch, of convolutions and dense layers, padded taps counted, a product and
        a sum as two; None where a shape is not known.
    """

    layers: tuple[LayerFilters, ...]
    gflop_before: float | None
    gflop_after: float | None

    @property
    def n_dead(self) -> int:
        """Dead filters in all layers."""
        return sum(layer.n_dead for layer in self.layers)

    @property
    def n_removed(self) -> int:
        """Filters that are folded away."""
        return sum(layer.n_removed for layer in self.layers)


def gflop_per_patch(graph: GraphDef, *, outputs: Sequence[str]) -> float | None:
    """Count the operations of convolutions and dense layers.

    Parameters
    ----------
    graph : GraphDef
        Any.
    outputs : sequence of str
        Names of the wanted nodes; what they do not need does not count.

    Returns
    -------
    gflop : float or None
        Per patch; None where a shape is not known.
    """
    shapes = known_shapes(graph)
    needed = with_ancestors(graph, outputs)
    counts = []
    for node in graph.node:
        if node.op not in ("Conv2D", "MatMul") or node.name not in needed:
            continue
        given = shapes[node.name]
        weights = shapes[split_tensor(data_inputs(node)[1])[0]]
        if not given or not weights or None in (*given[1:], *weights):
            return None
        is_turned = "transpose_b" in node.attr and node.attr["transpose_b"].b
        per_value = weights[1:] if is_turned else weights[:-1]
        counts.append(2 * prod(n or 0 for n in (*given[1:], *per_value)))
    return sum(counts) / 1e9


def report_lines(report: FoldReport) -> list[str]:
    """Say what was found, for people.

    Parameters
    ----------
    report : FoldReport
        Of a graph.

    Returns
    -------
    lines : list of str
        One, where nothing is dead; else one per layer with dead filters, and one for all.

    Examples
    --------
    >>> report_lines(FoldReport((LayerFilters("conv2d", 64, 0, 0),), 0.1, 0.1))
    ['none of 64 is dead']
    """
    if not report.n_dead:
        return [f"none of {sum(layer.n_filters for layer in report.layers)} is dead"]
    lines = [_layer_line(layer) for layer in report.layers if layer.n_dead]
    if report.gflop_before is None or report.gflop_after is None:
        return lines
    return [*lines, f"{report.gflop_before:.3f} GFLOP a patch, {report.gflop_after:.3f} folded"]


def _layer_line(layer: LayerFilters) -> str:
    n_alive, n_stay = layer.n_filters - layer.n_dead, layer.n_dead - layer.n_removed
    stay = f", {n_stay} stay: {layer.kept_because}" if n_stay else ""
    return (
        f"{layer.name}: {n_alive} of {layer.n_filters} alive, {layer.n_dead} dead, "
        f"{layer.n_removed} folded away{stay}"
    )
