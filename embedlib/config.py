"""Configuration at the door: YAML or keyword arguments in, one checked record out.

Field names are those of the command line (``--patch-hop-frames`` is `patch_hop_frames`).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from embedlib.errors import ConfigError

Checked = TypeVar("Checked", bound=BaseModel)

WORKER_MEMORY_MB = 4096
"""Default of `ExtractConfig.worker_memory_mb`: several times what the largest model needs."""


class ExtractConfig(BaseModel):
    """What ``embedlib extract`` is to do.

    Attributes
    ----------
    sources : list of str
        Files, folders, globs, manifests, fsspec URLs.
    models : list of str
        Names of models, or ``all`` for those of the paper; ``untrained-NAME`` is the same graph
        with random weights. ``NAME:key=value,...`` sets something for one of them: ``variant``,
        ``patch_hop_frames``, ``last_patch``, ``precision``, ``weights``, ``node``, and ``as``, the
        name of its table.
    out : str
        Folder of the output: a path, or a URL of ``s3://``, ``gs://`` or ``az://``.
    preset : str or None
        Settings to start from: a name in ``configs/presets``, or a YAML file.
    allow_untrained : bool
        Take the stand-in with random weights for a model whose weights are not here.
    outputs : list of str
        Further outputs of the models to keep, a column each: names of a spec, or nodes.
    heads : list of str
        Classifiers to run on the embeddings, a column each.
    weights : str or None
        Weight file, where one model is named and its file is not to be searched for.
    node : str or None
        Another output node than the model's embeddings, where one model is named.
    engine : {'auto', 'openvino', 'essentia', 'onnxruntime', 'tensorrt'}
        What runs the graphs.
    device : {'cpu', 'cuda'}
        Where models run.
    precision : {'f32', 'bf16'}
        Of inference.
    decoder : {'pyav', 'essentia'}
        Who decodes; ``essentia`` is MonoLoader itself, with an essentia resampler.
    resampler : str
        ``soxr-hq``, or ``essentia-q0`` (best) to ``essentia-q4`` (linear).
    patch_hop_frames : int > 0 or None
        Distance of patches in frames (samples for models that take the waveform), for models of
        one front end; None for the model's own.
    last_patch : str or None
        What becomes of the last, incomplete patch: ``tile-short``, ``pad-short``, ``discard``,
        ``repeat``, ``pad`` or ``centred``; None for the model's own rule.
    patches : bool
        Keep the embedding of each patch beside their mean.
    max_duration_s : float > 0
        Longer tracks become rows with status ``too_long``.
    cpu_deadline_s : float > 0
        CPU seconds that decoding one track may take.
    carry : list of str
        Further columns of the manifests to keep in the catalogue.
    allow_schemes : list of str
        Schemes of URLs that audio may have, with ``file`` for local paths; none for all that are
        installed, of which a manifest that lies elsewhere may name only those of stores.
    allow_roots : list of str
        Paths and URLs below which all audio must lie, links followed; none for no limit. A manifest
        that lies elsewhere may name local files below them only.
    allow_unverified : list of str
        Models and heads whose weight file is taken though its hash is neither pinned nor locked.
    shard_hours : float > 0 or None
        Audio per shard; None for a size that fits the catalogue.
    single_writer : bool
        Write to a store that lets two writers create one file; the user sees to it that no other
        run writes there.
    local : bool
        Run in this process, without Ray.
    address : str or None
        A running Ray cluster; None starts one on this machine.
    n_cores : int > 0 or None
        Cores to use on this machine; None for all.
    budget_mb : int >= 4
        Limit for decoded audio in flight, in MiB: a chunk at least.
    worker_memory_mb : int > 0
        Memory of a worker of its own, beyond which it is replaced when it is between two shards.
    pool_min, pool_max : int > 0, int > 0 or None
        Workers of a model over the cluster; None for as many as its share of the work.
    grow_to : int > 0 or None
        Cores (cards with device ``cuda``) up to which the autoscaler of the cluster is asked for
        nodes; None asks for none.
    accept_missing : bool
        Commit shards of which most files cannot be opened by anybody; the run stops otherwise.
    max_failed : int >= 0
        New failures that a run may meet and still exit with 0.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    @field_validator("allow_roots")
    @classmethod
    def _absolute(cls, roots: list[str]) -> list[str]:
        # A later run of the output takes them from its record, and may start in another folder.
        return [
            root if "://" in root else str(Path(root).expanduser().absolute()) for root in roots
        ]

    @field_validator("pool_max")
    @classmethod
    def _not_below_pool_min(cls, pool_max: int | None, info: ValidationInfo) -> int | None:
        pool_min = info.data.get("pool_min", 1)
        if pool_max is not None and pool_max < pool_min:
            raise ValueError(f"it must not be below pool_min={pool_min}")
        return pool_max

    sources: list[str] = Field(min_length=1)
    models: list[str] = Field(min_length=1)
    out: str
    preset: str | None = None
    allow_untrained: bool = False
    outputs: list[str] = []
    heads: list[str] = []
    weights: str | None = None
    node: str | None = None
    engine: Literal["auto", "openvino", "essentia", "onnxruntime", "tensorrt"] = "auto"
    device: Literal["cpu", "cuda"] = "cpu"
    precision: Literal["f32", "bf16"] = "f32"
    decoder: Literal["pyav", "essentia"] = "pyav"
    resampler: Literal[
        "soxr-hq", "essentia-q0", "essentia-q1", "essentia-q2", "essentia-q3", "essentia-q4"
    ] = "soxr-hq"
    patch_hop_frames: int | None = Field(default=None, ge=1)
    last_patch: Literal["tile-short", "pad-short", "discard", "repeat", "pad", "centred"] | None = (
        None
    )
    patches: bool = True
    max_duration_s: float = Field(default=43_200.0, gt=0)
    cpu_deadline_s: float = Field(default=600.0, gt=0)
    carry: list[str] = []
    allow_schemes: list[str] = []
    allow_roots: list[str] = []
    allow_unverified: list[str] = []
    shard_hours: float | None = Field(default=None, gt=0)
    single_writer: bool = False
    local: bool = False
    address: str | None = None
    n_cores: int | None = Field(default=None, ge=1)
    budget_mb: int = Field(default=256, ge=4)
    worker_memory_mb: int = Field(default=WORKER_MEMORY_MB, ge=1)
    pool_min: int = Field(default=1, ge=1)
    pool_max: int | None = Field(default=None, ge=1)
    grow_to: int | None = Field(default=None, ge=1)
    accept_missing: bool = False
    max_failed: int = Field(default=0, ge=0)


def extract_config(values: Mapping[str, Any], *, origin: str = "arguments") -> ExtractConfig:
    """Check the values of a configuration.

    Parameters
    ----------
    values : mapping of str to Any
        By field name. With a ``preset``, they come on top of what it says, and a model that is
        named without options takes those it has there.
    origin : str
        Where they come from, for the error.

    Returns
    -------
    config : ExtractConfig
        All fields, checked.

    Raises
    ------
    ConfigError
        Naming the key that is unknown, missing or wrong.

    Examples
    --------
    >>> extract_config({"sources": ["a"], "models": ["m"], "out": "o"}).budget_mb
    256
    >>> tempo = {"sources": ["a"], "models": ["deepsquare-k16-3"], "out": "o", "preset": "lbd2020"}
    >>> extract_config(tempo).models
    ['deepsquare-k16-3:variant=paper']
    """
    preset = values.get("preset")
    merged = dict(values) if preset is None else _with_preset(values, read_preset(str(preset)))
    return checked(ExtractConfig, merged, origin=origin)


def checked(kind: type[Checked], values: Mapping[str, Any], *, origin: str) -> Checked:
    """Make a checked record of values from a file or a command line.

    Parameters
    ----------
    kind : type of pydantic.BaseModel
        The record.
    values : mapping of str to Any
        By field name.
    origin : str
        Where they come from, for the error.

    Returns
    -------
    record : BaseModel
        Of that kind.

    Raises
    ------
    ConfigError
        Naming the key that is unknown, missing or wrong.
    """
    try:
        return kind.model_validate(values)
    except ValidationError as exc:
        raise _first_problem(exc, kind=kind, origin=origin) from exc


def read_preset(name: str) -> dict[str, Any]:
    """Read the values of a preset.

    Parameters
    ----------
    name : str
        One of those that embedlib brings, or the path of a YAML file.

    Returns
    -------
    values : dict of str to Any
        As they stand there, unchecked.

    Raises
    ------
    ConfigError
        If there is no such preset.
    """
    if name.endswith((".yaml", ".yml")):
        return read_config(Path(name))
    if name not in (known := preset_names()):
        raise ConfigError(
            f"there is no preset {name!r}",
            fix=f"choose one of {', '.join(known)}, or give the path of a YAML file",
        )
    return read_config(_PRESETS / f"{name}.yaml")


def preset_names() -> tuple[str, ...]:
    """List the presets that embedlib brings.

    Returns
    -------
    names : tuple of str
        Sorted.
    """
    return tuple(sorted(path.stem for path in _PRESETS.glob("*.yaml")))


_PRESETS = Path(__file__).parent / "presets"


def _with_preset(values: Mapping[str, Any], preset: Mapping[str, Any]) -> dict[str, Any]:
    theirs = preset.get("models", [])
    by_name = {str(text).partition(":")[0]: text for text in theirs}
    named = values.get("models") or theirs
    if isinstance(named, list):
        named = [
            found
            for text in named
            for found in (theirs if text == "all" and theirs else [_of_preset(text, by_name)])
        ]
    return {**preset, **values, "models": named}


def _of_preset(text: object, by_name: Mapping[str, str]) -> object:
    """Give what a preset says of a model, where the user says nothing of it himself."""
    prefix = "untrained-" if str(text).startswith("untrained-") else ""
    found = by_name.get(str(text).removeprefix(prefix))
    return text if found is None else f"{prefix}{found}"


def read_config(path: Path) -> dict[str, Any]:
    """Read the values of a YAML file.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    values : dict of str to Any
        As they stand there, unchecked.

    Raises
    ------
    ConfigError
        If there is no such file, or it is not a mapping in YAML.
    """
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as exc:
        raise ConfigError(f"cannot read {path}: {exc.strerror}", fix="check the path") from exc
    except (yaml.YAMLError, UnicodeDecodeError) as exc:
        reason = " ".join(str(exc).split())
        raise ConfigError(f"{path} is not YAML: {reason}", fix="see configs/runs") from exc
    if not isinstance(values, dict):
        raise ConfigError(f"{path} holds no keys", fix="see configs/runs for an example")
    return values


def _first_problem(exc: ValidationError, *, kind: type[BaseModel], origin: str) -> ConfigError:
    problem = exc.errors()[0]
    key = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        known = f"the keys are {', '.join(sorted(kind.model_fields))}"
        fix = known if len(problem["loc"]) == 1 else "check its spelling, or leave it out"
        return ConfigError(f"{origin}: unknown key {key!r}", fix=fix)
    if problem["type"] == "missing":
        return ConfigError(f"{origin}: {key!r} is missing", fix="give it a value")
    message = problem["msg"].lower()
    if not key:
        return ConfigError(f"{origin} is wrong", fix=message)
    return ConfigError(f"{origin}: {key}={problem['input']!r} is wrong", fix=message)
