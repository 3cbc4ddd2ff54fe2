"""The long form of a model's table: one row per vector of a patch, made while reading."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from embedlib.errors import OutputError
from embedlib.features.front_end import front_end
from embedlib.features.patches import frames_to_ms
from embedlib.records import Float32
from embedlib.tables.frames import pandas_frame, polars_frame
from embedlib.tables.manifest import ModelManifest
from embedlib.tables.matrix import read_matrix
from embedlib.tables.schema import BAND, PATCH_SCHEMA
from embedlib.tables.snapshot import Snapshot
from embedlib.tables.vectors import VectorColumn, vector_column, vector_columns

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl


@dataclass(frozen=True, slots=True)
class PatchTable:
    """The patches of one model at one version in long form.

    A row is a patch; where a patch has several vectors, such as the bands of Spleeter, it has as
    many rows, one after the other, which share its times and its further columns.

    Attributes
    ----------
    manifest : ModelManifest
        What made them.
    snapshot : Snapshot
        The files that hold them.
    """

    manifest: ModelManifest
    snapshot: Snapshot

    def classes(self, column: str) -> tuple[str, ...]:
        """Name the values of a column of vectors, such as the classes of a head.

        Parameters
        ----------
        column : str
            Name of a head or of another further column.

        Returns
        -------
        classes : tuple of str
            One for each value, in order; empty where the values have no names.

        Raises
        ------
        OutputError
            If the column does not exist.
        """
        return vector_column(self.manifest, column).classes

    def batches(self, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """Give the patches in pieces of bounded size.

        Parameters
        ----------
        columns : sequence of str, optional
            Names of columns, by default all: ``track_id``, ``patch``, ``band`` where a patch has
            several vectors, ``t0_ms``, ``t1_ms``, ``embedding``, and the further columns. A patch
            sounds from ``t0_ms`` to before ``t1_ms``; ``t0_ms`` is negative where it begins with
            zeros before the audio.

        Yields
        ------
        batch : pyarrow.RecordBatch
            The patches of some tracks, with these columns in this order.

        Raises
        ------
        OutputError
            If a file is missing or damaged, or a column does not exist.
        """
        schema = self._schema(columns)
        kinds = [kind for kind in vector_columns(self.manifest) if kind.name in schema.names]
        stored = ["track_id", "patch_t0_ms", *(kind.patches_name for kind in kinds)]
        for batch in self.snapshot.batches(stored):
            found = {
                **self._facts(batch),
                **_vectors(batch, kinds, n_bands=self.manifest.n_vectors),
            }
            yield pa.record_batch([found[name] for name in schema.names], schema=schema)

    def to_arrow(self, columns: Sequence[str] | None = None) -> pa.Table:
        """Give all patches.

        Parameters
        ----------
        columns : sequence of str, optional
            Names of columns; by default all.

        Returns
        -------
        table : pyarrow.Table
            The columns of `batches`.

        Raises
        ------
        OutputError
            If a file is missing or damaged, or a column does not exist.
        """
        return pa.Table.from_batches(self.batches(columns), schema=self._schema(columns))

    def to_numpy(self, column: str = "embedding") -> Float32:
        """Give one kind of vectors of all patches.

        Parameters
        ----------
        column : str, optional
            The embedding, or the name of a further column.

        Returns
        -------
        vectors : np.ndarray [shape=(n_rows, n_dims), float32]
            One for each row of `to_arrow`, in that order.

        Raises
        ------
        OutputError
            If a file is missing or damaged, or the column does not exist.
        """
        kind = vector_column(self.manifest, column)
        matrix = read_matrix(self.snapshot, kind.patches_name, kind.n_dims)
        n_times = self.manifest.n_vectors // kind.n_vectors
        return matrix if n_times == 1 else np.repeat(matrix, n_times, axis=0)

    def to_pandas(self) -> pd.DataFrame:
        """Give all patches as a pandas frame.

        Returns
        -------
        frame : pandas.DataFrame
            The columns of `batches`.

        Raises
        ------
        ConfigError
            If pandas is not installed.
        """
        return pandas_frame(self.to_arrow())

    def to_polars(self) -> pl.DataFrame:
        """Give all patches as a Polars frame.

        Returns
        -------
        frame : polars.DataFrame
            The columns of `batches`.

        Raises
        ------
        ConfigError
            If Polars is not installed.
        """
        return polars_frame(self.to_arrow())

    def _schema(self, columns: Sequence[str] | None) -> pa.Schema:
        schema = patch_schema(self.manifest)
        wanted = schema.names if columns is None else columns
        if unknown := [name for name in wanted if name not in schema.names]:
            raise OutputError(
                f"the patches of {self.manifest.model} have no column {unknown[0]!r}",
                fix=f"choose from {', '.join(schema.names)}",
            )
        return pa.schema([schema.field(name) for name in wanted])

    def _facts(self, batch: pa.RecordBatch) -> dict[str, pa.Array]:
        """Say of each row whose it is, which one, and when it sounds."""
        stored = batch.select(["track_id", "patch_t0_ms"])
        kept = stored.filter(pc.is_valid(stored["patch_t0_ms"]))
        n_patches = pc.list_value_length(kept["patch_t0_ms"]).to_numpy()
        n_bands = self.manifest.n_vectors
        owners, first = np.arange(len(kept)), np.cumsum(n_patches) - n_patches
        patch = np.arange(n_patches.sum()) - np.repeat(first, n_patches)
        t0_ms = _repeated(kept["patch_t0_ms"].flatten(), n_bands)
        return {
            "track_id": kept["track_id"].take(pa.array(np.repeat(owners, n_patches * n_bands))),
            "patch": pa.array(np.repeat(patch, n_bands).astype(np.int32)),
            "band": pa.array(np.tile(np.arange(n_bands, dtype=np.int32), len(patch))),
            "t0_ms": t0_ms,
            "t1_ms": pc.add(t0_ms, pa.scalar(_patch_length_ms(self.manifest), pa.int32())),
        }


def patch_schema(manifest: ModelManifest) -> pa.Schema:
    """Give the columns of the long form of a model table.

    Parameters
    ----------
    manifest : ModelManifest
        Of the table.

    Returns
    -------
    schema : pyarrow.Schema
        `PATCH_SCHEMA`, with ``band`` where a patch has several vectors, then the further columns.
    """
    further = (kind.fields[0].with_nullable(False) for kind in vector_columns(manifest)[1:])
    schema = pa.schema([*PATCH_SCHEMA, *further])
    if manifest.n_vectors == 1:
        return schema
    return schema.insert(schema.get_field_index("patch") + 1, BAND)


def _vectors(
    batch: pa.RecordBatch, kinds: Sequence[VectorColumn], *, n_bands: int
) -> dict[str, pa.Array]:
    """Give the vectors of each kind; those of a failed track are null, which leaves no row."""
    return {
        kind.name: _repeated(batch[kind.patches_name].flatten(), n_bands // kind.n_vectors)
        for kind in kinds
    }


def _repeated(values: pa.Array, times: int) -> pa.Array:
    """Give each value as often, one after the other; once is no copy."""
    if times == 1:
        return values
    return values.take(pa.array(np.repeat(np.arange(len(values)), times)))


def _patch_length_ms(manifest: ModelManifest) -> int:
    front = front_end(manifest.front_end)
    return frames_to_ms(manifest.patch_frames, hop_samples=front.hop_samples, sr_hz=front.sr_hz)
