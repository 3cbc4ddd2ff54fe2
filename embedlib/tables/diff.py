"""The one definition of "same rows": two outputs compared track by track.

All columns must be identical but the texts of errors. Vectors, of the embedding as of any further
column, are equal bit by bit where one engine on one machine made both tables, and within a
relative l2 distance of 1e-5 otherwise.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from embedlib.engines.bounds import MAX_RELATIVE_L2
from embedlib.tables.distances import relative_l2
from embedlib.tables.layout import OutLike
from embedlib.tables.manifest import fingerprint_differences
from embedlib.tables.parquet import parquet_file, read_rows
from embedlib.tables.parts import FOOTER_PREFIX
from embedlib.tables.reader import Output, open_named
from embedlib.tables.schema import TRACK_COLUMNS
from embedlib.tables.snapshot import BATCH_BYTES
from embedlib.tables.tracks import TrackTable
from embedlib.tables.vectors import VectorColumn, vector_columns

TOLERANCE: Final = MAX_RELATIVE_L2["f32"]
"""Relative l2 distance of vectors that different engines or machines made."""

_STARTS: Final = "patch_t0_ms"
_LEFT_OUT: Final = frozenset({"error", "shard_id"})
"""Words for people, and what a track was planned with: that follows from when it was listed."""

_COMPARED: Final = tuple(name for name in TRACK_COLUMNS if name not in _LEFT_OUT)
_MAKER: Final = tuple(f"{FOOTER_PREFIX}{key}".encode() for key in ("engine", "machine"))


@dataclass(frozen=True, slots=True)
class Difference:
    """One place where two outputs differ.

    Attributes
    ----------
    model : str
        Name of the model table.
    track_id : str
        The track; empty if the whole table differs.
    column : str
        Name of a column, or ``model.json`` with the name of a field.
    first, second : str
        What each output holds.
    """

    model: str
    track_id: str
    column: str
    first: str
    second: str

    def __str__(self) -> str:
        where = " ".join(part for part in (self.model, self.track_id, self.column) if part)
        return f"{where}: {self.first} against {self.second}"


@dataclass(frozen=True, slots=True)
class Diff:
    """What `diff` found.

    Attributes
    ----------
    differences : tuple of Difference
        Empty if both outputs hold the same rows.
    n_rows : int
        Tracks that both have, over all models.
    exact : tuple of str
        Models whose vectors were compared bit by bit.
    """

    differences: tuple[Difference, ...]
    n_rows: int
    exact: tuple[str, ...]


def diff(out1: OutLike, out2: OutLike) -> Diff:
    """Compare all rows of two outputs, or of two states of one.

    Parameters
    ----------
    out1, out2 : str or path-like
        Two output folders; ``OUT@3`` is the third state of one.

    Returns
    -------
    diff : Diff
        All differences, by model, column and track.

    Raises
    ------
    OutputError
        If one is no output folder or has no such state, or a file of it is damaged.
    """
    first, second = open_named(out1), open_named(out2)
    models = sorted({*first.models, *second.models})
    found = [_model_diff(first, second, model) for model in models]
    return Diff(
        differences=tuple(itertools.chain.from_iterable(each.differences for each in found)),
        n_rows=sum(each.n_rows for each in found),
        exact=tuple(itertools.chain.from_iterable(each.exact for each in found)),
    )


def _model_diff(first: Output, second: Output, model: str) -> Diff:
    here = [model in output.models for output in (first, second)]
    if not all(here):
        places = ["present" if each else "absent" for each in here]
        return Diff((Difference(model, "", "model.json", *places),), 0, ())
    left, right = first.tracks(model), second.tracks(model)
    tolerance = _tolerance(left, right)
    facts = [tracks.to_arrow(_COMPARED).sort_by("track_id") for tracks in (left, right)]
    shared = _shared(*facts)
    differences = itertools.chain(
        _manifest_differences(left, right),
        _count_differences(model, *facts),
        _fact_differences(model, *shared),
        _vector_differences(left, right, shared[0], tolerance=tolerance),
    )
    return Diff(tuple(differences), shared[0].num_rows, () if tolerance else (model,))


def _tolerance(left: TrackTable, right: TrackTable) -> float:
    makers = _makers(left) | _makers(right)
    return 0.0 if len(makers) == 1 and None not in next(iter(makers)) else TOLERANCE


def _makers(tracks: TrackTable) -> set[tuple[bytes | None, ...]]:
    """Collect the engine and the machine of each file, None where its footer does not tell."""
    makers = set()
    for file in tracks.snapshot.files:
        with parquet_file(file.path) as parquet:
            footer = parquet.metadata.metadata or {}
        makers.add(tuple(footer.get(key) for key in _MAKER))
    return makers


def _manifest_differences(left: TrackTable, right: TrackTable) -> Iterator[Difference]:
    for name, *texts in fingerprint_differences(left.manifest, right.manifest):
        yield Difference(left.manifest.model, "", f"model.json {name}", *texts)


def _count_differences(model: str, left: pa.Table, right: pa.Table) -> Iterator[Difference]:
    first, second = (Counter(table["track_id"].to_pylist()) for table in (left, right))
    for track_id in sorted(first.keys() | second.keys()):
        counts = first[track_id], second[track_id]
        if counts != (1, 1):
            yield Difference(model, track_id, "track_id", *(f"{count} rows" for count in counts))


def _shared(left: pa.Table, right: pa.Table) -> list[pa.Table]:
    """Keep the rows of tracks that both tables have exactly once."""
    once = [_once(table["track_id"]) for table in (left, right)]
    both = once[0].filter(pc.is_in(once[0], value_set=once[1]))
    return [table.filter(pc.is_in(table["track_id"], value_set=both)) for table in (left, right)]


def _once(ids: pa.ChunkedArray) -> pa.Array:
    counted = pc.value_counts(ids)
    return counted.field("values").filter(pc.equal(counted.field("counts"), 1))


def _fact_differences(model: str, left: pa.Table, right: pa.Table) -> Iterator[Difference]:
    for column in _COMPARED:
        unequal = pc.indices_nonzero(pc.not_equal(left[column], right[column]))
        picked = [table.take(unequal) for table in (left, right)]
        ids = picked[0]["track_id"].to_pylist()
        values = [map(str, table[column].to_pylist()) for table in picked]
        for track_id, first, second in zip(ids, *values, strict=True):
            yield Difference(model, track_id, column, first, second)


def _vector_differences(
    left: TrackTable, right: TrackTable, facts: pa.Table, *, tolerance: float
) -> Iterator[Difference]:
    kinds = _shared_kinds(left, right)
    n_dims = {name: kind.n_dims for kind in kinds for name in (kind.name, kind.patches_name)}
    columns = [_STARTS, *n_dims]
    for ids in _windows(facts, n_values=sum(kind.n_vectors * kind.n_dims for kind in kinds)):
        first, second = _vectors(left, ids, columns), _vectors(right, ids, columns)
        for column in columns:
            if first[column].equals(second[column]):
                continue
            for track_id, one, other in zip(ids, first[column], second[column], strict=True):
                texts = _difference(
                    _flat(one), _flat(other), n_dims=n_dims.get(column, 1), tolerance=tolerance
                )
                if texts is not None:
                    yield Difference(left.manifest.model, track_id.as_py(), column, *texts)


def _shared_kinds(left: TrackTable, right: TrackTable) -> list[VectorColumn]:
    """Keep the vectors that both tables have; the manifests tell of the others."""
    names = {kind.name for kind in vector_columns(right.manifest)}
    return [kind for kind in vector_columns(left.manifest) if kind.name in names]


def _windows(facts: pa.Table, *, n_values: int) -> Iterator[pa.Array]:
    """Cut the sorted ids where their patches fill a batch, so that memory stays bounded."""
    n_bytes = np.cumsum(facts["n_patches"].to_numpy().astype(np.int64)) * n_values * 4
    cuts = np.flatnonzero(np.diff(n_bytes // BATCH_BYTES)) + 1
    ids = facts["track_id"].combine_chunks()
    for start, stop in itertools.pairwise((0, *cuts.tolist(), len(ids))):
        if stop > start:
            yield ids.slice(start, stop - start)


def _vectors(tracks: TrackTable, ids: pa.Array, columns: Sequence[str]) -> pa.Table:
    """Read the lists of some tracks, sorted; statistics of `track_id` skip most row groups."""
    between = (pc.field("track_id") >= ids[0]) & (pc.field("track_id") <= ids[-1])
    wanted = between & pc.field("track_id").isin(ids)
    files = [file.path for file in tracks.snapshot.files]
    table = read_rows(files, ["track_id", *columns], where=wanted)
    return table.sort_by("track_id").combine_chunks()


def _flat(cell: pa.Scalar) -> NDArray[np.generic] | None:
    values = cell.values
    while values is not None and pa.types.is_list(values.type):
        values = values.flatten()
    return None if values is None else values.to_numpy()


def _difference(
    one: NDArray[np.generic] | None,
    other: NDArray[np.generic] | None,
    *,
    n_dims: int,
    tolerance: float,
) -> tuple[str, str] | None:
    sizes = ["null" if each is None else f"{each.size} values" for each in (one, other)]
    if one is None or other is None or one.size != other.size:
        return None if one is other else (sizes[0], sizes[1])
    if np.array_equal(one, other, equal_nan=True):
        return None
    if not np.issubdtype(one.dtype, np.floating) or one.size % n_dims:
        return sizes[0], "other values"
    # That of the pair that is farthest apart; NaN if one holds NaN.
    distance = float(np.max(relative_l2(one.reshape(-1, n_dims), other.reshape(-1, n_dims))))
    return None if distance <= tolerance else (sizes[0], f"at relative l2 distance {distance:.1e}")
