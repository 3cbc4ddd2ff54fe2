"""Nodes that rearrange tensors: join, cut, flatten, reduce.

They carry the names that TensorFlow 1.15 gives the nodes inside of ``tf.layers.flatten`` and its
like. Every function adds nodes to a `GraphWriter` and gives the full name of the last.
"""

from __future__ import annotations

from collections.abc import Sequence

from embedlib.models.graph_writer import GraphWriter


def expand_dims(
    writer: GraphWriter, tensor: str, *, name: str, axis: int, dtype: str = "float32"
) -> str:
    """Add an axis of length 1.

    Parameters
    ----------
    writer : GraphWriter
        The graph.
    tensor : str
        Input node.
    name : str
        Of the node.
    axis : int >= 0
        Where the new axis is.
    dtype : str
        Of the input.

    Returns
    -------
    node : str
        Full name.
    """
    dim = writer.const(f"{name}/dim", axis)
    return writer.op("ExpandDims", name, [tensor, dim], T=dtype, Tdim="int32")


def concat(writer: GraphWriter, tensors: Sequence[str], *, name: str, axis: int) -> str:
    """Join tensors along an axis.

    Parameters
    ----------
    writer : GraphWriter
        The graph.
    tensors : sequence of str
        Input nodes.
    name : str
        Of the node.
    axis : int >= 0
        Along which to join.

    Returns
    -------
    node : str
        Full name.
    """
    along = writer.const(f"{name}/axis", axis)
    return writer.op("ConcatV2", name, [*tensors, along], N=len(tensors), Tidx="int32")


def transpose(
    writer: GraphWriter, tensor: str, *, name: str, order: Sequence[int], dtype: str = "float32"
) -> str:
    """Put axes into another order.

    Parameters
    ----------
    writer : GraphWriter
        The graph.
    tensor : str
        Input node.
    name : str
        Of the node.
    order : sequence of int
        Which axis of the input each axis of the result is.
    dtype : str
        Of the input.

    Returns
    -------
    node : str
        Full name.
    """
    permutation = writer.const(f"{name}/perm", list(order))
    return writer.op("Transpose", name, [tensor, permutation], T=dtype, Tperm="int32")


def reduce(
    writer: GraphWriter, tensor: str, *, op: str, name: str, axes: object, keep_dims: bool
) -> str:
    """Reduce axes to one value each.

    Parameters
    ----------
    writer : GraphWriter
        The graph.
    tensor : str
        Input node.
    op : {'Max', 'Mean', 'Sum'}
        Of TensorFlow.
    name : str
        Of the node.
    axes : int or sequence of int
        Which go.
    keep_dims : bool
        Whether they stay, with length 1.

    Returns
    -------
    node : str
        Full name.
    """
    indices = writer.const(f"{name}/reduction_indices", axes)
    return writer.op(op, name, [tensor, indices], keep_dims=keep_dims, Tidx="int32")


def length(
    writer: GraphWriter, tensor: str, *, name: str, axis: int, dtype: str = "float32"
) -> str:
    """Read the length of an axis that is known at run time only.

    Parameters
    ----------
    writer : GraphWriter
        The graph.
    tensor : str
        Input node.
    name : str
        Prefix of the nodes.
    axis : int >= 0
        Of the input.
    dtype : str
        Of the input.

    Returns
    -------
    node : str
        Full name of an int32 scalar.
    """
    shape = writer.op("Shape", f"{name}/Shape", [tensor], T=dtype, out_type="int32")
    bounds = zip(("stack", "stack_1", "stack_2"), ([axis], [axis + 1], [1]), strict=True)
    slicing = [writer.const(f"{name}/strided_slice/{bound}", at) for bound, at in bounds]
    return writer.op(
        "StridedSlice",
        f"{name}/strided_slice",
        [shape, *slicing],
        T="int32",
        Index="int32",
        begin_mask=0,
        end_mask=0,
        ellipsis_mask=0,
        new_axis_mask=0,
        shrink_axis_mask=1,
    )


def flatten(writer: GraphWriter, tensor: str, *, name: str) -> str:
    """Flatten all axes but the batch, with the nodes of ``tf.layers.flatten``.

    Parameters
    ----------
    writer : GraphWriter
        The graph.
    tensor : str
        Input node.
    name : str
        Of the layer.

    Returns
    -------
    node : str
        Full name of the reshaped tensor, batch x values.
    """
    batch = length(writer, tensor, name=name, axis=0)
    rest = writer.const(f"{name}/Reshape/shape/1", -1)
    target = pack(writer, [batch, rest], name=f"{name}/Reshape/shape")
    return writer.op("Reshape", f"{name}/Reshape", [tensor, target], Tshape="int32")


def pack(writer: GraphWriter, tensors: Sequence[str], *, name: str) -> str:
    """Join int32 scalars to a vector, such as a shape, or vectors to a matrix.

    Parameters
    ----------
    writer : GraphWriter
        The graph.
    tensors : sequence of str
        Input nodes, of one shape.
    name : str
        Of the node.

    Returns
    -------
    node : str
        Full name.
    """
    return writer.op("Pack", name, tensors, T="int32", N=len(tensors), axis=0)


def unstack(writer: GraphWriter, tensor: str, *, name: str, axis: int, n_parts: int) -> list[str]:
    """Take an axis apart.

    Parameters
    ----------
    writer : GraphWriter
        The graph.
    tensor : str
        Input node.
    name : str
        Of the node.
    axis : int >= 0
        Which axis goes.
    n_parts : int > 0
        Its length.

    Returns
    -------
    tensors : list of str
        Names, with ports.
    """
    node = writer.op("Unpack", name, [tensor], num=n_parts, axis=axis)
    return [node, *(f"{node}:{port}" for port in range(1, n_parts))]


def first_along(
    writer: GraphWriter, tensor: str, *, name: str, axis: int, stop: str, dtype: str = "float32"
) -> str:
    """Keep the beginning of an axis, and the other axes as they are.

    Parameters
    ----------
    writer : GraphWriter
        The graph.
    tensor : str
        Input node.
    name : str
        Of the node.
    axis : int >= 0
        Which to cut.
    stop : str
        Node of an int32 scalar: how much to keep.
    dtype : str
        Of the input.

    Returns
    -------
    node : str
        Full name.
    """
    starts = writer.const(f"{name}/stack", [0] * (axis + 1))
    zero = writer.const(f"{name}/stack_1/0", 0)
    stops = pack(writer, [*[zero] * axis, stop], name=f"{name}/stack_1")
    steps = writer.const(f"{name}/stack_2", [1] * (axis + 1))
    return writer.op(
        "StridedSlice",
        name,
        [tensor, starts, stops, steps],
        T=dtype,
        Index="int32",
        begin_mask=2 ** (axis + 1) - 1,
        end_mask=2**axis - 1,
        ellipsis_mask=0,
        new_axis_mask=0,
        shrink_axis_mask=0,
    )


def pad_end(
    writer: GraphWriter,
    tensor: str,
    *,
    name: str,
    axis: int,
    rank: int,
    n_zeros: str,
    dtype: str = "float32",
) -> str:
    """Put zeros behind a tensor, as many as are known at run time only.

    Parameters
    ----------
    writer : GraphWriter
        The graph.
    tensor : str
        Input node.
    name : str
        Of the node.
    axis : int >= 0
        Along which to pad.
    rank : int > 0
        Number of axes.
    n_zeros : str
        Node of an int32 scalar.
    dtype : str
        Of the input.

    Returns
    -------
    node : str
        Full name.
    """
    zero = writer.const(f"{name}/zero", 0)
    none = pack(writer, [zero, zero], name=f"{name}/none")
    behind = pack(writer, [zero, n_zeros], name=f"{name}/behind")
    rows = [behind if index == axis else none for index in range(rank)]
    paddings = pack(writer, rows, name=f"{name}/paddings")
    return writer.op("Pad", name, [tensor, paddings], T=dtype, Tpaddings="int32")
