"""What contenders saved, read back as embeddings by model and file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from bench_figures import Embeddings
from bench_ray_data import SUFFIX_PATCHES
from bench_ray_stages import NAME

from embedlib.tables.reader import open_output


def read_outputs(out: Path, *, tool: str) -> dict[str, Embeddings]:
    """Read what a contender saved.

    Parameters
    ----------
    out : Path
        Its output.
    tool : str
        What it is.

    Returns
    -------
    outputs : dict of str to mapping of str to np.ndarray [shape=(n_vectors, n_dims), float32]
        By table of a model and name of the file.
    """
    readers = {"embedlib": read_tables, "ray-data": read_parquet}
    return readers.get(tool, read_arrays)(out)


def read_arrays(out: Path) -> dict[str, Embeddings]:
    """Read the folder of .npy files that a loop leaves for each model."""
    return {
        folder.name: {file.stem: _flat(np.load(file)) for file in folder.iterdir()}
        for folder in out.iterdir()
    }


def read_tables(out: Path) -> dict[str, Embeddings]:
    """Read the tables of an output of embedlib."""
    found: dict[str, Embeddings] = {}
    output = open_output(out)
    for model in output.models:
        table = output.tracks(model).to_arrow(["track_id", "patch_embeddings"])
        rows = zip(*(table[name].to_pylist() for name in table.column_names), strict=True)
        found[model] = {track_id: np.array(vectors, np.float32) for track_id, vectors in rows}
    return found


def read_parquet(out: Path) -> dict[str, Embeddings]:
    """Read what a pipeline of Ray Data wrote."""
    table = pq.read_table(out)
    models = [
        name.removesuffix(SUFFIX_PATCHES)
        for name in table.column_names
        if name.endswith(SUFFIX_PATCHES)
    ]
    names = table[NAME].to_pylist()
    return {
        model: dict(zip(names, map(_tensor, table[model].to_pylist()), strict=True))
        for model in models
    }


def _tensor(value: object) -> np.ndarray:
    """Give a tensor, which comes as its data and its shape where Ray is not asked."""
    if isinstance(value, Mapping):
        value = np.reshape(np.array(value["data"], np.float32), value["shape"])
    return _flat(np.asarray(value, np.float32))


def _flat(vectors: np.ndarray) -> np.ndarray:
    return vectors.reshape(-1, vectors.shape[-1])
