"""How the tables of an output were made: groups of them that share the options of a run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from embedlib.catalog.stores import Place
from embedlib.config import ExtractConfig, extract_config
from embedlib.errors import OutputError
from embedlib.models.spec import UNTRAINED_PREFIX
from embedlib.run.instances import instances
from embedlib.run.planning import ReadyJobs, ready_jobs
from embedlib.run.run_folder import CONFIG_FILE, run_configs
from embedlib.tables.layout import CATALOG_FOLDER, RUNS_FOLDER
from embedlib.tables.sources import claimed_sources


@dataclass(frozen=True, slots=True)
class TableGroup:
    """Tables that were made with the same options.

    Attributes
    ----------
    config : ExtractConfig
        Those options.
    jobs : ReadyJobs
        Of all models that the configuration names.
    tables : tuple of str
        Those of them that are meant.
    """

    config: ExtractConfig
    jobs: ReadyJobs
    tables: tuple[str, ...]


def table_groups(
    root: Place, tables: Iterable[str], *, options: Mapping[str, Any]
) -> Iterator[TableGroup]:
    """Find for each table the last run that was for it.

    Parameters
    ----------
    root : Path or StorePath
        The output folder.
    tables : iterable of str
        Names of model tables.
    options : mapping of str to Any
        Fields of `ExtractConfig` that are to differ from those of that run.

    Yields
    ------
    group : TableGroup
        Each table is in one of them.

    Raises
    ------
    ConfigError
        If an option is wrong.
    ModelError
        If weights are missing.
    OutputError
        If no run tells how a table was made.
    """
    left = list(tables)
    for values in run_configs(root) if left else ():
        config = extract_config({**values, **options, "out": str(root)}, origin=CONFIG_FILE)
        if left and _may_make(config).intersection(left):
            jobs = ready_jobs(config, out=root)
            own = tuple(table for table in left if table in jobs.models)
            left = [table for table in left if table not in own]
            if own:
                yield TableGroup(config, jobs, own)
    if left:
        raise OutputError(
            f"no run in {root / RUNS_FOLDER} tells how {', '.join(left)} was made",
            fix="restore its config.yaml, or name other models",
        )


def earlier_options(root: Place) -> dict[str, Any]:
    """Give the options of the last run of an output, for one that is to do the same.

    Parameters
    ----------
    root : Path or StorePath
        The output folder, which need not exist.

    Returns
    -------
    options : dict of str to Any
        Fields of `ExtractConfig`, unchecked; none where there was no run. Sources are those of the
        catalogue, absolute. What a preset said is among the options, so that its file is not
        needed; to accept missing files was meant for that run alone.

    Raises
    ------
    OutputError
        If a file is damaged.
    """
    options = next(run_configs(root), {})
    for name in ("preset", "accept_missing"):
        options.pop(name, None)
    if sources := claimed_sources(root / CATALOG_FOLDER):
        options["sources"] = list(sources)
    return options


def _may_make(config: ExtractConfig) -> set[str]:
    """Name the tables of a configuration, whether weights are there or not."""
    named = {instance.table for instance in instances(config.models)}
    return named | {f"{UNTRAINED_PREFIX}{table}" for table in named}
