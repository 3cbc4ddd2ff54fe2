"""A downstream task as its file tells it."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Unit = Literal["full tracks", "excerpts", "full tracks and excerpts"]


class External(BaseModel):
    """How labels of an external collection become the classes of a task.

    Attributes
    ----------
    adapter : str
        Who reads the labels: ``jamendo-tags``, or ``manifest`` for those that a user brings.
    classes : dict of str to list of str
        Class to the tags that stand for it. A track with tags of two classes is dropped, and so is
        one with tags of none.
    note : str
        What was decided on the way, and what is missing.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    adapter: str = "jamendo-tags"
    classes: dict[str, list[str]] = {}
    note: str = ""


class Task(BaseModel):
    """A downstream task.

    Attributes
    ----------
    name : str
        As in the paper, in small letters.
    group : str
        ``genre``, ``mood`` or ``miscellaneous`` in the paper.
    classes : list of str
        At least two, in the order of all tables and predictions.
    size : int > 0 or None
        Tracks that the paper counts; None for a task that is not the paper's.
    unit : str
        What they are.
    source, licence, citation : str
        Where the data come from, under which terms, and whom to name.
    adapter : str
        Who reads the labels: a module of `embedlib.tasks.adapters`, or an entry point of
        ``embedlib.label_adapters``.
    options : dict of str to Any
        For the adapter.
    labels : dict of str to str
        Label as the data set writes it to class; a label that is not named is its own class.
    filters : list of str
        The rules by which tracks are left out, in words.
    groups : str
        What tracks share that must not be in two folds (``artist``, ``recording`` ...); empty where
        nothing is known.
    external : External or None
        How an external collection is labelled; None where no tags fit.
    verified : str
        The published index or header that the adapter was held against; empty: none.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_.-]*$")
    group: str = "own"
    classes: list[str] = Field(min_length=2)
    size: int | None = Field(default=None, gt=0)
    unit: Unit = "excerpts"
    source: str = ""
    licence: str = ""
    citation: str = ""
    adapter: str = "manifest"
    options: dict[str, Any] = {}
    labels: dict[str, str] = {}
    filters: list[str] = []
    groups: str = ""
    external: External | None = None
    verified: str = ""

    @model_validator(mode="after")
    def _names_its_classes(self) -> Self:
        targets = [*self.labels.values(), *(self.external.classes if self.external else ())]
        if len(set(self.classes)) < len(self.classes):
            raise ValueError("a class is named twice")
        if unknown := [name for name in targets if name not in self.classes]:
            raise ValueError(f"{unknown[0]!r} is none of its classes")
        return self
