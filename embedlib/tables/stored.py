"""What a row must satisfy by itself: its counts, its lists and its numbers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa

from embedlib.audio.resample import resampled_length
from embedlib.features.front_end import front_end
from embedlib.features.patches import PatchRule, n_patches_of_samples, patch_starts_ms
from embedlib.records import KEPT, Float32, Int32, Status
from embedlib.tables.manifest import ModelManifest

_FACTS: Final = ("track_id", "status", "n_samples", "sr_hz", "n_patches")
_LISTS: Final = ("embedding", "patch_t0_ms", "patch_embeddings")
ROW_COLUMNS: Final = (*_FACTS, *_LISTS)

POOLED_TOLERANCE: Final = 1e-5
"""Relative l2 distance between the pooled embedding and the mean of the patches."""

ESSENTIA_SLACK_SAMPLES: Final = 2
"""Essentia's resampler rounds its length with its block size, at the model's rate."""


@dataclass(frozen=True, slots=True)
class StoredRow:
    """One row as read.

    Attributes
    ----------
    track_id, status : str
        As stored.
    n_samples, sr_hz, n_patches : int
        As stored.
    embedding : np.ndarray [shape=(n_dims,), float32] or None
        Mean over patches.
    starts_ms : np.ndarray [shape=(n_patches,), int32] or None
        Start of each patch.
    patch_lengths : np.ndarray [shape=(n_patches,), int32] or None
        Length of each patch's embedding.
    patch_values : np.ndarray [shape=(n_patches * n_dims,), float32] or None
        Embeddings of the patches, one after the other.
    """

    track_id: str
    status: str
    n_samples: int
    sr_hz: int
    n_patches: int
    embedding: Float32 | None
    starts_ms: Int32 | None
    patch_lengths: Int32 | None
    patch_values: Float32 | None


def stored_rows(batch: pa.RecordBatch) -> Iterator[StoredRow]:
    """Take a batch apart; arrays are views of it.

    Parameters
    ----------
    batch : pyarrow.RecordBatch
        With the columns of `ROW_COLUMNS`.

    Yields
    ------
    row : StoredRow
        In order.
    """
    columns = [batch[name].to_pylist() for name in _FACTS] + [batch[name] for name in _LISTS]
    for *facts, embedding, starts, patches in zip(*columns, strict=True):
        inner = patches.values
        lengths = None if inner is None else inner.value_lengths()
        values = None if inner is None else inner.flatten()
        yield StoredRow(*facts, *map(_numbers, (embedding.values, starts.values, lengths, values)))


class RowChecker:
    """Check rows of one model table against its manifest.

    Parameters
    ----------
    manifest : ModelManifest
        Of the table.
    """

    def __init__(self, manifest: ModelManifest) -> None:
        self._manifest = manifest
        self._front_end = front_end(manifest.front_end)
        self._rule = PatchRule(
            patch_frames=manifest.patch_frames,
            hop_frames=manifest.patch_hop_frames,
            last=manifest.last_patch,
        )

    def problems(self, row: StoredRow) -> Iterator[str]:
        """Say what is wrong with a row.

        Parameters
        ----------
        row : StoredRow
            A row of the table.

        Yields
        ------
        problem : str
            One sentence, without the track.
        """
        if row.status not in set(Status):
            yield f"its status {row.status!r} is unknown"
        elif row.status in KEPT:
            yield from self._kept_problems(row)
        elif row.n_patches or row.embedding is not None or row.patch_values is not None:
            yield f"it has status {row.status!r} and an embedding"

    def _kept_problems(self, row: StoredRow) -> Iterator[str]:
        if row.embedding is None or len(row.embedding) != self._manifest.n_dims:
            yield f"its embedding has not {self._manifest.n_dims} values"
        elif not np.isfinite(row.embedding).all():
            yield "its embedding holds NaN or infinity"
        if row.n_patches not in (allowed := self._allowed_counts(row)):
            yield (
                f"n_patches is {row.n_patches}, but {row.n_samples} samples at {row.sr_hz} Hz "
                f"give {' to '.join(map(str, sorted({allowed[0], allowed[-1]})))}"
            )
        if self._manifest.patches:
            yield from self._patch_problems(row)
        elif row.patch_values is not None or row.starts_ms is not None:
            yield "it has patches, but model.json says there are none"

    def _patch_problems(self, row: StoredRow) -> Iterator[str]:
        if row.starts_ms is None or row.patch_values is None or row.patch_lengths is None:
            yield "its patches are missing"
            return
        lengths = {len(row.starts_ms), len(row.patch_lengths), row.n_patches}
        if len(lengths) > 1 or (row.patch_lengths != self._manifest.n_dims).any():
            yield "its lists of patches differ in length from n_patches or from each other"
            return
        if not np.array_equal(row.starts_ms, self._starts_ms(row.n_patches)):
            yield "its patches do not start where the hop says"
        if not np.isfinite(row.patch_values).all():
            yield "its patches hold NaN or infinity"
        elif row.embedding is not None and not self._is_mean(row.embedding, row.patch_values):
            yield "its embedding is not the mean of its patches"

    def _allowed_counts(self, row: StoredRow) -> range:
        if row.sr_hz < 1:
            return range(1)
        n_samples = resampled_length(
            row.n_samples, sr_in_hz=row.sr_hz, sr_out_hz=self._front_end.sr_hz
        )
        exact = not self._manifest.resampler.startswith("essentia")
        slack = 0 if exact else ESSENTIA_SLACK_SAMPLES
        low, high = (self._n_patches(n_samples + change) for change in (-slack, slack))
        return range(low, high + 1)

    def _n_patches(self, n_samples: int) -> int:
        return n_patches_of_samples(max(0, n_samples), rule=self._rule, front_end=self._front_end)

    def _starts_ms(self, n_patches: int) -> Int32:
        return patch_starts_ms(
            n_patches,
            hop_frames=self._rule.hop_frames,
            hop_samples=self._front_end.hop_samples,
            sr_hz=self._front_end.sr_hz,
        )

    def _is_mean(self, embedding: Float32, patch_values: Float32) -> bool:
        if len(embedding) != self._manifest.n_dims:
            return True  # reported as what it is
        mean = patch_values.reshape(-1, len(embedding)).mean(axis=0, dtype=np.float64)
        distance = np.linalg.norm(embedding - mean)
        return bool(distance <= POOLED_TOLERANCE * max(np.linalg.norm(mean), np.finfo(float).tiny))


def _numbers(array: pa.Array | None) -> np.ndarray | None:
    return None if array is None else array.to_numpy(zero_copy_only=False)
