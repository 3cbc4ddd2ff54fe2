"""All models by name: ours, then those of installed packages, then those of files that are named.

Adding a model here is a spec in a file of `embedlib.models.families`, or a new file beside them. A
package of its own offers models through the entry point group ``embedlib.models``; each entry point
gives a `ModelSpec`, or several. A single file of one's own is named by ``EMBEDLIB_MODEL_FILES``.
"""

from __future__ import annotations

import os
import pkgutil
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

from embedlib.errors import ConfigError
from embedlib.models import families
from embedlib.models.model_files import FILES_VARIABLE, named_files, specs_of_file
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
        Those of the paper first, then the others of embedlib, those of installed packages, and
        those of the files that ``EMBEDLIB_MODEL_FILES`` names.

    Raises
    ------
    ConfigError
        If an installed package or a file that is named offers models that cannot be taken.
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
        If there is no such model; the message names up to three with a similar name. Or if an
        installed package or a file that is named offers models that cannot be taken.

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
        raise ConfigError(f"unknown model {name!r}", fix=_ways_to(base_name, specs))
    spec = specs[base_name]
    return spec.as_untrained() if name.startswith(UNTRAINED_PREFIX) else spec


def comes_with_embedlib(spec: ModelSpec) -> bool:
    """Tell a model of embedlib's own from one of a package or of a file.

    Parameters
    ----------
    spec : ModelSpec
        Any, trained or not.

    Returns
    -------
    is_own : bool
        By its name, which no other model may have.

    Examples
    --------
    >>> comes_with_embedlib(model_spec("untrained-msd-vgg-1"))
    True
    """
    return spec.base_name in _own_specs()


def collect_specs(
    plugins: Iterable[EntryPoint], *, files: Iterable[Path] = ()
) -> dict[str, ModelSpec]:
    """Collect the models of embedlib, of entry points and of files.

    Parameters
    ----------
    plugins : iterable of EntryPoint
        Of the group ``embedlib.models``.
    files : iterable of Path
        Python files, each with a tuple ``SPECS``; their code is run.

    Returns
    -------
    specs : dict
        By name, in the order of `model_specs`.

    Raises
    ------
    ConfigError
        If an entry point or a file cannot be loaded, gives anything but specs, or a name that is
        taken. The message names the entry point and its distribution, or the file.
    """
    specs = dict(_own_specs())
    for plugin in in_order(plugins):
        for spec in _offered(plugin):
            if spec.name in specs:
                raise refused(plugin, f"gives a model {spec.name!r}, a name that is taken")
            specs[spec.name] = spec
    for path in files:
        for spec in specs_of_file(path):
            if spec.name in specs:
                raise ConfigError(
                    f"the model file {path} gives a model {spec.name!r}, a name that is taken",
                    fix="give it another name",
                )
            specs[spec.name] = spec
    return specs


def _specs() -> Mapping[str, ModelSpec]:
    files = named_files(os.environ.get(FILES_VARIABLE, ""))
    return _collected(files, tuple(map(_state, files)))


@cache
def _collected(
    files: tuple[Path, ...], states: tuple[tuple[int, int], ...]
) -> Mapping[str, ModelSpec]:
    """Collect all models, once for each state of the files."""
    return collect_specs(entry_points(group=ENTRY_POINT_GROUP), files=files)


def _state(path: Path) -> tuple[int, int]:
    """Tell an edited file from what it was; one that is gone is refused when it is run."""
    if not path.is_file():
        return 0, 0
    found = path.stat()
    return found.st_mtime_ns, found.st_size


def _ways_to(name: str, specs: Iterable[str]) -> str:
    """Say what an unknown name may have been meant for."""
    if close := get_close_matches(name, specs, n=3, cutoff=0.5):
        return f"did you mean {' or '.join(close)}?"
    listed = "choose one of `embedlib models list`"
    if os.environ.get(FILES_VARIABLE):
        return listed
    return f"{listed}, or let {FILES_VARIABLE} name the file of a model of your own"


@cache
def _own_specs() -> Mapping[str, ModelSpec]:
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
