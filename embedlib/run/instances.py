"""From the models that a user names to instances: a spec, a table's name, and what is wanted of it.

An instance is written ``NAME`` or ``NAME:key=value,key=value``. Two instances of one model in one
output have names of their own (``as=``).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from embedlib.errors import ConfigError
from embedlib.models.registry import model_spec, paper_models
from embedlib.models.spec import UNTRAINED_PREFIX, ModelSpec
from embedlib.tables.layout import model_folder

ALL = "all"
"""Names the eight models of the paper."""


@dataclass(frozen=True, slots=True)
class Instance:
    """One model of a run, as the user wants it.

    Attributes
    ----------
    table : str
        Name of the table.
    spec : ModelSpec
        Of the model, with its variant applied.
    options : tuple of (str, Any)
        Fields of the run's configuration that differ for this instance.
    """

    table: str
    spec: ModelSpec
    options: tuple[tuple[str, Any], ...] = ()


OPTIONS: Mapping[str, Callable[[str], Any]] = {
    "patch_hop_frames": int,
    "last_patch": str,
    "precision": str,
    "weights": str,
    "node": str,
}
"""What can be said of one instance, beside ``as`` and ``variant``; options of the run otherwise."""


def instances(names: Iterable[str]) -> tuple[Instance, ...]:
    """Read the models of a run.

    Parameters
    ----------
    names : iterable of str
        As the user wrote them; ``all`` stands for the models of the paper.

    Returns
    -------
    instances : tuple of Instance
        In the order of the names, each once.

    Raises
    ------
    ConfigError
        If a model, a variant or an option is unknown, or two instances share a table.

    Examples
    --------
    >>> [each.table for each in instances(["msd-vgg-1", "msd-vgg-1:patch_hop_frames=187,as=vgg"])]
    ['msd-vgg-1', 'vgg']
    """
    written = [name for text in names for name in (paper_models() if text == ALL else (text,))]
    read = tuple(_instance(text) for text in dict.fromkeys(written))
    require_own_tables(each.table for each in read)
    return read


def require_own_tables(tables: Iterable[str]) -> None:
    """Refuse instances that would write into one table.

    Parameters
    ----------
    tables : iterable of str
        Of the models of a run; at least one.

    Raises
    ------
    ConfigError
        If two are the same.
    """
    table, count = Counter(tables).most_common(1)[0]
    if count > 1:
        raise ConfigError(
            f"{count} models would write the table {table!r}",
            fix=f"name them apart: {table}:as=ANOTHER-NAME",
        )


def untrained(instance: Instance) -> Instance:
    """Give the same instance with random weights.

    Parameters
    ----------
    instance : Instance
        With a model whose weights are not here.

    Returns
    -------
    instance : Instance
        Of the stand-in; its table says so.
    """
    spec = instance.spec.as_untrained()
    return Instance(f"{UNTRAINED_PREFIX}{instance.table}", spec, instance.options)


def _instance(text: str) -> Instance:
    name, _, written = text.partition(":")
    spec = model_spec(name)
    options = dict(_option(part, text) for part in written.split(",") if part)
    if variant := options.pop("variant", None):
        spec = spec.as_variant(variant)
    table = _table_name(options.pop("as", name), spec)
    return Instance(table, spec, tuple(options.items()))


def _table_name(wanted: str, spec: ModelSpec) -> str:
    """Say of a table whether its weights are random, whatever it is called."""
    if spec.untrained:
        wanted = f"{UNTRAINED_PREFIX}{wanted.removeprefix(UNTRAINED_PREFIX)}"
    elif wanted.startswith(UNTRAINED_PREFIX):
        raise ConfigError(
            f"the table {wanted!r} of {spec.name} would claim random weights",
            fix=f"choose a name without {UNTRAINED_PREFIX}",
        )
    model_folder("", wanted)  # refuses what cannot name a table
    return wanted


def _option(part: str, text: str) -> tuple[str, Any]:
    key, equals, value = part.partition("=")
    readers: dict[str, Callable[[str], Any]] = {"as": str, "variant": str, **OPTIONS}
    if key not in readers or not equals or not value:
        raise ConfigError(
            f"{part!r} in {text!r} says nothing of a model",
            fix=f"write NAME:key=value,... with the keys {', '.join(readers)}",
        )
    try:
        return key, readers[key](value)
    except ValueError:
        raise ConfigError(f"{part!r} in {text!r} is no number", fix="give a whole one") from None
