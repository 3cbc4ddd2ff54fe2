"""What a model has still to do: the plan without the rows that its own table has."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping

from embedlib.catalog.shards import ShardSize
from embedlib.records import Shard
from embedlib.tables.keys import stored_keys
from embedlib.tables.layout import OutLike, model_folder
from embedlib.tables.planned import PlannedTracks
from embedlib.tables.snapshot import LoggedFile, read_snapshot


class PendingShards(Mapping[str, Shard]):
    """Shards that a model has still to do, by id; their tracks are read when they are asked for.

    Parameters
    ----------
    planned : PlannedTracks
        Where the tracks are.
    sizes : mapping of str to ShardSize
        How much is left of each of these shards.
    model : str, optional
        Whose rows are left out of them.
    begun : collection of str, optional
        Those of these shards that the model has rows of.

    Attributes
    ----------
    sizes : mapping of str to ShardSize
        As given.
    begun : frozenset of str
        As given; of the others all tracks are left.
    """

    def __init__(
        self,
        planned: PlannedTracks,
        *,
        sizes: Mapping[str, ShardSize],
        model: str = "",
        begun: Collection[str] = (),
    ) -> None:
        self._planned = planned
        self._model = model
        self.sizes = sizes
        self.begun = frozenset(begun)

    def __len__(self) -> int:
        return len(self.sizes)

    def __iter__(self) -> Iterator[str]:
        return iter(self.sizes)

    def __contains__(self, shard_id: object) -> bool:
        return shard_id in self.sizes

    def __getitem__(self, shard_id: str) -> Shard:
        if shard_id not in self.sizes:
            raise KeyError(shard_id)
        return self._planned.shard(shard_id, self._model)

    def whole(self) -> PendingShards:
        """Give all shards with all of their tracks, whatever the model has done.

        Returns
        -------
        shards : PendingShards
            The plan.
        """
        return PendingShards(self._planned, sizes=self._planned.sizes)

    def lengths_s(self) -> Iterator[float]:
        """Give the estimated length of each track that is left.

        Returns
        -------
        lengths_s : iterator of float
            Seconds, in no particular order.
        """
        return self._planned.lengths_s(self._model, self.sizes)


def pending_shards(out: OutLike, model: str, tracks: PlannedTracks) -> PendingShards:
    """Tell what a model has still to do.

    Parameters
    ----------
    out : str or path-like
        Output folder.
    model : str
        Name of the model table, which need not exist yet.
    tracks : PlannedTracks
        What is to be embedded.

    Returns
    -------
    shards : PendingShards
        The planned tracks without a row of their id, version and shard, whatever its status.

    Raises
    ------
    OutputError
        If the model table is damaged.
    """
    files = read_snapshot(model_folder(out, model)).files
    done = finished_shards(files, tracks)
    begun: set[str] = set()

    def keys() -> Iterator[tuple[str, str, str]]:
        for row in stored_keys(file for file in files if file.shard_id not in done):
            begun.add(row.shard_id)
            yield row.key

    sizes = tracks.left(model) if tracks.mark_done(model, keys()) else tracks.sizes
    left = {shard_id: size for shard_id, size in sizes.items() if shard_id not in done}
    return PendingShards(tracks, sizes=left, model=model, begun=begun.intersection(left))


def finished_shards(files: Iterable[LoggedFile], tracks: PlannedTracks) -> frozenset[str]:
    """Name the shards that are done, as the log tells; there may be more.

    The ids of their tracks need not be read: that of the shard is a hash of them, with versions. A
    shard that tracks have left since is not among these, for a file may lack others than those.

    Parameters
    ----------
    files : iterable of LoggedFile
        Of a model table.
    tracks : PlannedTracks
        What is to be in it.

    Returns
    -------
    shard_ids : frozenset of str
        Those with a file that has a row for each of their tracks, and no others.
    """
    sizes = tracks.sizes
    full = (
        file.shard_id
        for file in files
        if file.shard_id in sizes and sizes[file.shard_id].n_tracks == file.n_rows
    )
    return tracks.intact.intersection(full)
