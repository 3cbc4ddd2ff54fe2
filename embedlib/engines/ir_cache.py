"""Converted models kept on disk, because converting one takes seconds and a multiple of its size.

A model is kept in OpenVINO's own form (IR), in a folder of the cache that is named after all that
made it. The folder is written under another name and renamed, so that it is there whole or not at
all, and carries the hashes of its files: what was damaged since is made again. A kept model is
mapped into memory, not read.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from embedlib.engines.engine import GraphSpec
from embedlib.errors import ModelError
from embedlib.models.folders import cache_folder
from embedlib.models.locks import file_sha256

CONVERSION_VERSION = 3
"""Raise it when the same graph file comes out as another model: kept ones are made again."""

_MODEL, _WEIGHTS, _HASHES = "model.xml", "model.bin", "sha256.json"


def ir_folder() -> Path:
    """Give the folder of the cache that holds converted models.

    Returns
    -------
    folder : Path
        It may not exist yet; all of it may be deleted at any time.
    """
    return cache_folder() / "ir"


def read_or_convert(core: Any, spec: GraphSpec, *, convert: Callable[..., Any]) -> Any:
    """Give the converted model of a graph, from the cache where it is there.

    It is kept there otherwise; a cache that cannot be written to is done without. The file is not
    read where the spec names its hash and its model is kept.

    Parameters
    ----------
    core : openvino.Core
        The runtime.
    spec : GraphSpec
        The graph and what to read from it.
    convert : callable
        Makes a model that is not kept, as `ir_convert.convert` does.

    Returns
    -------
    model : openvino.Model
        With a fixed batch, for any precision.

    Raises
    ------
    WeightsMissingError
        If there is no such file.
    HashMismatchError
        If the file has to be read, and is not the one that the spec names.
    ModelError
        If the file cannot be read, or is no graph that can be converted.
    RuntimeError
        If OpenVINO cannot read the graph.
    """
    if spec.sha256 is None:  # neither a name nor a time of change proves what is in a file
        spec = replace(spec, sha256=file_sha256(spec.path))
    folder = ir_folder() / _key(spec)
    kept = _read(core, folder)
    return _keep(core, convert(spec), folder) if kept is None else kept


def _key(spec: GraphSpec) -> str:
    import openvino

    made_of = [
        spec.sha256,
        spec.input_node,
        spec.output_nodes,
        spec.patch_shape,
        spec.batch_size,
        openvino.get_version(),
        CONVERSION_VERSION,
    ]
    return hashlib.sha256(json.dumps(made_of).encode()).hexdigest()


def _read(core: Any, folder: Path) -> Any:
    """Read a kept model; None where it is not there, or not whole."""
    try:
        if json.loads((folder / _HASHES).read_text()) != _hashes(folder):
            return None
        return core.read_model(folder / _MODEL, folder / _WEIGHTS)
    except (OSError, ValueError, RuntimeError, ModelError):
        return None


def _keep(core: Any, model: Any, folder: Path) -> Any:
    """Save a model and give the saved one, which needs less memory; else the model itself."""
    kept = _read(core, folder) if _save(model, folder) else None
    return model if kept is None else kept


def _save(model: Any, folder: Path) -> bool:
    import openvino

    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=".", dir=folder.parent) as temporary:
            staged = Path(temporary, folder.name)
            staged.mkdir()
            openvino.save_model(model, staged / _MODEL, compress_to_fp16=False)
            (staged / _HASHES).write_text(json.dumps(_hashes(staged)))
            _publish(staged, folder)
    except (OSError, RuntimeError, ModelError):
        return False
    return True


def _publish(staged: Path, folder: Path) -> None:
    """Rename a folder; what has its name already is damaged, or the same by another process."""
    try:
        staged.rename(folder)
    except OSError:
        with suppress(FileNotFoundError):
            folder.rename(staged.with_suffix(".old"))
        staged.rename(folder)


def _hashes(folder: Path) -> dict[str, str]:
    return {name: file_sha256(folder / name) for name in (_MODEL, _WEIGHTS)}
