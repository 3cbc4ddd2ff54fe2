"""The folder of a run in the output: what was wanted of it, and what came of it."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import yaml

from embedlib.catalog.stores import Place, StorePath
from embedlib.catalog.uris import stored
from embedlib.config import ExtractConfig
from embedlib.errors import OutputError
from embedlib.tables.durable import refusals
from embedlib.tables.layout import RUNS_FOLDER

CONFIG_FILE = "config.yaml"


def new_run_id() -> str:
    """Name a run so that later ones sort behind it and no other has the name.

    Returns
    -------
    run_id : str
        The time in UTC to the microsecond, and some digits of chance.
    """
    return f"{datetime.now(UTC):%Y%m%d-%H%M%S-%f}-{secrets.token_hex(3)}"


def run_folder(out: Place, run_id: str) -> Place:
    """Give the folder of a run, which need not exist.

    Parameters
    ----------
    out : Path or StorePath
        The output folder.
    run_id : str
        Name of the run.

    Returns
    -------
    folder : Path or StorePath
        For files about the run.
    """
    return out / RUNS_FOLDER / run_id


def config_text(config: ExtractConfig) -> str:
    """Write a configuration as YAML, from which the run can be repeated.

    Parameters
    ----------
    config : ExtractConfig
        All of it, defaults included; credentials in the URLs of sources are left out.

    Returns
    -------
    text : str
        For ``config.yaml``.
    """
    values = config.model_dump() | {"sources": [stored(source) for source in config.sources]}
    return yaml.safe_dump(values, sort_keys=False, allow_unicode=True)


def write_record(out: Place, run_id: str, *, name: str, text: str) -> None:
    """Write a file into the folder of a run.

    Parameters
    ----------
    out : Path or StorePath
        The output folder.
    run_id : str
        Name of the run.
    name : str
        Of the file.
    text : str
        All of it.

    Raises
    ------
    OutputError
        If the disk is full or not writable.
    """
    folder = run_folder(out, run_id)
    with refusals(folder):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")


def renew_record(out: Place, run_id: str, *, name: str, text: str) -> None:
    """Write a file into the folder of a run again and again, so that readers find all or nothing.

    Unlike the files of a table it is not synced: a crash of the machine may take it along.

    Parameters
    ----------
    out : Path or StorePath
        The output folder.
    run_id : str
        Name of the run.
    name : str
        Of the file.
    text : str
        All of it.

    Raises
    ------
    OutputError
        If the disk is full or not writable.
    RunError
        If the store does not answer.
    """
    folder = run_folder(out, run_id)
    if isinstance(folder, StorePath):
        write_record(out, run_id, name=name, text=text)
        return
    write_record(out, run_id, name=f".{name}.tmp", text=text)
    with refusals(folder):
        (folder / f".{name}.tmp").replace(folder / name)


def run_configs(out: Place) -> Iterator[dict[str, Any]]:
    """Read what the runs of an output were told, the last one first.

    Parameters
    ----------
    out : Path or StorePath
        The output folder.

    Yields
    ------
    values : dict of str to Any
        Fields of `ExtractConfig`, unchecked.

    Raises
    ------
    OutputError
        If a file is damaged.
    """
    paths: list[Place] = [*(out / RUNS_FOLDER).glob(f"*/{CONFIG_FILE}")]
    yield from map(_config, sorted(paths, key=str, reverse=True))


def run_config(out: Place, run_id: str) -> dict[str, Any] | None:
    """Read what one run was told.

    Parameters
    ----------
    out : Path or StorePath
        The output folder.
    run_id : str
        Name of the run.

    Returns
    -------
    values : dict of str to Any or None
        Fields of `ExtractConfig`, unchecked; None where there is no such run any more.

    Raises
    ------
    OutputError
        If the file is damaged.
    """
    path = run_folder(out, run_id) / CONFIG_FILE
    return _config(path) if path.is_file() else None


def _config(path: Place) -> dict[str, Any]:
    try:
        return dict(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (yaml.YAMLError, TypeError, ValueError) as exc:
        raise OutputError(
            f"{path} is damaged", fix="restore it from a copy, or delete the folder of the run"
        ) from exc
