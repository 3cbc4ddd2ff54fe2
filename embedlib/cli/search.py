"""The verbs of ``embedlib search``: what sounds alike."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from embedlib.cli.output import print_json, print_table, say
from embedlib.cli.outputs import Json, Out
from embedlib.errors import ConfigError

if TYPE_CHECKING:
    from embedlib.records import Float32
    from embedlib.search.build import Built
    from embedlib.search.query import Searcher

app = typer.Typer(
    help="Search: which tracks of an output sound alike.",
    epilog="Example: embedlib search query OUT --model msd-musicnn-1 --track a.mp3",
    no_args_is_help=True,
)

Model = Annotated[str, typer.Option(help="Name of a model table.")]


@app.command()
def build(
    out: Out,
    model: Model,
    rebuild: Annotated[
        bool, typer.Option("--rebuild", help="Write all rows anew, whatever is there.")
    ] = False,
    json: Json = False,
) -> None:
    """Make the search table of a model, or bring it up to date with the model table.

    Only what changed is written. Search is exact up to 50,000 tracks; above, an index finds at
    least 0.95 of the ten nearest, which the build measures.

    Example: embedlib search build OUT --model msd-musicnn-1
    """
    from embedlib.search.build import build as build_table

    built = build_table(out, model, rebuild=rebuild)
    if json:
        print_json({"out": out, **asdict(built)})
        return
    changes = "all written" if built.is_anew else f"{built.n_added} new or changed"
    say(f"{built.n_rows} tracks, {changes}, {built.n_removed} removed; {_way(built)}")


@app.command()
def query(
    out: Out,
    model: Model,
    track: Annotated[
        str | None, typer.Option(help="Id of a track of the output; it is left out itself.")
    ] = None,
    file: Annotated[
        str | None, typer.Option(help="Sound file or URL, embedded as the table was.")
    ] = None,
    vector: Annotated[str | None, typer.Option(help="File with one vector (.npy).")] = None,
    k: Annotated[int, typer.Option("-k", help="How many neighbours.")] = 20,
    where: Annotated[
        str | None, typer.Option(help="Condition in SQL, such as 'duration_s > 60'.")
    ] = None,
    exact: Annotated[bool, typer.Option("--exact", help="Ask without index.")] = False,
    json: Json = False,
) -> None:
    """Print the tracks nearest to a track, a file or a vector, with their cosine distances.

    Example: embedlib search query OUT --model msd-musicnn-1 --track a.mp3 -k 5
    """
    from embedlib.search.query import open_search

    asked = {"track": track, "file": file, "vector": vector}
    named = {key: value for key, value in asked.items() if value is not None}
    if len(named) != 1:
        raise ConfigError(
            f"{len(named)} of --track, --file and --vector are given", fix="give one of them"
        )
    searcher = open_search(out, model)
    if searcher.is_stale:
        print(
            f"note: {model} has changed since; `embedlib search build {out} --model {model}` "
            "brings search up to date",
            file=sys.stderr,
        )
    found = searcher.nearest(
        _vector(searcher, track=track, file=file, vector=vector),
        k=k,
        where=where,
        without=track,
        exact=exact,
    )
    if json:
        neighbours = [asdict(each) for each in found]
        print_json(
            {
                "out": out,
                "model": model,
                **named,
                "metric": "cosine",
                "version": searcher.state.delta_version,
                "is_exact": exact or searcher.state.is_exact,
                "neighbours": neighbours,
            }
        )
        return
    print_table(
        [(f"{n.distance:.4f}", n.track_id, f"{n.duration_s:.1f}", n.uri) for n in found],
        header=("distance", "track", "s", "uri"),
    )


@app.command()
def recall(
    out: Out,
    model: Model,
    queries: Annotated[int, typer.Option(min=1, help="Tracks to ask for.")] = 1_000,
    json: Json = False,
) -> None:
    """Measure which part of the ten nearest tracks a search finds, against exact search.

    Example: embedlib search recall OUT --model msd-musicnn-1
    """
    from embedlib.search.query import open_search

    searcher = open_search(out, model)
    value = searcher.recall(n_queries=queries)
    n_queries = min(queries, searcher.state.n_rows)
    if json:
        facts = {"out": out, "model": model, "k": 10, "n_queries": n_queries, "recall": value}
        print_json(facts | {"is_exact": searcher.state.is_exact})
        return
    way = "exact search" if searcher.state.is_exact else f"{searcher.state.n_probes} probes"
    say(f"recall at 10: {value:.4f} over {n_queries} tracks of {searcher.state.n_rows}; {way}")


def _vector(
    searcher: Searcher, *, track: str | None, file: str | None, vector: str | None
) -> Float32:
    from embedlib.search.vectors import file_vector, npy_vector
    from embedlib.tables.manifest import read_manifest

    if track is not None:
        return searcher.vector_of(track)
    manifest = read_manifest(searcher.folder.parent / searcher.state.model)
    if file is not None:
        return file_vector(file, manifest)
    return npy_vector(str(vector), n_dims=manifest.n_dims)


def _way(built: Built) -> str:
    return "exact search" if built.is_exact else f"by index, recall at 10 {built.recall:.3f}"
