"""Exports as a folder for Hugging Face ``datasets``: Parquet files and a card.

References
----------
.. [1] huggingface/hub-docs, ``datasetcard.md``: the block of YAML at the head of ``README.md`` with
   ``configs`` and ``dataset_info``; huggingface/datasets, ``features/features.py``: names of types.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import yaml

from embedlib.search.exported import Exported
from embedlib.tables.manifest import ModelManifest

FILE_BYTES: Final = 500_000_000
"""About how large a file becomes, as the hub recommends."""

_FACT_BYTES: Final = 200
"""About what a row holds beside vectors."""

_GROUP_ROWS: Final = 10_000
_DATA: Final = "data"


def write_hf(exported: Exported, folder: Path) -> None:
    """Write ``data/train-*.parquet`` and ``README.md``.

    Parameters
    ----------
    exported : Exported
        The rows.
    folder : Path
        An empty folder, which ``datasets.load_dataset`` takes.

    Raises
    ------
    OutputError
        If the table is damaged.
    """
    data = folder / _DATA
    data.mkdir()
    row_bytes = _FACT_BYTES + 4 * sum(exported.vectors.values())
    # Without threads, so that rows stay in order.
    ds.write_dataset(
        exported.batches(),
        data,
        schema=exported.schema,
        format="parquet",
        basename_template="train-{i}.parquet",
        max_rows_per_file=max(_GROUP_ROWS, FILE_BYTES // row_bytes),
        max_rows_per_group=_GROUP_ROWS,
        use_threads=False,
    )
    if not any(data.glob("*.parquet")):
        pq.write_table(exported.schema.empty_table(), data / "train-0.parquet")
    (folder / "README.md").write_text(_card(exported, data.iterdir()), encoding="utf-8")


def _card(exported: Exported, files: Iterable[Path]) -> str:
    paths = list(files)
    sizes = [pq.read_metadata(path) for path in paths]
    n_bytes = sum(
        size.row_group(group).total_byte_size
        for size in sizes
        for group in range(size.num_row_groups)
    )
    split = {"name": "train", "num_bytes": n_bytes, "num_examples": exported.n_rows}
    head = {
        "pretty_name": f"{exported.manifest.model}, {exported.what}",
        "configs": [
            {
                "config_name": "default",
                "data_files": [{"split": "train", "path": f"{_DATA}/train-*"}],
            }
        ],
        "dataset_info": {
            "features": [_feature(field) for field in exported.schema],
            "splits": [split],
            "download_size": sum(path.stat().st_size for path in paths),
            "dataset_size": n_bytes,
        },
    }
    return f"---\n{yaml.safe_dump(head, sort_keys=False)}---\n\n{_text(exported)}"


def _feature(field: pa.Field) -> dict[str, Any]:
    if pa.types.is_fixed_size_list(field.type):
        values = _dtype(field.type.value_type)
        return {"name": field.name, "list": values, "length": field.type.list_size}
    return {"name": field.name, "dtype": _dtype(field.type)}


def _dtype(dtype: pa.DataType) -> str:
    """Name a type as ``datasets`` does: Arrow's float and double have other names there."""
    return {"float": "float32", "double": "float64"}.get(str(dtype), str(dtype))


def _text(exported: Exported) -> str:
    manifest = exported.manifest
    row = "a track" if exported.what == "tracks" else "a patch of a track"
    return (
        f"# Embeddings of {manifest.model}\n\n"
        f"A row is {row}; `embedding` has {manifest.n_dims} values. {_weights(manifest)}\n\n"
        f"| | |\n|---|---|\n"
        f"| rows | {exported.n_rows} |\n"
        f"| tracks without embedding, left out | {exported.n_without} |\n"
        f"| version of the table | {exported.version} |\n"
        f"| sampling rate | {manifest.sr_hz} Hz |\n"
        f"| patch and hop | {manifest.patch_frames} and {manifest.patch_hop_frames} frames of "
        f"{manifest.front_end} |\n"
    )


def _weights(manifest: ModelManifest) -> str:
    if manifest.untrained:
        return "The weights were random: the numbers mean nothing."
    facts = (
        f"sha256 of the graph: `{manifest.graph_sha256}`.",
        f"Licence of the weights: {manifest.licence}." if manifest.licence else "",
        f"Cite: {manifest.citation}" if manifest.citation else "",
    )
    return " ".join(filter(None, facts))
