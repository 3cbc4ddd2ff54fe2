"""What an export is made of: rows of tracks or patches with an embedding, as a stream."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa

from embedlib.search.rows import FACTS, embedded_batches, fixed_vector, fixed_vectors, track_keys
from embedlib.tables.manifest import ModelManifest
from embedlib.tables.patches import PatchTable, patch_schema
from embedlib.tables.reader import Output
from embedlib.tables.schema import MODEL_SCHEMA
from embedlib.tables.tracks import TrackTable
from embedlib.tables.vectors import vector_columns


@dataclass(frozen=True, slots=True)
class Exported:
    """Rows to be exported.

    Attributes
    ----------
    manifest : ModelManifest
        What made them.
    version : int
        Of the model table.
    what : {'tracks', 'patches'}
        What a row is.
    n_rows, n_without : int
        How many there are; tracks without embedding, which have no row.
    schema : pyarrow.Schema
        Facts first, then vectors as lists of fixed size.
    stored : Iterator of pyarrow.RecordBatch
        Makes the stream of the same rows, vectors as the table has them.
    """

    manifest: ModelManifest
    version: int
    what: str
    n_rows: int
    n_without: int
    schema: pa.Schema
    stored: Callable[[], Iterator[pa.RecordBatch]]

    @property
    def facts(self) -> tuple[str, ...]:
        """Columns with one value per row."""
        return tuple(name for name in self.schema.names if name not in self.vectors)

    @property
    def vectors(self) -> Mapping[str, int]:
        """Columns with a vector per row, and its length."""
        return {kind.name: kind.n_dims for kind in vector_columns(self.manifest)}

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Give the rows in pieces of bounded size.

        Yields
        ------
        batch : pyarrow.RecordBatch
            Of `schema`.

        Raises
        ------
        OutputError
            If a file is missing or damaged.
        """
        lengths = self.vectors
        for batch in self.stored():
            columns = [
                fixed_vectors(batch[name], lengths[name]) if name in lengths else batch[name]
                for name in self.schema.names
            ]
            yield pa.record_batch(columns, schema=self.schema)


def open_exported(output: Output, model: str, *, what: str) -> Exported:
    """Open what an export is made of.

    Parameters
    ----------
    output : Output
        The output.
    model : str
        Name of the model table.
    what : {'tracks', 'patches'}
        What a row is.

    Returns
    -------
    exported : Exported
        At the version that is the newest now.

    Raises
    ------
    OutputError
        If there is no such table, or it keeps no patches.
    """
    tracks = output.tracks(model)
    n_patches = track_keys(tracks)["n_patches"].to_numpy()
    n_rows, schema, stored = WHATS[what](output, tracks, n_patches)
    return Exported(
        manifest=tracks.manifest,
        version=tracks.snapshot.version,
        what=what,
        n_rows=n_rows,
        n_without=int(np.count_nonzero(n_patches == 0)),
        schema=_with_fixed_vectors(schema, tracks.manifest),
        stored=stored,
    )


_Rows = tuple[int, pa.Schema, Callable[[], Iterator[pa.RecordBatch]]]


def _track_rows(_: Output, tracks: TrackTable, n_patches: np.ndarray) -> _Rows:
    kinds = vector_columns(tracks.manifest)
    fields = [*(MODEL_SCHEMA.field(name) for name in FACTS), *(kind.fields[0] for kind in kinds)]
    schema = pa.schema(fields)
    n_rows = int(np.count_nonzero(n_patches))
    return n_rows, schema, lambda: embedded_batches(tracks, schema.names)


def _patch_rows(output: Output, tracks: TrackTable, n_patches: np.ndarray) -> _Rows:
    manifest = output.patches(tracks.manifest.model).manifest
    patches = PatchTable(manifest, tracks.snapshot)
    return int(n_patches.sum()) * manifest.n_vectors, patch_schema(manifest), patches.batches


WHATS: Final = {"tracks": _track_rows, "patches": _patch_rows}
"""What a row can be, and what opens such rows."""


def _with_fixed_vectors(schema: pa.Schema, manifest: ModelManifest) -> pa.Schema:
    lengths = {kind.name: kind.n_dims for kind in vector_columns(manifest)}
    return pa.schema(
        pa.field(field.name, fixed_vector(lengths[field.name]), nullable=False)
        if field.name in lengths
        else field
        for field in schema
    )
