"""Exports as NumPy matrices, with the facts of their rows as CSV."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import IO

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv

from embedlib.search.exported import Exported


def write_npy(exported: Exported, folder: Path) -> None:
    """Write ``embedding.npy``, a matrix for each further column of vectors, and ``ids.csv``.

    Parameters
    ----------
    exported : Exported
        The rows; row n of each matrix is line n of the facts, below the header.
    folder : Path
        An empty folder.

    Raises
    ------
    OutputError
        If the table is damaged.
    """
    facts = pa.schema([exported.schema.field(name) for name in exported.facts])
    with ExitStack() as stack:
        matrices = {}
        for name, n_dims in exported.vectors.items():
            matrices[name] = stack.enter_context((folder / f"{name}.npy").open("wb"))
            _write_header(matrices[name], (exported.n_rows, n_dims))
        ids = stack.enter_context(pa_csv.CSVWriter(folder / "ids.csv", facts))
        for batch in exported.batches():
            ids.write_batch(batch.select(facts.names))
            for name, file in matrices.items():
                file.write(batch[name].flatten().to_numpy().tobytes())


def _write_header(file: IO[bytes], shape: tuple[int, int]) -> None:
    header = {"descr": "<f4", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)
