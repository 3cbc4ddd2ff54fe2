"""The table of a model as a reader sees it: one row per track."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from embedlib.errors import OutputError
from embedlib.records import Float32
from embedlib.tables.frames import pandas_frame, polars_frame
from embedlib.tables.manifest import ModelManifest
from embedlib.tables.matrix import read_matrix
from embedlib.tables.schema import TRACK_COLUMNS
from embedlib.tables.snapshot import Snapshot
from embedlib.tables.vectors import model_schema, vector_column, vector_columns

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

    def to_numpy(self, column: str = "embedding") -> Float32:
        """Give the vectors of all tracks that have one, each the mean over its patches.

        Parameters
        ----------
        column : str, optional
            The embedding, or the name of a further column.

        Returns
        -------
        vectors : np.ndarray [shape=(n_kept, n_dims), float32]
            In the order of `track_ids`.

        Raises
        ------
        OutputError
            If a file is missing or damaged, or the column does not exist.
        """
        kind = vector_column(self.manifest, column)
        return read_matrix(self.snapshot, kind.name, kind.n_dims)

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
        wanted = self._names() if columns is None else list(columns)
        schema = model_schema(self.manifest)
        if unknown := [name for name in wanted if name not in schema.names]:
            raise OutputError(
                f"{self.snapshot.folder} has no column {unknown[0]!r}",
                fix=f"choose from {', '.join(schema.names)}",
            )
        return pa.Table.from_batches(
            self.snapshot.batches(wanted), schema=pa.schema([schema.field(each) for each in wanted])
        )

    def _names(self) -> list[str]:
        return [*TRACK_COLUMNS, *(column.name for column in vector_columns(self.manifest))]

    def to_pandas(self) -> pd.DataFrame:
        """Give all rows as a pandas frame, with one array per track and column of vectors.

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
        """Give all rows as a Polars frame, with one list per track and column of vectors.

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
