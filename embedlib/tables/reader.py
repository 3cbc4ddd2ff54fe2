"""Opening an output, as it is now or as it was after a run: its models and their tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa

from embedlib.catalog.stores import Place
from embedlib.errors import OutputError
from embedlib.tables.catalog_files import CATALOG_SCHEMA
from embedlib.tables.layout import CATALOG_FOLDER, OutLike, existing_root, model_names
from embedlib.tables.manifest import ModelManifest, read_manifest
from embedlib.tables.parquet import parquet_file, without_views
from embedlib.tables.patches import PatchTable
from embedlib.tables.snapshot import NO_TABLE, LoggedFile, Snapshot, read_snapshot
from embedlib.tables.states import State, split_state, state_at
from embedlib.tables.tracks import TrackTable
from embedlib.tables.versions import kept_snapshot


@dataclass(frozen=True, slots=True)
class Output:
    """An output folder.

    Attributes
    ----------
    root : Path or StorePath
        The folder.
    state : State or None
        What tables are read at, where no version is named; None for the newest.
    """

    root: Place
    state: State | None = None

    @property
    def models(self) -> tuple[str, ...]:
        """Names of the models, sorted."""
        names = model_names(self.root)
        return names if self.state is None else tuple(sorted({*names} & {*self.state.tables}))

    def catalogue(self, columns: Sequence[str] | None = None, *, at: int | None = None) -> pa.Table:
        """Give the tracks that are listed, with the columns that were carried along.

        Parameters
        ----------
        columns : sequence of str, optional
            Names of columns; by default all.
        at : int, optional
            Version of the catalogue; by default that of the state, or the newest.

        Returns
        -------
        table : pyarrow.Table
            One row per track, in no particular order.

        Raises
        ------
        OutputError
            If there is no catalogue, version or column, or a file is missing or damaged.
        """
        snapshot = self._version_of(CATALOG_FOLDER, at)
        if snapshot.version == NO_TABLE:
            raise OutputError(
                f"{snapshot.folder} holds no catalogue", fix="give the folder that a run wrote"
            )
        # Each file has the columns that were carried along when it was written.
        parts = [part for file in snapshot.files for part in _catalogue_parts(file, columns)]
        table = pa.concat_tables(parts or [CATALOG_SCHEMA.empty_table()], promote_options="default")
        return table if columns is None else _chosen(table, columns, folder=snapshot.folder)

    def tracks(self, model: str, *, at: int | None = None) -> TrackTable:
        """Open the table of a model; nothing is read yet but the log.

        Parameters
        ----------
        model : str
            Name of the model table.
        at : int, optional
            Version of this table; by default that of the state, or the newest. Later commits do not
            change it.

        Returns
        -------
        tracks : TrackTable
            One row per track.

        Raises
        ------
        OutputError
            If there is no such model, table or version.
        """
        return TrackTable(*self._open(model, at))

    def patches(self, model: str, *, at: int | None = None) -> PatchTable:
        """Open the patches of a model; nothing is read yet but the log.

        Parameters
        ----------
        model : str
            Name of the model table.
        at : int, optional
            Version of this table; by default that of the state, or the newest. Later commits do not
            change it.

        Returns
        -------
        patches : PatchTable
            One row per patch.

        Raises
        ------
        OutputError
            If there is no such model, table or version, or it keeps no patches.
        """
        manifest, snapshot = self._open(model, at)
        if not manifest.patches:
            raise OutputError(
                f"{snapshot.folder} was made without patches",
                fix="read its tracks, or run again with patches on and a new output folder",
            )
        return PatchTable(manifest, snapshot)

    def files(self, model: str, *, at: int | None = None) -> tuple[Place, ...]:
        """List the Parquet files that are the table of a model.

        Parameters
        ----------
        model : str
            Name of the model table.
        at : int, optional
            Version of this table; by default that of the state, or the newest.

        Returns
        -------
        files : tuple of Path or StorePath
            Sorted; the folder may hold others, which do not count.

        Raises
        ------
        OutputError
            If there is no such model, table or version.
        """
        _, snapshot = self._open(model, at)
        return tuple(file.path for file in snapshot.files)

    def snapshot(self, model: str, *, at: int | None = None) -> Snapshot:
        """Read the log of a model's table.

        Parameters
        ----------
        model : str
            Name of the model table.
        at : int, optional
            Version of this table; by default that of the state, or the newest.

        Returns
        -------
        snapshot : Snapshot
            Without files, and of version `NO_TABLE`, before the first commit.

        Raises
        ------
        OutputError
            If there is no such model or version.
        """
        if model not in self.models:
            raise OutputError(
                f"{self.root} has no table of {model!r}",
                fix=f"it holds {', '.join(self.models) or 'no model yet'}",
            )
        return self._version_of(model, at)

    def _version_of(self, table: str, at: int | None) -> Snapshot:
        if at is None and self.state is not None:
            at = self.state.versions.get(table)
        folder = self.root / table
        return read_snapshot(folder) if at is None else kept_snapshot(folder, at=at)

    def _open(self, model: str, at: int | None) -> tuple[ModelManifest, Snapshot]:
        snapshot = self.snapshot(model, at=at)
        if snapshot.version == NO_TABLE:
            raise OutputError(
                f"{snapshot.folder} holds no rows yet", fix="wait for the first commit of the run"
            )
        return read_manifest(snapshot.folder), snapshot


def open_output(out: OutLike, *, at: int | str | None = None) -> Output:
    """Open an output folder for reading.

    Parameters
    ----------
    out : str or path-like
        The folder; a run may be writing to it.
    at : int or str, optional
        Number of a state, or a time (``2026-11-01T00:00:00Z``) for the last state up to it: all
        tables are read as they were after that run. By default as they are.

    Returns
    -------
    output : Output
        Its models and tables.

    Raises
    ------
    ConfigError
        If `out` cannot be an output, or `at` is neither a number nor a time.
    OutputError
        If `out` is no output folder, or has no such state.
    """
    root = existing_root(out)
    return Output(root, None if at is None else state_at(root, at))


def open_named(out: OutLike) -> Output:
    """Open an output by what stands on a command line: ``OUT``, or ``OUT@3`` for its third state.

    Parameters
    ----------
    out : str or path-like
        The folder; where a text does not name one, what follows its last ``@`` is the number or the
        time of a state.

    Returns
    -------
    output : Output
        Its models and tables.

    Raises
    ------
    ConfigError
        If `out` cannot be an output.
    OutputError
        If `out` is no output folder, or has no such state.
    """
    folder, at = split_state(out)
    return open_output(folder, at=at)


def _chosen(table: pa.Table, columns: Sequence[str], *, folder: Place) -> pa.Table:
    if unknown := [name for name in columns if name not in table.column_names]:
        raise OutputError(
            f"{folder} has no column {unknown[0]!r}", fix="read it without naming columns"
        )
    return table.select(list(columns))


def _catalogue_parts(file: LoggedFile, columns: Sequence[str] | None) -> Iterator[pa.Table]:
    with parquet_file(file.path) as parquet:
        for batch in parquet.iter_batches(columns=None if columns is None else list(columns)):
            yield pa.Table.from_batches([without_views(batch)])
