"""Fits as rows of a table, and rows as fits."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import fields
from typing import Any, Final

import numpy as np
import pyarrow as pa

from embedlib.probes.records import Fit, FitKey, Int, Params, Role, Split

_INDICES: Final = pa.list_(pa.field("element", pa.int32(), nullable=False))
_LOSSES: Final = pa.list_(pa.field("element", pa.float64(), nullable=False))
_TYPES: Final = {"int": pa.int64(), "float": pa.float64(), "bool": pa.bool_(), "Int": _INDICES}
_KEY_FIELDS: Final = tuple(field.name for field in fields(FitKey))
_FIT_FIELDS: Final = tuple(field for field in fields(Fit) if field.name != "key")


def _column(name: str, kind: str) -> pa.Field:
    """Translate an annotation; what is not named here is kept as text."""
    dtype = _LOSSES if kind.startswith("tuple") else _TYPES.get(kind, pa.string())
    return pa.field(name, dtype, nullable=False)


FIT_SCHEMA: Final = pa.schema(
    [
        *(_column(field.name, str(field.type)) for field in fields(FitKey)),
        *(_column(field.name, str(field.type)) for field in _FIT_FIELDS),
    ]
)
"""Columns of ``OUT/probes``: the fields of `FitKey` with `params` as JSON, then those of `Fit`."""


def fits_table(fits: Sequence[Fit]) -> pa.Table:
    """Put fits into rows.

    Parameters
    ----------
    fits : sequence of Fit
        In any order.

    Returns
    -------
    rows : pyarrow.Table
        With the columns of `FIT_SCHEMA`, in the order of `fits`.
    """
    columns = {name: [_cell(getattr(fit.key, name)) for fit in fits] for name in _KEY_FIELDS}
    for field in _FIT_FIELDS:
        columns[field.name] = [getattr(fit, field.name) for fit in fits]
    return pa.table(columns, schema=FIT_SCHEMA)


def fits_of(batch: pa.RecordBatch) -> Iterator[Fit]:
    """Make fits of rows.

    Parameters
    ----------
    batch : pyarrow.RecordBatch
        With the columns of `FIT_SCHEMA`.

    Yields
    ------
    fit : Fit
        As it was written.
    """
    columns = {name: _values(batch[name]) for name in FIT_SCHEMA.names}
    for row in zip(*columns.values(), strict=True):
        values = dict(zip(columns, row, strict=True))
        yield _fit({name: values.pop(name) for name in _KEY_FIELDS}, values)


def _cell(value: object) -> object:
    return value.text if isinstance(value, Params) else value


def _fit(key: dict[str, Any], values: dict[str, Any]) -> Fit:
    key["role"], key["split"] = Role(key["role"]), Split(key["split"])
    key["params"] = Params(**json.loads(key["params"]))
    return Fit(key=FitKey(**key), **values)


def _values(column: pa.Array) -> list[Any]:
    if column.type == _INDICES:
        return [_indices(row) for row in column]
    if column.type == _LOSSES:
        return [tuple(row.as_py()) for row in column]
    return list(column.to_pylist())


def _indices(row: pa.ListScalar) -> Int:
    found: Int = row.values.to_numpy().astype(np.int64)
    return found
