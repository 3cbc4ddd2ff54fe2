"""All models by name. Adding one is a spec in a family's file, or a new file and a line here."""

from __future__ import annotations

from difflib import get_close_matches

from embedlib.errors import ConfigError
from embedlib.models import musicnn, vgg
from embedlib.models.spec import UNTRAINED_PREFIX, ModelSpec

_SPECS: dict[str, ModelSpec] = {spec.name: spec for spec in (*musicnn.SPECS, *vgg.SPECS)}


def model_specs() -> tuple[ModelSpec, ...]:
    """Give all models, without their untrained twins.

    Returns
    -------
    specs : tuple of ModelSpec
        Family by family.
    """
    return tuple(_SPECS.values())


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
        If there is no such model; the message names those with a similar name.

    Examples
    --------
    >>> model_spec("msd-musicnn-1").n_dims
    200
    >>> model_spec("untrained-msd-vgg-1").untrained
    True
    """
    spec = _SPECS.get(name.removeprefix(UNTRAINED_PREFIX))
    if spec is None:
        base_name = name.removeprefix(UNTRAINED_PREFIX)
        close = get_close_matches(base_name, _SPECS, cutoff=0.5) or list(_SPECS)
        raise ConfigError(f"unknown model {name!r}", fix=f"did you mean {' or '.join(close)}?")
    return spec.as_untrained() if name.startswith(UNTRAINED_PREFIX) else spec
