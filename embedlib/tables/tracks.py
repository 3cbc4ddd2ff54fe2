"""The table of a model as a reader sees it: one row per track."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from embedlib.errors import OutputError
from embedlib.records import Float32
from embedlib.tables.frames import float_matrix, pandas_frame, polars_frame
from embedlib.tables.manifest import ModelManifest
from embedlib.tables.schema import MODEL_SCHEMA, TRACK_COLUMNS
from embedlib.tables.snapshot import Snapshot

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl


@dataclass(frozen=True, slots=True)
class TrackTable:
    """The rows of one model at one version, one per track.

    Attributes
    ----------
    manifest : ModelManifest
        What made them.
    snapshot : Snapshot
        The files that hold them.
    """

    manifest: ModelManifest
    snapshot: Snapshot

    def __len__(self) -> int:
        return self.snapshot.n_rows

    @property
    def track_ids(self) -> tuple[str, ...]:
        """Ids of the rows of `to_numpy`, in the same order."""
        table = self.to_arrow(["track_id", "n_patches"])
        return tuple(table.filter(pc.greater(table["n_patches"], 0))["track_id"].to_pylist())

    def to_numpy(self) -> Float32:
        """Give the pooled embeddings of all tracks that have one.

        Returns
        -------
        embeddings : np.ndarray [shape=(n_kept, n_dims), float32]
            In the order of `track_ids`; a view of what was read if the table is one file.

        Raises
        ------
        OutputError
            If a file is missing or damaged.
        """
        return float_matrix(self.to_arrow(["embedding"])["embedding"], self.manifest.n_dims)

    def to_arrow(self, columns: Sequence[str] | None = None) -> pa.Table:
        """Give all rows, also of tracks that failed.

        Parameters
        ----------
        columns : sequence of str, optional
            Names of columns; by default all but those of single patches.

        Returns
        -------
        table : pyarrow.Table
            In the order of the files.

        Raises
        ------
        OutputError
            If a file is missing or damaged, or a column does not exist.
        """
        wanted = [*TRACK_COLUMNS, "embedding"] if columns is None else list(columns)
        if unknown := [name for name in wanted if name not in MODEL_SCHEMA.names]:
            raise OutputError(
                f"{self.snapshot.folder} has no column {unknown[0]!r}",
                fix=f"choose from {', '.join(MODEL_SCHEMA.names)}",
            )
        schema = pa.schema([MODEL_SCHEMA.field(name) for name in wanted])
        return pa.Table.from_batches(
            (batch.select(wanted) for batch in self.snapshot.batches(wanted)), schema=schema
        )

    def to_pandas(self) -> pd.DataFrame:
        """Give all rows as a pandas frame, with one array per track as embedding.

        Returns
        -------
        frame : pandas.DataFrame
            The columns of `to_arrow`.

        Raises
        ------
        ConfigError
            If pandas is not installed.
        """
        return pandas_frame(self.to_arrow())

    def to_polars(self) -> pl.DataFrame:
        """Give all rows as a Polars frame, with a list per track as embedding.

        Returns
        -------
        frame : polars.DataFrame
            The columns of `to_arrow`.

        Raises
        ------
        ConfigError
            If Polars is not installed.
        """
        return polars_frame(self.to_arrow())

    def failures(self) -> pa.Table:
        """Give the tracks without embedding, and why.

        Returns
        -------
        table : pyarrow.Table
            Columns ``track_id``, ``uri``, ``status``, ``error``.
        """
        table = self.to_arrow(["track_id", "uri", "status", "error", "n_patches"])
        return table.filter(pc.equal(table["n_patches"], 0)).drop_columns("n_patches")
