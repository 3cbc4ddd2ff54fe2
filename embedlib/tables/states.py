"""The states of an output: which version each table had after each run that ended.

A state is a file in the folder of its run, created after everything else. A run that was killed or
stopped has none: what it committed shows in the state after it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Final

from embedlib.catalog.stores import Place
from embedlib.errors import ConfigError, OutputError
from embedlib.tables.durable import create_if_absent, refusals
from embedlib.tables.layout import (
    CATALOG_FOLDER,
    RUNS_FOLDER,
    OutLike,
    existing_root,
    model_names,
    output_root,
)
from embedlib.tables.snapshot import NO_TABLE, Snapshot, read_snapshot
from embedlib.tables.versions import kept_snapshot, row_changes

STATE_FILE: Final = "state.json"

_SUFFIX: Final = re.compile(r"(?P<out>.+)@(?P<at>[^@/]+)")


@dataclass(frozen=True, slots=True)
class TableState:
    """One table after a run.

    Attributes
    ----------
    version : int
        Of its Delta log.
    n_rows : int
        Rows in it.
    n_added, n_removed : int or None
        Rows that came and went since the state before, by id and version of the track; None where
        that one was no longer kept when this was recorded.
    """

    version: int
    n_rows: int
    n_added: int | None
    n_removed: int | None


@dataclass(frozen=True, slots=True)
class State:
    """An output after a run that ended.

    Attributes
    ----------
    number : int > 0
        Counts the runs that ended; the first has 1.
    run_id : str
        Name of the folder in ``OUT/runs``.
    kind : str
        What ended: ``extract``, ``retry`` or ``index``.
    ended_at : str
        UTC, as ``2026-11-01T02:00:00.000000Z``.
    tables : mapping of str to TableState
        By name: ``catalog``, and the model tables that had rows.
    """

    number: int
    run_id: str
    kind: str
    ended_at: str
    tables: Mapping[str, TableState]

    @property
    def versions(self) -> dict[str, int]:
        """Version of each table."""
        return {name: table.version for name, table in self.tables.items()}


def states(out: OutLike) -> tuple[State, ...]:
    """List the states of an output.

    Parameters
    ----------
    out : str or path-like
        The output folder.

    Returns
    -------
    states : tuple of State
        The first first; none where all runs were made before states were recorded.

    Raises
    ------
    OutputError
        If `out` is no output folder, or a file is damaged.
    """
    paths: list[Place] = [*(existing_root(out) / RUNS_FOLDER).glob(f"*/{STATE_FILE}")]
    return tuple(_numbered(map(_read, paths)))


def record_state(out: OutLike, run_id: str, kind: str) -> State:
    """Record the tables as they are now, as the state after a run; a second call changes nothing.

    Parameters
    ----------
    out : str or path-like
        The output folder.
    run_id : str
        Name of the run.
    kind : str
        What ended: ``extract``, ``retry`` or ``index``.

    Returns
    -------
    state : State
        As it was recorded.

    Raises
    ------
    OutputError
        If `out` is no output folder, or cannot be written.
    RunError
        If a store does not answer.
    """
    root = existing_root(out)
    known = states(root)
    if own := [state for state in known if state.run_id == run_id]:
        return own[0]
    before = known[-1] if known else None
    state = State(
        number=before.number + 1 if before else 1,
        run_id=run_id,
        kind=kind,
        ended_at=_text(datetime.now(UTC)),
        tables=dict(_tables_now(root, before)),
    )
    path = root / RUNS_FOLDER / run_id / STATE_FILE
    with refusals(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        create_if_absent(path, (json.dumps(asdict(state), indent=2) + "\n").encode())
    return state


def state_at(out: OutLike, at: int | str) -> State:
    """Find a state of an output.

    Parameters
    ----------
    out : str or path-like
        The output folder.
    at : int or str
        Its number, or a time as ISO 8601 writes it, in UTC where it names no zone: then the last
        state up to it.

    Returns
    -------
    state : State
        Whether its files are still kept is seen when a table is opened.

    Raises
    ------
    ConfigError
        If `at` is neither.
    OutputError
        If there is no such state.
    """
    wanted = _parsed(at)
    if wanted is None:
        raise ConfigError(
            f"at={at!r} is neither the number of a state nor a time",
            fix="give 3 or 2026-11-01T00:00:00Z",
        )
    root = existing_root(out)
    known = states(root)
    if isinstance(wanted, int):
        found = [state for state in known if state.number == wanted]
    else:
        found = [state for state in known if _time(state.ended_at) <= wanted]
    if not found:
        raise _no_such_state(root, at, known)
    return found[-1]


def split_state(out: OutLike) -> tuple[OutLike, int | str | None]:
    """Take ``OUT@3`` apart; a folder whose name is written so comes first.

    Parameters
    ----------
    out : str or path-like
        An output folder, with or without ``@`` and the number or the time of a state.

    Returns
    -------
    out : str or path-like
        The folder.
    at : int, str or None
        For `state_at`; None where no state is named.

    Examples
    --------
    >>> split_state("OUT@3"), split_state("OUT@2026-11-01T00:00:00Z")
    (('OUT', 3), ('OUT', '2026-11-01T00:00:00Z'))
    >>> split_state("OUT"), split_state("me@home/OUT")
    (('OUT', None), ('me@home/OUT', None))
    """
    found = _SUFFIX.fullmatch(out) if isinstance(out, str) else None
    if found is None or _parsed(found["at"]) is None or output_root(out).is_dir():
        return out, None
    at = found["at"]
    return found["out"], int(at) if at.isdecimal() else at


def _tables_now(root: Place, before: State | None) -> Iterator[tuple[str, TableState]]:
    for name in (CATALOG_FOLDER, *model_names(root)):
        now = read_snapshot(root / name)
        if now.version != NO_TABLE:
            yield name, _table_state(now, before.tables.get(name) if before else None)


def _table_state(now: Snapshot, before: TableState | None) -> TableState:
    if before is None:
        return TableState(now.version, now.n_rows, now.n_rows, 0)
    if before.version == now.version:
        return TableState(now.version, now.n_rows, 0, 0)
    try:
        changes = row_changes(kept_snapshot(now.folder, at=before.version), now)
    except OutputError:
        # The state is right without the comparison, and a run must not fail for want of it.
        return TableState(now.version, now.n_rows, None, None)
    return TableState(now.version, now.n_rows, changes.n_added, changes.n_removed)


def _read(path: Place) -> State:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        tables = {name: TableState(**table) for name, table in values.pop("tables").items()}
        state = State(**values, tables=tables)
        _time(state.ended_at)
    except (ValueError, TypeError, AttributeError, KeyError) as exc:
        raise OutputError(
            f"{path} is damaged", fix="restore it from a copy, or delete this one file"
        ) from exc
    return state


def _numbered(recorded: Iterable[State]) -> Iterator[State]:
    """Tell apart two states that took the same number because their runs ended at once."""
    number = 0
    for state in sorted(recorded, key=lambda each: (each.number, each.ended_at, each.run_id)):
        number = max(state.number, number + 1)
        yield replace(state, number=number)


def _no_such_state(root: Place, at: int | str, known: tuple[State, ...]) -> OutputError:
    if not known:
        names = (CATALOG_FOLDER, *model_names(root))
        versions = {name: read_snapshot(root / name).version for name in names}
        there = ", ".join(f"{name} {n}" for name, n in versions.items() if n != NO_TABLE)
        return OutputError(
            f"{root} has no recorded state yet, its tables are at versions {there or 'none'}",
            fix="open it without at=, give at= to one table, or run once more",
        )
    first, last = known[0], known[-1]
    return OutputError(
        f"{root} has no state {at}",
        fix=f"it has {first.number} of {first.ended_at} to {last.number} of {last.ended_at}",
    )


def _parsed(at: int | str) -> int | datetime | None:
    if isinstance(at, int) or at.isdecimal():
        return int(at)
    try:
        return _time(at)
    except ValueError:
        return None


def _time(text: str) -> datetime:
    time = datetime.fromisoformat(text)
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def _text(time: datetime) -> str:
    return f"{time:%Y-%m-%dT%H:%M:%S.%f}Z"
