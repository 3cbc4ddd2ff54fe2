"""Which shard a run in one process decodes: left behind on disk when the process dies of it.

Such a run has no other process that could tell how it ended. The next one searches the shard for
tracks that kill their decoder before it decodes it itself.
"""

from __future__ import annotations

from embedlib.catalog.stores import Place
from embedlib.run.run_folder import run_folder, write_record
from embedlib.tables.layout import RUNS_FOLDER

DECODING_FILE = "decoding.txt"
"""Holds the id of the shard, in the folder of the run, for as long as it is being decoded."""


def begin_decoding(out: Place, run_id: str, *, shard_id: str) -> None:
    """Note that a shard is being decoded.

    Parameters
    ----------
    out : Path or StorePath
        The output folder.
    run_id : str
        The run that does it.
    shard_id : str
        The shard.

    Raises
    ------
    OutputError
        If the disk is full or may not be written to.
    """
    write_record(out, run_id, name=DECODING_FILE, text=f"{shard_id}\n")


def end_decoding(out: Place, run_id: str) -> None:
    """Note that decoding has ended, well or with an error that somebody could catch.

    Parameters
    ----------
    out : Path or StorePath
        The output folder.
    run_id : str
        The run.
    """
    (run_folder(out, run_id) / DECODING_FILE).unlink(missing_ok=True)


def left_behind(out: Place) -> tuple[str, ...]:
    """Find the shards that runs were decoding when they died.

    Parameters
    ----------
    out : Path or StorePath
        The output folder.

    Returns
    -------
    shard_ids : tuple of str
        Sorted. Also those that a run decodes that is still alive, and those done since.
    """
    found = (out / RUNS_FOLDER).glob(f"*/{DECODING_FILE}")
    return tuple(sorted({path.read_text(encoding="utf-8").strip() for path in found}))
