"""``embedlib explore``: parse, call, print."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from embedlib.cli.output import print_json, say
from embedlib.cli.outputs import Json, Out
from embedlib.report.explore_options import N_NEIGHBOURS, LayoutName


def explore(
    out: Out,
    model: Annotated[
        str | None, typer.Option(help="Name of a model table; not needed where there is one.")
    ] = None,
    to: Annotated[
        str | None, typer.Option(help="Folder of the page; OUT/explore/MODEL by default.")
    ] = None,
    neighbours: Annotated[
        int,
        typer.Option(
            min=0,
            max=1000,
            help="Of each track; the time to find them grows fast, 0 leaves them out.",
        ),
    ] = N_NEIGHBOURS,
    colour: Annotated[str | None, typer.Option(help="Column that is shown first.")] = None,
    layout: Annotated[
        LayoutName, typer.Option(help="pca, or umap with the package umap-learn.")
    ] = LayoutName.PCA,
    json: Json = False,
) -> None:
    """Write a page to look at: a map of the tracks, to be heard, searched and compared.

    One HTML file and a folder of data, for any browser, without server or network.

    Example: embedlib explore OUT --model msd-musicnn-1
    """
    from embedlib.report.explore import explore as write

    explored = write(
        out,
        model=model,
        to=to,
        layout=layout,
        n_neighbours=neighbours,
        colour=colour,
    )
    if json:
        print_json(explored)
        return
    if explored.n_left_out:
        print(f"note: {explored.n_left_out} tracks without embedding are left out", file=sys.stderr)
    say(
        f"{explored.n_tracks} tracks of {explored.model}, {explored.n_files} files, "
        f"{explored.n_bytes / 1e6:.1f} MB"
    )
    say(explored.page)
