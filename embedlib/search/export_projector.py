"""Exports for the Embedding Projector, in TensorBoard or in a browser.

References
----------
.. [1] tensorflow/tensorboard, ``tensorboard/plugins/projector``: tensors and metadata as TSV,
   ``projector_config.pbtxt`` as text of ``projector_config.proto``. Metadata of more than one
   column begin with a line of names.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from embedlib.search.exact import batch_matrix
from embedlib.search.exported import Exported
from embedlib.search.rows import EMBEDDING

TENSORS, METADATA = "tensors.tsv", "metadata.tsv"

_IN_A_LINE = str.maketrans({"\t": " ", "\n": " ", "\r": " "})


def write_projector(exported: Exported, folder: Path) -> None:
    """Write ``tensors.tsv``, ``metadata.tsv`` and ``projector_config.pbtxt``.

    Parameters
    ----------
    exported : Exported
        The rows.
    folder : Path
        An empty folder, which becomes a log folder of TensorBoard.

    Raises
    ------
    OutputError
        If the table is damaged.
    """
    with (
        (folder / TENSORS).open("w", encoding="utf-8", newline="\n") as tensors,
        (folder / METADATA).open("w", encoding="utf-8", newline="\n") as metadata,
    ):
        metadata.write("\t".join(exported.facts) + "\n")
        for batch in exported.batches():
            # Nine digits give each float32 back.
            np.savetxt(tensors, batch_matrix(batch), fmt="%.9g", delimiter="\t")
            columns = (batch[name].to_pylist() for name in exported.facts)
            metadata.writelines(map(_line, zip(*columns, strict=True)))
    (folder / "projector_config.pbtxt").write_text(_config(exported), encoding="utf-8")


def _line(values: tuple[object, ...]) -> str:
    return "\t".join(str(value).translate(_IN_A_LINE) for value in values) + "\n"


def _config(exported: Exported) -> str:
    name = json.dumps(f"{exported.manifest.model} {exported.what}")
    return (
        "embeddings {\n"
        f"  tensor_name: {name}\n"
        f"  tensor_shape: {exported.n_rows}\n"
        f"  tensor_shape: {exported.vectors[EMBEDDING]}\n"
        f'  tensor_path: "{TENSORS}"\n'
        f'  metadata_path: "{METADATA}"\n'
        "}\n"
    )
