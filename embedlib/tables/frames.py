"""Arrow columns as NumPy matrices, Arrow tables as pandas or Polars frames."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from embedlib.errors import ConfigError
from embedlib.records import Float32

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl


def float_matrix(vectors: pa.ChunkedArray, n_dims: int) -> Float32:
    """Turn a column of vectors into a matrix.

    Parameters
    ----------
    vectors : pyarrow.ChunkedArray
        Lists of `n_dims` float32 values; nulls are left out.
    n_dims : int > 0
        Length of each.

    Returns
    -------
    matrix : np.ndarray [shape=(n_valid, n_dims), float32]
        A view where the column is one chunk without nulls.

    Examples
    --------
    >>> float_matrix(pa.chunked_array([[[1, 2], None, [3, 4]]], pa.list_(pa.float32())), 2)
    array([[1., 2.],
           [3., 4.]], dtype=float32)
    """
    matrices: list[Float32] = [
        chunk.flatten().to_numpy().reshape(-1, n_dims) for chunk in vectors.chunks
    ]
    if len(matrices) == 1:
        return matrices[0]
    return np.concatenate([np.empty((0, n_dims), np.float32), *matrices])


def pandas_frame(table: pa.Table) -> pd.DataFrame:
    """Turn a table into a pandas frame.

    Parameters
    ----------
    table : pyarrow.Table
        Any table.

    Returns
    -------
    frame : pandas.DataFrame
        Lists become arrays.

    Raises
    ------
    ConfigError
        If pandas is not installed.
    """
    _require("pandas")
    frame: pd.DataFrame = table.to_pandas()
    return frame


def polars_frame(table: pa.Table) -> pl.DataFrame:
    """Turn a table into a Polars frame.

    Parameters
    ----------
    table : pyarrow.Table
        Any table.

    Returns
    -------
    frame : polars.DataFrame
        Lists stay lists.

    Raises
    ------
    ConfigError
        If Polars is not installed.
    """
    _require("polars")
    import polars as pl

    return pl.DataFrame(table)


def _require(package: str) -> None:
    try:
        importlib.import_module(package)
    except ImportError as exc:
        raise ConfigError(
            f"{package} is not installed", fix=f"pip install 'embedlib[{package}]'"
        ) from exc
