"""A saved probe over a table of embeddings: class and probabilities of each track, as a stream."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa

from embedlib.catalog.stores import Place
from embedlib.errors import ConfigError, FingerprintError
from embedlib.probes.card import Card
from embedlib.probes.probe import Probe
from embedlib.probes.records import PROTOCOLS, Float64, Int
from embedlib.probes.samples import band_means
from embedlib.probes.saved import load_probe
from embedlib.records import Float32
from embedlib.tables.layout import OutLike
from embedlib.tables.manifest import ModelManifest, fingerprint_differences
from embedlib.tables.reader import open_output
from embedlib.tables.tracks import TrackTable

# What a table is called and what else it holds says nothing about its embeddings.
_BESIDE: Final = frozenset({"model", "patches"})


@dataclass(frozen=True, slots=True)
class Predictor:
    """A probe and a table that it can be applied to.

    Attributes
    ----------
    probe : Probe
        The weights.
    card : Card
        What is known of them.
    table : TrackTable
        One row per track.
    """

    probe: Probe
    card: Card
    table: TrackTable

    @property
    def schema(self) -> pa.Schema:
        """Columns: ``track_id``, ``predicted``, and ``p_<class>`` for each class."""
        return pa.schema(
            [
                pa.field("track_id", pa.string(), nullable=False),
                pa.field("predicted", pa.string()),
                *(pa.field(f"p_{name}", pa.float64()) for name in self.card.classes),
            ]
        )

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Predict all tracks, in the order of the table.

        Yields
        ------
        batch : pyarrow.RecordBatch
            With the columns of `schema`, null but for the id where a track has no embedding. The
            probability of a class is that of the pooled embedding, or the mean over the patches,
            as the protocol of the probe has it.

        Raises
        ------
        OutputError
            If the table is damaged.
        """
        column = "patch_embeddings" if self._uses_patches else "embedding"
        for batch in self.table.snapshot.batches(["track_id", column]):
            x, starts = self._vectors(batch[column])
            yield self._rows(batch["track_id"], self.probe.track_probabilities(x, starts))

    @property
    def _uses_patches(self) -> bool:
        return PROTOCOLS[self.card.protocol].uses_patches

    def _vectors(self, column: pa.Array) -> tuple[Float32, Int]:
        """Give the vectors of some tracks, and where those of each track start."""
        manifest = self.table.manifest
        if not self._uses_patches:
            return _matrix(column, manifest.n_dims), _starts(column.is_valid())
        vectors = _matrix(column.flatten(), manifest.n_dims)
        bands = vectors.reshape(-1, manifest.n_vectors, manifest.n_dims)
        lengths = column.value_lengths().fill_null(0).to_numpy() // manifest.n_vectors
        return band_means(bands), _starts(lengths)

    def _rows(self, track_ids: pa.Array, probabilities: Float64) -> pa.RecordBatch:
        is_missing = np.isnan(probabilities[:, 0])
        best = np.where(is_missing, 0, probabilities.argmax(axis=1))
        names = np.array(self.card.classes, dtype=object)[best]
        columns = (names, *probabilities.T)
        return pa.record_batch(
            [track_ids, *(pa.array(each, mask=is_missing) for each in columns)], schema=self.schema
        )


def open_predictor(
    place: Place, out: OutLike, *, model: str | None = None, any_embeddings: bool = False
) -> Predictor:
    """Read a probe, and open the table that it is to be applied to.

    Parameters
    ----------
    place : Path or StorePath
        The ``.npz`` file of the probe.
    out : str or path-like
        An output folder.
    model : str, optional
        Name of the table; by default the name of the one that the probe was trained on.
    any_embeddings : bool, optional
        Take embeddings that were made otherwise, as long as they are of the same length.

    Returns
    -------
    predictor : Predictor
        Nothing of the table is read yet but its log.

    Raises
    ------
    FingerprintError
        If the embeddings were made otherwise than those that the probe was trained on.
    ConfigError
        If they are of another length, or the protocol of the probe is unknown.
    ModelError
        If the probe cannot be read.
    OutputError
        If there is no such table, or the probe needs patches and it has none.
    """
    probe, card = load_probe(place)
    if card.protocol not in PROTOCOLS:
        raise ConfigError(
            f"{place} is of the protocol {card.protocol!r}, which is not known here",
            fix=f"known are {', '.join(PROTOCOLS)}",
        )
    output, name = open_output(out), model or card.model
    table = output.tracks(name)
    _check_embeddings(card, table.manifest, origin=str(place), any_embeddings=any_embeddings)
    if PROTOCOLS[card.protocol].uses_patches:
        output.patches(name)  # refuses a table without
    return Predictor(probe, card, table)


def _check_embeddings(
    card: Card, found: ModelManifest, *, origin: str, any_embeddings: bool
) -> None:
    if found.n_dims != card.embeddings.n_dims:
        raise ConfigError(
            f"{origin} takes embeddings of {card.embeddings.n_dims} values, "
            f"those of {found.model} have {found.n_dims}",
            fix=f"name a table of {card.model} by --model",
        )
    differences = [] if any_embeddings else embedding_differences(card.embeddings, found)
    if differences:
        listed = ", ".join(f"{name}={old} (now {new})" for name, old, new in differences)
        raise FingerprintError(
            f"{origin} was trained on other embeddings, made with {listed}",
            fix="train a probe on this table, or take --any-embeddings at your own risk",
        )


def embedding_differences(
    trained_on: ModelManifest, found: ModelManifest
) -> list[tuple[str, str, str]]:
    """List in what two tables differ that makes the numbers of their embeddings.

    Parameters
    ----------
    trained_on, found : ModelManifest
        Two manifests.

    Returns
    -------
    differences : list of (str, str, str)
        Name of a field, what the first says, what the second says. Names of tables, further
        columns, and whether patches are kept are left out.
    """
    return [
        each
        for each in fingerprint_differences(trained_on, found)
        if each[0] not in _BESIDE and not each[0].startswith("columns.")
    ]


def _matrix(vectors: pa.Array, n_dims: int) -> Float32:
    matrix: Float32 = vectors.flatten().to_numpy().reshape(-1, n_dims)
    return matrix


def _starts(lengths: Sequence[int]) -> Int:
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
