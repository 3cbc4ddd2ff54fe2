"""A simpler graph takes the place of the whole one only where both give the same numbers."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
from tensorboardX.proto.graph_pb2 import GraphDef

from embedlib.engines.engine import GraphSpec
from embedlib.engines.fold_proof import proven
from embedlib.engines.openvino_core import openvino_core
from embedlib.models.graph import parse_graph
from embedlib.models.graph_writer import GraphWriter

pytest.importorskip("openvino")

SPEC = GraphSpec(Path("scaled.pb"), "in", ("out",), (4,), 2)


def scaled(factor: float, *, n_values: int = 4) -> GraphDef:
    writer = GraphWriter()
    patches = writer.placeholder("in", shape=[2, n_values])
    writer.op("Mul", "out", [patches, writer.const("factor", factor, dtype="float32")])
    return parse_graph(writer.serialise(), origin="scaled")


@pytest.fixture
def read(tmp_path: Path):
    def read_graph(graph: GraphDef, spec: GraphSpec):
        (tmp_path / "graph.pb").write_bytes(graph.SerializeToString())
        return openvino_core().read_model(tmp_path / "graph.pb")

    return read_graph


def test_a_graph_that_gives_the_same_numbers_is_taken(read) -> None:
    simple, whole = scaled(2.0), scaled(2.0 + 1e-6)
    assert proven(simple, whole, SPEC, read=read) is simple


@pytest.mark.parametrize("factor", [2.0001, np.nan, np.inf, 0.0])
def test_any_other_graph_is_refused_with_one_warning(
    read, factor: float, caplog: pytest.LogCaptureFixture
) -> None:
    whole = scaled(2.0)
    with caplog.at_level(logging.WARNING, "embedlib"):
        assert proven(scaled(factor), whole, SPEC, read=read) is whole
    (record,) = caplog.records
    assert record.getMessage().startswith("scaled.pb is run as it is: ")


def test_a_graph_with_nothing_folded_is_not_run() -> None:
    whole = scaled(2.0)

    def never(graph: GraphDef, spec: GraphSpec) -> None:
        raise AssertionError("there is nothing to prove")

    assert proven(whole, whole, SPEC, read=never) is whole
