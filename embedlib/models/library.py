"""The function library of a graph, which the messages of tensorboardX leave out.

What they do not know is kept as it was read, so the library is found by the numbers of its fields.
"""

from __future__ import annotations

from collections.abc import Iterator

from google.protobuf.any_pb2 import Any as BytesInFieldTwo
from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import DecodeError
from google.protobuf.unknown_fields import UnknownFieldSet
from tensorboardX.proto.graph_pb2 import GraphDef
from tensorboardX.proto.node_def_pb2 import NodeDef

from embedlib.errors import GraphRefusedError

# Field numbers in TensorFlow's graph.proto and function.proto.
_GRAPH_LIBRARY = 2
_LIBRARY_FUNCTION = 1
_FUNCTION_NODE = 3


def library_nodes(graph: GraphDef, *, origin: str) -> Iterator[NodeDef]:
    """Give the nodes of all functions.

    Parameters
    ----------
    graph : GraphDef
        Any.
    origin : str
        Where it comes from, for errors.

    Yields
    ------
    node : NodeDef
        In the order of the library.

    Raises
    ------
    GraphRefusedError
        If the library cannot be read.
    """
    try:
        for library in _field_bytes(graph, _GRAPH_LIBRARY):
            for function in _field_bytes(Empty.FromString(library), _LIBRARY_FUNCTION):
                for data in _field_bytes(Empty.FromString(function), _FUNCTION_NODE):
                    yield NodeDef.FromString(data)
    except DecodeError as exc:
        raise GraphRefusedError(f"the function library of {origin} cannot be read") from exc


def copy_library(source: GraphDef, target: GraphDef) -> None:
    """Give a graph the functions of another.

    Parameters
    ----------
    source : GraphDef
        Has them; not changed.
    target : GraphDef
        Has none yet.
    """
    for library in _field_bytes(source, _GRAPH_LIBRARY):
        # `Any` is a message whose field of the library's number holds bytes.
        target.MergeFromString(BytesInFieldTwo(value=library).SerializeToString())


def _field_bytes(message: Empty | GraphDef, number: int) -> list[bytes]:
    fields = UnknownFieldSet(message)
    return [field.data for field in fields if field.field_number == number]
