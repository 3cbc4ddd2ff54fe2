"""The command ``embedlib``: verbs put together, errors turned into one line and an exit code."""

from __future__ import annotations

import sys
from collections.abc import Collection, Sequence
from typing import Annotated, Any

import typer

import embedlib
from embedlib.cli import (
    demo,
    doctor,
    explore,
    export,
    extract,
    history,
    index,
    models,
    outputs,
    plan,
    probe,
    probe_use,
    provenance,
    report,
    repro,
    retry,
    search,
    submission,
    tasks,
    upkeep,
)
from embedlib.cli.logs import show_logs
from embedlib.errors import EmbedlibError

app = typer.Typer(
    name="embedlib",
    help="Catalogues of audio in, tables of deep embeddings out.",
    epilog="Example: embedlib extract ~/music --models msd-musicnn-1 --out OUT",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("plan")(plan.plan)
app.command("extract")(extract.extract)
app.command("retry")(retry.retry)
app.command("index")(index.index)
app.command("status")(outputs.status)
app.command("verify")(outputs.verify)
app.command("failures")(outputs.failures)
app.command("provenance")(provenance.provenance)
app.command("repro")(repro.repro)
app.command("diff")(outputs.diff)
app.command("files")(outputs.files)
app.command("history")(history.history)
app.command("drift")(history.drift)
app.command("compact")(upkeep.compact)
app.command("vacuum")(upkeep.vacuum)
app.command("submission-id")(submission.submission_id)
app.add_typer(models.app, name="models")
app.add_typer(tasks.app, name="tasks")
probe.app.command("train")(probe_use.train)
probe.app.command("predict")(probe_use.predict)
app.add_typer(probe.app, name="probe")
app.command("report")(report.report)
app.add_typer(search.app, name="search")
app.command("export")(export.export)
app.command("explore")(explore.explore)
app.command("doctor")(doctor.doctor)
app.command("demo")(demo.demo)


def _show_version(is_asked: bool) -> None:
    if is_asked:
        typer.echo(f"embedlib {embedlib.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[  # answered by its callback
        bool,
        typer.Option(
            "--version", is_eager=True, callback=_show_version, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    pass


LISTS = (
    *("--models", "--outputs", "--heads", "--tasks", "--external", "--protocols"),
    *("--allow-schemes", "--allow-roots", "--allow-unverified"),
)
"""Options that take several values."""


def spread(arguments: Sequence[str], *, options: Collection[str] = LISTS) -> list[str]:
    """Let an option take several values: ``--models a b`` means ``--models a --models b``.

    Parameters
    ----------
    arguments : sequence of str
        As typed.
    options : collection of str
        Such options, dashes included.

    Returns
    -------
    arguments : list of str
        With the option in front of each of its values.

    Examples
    --------
    >>> spread(["x", "--models", "a", "b", "--out", "o"])
    ['x', '--models', 'a', '--models', 'b', '--out', 'o']
    """
    spread_out: list[str] = []
    current = ""
    for argument in arguments:
        if argument.startswith("-"):
            current = argument
        elif current in options and spread_out[-1] != current:
            spread_out.append(current)
        spread_out.append(argument)
    return spread_out


def show_help(arguments: Sequence[str]) -> bool:
    """Show the help of a verb, where that is all that is asked for.

    To parse the flag, typer 0.29 would load pydantic, which takes longer than the help itself.

    Parameters
    ----------
    arguments : sequence of str
        As typed.

    Returns
    -------
    is_shown : bool
        False where `arguments` are something else than the names of a verb and a help flag.
    """
    command: Any = typer.main.get_command(app)
    context = command.context_class(command, info_name=app.info.name, **command.context_settings)
    if not arguments or arguments[-1] not in context.help_option_names:
        return False
    for name in arguments[:-1]:
        command = getattr(command, "commands", {}).get(name)
        if command is None:
            return False
        context = command.context_class(command, info_name=name, parent=context)
    command.get_help(context)  # printed as it is made
    return True


def main() -> None:
    """Run the command line and end the process with its exit code."""
    if show_help(sys.argv[1:]):
        return
    try:
        show_logs()
        app(args=spread(sys.argv[1:]))
    except EmbedlibError as exc:
        print(f"error: {exc}", file=sys.stderr)
        sys.exit(exc.exit_code)


if __name__ == "__main__":
    main()
