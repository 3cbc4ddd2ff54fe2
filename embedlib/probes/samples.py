"""The embeddings of labelled tracks, read from a model table into the order of their cohort."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from embedlib.probes.records import Int, Sample
from embedlib.records import Float32
from embedlib.tables.layout import OutLike
from embedlib.tables.manifest import ModelManifest, embeddings_fingerprint
from embedlib.tables.reader import open_output
from embedlib.tables.snapshot import Snapshot
from embedlib.tasks.cohort import Cohort


def read_sample(
    out: OutLike, model: str, cohort: Cohort, *, uses_patches: bool, at: int | None = None
) -> Sample:
    """Read what one model says of the tracks of a cohort.

    Parameters
    ----------
    out : str, path-like or StorePath
        The output folder.
    model : str
        Name of the model table.
    cohort : Cohort
        The tracks.
    uses_patches : bool
        One vector for each patch, the mean over its bands where it has several; else one for each
        track.
    at : int, optional
        Version of the table; by default the newest.

    Returns
    -------
    sample : Sample
        Tracks that are not in the table, or failed, have no rows. The table is read in batches:
        memory is bounded by the result.

    Raises
    ------
    OutputError
        If there is no such table or version, a file is damaged, or `uses_patches` and the table
        keeps none.
    """
    (sample,) = read_samples(out, model, (cohort,), uses_patches=uses_patches, at=at)
    return sample


def read_samples(
    out: OutLike,
    model: str,
    cohorts: Sequence[Cohort],
    *,
    uses_patches: bool,
    at: int | None = None,
) -> tuple[Sample, ...]:
    """Read what one model says of the tracks of several cohorts, from one pass over its table.

    Parameters
    ----------
    out : str, path-like or StorePath
        The output folder.
    model : str
        Name of the model table.
    cohorts : sequence of Cohort
        The tracks.
    uses_patches : bool
        As in `read_sample`.
    at : int, optional
        Version of the table; by default the newest.

    Returns
    -------
    samples : tuple of Sample
        One for each cohort.

    Raises
    ------
    OutputError
        As in `read_sample`.
    """
    output = open_output(out)
    table = output.patches(model, at=at) if uses_patches else output.tracks(model, at=at)
    track_ids = tuple(sorted({name for cohort in cohorts for name in cohort.track_ids}))
    source = _Source(table.manifest, table.snapshot, track_ids, uses_patches)
    starts = source.starts()
    x = source.vectors(starts)
    return tuple(_sample(cohort, source, x, starts) for cohort in cohorts)


@dataclass(frozen=True, slots=True)
class _Source:
    """A table, and the tracks that are wanted of it, sorted."""

    manifest: ModelManifest
    snapshot: Snapshot
    track_ids: tuple[str, ...]
    uses_patches: bool

    def starts(self) -> Int:
        """Say which rows each track gets [shape=(n_tracks + 1,)]."""
        counts = np.zeros(len(self.track_ids), dtype=np.int64)
        for batch, places in self._batches("n_patches"):
            n_patches = batch["n_patches"].to_numpy()
            counts[places] = n_patches if self.uses_patches else 1
        return np.concatenate([[0], np.cumsum(counts)])

    def vectors(self, starts: Int) -> Float32:
        """Read the vectors of all tracks in their order [shape=(n_rows, n_dims), float32]."""
        x = np.empty((starts[-1], self.manifest.n_dims), dtype=np.float32)
        column = "patch_embeddings" if self.uses_patches else "embedding"
        for batch, places in self._batches(column):
            values = batch[column].flatten()
            values = values.flatten() if self.uses_patches else values
            n_vectors = self.manifest.n_vectors if self.uses_patches else 1
            bands = values.to_numpy().reshape(-1, n_vectors, self.manifest.n_dims)
            x[_rows(starts, places)] = band_means(bands)
        return x

    def _batches(self, column: str) -> Iterator[tuple[pa.RecordBatch, Int]]:
        """Give the rows of wanted tracks, and which these are; the first row of a track counts."""
        wanted = pa.array(self.track_ids, pa.string())
        is_new = np.ones(len(self.track_ids), dtype=bool)
        for batch in self.snapshot.batches(list(dict.fromkeys(["track_id", "n_patches", column]))):
            kept = batch.filter(pc.greater(batch["n_patches"], 0))
            found = pc.index_in(kept["track_id"], wanted).fill_null(-1).to_numpy()
            _, first = np.unique(found, return_index=True)
            chosen = np.sort(first[(found[first] >= 0) & is_new[found[first]]])
            is_new[found[chosen]] = False
            yield kept.take(pa.array(chosen)), found[chosen].astype(np.int64)


def band_means(bands: Float32) -> Float32:
    """Give each patch one vector, the mean over its bands, as that of a track is over all of them.

    Parameters
    ----------
    bands : np.ndarray [shape=(n_patches, n_vectors, n_dims), float32]
        Vectors of a patch, one for each band.

    Returns
    -------
    vectors : np.ndarray [shape=(n_patches, n_dims), float32]
        Sums are in float64; a view where a patch has one vector.
    """
    if bands.shape[1] == 1:
        return bands[:, 0]
    means: Float32 = bands.mean(axis=1, dtype=np.float64).astype(np.float32)
    return means


def _rows(starts: Int, places: Int) -> Int:
    """List the rows of some tracks, one track after the other."""
    counts = starts[places + 1] - starts[places]
    first = np.cumsum(counts) - counts
    return np.repeat(starts[places] - first, counts) + np.arange(counts.sum())


def _sample(cohort: Cohort, source: _Source, x: Float32, starts: Int) -> Sample:
    number = {name: index for index, name in enumerate(source.track_ids)}
    places = np.array([number[name] for name in cohort.track_ids], dtype=np.int64)
    counts = starts[places + 1] - starts[places]
    own = x if len(places) == len(number) else x[_rows(starts, places)]
    fingerprint = embeddings_fingerprint(source.manifest)
    return Sample(
        model=source.manifest.model,
        x=own,
        starts=np.concatenate([[0], np.cumsum(counts)]),
        embeddings_id=_embeddings_id(fingerprint, cohort.track_ids, counts, own),
        fingerprint=fingerprint,
        table_version=source.snapshot.version,
    )


def _embeddings_id(fingerprint: str, track_ids: Sequence[str], counts: Int, x: Float32) -> str:
    """Hash what made the vectors, whose they are, and their numbers."""
    owners = [(name, n) for name, n in zip(track_ids, counts.tolist(), strict=True) if n]
    digest = hashlib.sha256(json.dumps([fingerprint, owners]).encode())
    digest.update(np.ascontiguousarray(x).data)
    return digest.hexdigest()[:16]
