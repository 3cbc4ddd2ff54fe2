"""Opening an output: which models it holds, and their tables at one version."""

from __future__ import annotations

from dataclasses import dataclass

from embedlib.catalog.stores import Place
from embedlib.errors import OutputError
from embedlib.tables.layout import OutLike, existing_root, model_names
from embedlib.tables.manifest import ModelManifest, read_manifest
from embedlib.tables.patches import PatchTable
from embedlib.tables.snapshot import NO_TABLE, Snapshot, read_snapshot
from embedlib.tables.tracks import TrackTable


@dataclass(frozen=True, slots=True)
class Output:
    """An output folder.

    Attributes
    ----------
    root : Path or StorePath
        The folder.
    """

    root: Place

    @property
    def models(self) -> tuple[str, ...]:
        """Names of the models, sorted."""
        return model_names(self.root)

    def tracks(self, model: str, *, at: int | None = None) -> TrackTable:
        """Open the table of a model; nothing is read yet but the log.

        Parameters
        ----------
        model : str
            Name of the model table.
        at : int, optional
            Version; by default the newest, whatever is committed later.

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
            Version; by default the newest, whatever is committed later.

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
            Version; by default the newest.

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
            Version; by default the newest.

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
        return read_snapshot(self.root / model, at=at)

    def _open(self, model: str, at: int | None) -> tuple[ModelManifest, Snapshot]:
        snapshot = self.snapshot(model, at=at)
        if snapshot.version == NO_TABLE:
            raise OutputError(
                f"{snapshot.folder} holds no rows yet", fix="wait for the first commit of the run"
            )
        return read_manifest(snapshot.folder), snapshot


def open_output(out: OutLike) -> Output:
    """Open an output folder for reading.

    Parameters
    ----------
    out : str or path-like
        The folder; a run may be writing to it.

    Returns
    -------
    output : Output
        Its models and tables.

    Raises
    ------
    ConfigError
        If `out` cannot be an output.
    OutputError
        If `out` is no output folder.
    """
    return Output(existing_root(out))
