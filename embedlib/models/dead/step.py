"""One node on the way from the input to the outputs, as the rules see it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tensorboardX.proto.attr_value_pb2 import AttrValue

from embedlib.models.dead.facts import Array, Facts
from embedlib.models.dead.groups import Groups
from embedlib.models.known import Shape


class LostError(Exception):
    """A rule cannot follow the channels, or the bound, through a node; the message says why."""


@dataclass(frozen=True, slots=True)
class Step:
    """A node whose inputs are settled.

    Attributes
    ----------
    node : NodeDef
        The node.
    inputs : tuple of Facts or np.ndarray
        An array where an input is a constant.
    shape : tuple of (int or None), or None
        Of its first output.
    groups : Groups
        Where readers are noted.
    """

    node: Any
    inputs: tuple[Facts | Array, ...]
    shape: Shape
    groups: Groups

    def attribute(self, name: str) -> Any:
        """Give an attribute of the node; to ask the node itself would write what is not there.

        Parameters
        ----------
        name : str
            Of the attribute.

        Returns
        -------
        value : AttrValue
            Empty where the node does not say it.
        """
        return self.node.attr[name] if name in self.node.attr else AttrValue()

    def tensor(self, index: int = 0) -> Facts:
        """Give an input that depends on the patch.

        Parameters
        ----------
        index : int
            Which input.

        Returns
        -------
        facts : Facts
            Of known shape.

        Raises
        ------
        LostError
            If it is a constant, or its shape is not known.
        """
        value = self.inputs[index]
        if not isinstance(value, Facts) or value.shape is None or self.shape is None:
            raise LostError
        return value

    def constant(self, index: int) -> Array:
        """Give an input that is a constant.

        Parameters
        ----------
        index : int
            Which input.

        Returns
        -------
        values : np.ndarray
            Its values.

        Raises
        ------
        LostError
            If it depends on the patch.
        """
        value = self.inputs[index]
        if isinstance(value, Facts):
            raise LostError
        return value
