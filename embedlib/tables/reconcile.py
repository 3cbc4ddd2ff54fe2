"""The catalogue brought up to the sources: what is new, changed, moved or gone, in one commit.

`reconcile` compares and writes nothing; `commit` makes the catalogue what was listed. Files of the
table that hold no track that is touched stay as they are, and so do the shards of all tracks that
are unchanged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from enum import StrEnum
from typing import Final

from embedlib.catalog.stores import Place
from embedlib.errors import RunError
from embedlib.records import Track
from embedlib.tables import comparison
from embedlib.tables.catalog import MAX_ATTEMPTS, Plan
from embedlib.tables.catalog_files import file_tracks
from embedlib.tables.catalog_log import FileExchange, exchange_files, open_catalog
from embedlib.tables.comparison import Comparison
from embedlib.tables.durable import refusals
from embedlib.tables.layout import CATALOG_FOLDER, OutLike, output_root
from embedlib.tables.listed import N_NAMED, Changes
from embedlib.tables.matching import match_moves
from embedlib.tables.move import Move
from embedlib.tables.snapshot import Snapshot, read_snapshot, snapshot_of
from embedlib.tables.sources import check_sources, claim_sources


class Kind(StrEnum):
    """How a track differs from what was known."""

    NEW = "new"
    CHANGED = "changed"
    MOVED = "moved"
    DELETED = "deleted"


_THOSE: Final = {
    Kind.NEW: comparison.NEW,
    Kind.CHANGED: comparison.CHANGED,
    Kind.MOVED: comparison.MOVED,
    Kind.DELETED: comparison.DELETED,
}


class Reconciliation:
    """How the sources differ from the catalogue; both are kept in a temporary database.

    Made by `reconcile`. Where another driver commits meanwhile, `commit` compares again, and all
    that is said here changes with it.

    Parameters
    ----------
    root : Path or StorePath
        The output folder.
    compared : Comparison
        The listing.
    sources : sequence of str
        Where it is from.
    content_hash : callable
        Hashes a listed file.
    shard_hours : float, optional
        Hours of audio per shard.

    Attributes
    ----------
    n_new : int
        Tracks that the catalogue does not have.
    n_changed : int
        Tracks that it has with another file, size, stretch or place.
    n_moved : int
        Tracks whose content it has under another id, place or version.
    n_deleted : int
        Tracks that it has and the sources have no longer, under whichever name.
    n_unchanged : int
        Tracks that are as planned.
    n_duplicates : int
        Listed tracks whose id an earlier one has; they are among the others.
    """

    n_new: int
    n_changed: int
    n_moved: int
    n_deleted: int
    n_unchanged: int
    n_duplicates: int

    def __init__(
        self,
        root: Place,
        compared: Comparison,
        *,
        sources: Sequence[str],
        content_hash: Callable[[Track], str],
        shard_hours: float | None = None,
    ) -> None:
        self.root = root
        self.sources = tuple(sources)
        self._compared = compared
        self._content_hash = content_hash
        self._shard_hours = shard_hours
        self.hold_against(read_snapshot(root / CATALOG_FOLDER))

    @property
    def is_empty(self) -> bool:
        """Whether the catalogue holds what the sources hold, down to what is carried along."""
        return not (self.n_new or self._compared.touched_files())

    def named(self, kind: Kind, limit: int = N_NAMED) -> tuple[str, ...]:
        """Name some tracks.

        Parameters
        ----------
        kind : Kind
            Which.
        limit : int
            How many at most.

        Returns
        -------
        track_ids : tuple of str
            The first in the order of ids; of those that moved the new ids.
        """
        return self._compared.first(_THOSE[kind], limit=limit)

    def moves(self) -> Iterator[Move]:
        """Give the tracks whose rows need not be made again.

        Returns
        -------
        moves : iterator of Move
            In the order of the new ids, from the start each time.
        """
        return self._compared.moves()

    def hold_against(self, snapshot: Snapshot) -> None:
        """Compare with a version of the catalogue, in place of the one before.

        Parameters
        ----------
        snapshot : Snapshot
            That version.

        Raises
        ------
        OutputError
            If the catalogue or a model table is damaged.
        RunError
            If the temporary folder is full.
        """
        found = self._compared
        found.hold_against(map(file_tracks, snapshot.files))
        match_moves(found.scratch, root=self.root, content_hash=self._content_hash)
        found.assign_shards(shard_hours=self._shard_hours)
        self._snapshot = snapshot
        self.n_new, self.n_changed, self.n_moved, self.n_deleted = map(found.count, _THOSE.values())
        self.n_unchanged = found.n_listed - self.n_new - self.n_changed - self.n_moved
        self.n_duplicates = found.count(comparison.DUPLICATES)

    def try_to_commit(self) -> bool:
        """Bring the newest version of the catalogue up to the listing.

        Returns
        -------
        committed : bool
            False if another driver was faster; then nothing has changed.

        Raises
        ------
        OutputError
            If the catalogue cannot be written, or is damaged.
        RunError
            If a store does not answer.
        """
        folder = self.root / CATALOG_FOLDER
        table = open_catalog(folder)
        newest = snapshot_of(table, folder)
        if newest.files != self._snapshot.files:
            self.hold_against(newest)
        if self.is_empty:
            return True
        touched = self._compared.touched_files()
        old = (file for number, file in enumerate(newest.files) if number in touched)
        exchange = FileExchange(tuple(old), self._compared.rewritten(), self._compared.carried)
        return exchange_files(table, exchange, folder=folder)

    def plan(self) -> Plan:
        """Give what is to be embedded when all is committed.

        Returns
        -------
        plan : Plan
            All that was listed, and how it differs from what was known.
        """
        vanished = comparison.VANISHED
        changes = Changes(
            n_new=self.n_new,
            n_known=self._compared.n_listed - self.n_new,
            n_changed=self.n_changed,
            n_vanished=self._compared.count(vanished),
            changed=self.named(Kind.CHANGED),
            vanished=self._compared.first(vanished, limit=N_NAMED),
        )
        return Plan(self._compared.planned(), changes)


def reconcile(
    out: OutLike,
    listed: Iterable[Track],
    *,
    sources: Sequence[str],
    content_hash: Callable[[Track], str],
    shard_hours: float | None = None,
) -> Reconciliation:
    """Compare what the sources hold with the catalogue of an output; nothing is written.

    Parameters
    ----------
    out : str, path-like or StorePath
        Output folder, which need not exist.
    listed : iterable of Track
        What the sources hold now, in any order; a stream will do. Of equal ids the first keeps it,
        the others get one by `embedlib.catalog.duplicates`.
    sources : sequence of str
        Where that was listed from; an output belongs to one set of sources.
    content_hash : callable
        Gives the hash of a listed file as model tables have it; empty where it cannot. Asked of
        those alone that may have been moved.
    shard_hours : float, optional
        Hours of audio per shard; by default what fits the tracks that are to be embedded.

    Returns
    -------
    reconciliation : Reconciliation
        For `commit`.

    Raises
    ------
    ConfigError
        If the output belongs to other sources, or `out` cannot be an output.
    OutputError
        If its catalogue or a model table is damaged.
    RunError
        If the temporary folder is full.
    """
    root = output_root(out)
    check_sources(root / CATALOG_FOLDER, sources)
    return Reconciliation(
        root,
        Comparison(listed),
        sources=sources,
        content_hash=content_hash,
        shard_hours=shard_hours,
    )


def commit(out: OutLike, reconciliation: Reconciliation) -> Plan:
    """Make the catalogue what was listed, in one transaction.

    Deleted tracks leave; changed and moved ones get what they are now, and other shards; new ones
    are added. When another driver commits first, its catalogue is compared and brought up instead.

    Parameters
    ----------
    out : str, path-like or StorePath
        Output folder; made if it does not exist.
    reconciliation : Reconciliation
        Of the same output.

    Returns
    -------
    plan : Plan
        What is to be embedded, with the signatures of URLs.

    Raises
    ------
    ConfigError
        If the output belongs to other sources by now.
    OutputError
        If the output cannot be written, or is damaged.
    RunError
        If the table refuses every commit, or the temporary folder is full.
    """
    folder = output_root(out) / CATALOG_FOLDER
    with refusals(folder):
        claim_sources(folder, reconciliation.sources)
        for _ in range(MAX_ATTEMPTS):
            if reconciliation.try_to_commit():
                return reconciliation.plan()
    raise RunError(
        f"{folder} refused {MAX_ATTEMPTS} commits in a row",
        fix="stop the other drivers of this output, then run the same command again",
    )
