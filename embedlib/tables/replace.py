"""Rows that take the place of others, in one transaction per model table.

A file that holds a row to be replaced is written again without it, the rows that replace it are
copied from where they were made, and one entry of the log removes the former and names the latter.
A reader sees all of the old rows or all of the new ones; old versions stay readable.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from embedlib.records import PartResult
from embedlib.tables.exchange import Exchange, exchange
from embedlib.tables.layout import OutLike, model_folder
from embedlib.tables.rewriting import PartWriter, rows_of, schema_of
from embedlib.tables.snapshot import LoggedFile, Snapshot, read_snapshot

Key = tuple[str, str]
"""Id and version of a track: a row never replaces one of another version."""


@dataclass(frozen=True, slots=True)
class Replaced:
    """What a replacement did to one table.

    Attributes
    ----------
    before, after : tuple of (str, int)
        How the replaced rows had ended, and how those in their place did, sorted by status.
    """

    before: tuple[tuple[str, int], ...] = ()
    after: tuple[tuple[str, int], ...] = ()

    @property
    def n_rows(self) -> int:
        """Rows that were replaced."""
        return sum(n for _, n in self.after)


def replace_rows(
    out: OutLike,
    model: str,
    *,
    made_in: OutLike,
    statuses: Collection[str],
) -> Replaced:
    """Replace the rows of some statuses by those that another output has of the same tracks.

    Calling it again after it was done, or while another process does the same, is harmless.

    Parameters
    ----------
    out : str, path-like or StorePath
        The output folder.
    model : str
        Name of the model table, in both outputs.
    made_in : str, path-like or StorePath
        The output that the new rows were written into, with the same parameters.
    statuses : collection of str
        Rows of `out` that ended otherwise stay as they are, bit by bit.

    Returns
    -------
    replaced : Replaced
        Nothing where no row was to be replaced; then nothing was written.

    Raises
    ------
    OutputError
        If a file is missing or damaged, or the disk is full.
    RunError
        If the log refuses for ever.
    """
    made = read_snapshot(model_folder(made_in, model))

    def prepare(snapshot: Snapshot, writer: PartWriter) -> tuple[Exchange, Replaced]:
        return _exchange(snapshot, made, writer, statuses=frozenset(statuses))

    return exchange(model_folder(out, model), prepare, cause="replaced") or Replaced()


def _exchange(
    snapshot: Snapshot, made: Snapshot, writer: PartWriter, *, statuses: Collection[str]
) -> tuple[Exchange, Replaced]:
    """Write the files that take the place of those with rows to be replaced."""
    offered = {row.key: row.status for row in _rows(made.files)}
    victims: dict[Key, str] = {}
    shard_ids: set[str] = set()
    old, parts = [], []
    for file in snapshot.files:
        rows = list(_rows([file]))
        found = [row for row in rows if row.status in statuses and row.key in offered]
        if found:
            old.append(file)
            victims |= {row.key: row.status for row in found}
            shard_ids |= {row.shard_id for row in found}
            parts.append(_copy(file, rows, writer, keys=victims.keys(), inside=False))
    for file in made.files if old else ():
        parts.append(_copy(file, list(_rows([file])), writer, keys=victims.keys(), inside=True))
    after = Counter(offered[key] for key in victims)
    done = Replaced(_counted(Counter(victims.values())), _counted(after))
    whole = tuple(part for part in parts if part is not None)
    return Exchange(tuple(old), whole, frozenset(shard_ids)), done


def _counted(statuses: Counter[str]) -> tuple[tuple[str, int], ...]:
    return tuple(sorted(statuses.items()))


class _Row(NamedTuple):
    """What decides whether a row is replaced."""

    track_id: str
    version: str
    status: str
    shard_id: str

    @property
    def key(self) -> Key:
        return self.track_id, self.version


def _rows(files: Iterable[LoggedFile]) -> Iterator[_Row]:
    for file in files:
        for batch in file.batches(_Row._fields):
            columns = (batch[name].to_pylist() for name in _Row._fields)
            yield from map(_Row, *columns)


def _copy(
    file: LoggedFile,
    rows: Sequence[_Row],
    writer: PartWriter,
    *,
    keys: Collection[Key],
    inside: bool,
) -> PartResult | None:
    """Copy the rows of a file that have one of the keys, or those that have none."""
    kept = [number for number, row in enumerate(rows) if (row.key in keys) == inside]
    if not kept:
        return None
    schema = schema_of(file)
    return writer.write(
        rows_of(file, schema=schema, rows=kept), schema=schema, shard_id=file.shard_id
    )
