"""The verbs of ``embedlib tasks``: what there is, what is known of one, whether its data fit."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from embedlib.cli.output import print_facts, print_json, print_table, say

if TYPE_CHECKING:
    from collections.abc import Sequence

    from embedlib.tasks.check import SetCheck, TaskCheck
    from embedlib.tasks.duplicates import Duplicate
    from embedlib.tasks.task import Task

app = typer.Typer(
    help="Downstream tasks: list them, look at one, check its labels, files and embeddings.",
    epilog="Example: embedlib tasks list",
    no_args_is_help=True,
)

Name = Annotated[str, typer.Argument(help="Name of a task, or path of its YAML file.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]

SHOWN = 20
"""Pairs of duplicates printed for people; `--json` has them all."""


@app.command("list")
def list_tasks(json: Json = False) -> None:
    """List the tasks, who reads their labels, and whether their layout was verified.

    Example: embedlib tasks list
    """
    from embedlib.tasks.registry import task, task_names

    tasks = [task(name) for name in task_names()]
    if json:
        print_json({"tasks": [_summary(one) for one in tasks]})
        return
    print_table(
        [
            (
                one.name,
                one.group,
                str(len(one.classes)),
                "-" if one.size is None else f"{one.size} {one.unit}",
                one.adapter,
                "verified" if one.verified else "unverified",
                "yes" if one.external else "no",
            )
            for one in tasks
        ],
        header=("task", "group", "classes", "size", "adapter", "layout", "JD"),
    )


@app.command()
def info(name: Name, json: Json = False) -> None:
    """Show what is known of a task: classes, source, licence, filters, external tags, citation.

    Example: embedlib tasks info gtzan
    """
    from embedlib.tasks.registry import task

    found = task(name)
    if json:
        print_json(found.model_dump())
    else:
        print_facts(_facts(found))


@app.command()
def check(
    name: Name,
    root: Annotated[
        str | None,
        typer.Option(help="Folder of the data set, or a label manifest (CSV: track_id,label)."),
    ] = None,
    out: Annotated[str | None, typer.Option(help="Output that holds the tracks.")] = None,
    external: Annotated[
        str | None,
        typer.Option(help="External labels: a CSV file, or the folder with the tags."),
    ] = None,
    external_out: Annotated[
        str | None, typer.Option(help="Output that holds the external tracks; else OUT.")
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="Model table to look at; else the first by name.")
    ] = None,
    near: Annotated[
        float | None, typer.Option(help="Cosine from which on two tracks count as one (0.9999).")
    ] = None,
    json: Json = False,
) -> None:
    """Say what is missing, does not fit, or is there twice; exit code 1 when a score would suffer.

    Example: embedlib tasks check gtzan --root ~/gtzan --out OUT
    """
    from embedlib.tasks.check import check as check_task
    from embedlib.tasks.duplicates import NEAR
    from embedlib.tasks.findings import notes, problems
    from embedlib.tasks.registry import task

    found = check_task(
        task(name),
        root=root,
        out=out,
        external=external,
        external_out=external_out,
        model=model,
        near=NEAR if near is None else near,
    )
    to_mend, to_know = problems(found), notes(found)
    if json:
        print_json(asdict(found) | {"task": found.task.name, "problems": to_mend, "notes": to_know})
    else:
        _print_check(found, to_mend)
        for note in to_know:
            print(f"note: {note}", file=sys.stderr)
    raise typer.Exit(1 if to_mend else 0)


def _summary(task: Task) -> dict[str, Any]:
    return {
        "name": task.name,
        "group": task.group,
        "classes": task.classes,
        "size": task.size,
        "unit": task.unit,
        "adapter": task.adapter,
        "is_verified": bool(task.verified),
        "has_external": task.external is not None,
    }


def _facts(task: Task) -> dict[str, Any]:
    facts = task.model_dump(exclude={"external"})
    if task.external is None:
        return facts | {"external": "none"}
    tags = [f"{name} = {' | '.join(tags)}" for name, tags in task.external.classes.items()]
    return facts | {
        "external": task.external.adapter,
        "external tags": tags,
        "external note": task.external.note,
    }


def _print_check(found: TaskCheck, problems: Sequence[str]) -> None:
    _print_set(found.task.name, found.training)
    if found.external is not None:
        _print_set(f"external {found.task.name}", found.external)
    for pair in found.duplicates[:SHOWN]:
        say(_pair_text(pair))
    if found.n_duplicates > SHOWN:
        say(f"... and {found.n_duplicates - SHOWN} more pairs; --json has them")
    for problem in problems:
        say(f"problem: {problem}")
    problems_text = f"{len(problems)} problem" + ("s" if len(problems) > 1 else "")
    say(problems_text if problems else "clean")


def _print_set(title: str, found: SetCheck) -> None:
    groups = f"{found.n_groups} groups" if found.n_groups else "no groups"
    folds = f", {found.n_folds} published folds" if found.n_folds else ""
    say(f"{title}: {found.n_labelled} labelled tracks, {groups}{folds}")
    for what, n in found.counts:
        say(f"  {n} {what}")
    say("  " + ", ".join(f"{name} {n}" for name, n in found.classes))


def _pair_text(pair: Duplicate) -> str:
    where = "training and external" if pair.is_external else "training"
    how = "same content" if pair.found_by == "content" else f"cosine {pair.cosine:.6f}"
    return f"twice ({where}, {how}): {pair.first} = {pair.second}"
