"""What a model has still to do: the plan without the rows that its own table has."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from embedlib.catalog.shards import ShardSize
from embedlib.records import Shard
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

    Attributes
    ----------
    sizes : mapping of str to ShardSize
        As given.
    """

    def __init__(
        self, planned: PlannedTracks, *, sizes: Mapping[str, ShardSize], model: str = ""
    ) -> None:
        self._planned = planned
        self._model = model
        self.sizes = sizes

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
        The planned tracks without a row of their id and version, whatever its status, by shard.

    Raises
    ------
    OutputError
        If the model table is damaged.
    """
    files = read_snapshot(model_folder(out, model)).files
    done = {file.shard_id for file in files if _is_whole(file, tracks.sizes)}
    keys = _keys(file for file in files if file.shard_id not in done)
    # The ids of a finished shard need not be read: its own id is a hash of theirs, with versions.
    sizes = tracks.left(model) if tracks.mark_done(model, keys) else tracks.sizes
    left = {shard_id: size for shard_id, size in sizes.items() if shard_id not in done}
    return PendingShards(tracks, sizes=left, model=model)


def _is_whole(file: LoggedFile, sizes: Mapping[str, ShardSize]) -> bool:
    """Tell whether a file has a row for each track of a shard, and no others."""
    size = sizes.get(file.shard_id)
    return size is not None and size.n_tracks == file.n_rows


def _keys(files: Iterable[LoggedFile]) -> Iterator[tuple[str, str]]:
    columns = ["track_id", "version"]
    for batch in (batch for file in files for batch in file.batches(columns)):
        track_ids, versions = (batch[name].to_pylist() for name in columns)
        yield from zip(track_ids, versions, strict=True)
