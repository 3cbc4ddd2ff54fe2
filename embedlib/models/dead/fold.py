"""Fold the dead filters of a graph away: fewer operations, the same numbers.

Most front-end filters of the published MusiCNN died in training: of 204, 204, 51, 51 and 51 all
but 23, 14, 3, 7 and 17 have a kernel whose norm is near 1e-29. Such a filter gives the same value
at all positions of all inputs, and what depends on it alone can be computed beforehand. That a
filter is dead is proven: an input is bounded, the bound is carried through the graph
(`embedlib.models.dead.facts`), and the filter is dead where what comes of it moves by less than
float32 can tell. It goes where all that reads it can do without: a layer takes what it makes of
the constant as a bias, which near zeros that are padded differs from place to place.

What remains is the same graph with narrower weights. Sums are made in float64, and outputs are
those of the whole graph up to the rounding of float32.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tensorboardX.proto.graph_pb2 import GraphDef

from embedlib.models.dead.facts import DEAD_BELOW
from embedlib.models.dead.removal import without
from embedlib.models.dead.report import FoldReport, gflop_per_patch
from embedlib.models.dead.search import search


@dataclass(frozen=True, slots=True)
class Folded:
    """A graph without its dead filters, and what was done to it.

    Attributes
    ----------
    graph : GraphDef
        Cut to the wanted nodes; the given graph itself where nothing was removed.
    report : FoldReport
        What was found and removed.
    """

    graph: GraphDef
    report: FoldReport


def fold_dead_filters(
    graph: GraphDef, *, outputs: Sequence[str], dead_below: float = DEAD_BELOW
) -> Folded:
    """Fold the dead filters of any graph into the layers that read them.

    Parameters
    ----------
    graph : GraphDef
        From `parse_graph`; not changed.
    outputs : sequence of str
        Names of the wanted nodes.
    dead_below : float >= 0
        How far a dead channel may move, as a share of the largest input.

    Returns
    -------
    folded : Folded
        The graph and a report.

    Raises
    ------
    ModelError
        If there is no node of a wanted name, or a weight cannot be read.

    Examples
    --------
    >>> from embedlib.models.builder import build_untrained
    >>> from embedlib.models.families.musicnn import MSD_MUSICNN
    >>> from embedlib.models.graph import parse_graph
    >>> graph = parse_graph(build_untrained(MSD_MUSICNN), origin="untrained")
    >>> folded = fold_dead_filters(graph, outputs=["model/dense/BiasAdd"])
    >>> folded.graph is graph, folded.report.n_dead
    (True, 0)
    """
    found = search(graph, outputs=outputs, dead_below=dead_below)
    gflop = gflop_per_patch(graph, outputs=outputs)
    if not found.gone.any():
        return Folded(graph, FoldReport(found.layers, gflop, gflop))
    folded = without(graph, found, outputs=outputs)
    return Folded(folded, FoldReport(found.layers, gflop, gflop_per_patch(folded, outputs=outputs)))
