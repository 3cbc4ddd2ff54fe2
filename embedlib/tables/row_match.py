"""Two rows of one track compared: facts by equality, vectors by bits and by distance."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa

from embedlib.records import Float32, Int32
from embedlib.tables.distances import cosines, relative_l2
from embedlib.tables.manifest import ModelManifest
from embedlib.tables.stored import stored_rows
from embedlib.tables.vectors import VectorColumn, vector_columns

FACTS: Final = (
    "status",
    "content_hash",
    "size",
    "duration_s",
    "sr_hz",
    "n_channels",
    "n_samples",
    "n_bad_packets",
    "n_patches",
    "padded",
    "patch_t0_ms",
)
"""Columns that must be equal; where a track lay and what it was planned with do not matter."""

_SHOWN_ITEMS: Final = 8
"""Of a list that differs."""


@dataclass(frozen=True, slots=True)
class FactDifference:
    """Something that was one thing then and is another now.

    Attributes
    ----------
    name : str
        Of a column, or of a library.
    then, now : str
        Its values.
    """

    name: str
    then: str
    now: str


@dataclass(frozen=True, slots=True)
class VectorMatch:
    """The vectors of one column, compared one by one.

    Attributes
    ----------
    column : str
        Of the table.
    n_vectors : int > 0
        How many.
    is_bit_equal : bool
        Whether all bits are equal.
    relative_l2, cosine : float
        Of the vector that is farthest from its counterpart, and of the one that points elsewhere
        most.
    overall_l2 : float
        Relative l2 distance of all vectors taken as one.
    worst_patch : int or None
        The patch of the farthest one; None for the mean over a track.
    worst_t0_ms : int or None
        Where that starts.
    """

    column: str
    n_vectors: int
    is_bit_equal: bool
    relative_l2: float
    cosine: float
    overall_l2: float
    worst_patch: int | None = None
    worst_t0_ms: int | None = None


@dataclass(frozen=True, slots=True)
class RowMatch:
    """Two rows compared.

    Attributes
    ----------
    facts : tuple of FactDifference
        What differs, numbers of vectors included.
    vectors : tuple of VectorMatch
        Of each column that both rows have vectors in.
    """

    facts: tuple[FactDifference, ...]
    vectors: tuple[VectorMatch, ...]

    @property
    def is_bit_equal(self) -> bool:
        """Whether all vectors are."""
        return all(each.is_bit_equal for each in self.vectors)

    def distance(self, *, is_of_all: bool) -> float:
        """Give the relative l2 distance that is to be judged.

        Parameters
        ----------
        is_of_all : bool
            Whether vectors are taken as one; else the farthest of them counts.

        Returns
        -------
        distance : float
            Of the column where it is largest; NaN where one holds NaN.
        """
        found = (each.overall_l2 if is_of_all else each.relative_l2 for each in self.vectors)
        return float(np.max([0.0, *found]))


def match_rows(then: pa.Table, now: pa.Table, *, manifest: ModelManifest) -> RowMatch:
    """Compare two rows of one track.

    Parameters
    ----------
    then, now : pyarrow.Table
        One row each, with all columns of the table.
    manifest : ModelManifest
        Of the table.

    Returns
    -------
    match : RowMatch
        What differs, and by how much.
    """
    kinds = vector_columns(manifest)
    (one,), (other,) = (stored_rows(_batch(row), kinds) for row in (then, now))
    facts = list(_fact_differences(then, now))
    vectors: list[VectorMatch] = []
    for kind, first, second in zip(kinds, one.vectors, other.vectors, strict=True):
        for column, pair, starts_ms in (
            (kind.name, (first.mean, second.mean), None),
            (kind.patches_name, (first.values, second.values), other.starts_ms),
        ):
            found = _column_match(column, *pair, kind=kind, starts_ms=starts_ms)
            if isinstance(found, FactDifference):
                facts.append(found)
            elif found is not None:
                vectors.append(found)
    return RowMatch(tuple(facts), tuple(vectors))


def _batch(row: pa.Table) -> pa.RecordBatch:
    (batch,) = row.combine_chunks().to_batches()
    return batch


def _fact_differences(then: pa.Table, now: pa.Table) -> Iterator[FactDifference]:
    for name in FACTS:
        values = [row[name][0].as_py() for row in (then, now)]
        if values[0] != values[1]:
            yield FactDifference(name, *map(_text, values))


def _text(value: Any) -> str:
    if isinstance(value, list) and len(value) > _SHOWN_ITEMS:
        return f"{', '.join(map(str, value[:_SHOWN_ITEMS]))} ... ({len(value)} values)"
    return str(value)


def _column_match(
    column: str,
    then: Float32 | None,
    now: Float32 | None,
    *,
    kind: VectorColumn,
    starts_ms: Int32 | None,
) -> VectorMatch | FactDifference | None:
    """Compare the vectors of a column; None where neither row has any."""
    if then is None or now is None or then.size != now.size:
        texts = ["none" if each is None else f"{each.size} numbers" for each in (then, now)]
        return None if texts[0] == texts[1] else FactDifference(column, *texts)
    one, other = (each.reshape(-1, kind.n_dims) for each in (then, now))
    distances = relative_l2(one, other)
    is_equal = np.array_equal(one.view(np.uint32), other.view(np.uint32))
    worst = None if is_equal or starts_ms is None else int(distances.argmax()) // kind.n_vectors
    return VectorMatch(
        column=column,
        n_vectors=len(one),
        is_bit_equal=is_equal,
        relative_l2=float(distances.max()),
        cosine=float(cosines(one, other).min()),
        overall_l2=float(relative_l2(one.reshape(1, -1), other.reshape(1, -1))[0]),
        worst_patch=worst,
        worst_t0_ms=None if worst is None or starts_ms is None else int(starts_ms[worst]),
    )
