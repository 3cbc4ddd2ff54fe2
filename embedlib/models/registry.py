"""All models by name: those of `embedlib.models.families`, then those of installed packages.

Adding a model here is a spec in a family's file, or a new file beside them. A package of its own
offers models through the entry point group ``embedlib.models``; each entry point gives a
`ModelSpec`, or several.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points

from embedlib.errors import ConfigError
from embedlib.models import families
from embedlib.models.spec import UNTRAINED_PREFIX, ModelSpec
from embedlib.plugins import in_order, loaded, refused

ENTRY_POINT_GROUP = "embedlib.models"

# In the order of the first table of the paper, see `paper_models`.
_PAPER_MODELS = (
    "msd-musicnn-1",
    "msd-musicnn-t200",
    "msd-vgg-1",
    "msd-vgg-t200",
    "audioset-vggish-3",
    "deepsquare-k16-3",
    "openl3-music-mel128-emb512-3",
    "spleeter-5s-3",
)


def paper_models() -> tuple[str, ...]:
    """Give the names of the eight systems of the paper [1]_.

    Returns
    -------
    names : tuple of str
        In the order of its first table.

    References
    ----------
    .. [1] P. Alonso-Jiménez, D. Bogdanov, X. Serra: Deep embeddings with Essentia models. ISMIR
       Late-Breaking Demo, 2020.
    """
    return _PAPER_MODELS


def model_specs() -> tuple[ModelSpec, ...]:
    """Give all models, without their untrained twins.

    Returns
    -------
    specs : tuple of ModelSpec
        Those of the paper first, then the others of embedlib, then those of installed packages.

    Raises
    ------
    ConfigError
        If an installed package offers models that cannot be taken.
    """
    return tuple(_specs().values())


def model_spec(name: str) -> ModelSpec:
    """Find a model.

    Parameters
    ----------
    name : str
        Name of a model, or ``untrained-`` and its name for the same graph with random weights.

    Returns
    -------
    spec : ModelSpec
        What is known of it.

    Raises
    ------
    ConfigError
        If there is no such model; the message names those with a similar name. Or if an installed
        package offers models that cannot be taken.

    Examples
    --------
    >>> model_spec("msd-musicnn-1").n_dims
    200
    >>> model_spec("untrained-msd-vgg-1").untrained
    True
    """
    specs = _specs()
    base_name = name.removeprefix(UNTRAINED_PREFIX)
    if base_name not in specs:
        close = get_close_matches(base_name, specs, cutoff=0.5) or list(specs)
        raise ConfigError(f"unknown model {name!r}", fix=f"did you mean {' or '.join(close)}?")
    spec = specs[base_name]
    return spec.as_untrained() if name.startswith(UNTRAINED_PREFIX) else spec


def collect_specs(plugins: Iterable[EntryPoint]) -> dict[str, ModelSpec]:
    """Collect the models of embedlib and those that entry points offer.

    Parameters
    ----------
    plugins : iterable of EntryPoint
        Of the group ``embedlib.models``.

    Returns
    -------
    specs : dict
        By name, in the order of `model_specs`.

    Raises
    ------
    ConfigError
        If an entry point cannot be loaded, gives anything but specs, or a name that is taken. The
        message names the entry point and its distribution.
    """
    specs = _own_specs()
    for plugin in in_order(plugins):
        for spec in _offered(plugin):
            if spec.name in specs:
                raise refused(plugin, f"gives a model {spec.name!r}, a name that is taken")
            specs[spec.name] = spec
    return specs


@cache
def _specs() -> Mapping[str, ModelSpec]:
    return collect_specs(entry_points(group=ENTRY_POINT_GROUP))


def _own_specs() -> dict[str, ModelSpec]:
    modules = sorted(module.name for module in pkgutil.iter_modules(families.__path__))
    found = [
        spec for name in modules for spec in import_module(f"{families.__name__}.{name}").SPECS
    ]
    rank = {name: index for index, name in enumerate(_PAPER_MODELS)}
    found.sort(key=lambda spec: rank.get(spec.name, len(rank)))
    return {spec.name: spec for spec in found}


def _offered(plugin: EntryPoint) -> tuple[ModelSpec, ...]:
    value = loaded(plugin)
    offered = tuple(value) if isinstance(value, Iterable) else (value,)
    for spec in offered:
        if not isinstance(spec, ModelSpec):
            raise refused(plugin, f"gives a {type(spec).__name__}, not a ModelSpec")
    return offered
