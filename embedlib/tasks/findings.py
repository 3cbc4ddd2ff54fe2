"""What a check of a task comes to, in words: problems to solve, and notes to know of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from embedlib.tasks.check import SetCheck, TaskCheck
from embedlib.tasks.duplicates import MAX_PAIRS, duplicate_lines
from embedlib.tasks.loaders import Validation

OUR_LAYOUTS: Final = ("manifest", "by-name")
"""Adapters of layouts that nobody else publishes."""

N_NAMED: Final = 3
"""Tracks that a line names; all of them are counted."""


def problems(found: TaskCheck) -> tuple[str, ...]:
    """Say what is to be mended, because a score would mean something else than it says.

    Parameters
    ----------
    found : TaskCheck
        A check of a task.

    Returns
    -------
    lines : tuple of str
        What is missing, then what is there twice.
    """
    return (
        *_missing(found),
        *duplicate_lines(
            found.duplicates, found.n_duplicates, has_groups=bool(found.training.n_groups)
        ),
    )


def notes(found: TaskCheck) -> tuple[str, ...]:
    """Say what is to be known, but may well be as it should.

    Parameters
    ----------
    found : TaskCheck
        A check of a task.

    Returns
    -------
    lines : tuple of str
        About the size, groups, embeddings, the layout and its loader.
    """
    return tuple(_remarks(found))


def _missing(found: TaskCheck) -> Iterator[str]:
    empty = [name for name, n in found.training.classes if not n]
    if empty:
        yield f"no track has the class {', '.join(empty)}"
    for what, one in _sets(found):
        if one.no_file:
            yield f"{what}no audio file for {_some(one.no_file)}"
        if one.absent:
            yield f"{what}not in the catalogue: {_some(one.absent)}"
    if found.validation is not None and found.validation.altered:
        altered = _some(found.validation.altered)
        yield f"not as published, says {found.validation.loader}: {altered}"


def _remarks(found: TaskCheck) -> Iterator[str]:
    task, training = found.task, found.training
    if task.size is not None and training.n_labelled != task.size:
        yield f"{training.n_labelled} labelled tracks, the paper counts {task.size} {task.unit}"
    if task.groups and not training.n_groups:
        yield f"tracks of one {task.groups} may be in two folds: the labels have no groups"
    for what, one in _sets(found):
        if one.no_embedding:
            yield f"{what}no embedding of {found.model} for {_some(one.no_embedding)}"
    if found.external is not None:
        yield from _external_remarks(found.external)
    if found.n_duplicates > MAX_PAIRS:
        yield f"{MAX_PAIRS} of {found.n_duplicates} pairs are listed"
    if not task.verified and task.adapter not in OUR_LAYOUTS:
        yield "the layout of these labels was not held against a published index"
    if found.validation is not None:
        yield from _of_loader(found.validation)


def _external_remarks(external: SetCheck) -> Iterator[str]:
    if external.n_labelled == len(external.absent):
        yield "the external set is empty: there will be no external score"
    elif empty := [name for name, n in external.classes if not n]:
        yield f"external: no track has the class {', '.join(empty)}"


def _of_loader(validation: Validation) -> Iterator[str]:
    if validation.obstacle:
        yield f"{validation.loader} was not asked: {validation.obstacle}"
    if validation.absent:
        yield f"of the index of {validation.loader}, not there: {_some(validation.absent)}"


def _sets(found: TaskCheck) -> list[tuple[str, SetCheck]]:
    external = [] if found.external is None else [("external: ", found.external)]
    return [("", found.training), *external]


def _some(names: Sequence[str]) -> str:
    listed = ", ".join(names[:N_NAMED])
    more = f" and {len(names) - N_NAMED} more" if len(names) > N_NAMED else ""
    return f"{listed}{more}"
