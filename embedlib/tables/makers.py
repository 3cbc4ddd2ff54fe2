"""Who made the rows of a file, and when they came into the table: footer, name and log tell."""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from embedlib.catalog.stores import Place
from embedlib.errors import OutputError
from embedlib.tables.parquet import parquet_file
from embedlib.tables.parts import FOOTER_PREFIX
from embedlib.tables.snapshot import LoggedFile, Snapshot, read_snapshot

N_FOOTERS: Final = 16
"""Read at a time: they wait for a disk or a store, not for a core."""

_OF_THE_TABLE: Final = frozenset({"schema_version", "model", "n_dims", "n_vectors"})
"""What a footer says that `model.json` says as well."""


@dataclass(frozen=True, slots=True)
class Maker:
    """What made the rows of a file.

    Attributes
    ----------
    facts : dict of str to str
        Of the footer: engine, device, machine, processor, versions of libraries.
    run_id : str
        The run that wrote them; empty where they were copied since, into another file.
    copied_by : str
        What copied them: ``compacted``, ``replaced``, ``moved``, ``pruned`` or ``rest``; else
        empty.
    """

    facts: dict[str, str]
    run_id: str
    copied_by: str

    @property
    def key(self) -> tuple[object, ...]:
        """Equal for equal makers; it can be hashed."""
        return (*sorted(self.facts.items()), self.run_id, self.copied_by)


@dataclass(frozen=True, slots=True)
class FileCommit:
    """The entry of the log that named a file first.

    Attributes
    ----------
    version : int
        Of the table from then on.
    committed_at : str
        UTC, as ``2026-11-01T02:00:00Z``.
    """

    version: int
    committed_at: str


def written_by(file_name: str) -> tuple[str, str]:
    """Read from the name of a part file who wrote it.

    Parameters
    ----------
    file_name : str
        As `part_name` gives it.

    Returns
    -------
    run_id : str
        The run; empty where rows of other files were copied.
    copied_by : str
        What copied them; else empty.

    Examples
    --------
    >>> written_by("part-0f3a-20261101-020000-000000-1a2b3c-a7.parquet")
    ('20261101-020000-000000-1a2b3c', '')
    >>> written_by("part-mixed-compacted-0123456789ab.parquet")
    ('', 'compacted')
    """
    by = file_name.removeprefix("part-").partition("-")[2].rpartition("-")[0]
    return ("", by) if by.isalpha() else (by, "")


def read_maker(file: LoggedFile) -> Maker:
    """Read what made the rows of a file.

    Parameters
    ----------
    file : LoggedFile
        Of a model table.

    Returns
    -------
    maker : Maker
        Without facts where another writer has written the file anew.

    Raises
    ------
    OutputError
        If the file is missing or damaged.
    """
    with parquet_file(file.path) as parquet:
        footer = parquet.metadata.metadata or {}
    told = {key.decode(): value.decode() for key, value in footer.items()}
    facts = {
        key.removeprefix(FOOTER_PREFIX): value
        for key, value in told.items()
        if key.startswith(FOOTER_PREFIX)
    }
    own = {key: value for key, value in sorted(facts.items()) if key not in _OF_THE_TABLE}
    return Maker(own, *written_by(file.path.name))


def read_makers(files: Iterable[LoggedFile]) -> list[Maker]:
    """Read what made the rows of some files, several at a time.

    Parameters
    ----------
    files : iterable of LoggedFile
        Of a model table.

    Returns
    -------
    makers : list of Maker
        One for each file, in their order.

    Raises
    ------
    OutputError
        If a file is missing or damaged.
    """
    with ThreadPoolExecutor(max_workers=N_FOOTERS) as pool:
        return list(pool.map(read_maker, files))


def commit_of(snapshot: Snapshot, file: LoggedFile) -> FileCommit | None:
    """Find the entry of the log by which a file came into a table.

    Parameters
    ----------
    snapshot : Snapshot
        A version that has the file.
    file : LoggedFile
        One of its files.

    Returns
    -------
    commit : FileCommit or None
        None where the log is no longer kept so far back.

    Raises
    ------
    RunError
        If a store does not answer.
    """

    def has_it(version: int) -> bool:
        try:
            files = read_snapshot(snapshot.folder, at=version).files
        except OutputError:  # an old version, of which the log is gone
            return False
        return any(each.path.name == file.path.name for each in files)

    # No version names a file again that one before it has dropped.
    version = bisect_left(range(snapshot.version), True, key=has_it)
    return _entry_that_adds(file.path.name, folder=snapshot.folder, version=version)


def _entry_that_adds(file_name: str, *, folder: Place, version: int) -> FileCommit | None:
    try:
        text = (folder / "_delta_log" / f"{version:020d}.json").read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    actions = [json.loads(line) for line in text.splitlines() if line]
    times = [each["commitInfo"]["timestamp"] for each in actions if "commitInfo" in each]
    adds_it = any(each["add"]["path"] == file_name for each in actions if "add" in each)
    return FileCommit(version, _utc(times[0])) if adds_it and times else None


def _utc(timestamp_ms: int) -> str:
    return f"{datetime.fromtimestamp(timestamp_ms / 1000, UTC):%Y-%m-%dT%H:%M:%SZ}"
