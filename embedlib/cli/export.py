"""``embedlib export``: parse, call, print."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from embedlib.cli.output import print_json, say
from embedlib.cli.outputs import Json, Out


def export(
    out: Out,
    dest: Annotated[str, typer.Argument(help="Folder to make; it must not be there.")],
    to: Annotated[str, typer.Option(help="lance, hf, npy or projector.")],
    model: Annotated[
        str | None, typer.Option(help="Name of a model table; needed where there are several.")
    ] = None,
    what: Annotated[str, typer.Option(help="What a row is: tracks, or patches.")] = "tracks",
    json: Json = False,
) -> None:
    """Write embeddings for other tools: LanceDB, Hugging Face datasets, NumPy, or the Projector.

    Most tools read the tables of an output as they lie: see the README.

    Example: embedlib export OUT --to npy --model msd-musicnn-1 DEST
    """
    from embedlib.catalog.places import place
    from embedlib.search.export import export as write

    summary = write(out, place(dest), to=to, model=model, what=what)
    if json:
        print_json({"out": out, "to": to, "dest": dest, **asdict(summary)})
        return
    left_out = f", {summary.n_without} tracks without embedding left out"
    say(f"{summary.n_rows} {what} of {summary.model}{left_out if summary.n_without else ''}")
    for file in summary.files:
        say(f"{dest}/{file}")
