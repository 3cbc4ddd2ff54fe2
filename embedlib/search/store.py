"""Where search tables lie, and what is known of each: ``OUT/search/<model>.lance`` and ``.json``.

The table is LanceDB's, and any client of it may read it. The small file beside it says what the
table was derived from; it is written last, so that a killed build is seen to be unfinished.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final

from pydantic import TypeAdapter, ValidationError

from embedlib.catalog.stores import Place
from embedlib.errors import ConfigError, OutputError
from embedlib.tables.delta import table_place
from embedlib.tables.durable import refusals, whole_file
from embedlib.tables.layout import OutLike, existing_root

if TYPE_CHECKING:
    from lancedb.db import DBConnection
    from lancedb.table import Table

SEARCH_FOLDER: Final = "search"

METRIC: Final = "cosine"
"""One minus the cosine of the angle between two vectors, 0 to 2.

The length of a mean embedding tells how much its patches agree and how loud a model's features are,
hardly what is heard: two excerpts of one recording differ in length rather than in direction.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchState:
    """What a search table was derived from, and how it is to be asked.

    Attributes
    ----------
    model : str
        Name of the model table.
    delta_version : int
        Version of the model table.
    lance_version : int
        Version of the search table; another one means that a build was not ended.
    fingerprint : str
        Of what made the embeddings.
    n_rows : int
        Tracks in it.
    n_indexed : int
        Tracks that the index was trained on; 0 where search is exact.
    n_probes : int
        Partitions of the index that a query looks into.
    recall : float
        At 10, as measured when the table was built; 1 where search is exact.
    """

    model: str
    delta_version: int
    lance_version: int
    fingerprint: str
    n_rows: int
    n_indexed: int = 0
    n_probes: int = 0
    recall: float = 1.0

    @property
    def is_exact(self) -> bool:
        """Whether a query is compared with every row."""
        return self.n_indexed == 0


_STATE: Final = TypeAdapter(SearchState)


def search_folder(out: OutLike) -> Place:
    """Give the folder of the search tables of an output, which need not exist.

    Parameters
    ----------
    out : str, path-like or StorePath
        An output folder.

    Returns
    -------
    folder : Path or StorePath
        ``OUT/search``, a database of LanceDB.

    Raises
    ------
    OutputError
        If `out` is no output folder.
    """
    return existing_root(out) / SEARCH_FOLDER


def searched_models(out: OutLike) -> tuple[str, ...]:
    """List the models that have a search table.

    Parameters
    ----------
    out : str, path-like or StorePath
        An output folder.

    Returns
    -------
    models : tuple of str
        Sorted; those whose first build was killed are not among them.

    Raises
    ------
    OutputError
        If `out` is no output folder.
    """
    folder = search_folder(out)
    if not folder.is_dir():
        return ()
    names = (path.name for path in folder.iterdir())
    return tuple(sorted(name.removesuffix(".json") for name in names if name.endswith(".json")))


def read_state(folder: Place, model: str) -> SearchState | None:
    """Read what a search table was derived from.

    Parameters
    ----------
    folder : Path or StorePath
        Of the search tables.
    model : str
        Name of the model table.

    Returns
    -------
    state : SearchState or None
        None where no build has ended, or what it wrote is damaged.
    """
    try:
        return _STATE.validate_json(_state_file(folder, model).read_bytes())
    except (FileNotFoundError, ValidationError):
        return None


def require_state(folder: Place, model: str) -> SearchState:
    """Read what a search table was derived from; there must be one.

    Parameters
    ----------
    folder : Path or StorePath
        Of the search tables.
    model : str
        Name of the model table.

    Returns
    -------
    state : SearchState
        Of the last build that ended.

    Raises
    ------
    OutputError
        If none has.
    """
    state = read_state(folder, model)
    if state is None:
        raise OutputError(
            f"{folder.parent} has no search table of {model!r}",
            fix=f"make it with `embedlib search build {folder.parent} --model {model}`",
        )
    return state


def write_state(folder: Place, state: SearchState) -> None:
    """Say that a build has ended.

    Parameters
    ----------
    folder : Path or StorePath
        Of the search tables.
    state : SearchState
        What was built.

    Raises
    ------
    OutputError
        If the disk is full or may not be written.
    """
    with whole_file(_state_file(folder, state.model)) as path:
        path.write_text(json.dumps(asdict(state), indent=2) + "\n", encoding="utf-8")


def connect(folder: Place) -> DBConnection:
    """Open a folder of Lance tables, wherever it lies.

    Parameters
    ----------
    folder : Path or StorePath
        The folder, which need not exist.

    Returns
    -------
    database : lancedb.DBConnection
        With the credentials that the other tables are read with.

    Raises
    ------
    ConfigError
        If LanceDB is not installed.
    RunError
        If a store refuses.
    """
    try:
        import lancedb
    except ImportError as exc:
        raise ConfigError("lancedb is not installed", fix="pip install 'embedlib[search]'") from exc
    return lancedb.connect(str(folder), storage_options=table_place(folder)["storage_options"])


def has_table(folder: Place, model: str) -> bool:
    """Tell whether a Lance table is there, whatever wrote it.

    Parameters
    ----------
    folder : Path or StorePath
        Of the search tables.
    model : str
        Name of the model table.

    Returns
    -------
    has_table : bool
        False where a first build was killed before its commit.
    """
    return (folder / f"{model}.lance" / "_versions").is_dir()


def open_table(folder: Place, state: SearchState) -> Table:
    """Open a search table at its newest version.

    Parameters
    ----------
    folder : Path or StorePath
        Of the search tables.
    state : SearchState
        Of the one wanted.

    Returns
    -------
    table : lancedb.Table
        The table.

    Raises
    ------
    OutputError
        If it is gone or damaged.
    """
    with lance_errors(folder, state.model):
        try:
            return connect(folder).open_table(state.model)
        except ValueError as exc:
            raise unusable(folder, state.model, exc) from exc


@contextmanager
def lance_errors(folder: Place, model: str) -> Iterator[None]:
    """Turn what LanceDB raises for a damaged table or a full disk into one line.

    Parameters
    ----------
    folder : Path or StorePath
        Of the search tables.
    model : str
        Name of the model table.

    Yields
    ------
    None
        Once.

    Raises
    ------
    OutputError
        If the table cannot be read or written.
    RunError
        If a store does not answer.
    """
    try:
        with refusals(folder):
            yield
    except (RuntimeError, OSError) as exc:
        raise unusable(folder, model, exc) from exc


def unusable(folder: Place, model: str, exc: Exception) -> OutputError:
    """Make the error for a search table that LanceDB does not understand.

    Parameters
    ----------
    folder : Path or StorePath
        Of the search tables.
    model : str
        Name of the model table.
    exc : Exception
        What it says.

    Returns
    -------
    error : OutputError
        In one line.
    """
    return OutputError(
        f"the search table of {model} in {folder} cannot be used: {reason_of(exc)}",
        fix=f"`embedlib search build {folder.parent} --model {model} --rebuild` makes it anew",
    )


def reason_of(exc: Exception) -> str:
    """Give what an error of LanceDB says, without places in its source.

    Parameters
    ----------
    exc : Exception
        Of LanceDB.

    Returns
    -------
    reason : str
        In one line.

    Examples
    --------
    >>> reason_of(ValueError("Invalid input, No field named x, /root/.cargo/registry/a.rs:23:88"))
    'No field named x'
    """
    first = str(exc).strip().partition("\n")[0]
    return first.partition(", /")[0].removeprefix("Invalid input, ").removeprefix("lance error: ")


def _state_file(folder: Place, model: str) -> Place:
    return folder / f"{model}.json"
