"""Write frozen TensorFlow graphs node by node; the same calls give the same bytes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray
from tensorboardX.proto.graph_pb2 import GraphDef
from tensorboardX.proto.node_def_pb2 import NodeDef

from embedlib.records import Float32

# DataType in TensorFlow's types.proto.
_DT_FLOAT, _DT_BOOL = 1, 10
_TYPES = {"float32": _DT_FLOAT, "int32": 3, "complex64": 8, "bool": _DT_BOOL}
_VALUE_FIELDS = {"float32": "float_val", "int32": "int_val"}


Attribute = bool | int | float | bytes | str | list[int] | None


class GraphWriter:
    """A graph that grows; every method adds nodes and gives the name of the last.

    Parameters
    ----------
    scope : str
        Prefix of all nodes but the weights; empty for none.
    """

    def __init__(self, *, scope: str = "") -> None:
        self._graph = GraphDef()
        self._scope = scope

    @contextmanager
    def name_scope(self, name: str) -> Iterator[None]:
        """Write the nodes that follow, but not the weights, into a scope.

        Parameters
        ----------
        name : str
            Inside the current scope.
        """
        outer = self._scope
        self._scope = self._full_name(name)
        try:
            yield
        finally:
            self._scope = outer

    def serialise(self) -> bytes:
        """Give the graph as a file.

        Returns
        -------
        data : bytes
            A GraphDef; the same calls give the same bytes.
        """
        data: bytes = self._graph.SerializeToString(deterministic=True)
        return data

    def placeholder(self, name: str, *, shape: Sequence[int]) -> str:
        """Add an input of float32.

        Parameters
        ----------
        name : str
            In the scope.
        shape : sequence of int
            With -1 for the batch.

        Returns
        -------
        node : str
            Full name.
        """
        node = self._add("Placeholder", self._full_name(name), ())
        node.attr["dtype"].type = _DT_FLOAT
        for size in shape:
            node.attr["shape"].shape.dim.add(size=size)
        return str(node.name)

    def flag_placeholder(self, name: str) -> str:
        """Add an input of bool and unknown rank, as published graphs carry one that is not read.

        Parameters
        ----------
        name : str
            In the scope.

        Returns
        -------
        node : str
            Full name.
        """
        node = self._add("Placeholder", self._full_name(name), ())
        node.attr["dtype"].type = _DT_BOOL
        node.attr["shape"].shape.unknown_rank = True
        return str(node.name)

    def const(self, name: str, values: object, *, dtype: str = "int32") -> str:
        """Add a constant.

        Parameters
        ----------
        name : str
            In the scope.
        values : array_like
            Its values.
        dtype : {'int32', 'float32'}
            Its type.

        Returns
        -------
        node : str
            Full name.
        """
        return self._const(self._full_name(name), np.asarray(values, dtype))

    def op(self, op: str, name: str, inputs: Sequence[str], **attributes: Attribute) -> str:
        """Add a node.

        Parameters
        ----------
        op : str
            Of TensorFlow.
        name : str
            In the scope.
        inputs : sequence of str
            Full names.
        **attributes : bool, int, float, bytes, str, list of int or None
            By name; a str is a type. ``T`` is float32 unless it is given; None leaves it out.

        Returns
        -------
        node : str
            Full name.
        """
        node = self._add(op, self._full_name(name), inputs)
        for key, value in ({"T": "float32"} | attributes).items():
            if value is not None:
                _set_attribute(node, key, value)
        return str(node.name)

    def variable(self, name: str, values: Float32) -> str:
        """Add weights, outside the scope, with the node that TensorFlow reads them through.

        Parameters
        ----------
        name : str
            Full name.
        values : np.ndarray [float32]
            The weights.

        Returns
        -------
        node : str
            Full name of the reading node.
        """
        node = self._add("Identity", f"{name}/read", [self._const(name, values)])
        node.attr["T"].type = _DT_FLOAT
        node.attr["_class"].list.s.append(f"loc:@{name}".encode())
        return str(node.name)

    def _full_name(self, name: str) -> str:
        return f"{self._scope}/{name}" if self._scope else name

    def _const(self, name: str, values: NDArray[np.generic]) -> str:
        node = self._add("Const", name, ())
        node.attr["dtype"].type = _TYPES[values.dtype.name]
        tensor = node.attr["value"].tensor
        tensor.dtype = _TYPES[values.dtype.name]
        for size in values.shape:
            tensor.tensor_shape.dim.add(size=size)
        if values.size == 1:
            # As TensorFlow does; OpenVINO 2026.4 misreads a single value in `tensor_content`.
            getattr(tensor, _VALUE_FIELDS[values.dtype.name]).append(values.item())
        else:
            little_endian = values.astype(values.dtype.newbyteorder("<"), copy=False)
            tensor.tensor_content = little_endian.tobytes()
        return name

    def _add(self, op: str, name: str, inputs: Sequence[str]) -> NodeDef:
        return self._graph.node.add(op=op, name=name, input=inputs)


def _set_attribute(node: NodeDef, key: str, value: Attribute) -> None:
    attribute = node.attr[key]
    match value:
        case bool():
            attribute.b = value
        case int():
            attribute.i = value
        case float():
            attribute.f = value
        case bytes():
            attribute.s = value
        case str():
            attribute.type = _TYPES[value]
        case list():
            attribute.list.SetInParent()  # an empty list is a list too
            attribute.list.i.extend(value)


def numbered(name: str, index: int) -> str:
    """Name the layers of one kind as TensorFlow does: the first has no number.

    Parameters
    ----------
    name : str
        Of the kind.
    index : int >= 0
        Of the layer.

    Returns
    -------
    numbered : str
        Name of the layer.

    Examples
    --------
    >>> numbered("conv2d", 0), numbered("conv2d", 5)
    ('conv2d', 'conv2d_5')
    """
    return f"{name}_{index}" if index else name
