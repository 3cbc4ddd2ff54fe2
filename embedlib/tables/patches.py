"""The long form of a model's table: one row per patch, made while reading."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from embedlib.features.front_end import front_end
from embedlib.features.patches import frames_to_ms
from embedlib.records import Float32
from embedlib.tables.frames import float_matrix, pandas_frame, polars_frame
from embedlib.tables.manifest import ModelManifest
from embedlib.tables.schema import VECTOR
from embedlib.tables.snapshot import Snapshot

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl

PATCH_SCHEMA: Final = pa.schema(
    [
        pa.field("track_id", pa.string(), nullable=False),
        pa.field("patch", pa.int32(), nullable=False),
        pa.field("t0_ms", pa.int32(), nullable=False),
        pa.field("t1_ms", pa.int32(), nullable=False),
        pa.field("embedding", VECTOR, nullable=False),
    ]
)


@dataclass(frozen=True, slots=True)
class PatchTable:
    """The patches of one model at one version in long form, one row per patch.

    Attributes
    ----------
    manifest : ModelManifest
        What made them.
    snapshot : Snapshot
        The files that hold them.
    """

    manifest: ModelManifest
    snapshot: Snapshot

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Give the patches in pieces of bounded size.

        Yields
        ------
        batch : pyarrow.RecordBatch
            Columns ``track_id``, ``patch``, ``t0_ms``, ``t1_ms``, ``embedding``; a patch sounds
            from ``t0_ms`` to before ``t1_ms``.

        Raises
        ------
        OutputError
            If a file is missing or damaged.
        """
        length_ms = _patch_length_ms(self.manifest)
        for batch in self.snapshot.batches(["track_id", "patch_t0_ms", "patch_embeddings"]):
            yield _long_form(batch, length_ms=length_ms)

    def to_arrow(self) -> pa.Table:
        """Give all patches.

        Returns
        -------
        table : pyarrow.Table
            The columns of `batches`.
        """
        return pa.Table.from_batches(self.batches(), schema=PATCH_SCHEMA)

    def to_numpy(self) -> Float32:
        """Give the embeddings of all patches.

        Returns
        -------
        embeddings : np.ndarray [shape=(n_patches, n_dims), float32]
            In the order of `to_arrow`.
        """
        return float_matrix(self.to_arrow()["embedding"], self.manifest.n_dims)

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


def _patch_length_ms(manifest: ModelManifest) -> int:
    mel = front_end(manifest.front_end)
    return frames_to_ms(manifest.patch_frames, hop_samples=mel.hop_samples, sr_hz=mel.sr_hz)


def _long_form(batch: pa.RecordBatch, *, length_ms: int) -> pa.RecordBatch:
    kept = batch.filter(pc.is_valid(batch["patch_embeddings"]))
    n_patches = pc.list_value_length(kept["patch_embeddings"]).to_numpy()
    first = np.cumsum(n_patches) - n_patches
    t0_ms = kept["patch_t0_ms"].flatten()
    columns = [
        kept["track_id"].take(pa.array(np.repeat(np.arange(len(kept)), n_patches))),
        pa.array((np.arange(n_patches.sum()) - np.repeat(first, n_patches)).astype(np.int32)),
        t0_ms,
        pc.add(t0_ms, pa.scalar(length_ms, pa.int32())),
        kept["patch_embeddings"].flatten(),
    ]
    return pa.record_batch(columns, schema=PATCH_SCHEMA)
