"""What a row must satisfy by itself: its counts, its lists and its numbers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from embedlib.audio.resample import resampled_length
from embedlib.features.front_end import front_end
from embedlib.features.patches import PatchRule, n_patches_of_samples, patch_starts_ms
from embedlib.records import KEPT, Float32, Int32, Status
from embedlib.tables.manifest import ModelManifest
from embedlib.tables.stored import StoredRow, StoredVectors, row_columns
from embedlib.tables.vectors import VectorColumn, vector_columns

MEAN_TOLERANCE: Final = 1e-5
"""Relative l2 distance between the vector of a track and the mean of those of its patches."""

ESSENTIA_SLACK_SAMPLES: Final = 2
"""Essentia's resampler rounds its length with its block size, at the model's rate."""


class RowChecker:
    """Check rows of one model table against its manifest.

    Parameters
    ----------
    manifest : ModelManifest
        Of the table.
    """

    def __init__(self, manifest: ModelManifest) -> None:
        self._manifest = manifest
        self.kinds = vector_columns(manifest)
        self.columns = row_columns(self.kinds)
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
            A row of the table, with the vectors of `kinds`.

        Yields
        ------
        problem : str
            One sentence, without the track.
        """
        if row.status not in set(Status):
            yield f"its status {row.status!r} is unknown"
        elif row.status in KEPT:
            yield from self._kept_problems(row)
        elif row.n_patches or any(_holds_something(vectors) for vectors in row.vectors):
            yield f"it has status {row.status!r} and an embedding"

    def _kept_problems(self, row: StoredRow) -> Iterator[str]:
        for kind, vectors in zip(self.kinds, row.vectors, strict=True):
            yield from _mean_problems(kind, vectors.mean)
        if row.n_patches not in (allowed := self._allowed_counts(row)):
            yield (
                f"n_patches is {row.n_patches}, but {row.n_samples} samples at {row.sr_hz} Hz "
                f"give {' to '.join(map(str, sorted({allowed[0], allowed[-1]})))}"
            )
        if self._manifest.patches:
            yield from self._patch_problems(row)
        elif row.starts_ms is not None or any(each.values is not None for each in row.vectors):
            yield "it has patches, but model.json says there are none"

    def _patch_problems(self, row: StoredRow) -> Iterator[str]:
        if row.starts_ms is None:
            yield "its patch_t0_ms is missing"
        elif len(row.starts_ms) != row.n_patches:
            yield f"its patch_t0_ms holds {len(row.starts_ms)} starts, n_patches is {row.n_patches}"
        elif not self._starts_fit(row, row.starts_ms):
            yield "its patches do not start where the hop says"
        for kind, vectors in zip(self.kinds, row.vectors, strict=True):
            yield from _vector_problems(kind, vectors, n_patches=row.n_patches)

    def _allowed_counts(self, row: StoredRow) -> range:
        lengths = self._lengths(row)
        low, high = (
            n_patches_of_samples(n_samples, rule=self._rule, front_end=self._front_end)
            for n_samples in (lengths[0], lengths[-1])
        )
        return range(low, high + 1)

    def _starts_fit(self, row: StoredRow, starts_ms: Int32) -> bool:
        return any(
            np.array_equal(starts_ms, self._starts_ms(row.n_patches, n_samples))
            for n_samples in self._lengths(row)
        )

    def _starts_ms(self, n_patches: int, n_samples: int) -> Int32:
        return patch_starts_ms(
            n_patches, rule=self._rule, front_end=self._front_end, n_samples=n_samples
        )

    def _lengths(self, row: StoredRow) -> range:
        """Give the numbers of samples that the front end may have seen; none of no rate."""
        if row.sr_hz < 1:
            return range(1)
        n_samples = resampled_length(
            row.n_samples, sr_in_hz=row.sr_hz, sr_out_hz=self._front_end.sr_hz
        )
        exact = not self._manifest.resampler.startswith("essentia")
        slack = 0 if exact else ESSENTIA_SLACK_SAMPLES
        return range(max(0, n_samples - slack), n_samples + slack + 1)


def _holds_something(vectors: StoredVectors) -> bool:
    return vectors.mean is not None or vectors.values is not None


def _mean_problems(kind: VectorColumn, mean: Float32 | None) -> Iterator[str]:
    if mean is None or len(mean) != kind.n_dims:
        yield f"its {kind.name} has not {kind.n_dims} values"
    elif not np.isfinite(mean).all():
        yield f"its {kind.name} holds NaN or infinity"


def _vector_problems(
    kind: VectorColumn, vectors: StoredVectors, *, n_patches: int
) -> Iterator[str]:
    if vectors.values is None or vectors.lengths is None:
        yield f"its {kind.patches_name} is missing"
    elif len(vectors.lengths) != n_patches * kind.n_vectors:
        yield (
            f"its {kind.patches_name} holds {len(vectors.lengths)} vectors, "
            f"not {kind.n_vectors} for each of {n_patches} patches"
        )
    elif (vectors.lengths != kind.n_dims).any():
        yield f"its {kind.patches_name} holds vectors of other than {kind.n_dims} values"
    elif not np.isfinite(vectors.values).all():
        yield f"its {kind.patches_name} holds NaN or infinity"
    elif not _is_mean(vectors.mean, vectors.values, n_dims=kind.n_dims):
        yield f"its {kind.name} is not the mean of its {kind.patches_name}"


def _is_mean(mean: Float32 | None, values: Float32, *, n_dims: int) -> bool:
    if mean is None or len(mean) != n_dims or not len(values):
        return True  # reported as what it is
    true_mean = values.reshape(-1, n_dims).mean(axis=0, dtype=np.float64)
    distance = np.linalg.norm(mean - true_mean)
    smallest = np.finfo(np.float64).tiny
    return bool(distance <= MEAN_TOLERANCE * max(np.linalg.norm(true_mean), smallest))
