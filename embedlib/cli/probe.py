"""The verbs of ``embedlib probe``: fit probes by a sweep; `embedlib.cli.probe_use` applies them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from embedlib.cli.output import print_json, say
from embedlib.cli.report import show_scores
from embedlib.errors import ConfigError

if TYPE_CHECKING:
    from embedlib.probes.settings import SweepConfig
    from embedlib.probes.sweep import SweepSummary

app = typer.Typer(
    help="Probes: how good embeddings are for tasks, and classifiers that come of it.",
    epilog="Example: embedlib probe sweep --out OUT --tasks gtzan=labels.csv",
    no_args_is_help=True,
)


@app.command()
def sweep(
    config: Annotated[
        Path | None, typer.Option(help="YAML file with any of these options; flags override it.")
    ] = None,
    out: Annotated[
        str | None, typer.Option(help="Output that holds the embeddings; fits go to OUT/probes.")
    ] = None,
    tasks: Annotated[
        list[str] | None,
        typer.Option(
            help="TASK=LABELS: a task or its YAML file, and a label manifest or the root of its "
            "data set; TASK alone where labels are in the names of the tracks."
        ),
    ] = None,
    external: Annotated[
        list[str] | None,
        typer.Option(help="TASK=PATH: labels of an external set, a manifest or a folder of tags."),
    ] = None,
    models: Annotated[
        list[str] | None, typer.Option(help="Names of model tables; all of OUT by default.")
    ] = None,
    protocols: Annotated[list[str] | None, typer.Option(help="pooled or paper, or both.")] = None,
    groups: Annotated[
        str | None,
        typer.Option(help="auto, keep, ignore or both: whether groups stay in one fold."),
    ] = None,
    folds: Annotated[
        str | None, typer.Option(help="Number of folds, or official for those of the data set.")
    ] = None,
    repeats: Annotated[int | None, typer.Option(help="Splits into folds.")] = None,
    controls: Annotated[
        int | None, typer.Option(help="Shuffles of the labels, for one model of each task.")
    ] = None,
    scheduler: Annotated[
        str | None, typer.Option(help="halving, or asha, whose table is not reproducible.")
    ] = None,
    keep_probes: Annotated[
        bool | None, typer.Option("--keep-probes", help="Save the chosen probe of each fold.")
    ] = None,
    single_writer: Annotated[
        bool | None,
        typer.Option("--single-writer", help="Accept a store unfit for two runs at once."),
    ] = None,
    local: Annotated[
        bool | None, typer.Option("--local", help="Run in this process, without Ray.")
    ] = None,
    address: Annotated[
        str | None, typer.Option(help="A running Ray cluster; one is started here otherwise.")
    ] = None,
    n_cores: Annotated[int | None, typer.Option(help="Cores to use on this machine.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
) -> None:
    """Fit probes for each task, model and setting; run it again to continue.

    Exit codes: 0 all done, 1 an error, 2 wrong usage, 130 and 143 ended by SIGINT and SIGTERM.

    Example: embedlib probe sweep --out OUT --tasks gtzan=labels.csv --repeats 1
    """
    summary = run_and_show(checked_config(locals()), quiet=quiet)
    if json:
        print_json(summary)
    else:
        for line in summary_lines(summary):
            say(line)
        _show_table(summary)
    if summary.signal_number:
        raise typer.Exit(128 + summary.signal_number)


def checked_config(arguments: Mapping[str, Any]) -> SweepConfig:
    """Put together what the command line and the file of `--config` say.

    Parameters
    ----------
    arguments : mapping of str to Any
        All arguments of `sweep` by name.

    Returns
    -------
    config : SweepConfig
        What is wanted.

    Raises
    ------
    ConfigError
        If an option is unknown or wrong.
    """
    from embedlib.config import read_config
    from embedlib.probes.settings import sweep_config

    flags = dict(arguments)
    config, tasks, external, *_ = (
        flags.pop(name) for name in ("config", "tasks", "external", "json", "quiet")
    )
    values = read_config(config) if config else {}
    values |= {name: value for name, value in flags.items() if value not in (None, [])}
    values["folds"] = _folds(values.get("folds", 5))
    listed = [_task(text) for text in tasks or ()] or values.get("tasks", [])
    values["tasks"] = _with_external(listed, external or ())
    return sweep_config(values, origin=str(config) if config else "command line")


def run_and_show(config: SweepConfig, *, quiet: bool) -> SweepSummary:
    """Carry out a sweep with its progress on stderr.

    Parameters
    ----------
    config : SweepConfig
        What to do.
    quiet : bool
        Whether to show nothing.

    Returns
    -------
    summary : SweepSummary
        What was done.
    """
    from embedlib.cli.probe_progress import SweepProgress
    from embedlib.probes.sweep import run_sweep

    if quiet:
        return run_sweep(config)
    with SweepProgress() as progress:
        return run_sweep(config, watcher=progress)


def summary_lines(summary: SweepSummary) -> list[str]:
    """Say in a few lines what a sweep did.

    Parameters
    ----------
    summary : SweepSummary
        What was done.

    Returns
    -------
    lines : list of str
        For people.
    """
    lines = [_main_line(summary), *(f"note: {note}" for note in summary.notes)]
    if summary.n_lost_groups:
        lines.append(f"{summary.n_lost_groups} groups of fits were committed by another sweep")
    if not summary.is_reproducible:
        lines.append("not reproducible: asha chooses by the order in which trials end")
    if summary.signal_number:
        lines.append("ended early by a signal; run the same command to continue")
    return lines


def _show_table(summary: SweepSummary) -> None:
    from embedlib.probes.scores import read_scores

    if summary.n_fits or summary.n_skipped:
        show_scores(read_scores(summary.out))


def _main_line(summary: SweepSummary) -> str:
    of = f"{_counted(summary.tasks, 'task')} and {_counted(summary.models, 'model')}"
    if not summary.n_fits and not summary.signal_number:
        return f"nothing to do: all {summary.n_skipped} fits of {of} are in {summary.out}/probes"
    return (
        f"{summary.n_fits} fits of {of} in {summary.wall_s:.1f} s, {summary.n_skipped} skipped, "
        f"{summary.n_commits} commits -> {summary.out}/probes"
    )


def _counted(names: Sequence[str], what: str) -> str:
    return f"{len(names)} {what}" + ("s" if len(names) > 1 else "")


def _folds(value: Any) -> Any:
    return int(value) if isinstance(value, str) and value.isdigit() else value


def _task(text: str) -> dict[str, Any]:
    name, has_labels, labels = text.partition("=")
    return {"task": name, "labels": labels if has_labels else None}


def _with_external(listed: Any, external: Sequence[str]) -> Any:
    """Add the external sets to the tasks that they are named for."""
    paths = dict(text.partition("=")[::2] for text in external)
    if not paths:
        return listed
    if unknown := set(paths) - {each.get("task") for each in listed}:
        raise ConfigError(
            f"--external names {min(unknown)!r}, which is none of the tasks of the sweep",
            fix="give TASK=PATH with a task of --tasks or of the file",
        )
    return [{**each, "external": paths.get(each["task"], each.get("external"))} for each in listed]
