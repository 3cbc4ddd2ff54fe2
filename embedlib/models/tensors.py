"""Names of tensors: a node, and the port where that is not the first. Known without any graph."""

from __future__ import annotations


def split_tensor(tensor: str) -> tuple[str, int]:
    """Split the name of a tensor.

    Parameters
    ----------
    tensor : str
        Name of a node, with the port where that is not the first.

    Returns
    -------
    node : str
        Name of the node.
    port : int
        Which of its outputs.

    Examples
    --------
    >>> split_tensor("PartitionedCall:1"), split_tensor("model/dense/BiasAdd")
    (('PartitionedCall', 1), ('model/dense/BiasAdd', 0))
    """
    node, colon, port = tensor.rpartition(":")
    return (node, int(port)) if colon and port.isdecimal() else (tensor, 0)


def node_of(tensor: str) -> str:
    """Give the node that a tensor belongs to.

    Parameters
    ----------
    tensor : str
        Name of a node, with the port where that is not the first.

    Returns
    -------
    node : str
        Name of the node.

    Examples
    --------
    >>> node_of("PartitionedCall:1"), node_of("model/dense/BiasAdd")
    ('PartitionedCall', 'model/dense/BiasAdd')
    """
    return split_tensor(tensor)[0]


def tensor_name(tensor: str) -> str:
    """Give the name that runtimes know a tensor by: always with its port.

    Parameters
    ----------
    tensor : str
        Name of a node, with the port where that is not the first.

    Returns
    -------
    name : str
        Node and port.

    Examples
    --------
    >>> tensor_name("PartitionedCall:1"), tensor_name("model/dense/BiasAdd")
    ('PartitionedCall:1', 'model/dense/BiasAdd:0')
    """
    node, port = split_tensor(tensor)
    return f"{node}:{port}"
