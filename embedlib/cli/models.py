"""The verbs of ``embedlib models``: what there is, where the weights are, what a graph holds."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from embedlib.cli.output import print_json, print_table, say

if TYPE_CHECKING:
    from embedlib.models.ops import Shape
    from embedlib.models.pull import Progress
    from embedlib.models.spec import ModelSpec
    from embedlib.models.store import VerifiedFile, WeightFile

app = typer.Typer(
    help="Models: list them, fetch or build their weights, look into a graph.",
    epilog="Example: embedlib models list",
    no_args_is_help=True,
)

Name = Annotated[str, typer.Argument(help="Name of a model.")]
GraphFile = Annotated[Path, typer.Argument(help="A frozen TensorFlow graph (.pb).")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


@app.command("list")
def list_models(json: Json = False) -> None:
    """List the models and where their weights are.

    Example: embedlib models list
    """
    from embedlib.models.registry import model_specs

    specs = model_specs()
    if json:
        print_json({"models": [_summary(spec) for spec in specs]})
        return
    print_table(
        [
            (
                spec.name,
                spec.title,
                str(spec.n_dims),
                f"{spec.receptive_field_s:.3f}",
                _text(list(_weights(spec).values())),
            )
            for spec in specs
        ],
        header=("model", "title", "dims", "patch s", "weights"),
    )


@app.command()
def info(name: Name, json: Json = False) -> None:
    """Show what is known of a model: licence, nodes, times, citation, where its weights are.

    Example: embedlib models info msd-musicnn-1
    """
    from embedlib.models.registry import model_spec

    spec = model_spec(name)
    facts = _facts(spec)
    if json:
        print_json(facts)
        return
    width = max(map(len, facts))
    for key, value in facts.items():
        say(f"{key:<{width}}  {_text(value)}")


@app.command()
def nodes(file: GraphFile, json: Json = False) -> None:
    """List the nodes of a graph with their ops, shapes and types.

    Example: embedlib models nodes msd-musicnn-1.pb
    """
    from embedlib.models.graph import list_nodes, parse_graph
    from embedlib.models.locks import read_weights

    found = list_nodes(parse_graph(read_weights(file), origin=str(file)))
    if json:
        print_json({"file": str(file), "nodes": [asdict(node) for node in found]})
        return
    print_table(
        [(node.name, node.op, _shape_text(node.shape), node.dtype) for node in found],
        header=("node", "op", "shape", "type"),
    )


@app.command()
def build(
    name: Name,
    seed: Annotated[int, typer.Option(min=0, help="Source of the random weights.")] = 0,
    json: Json = False,
) -> None:
    """Build a model with random weights, for tests and timing.

    Example: embedlib models build msd-vgg-1
    """
    from embedlib.models.registry import model_spec
    from embedlib.models.store import build as build_weights

    _print_file(build_weights(model_spec(name), seed=seed), json=json)


@app.command()
def pull(
    name: Name,
    trust_first: Annotated[
        bool, typer.Option("--trust-first", help="Lock the hash of the first file that comes.")
    ] = False,
    timeout_s: Annotated[
        float | None, typer.Option(min=0.001, help="Seconds that the server may be silent.")
    ] = None,
    json: Json = False,
) -> None:
    """Fetch the published weights of a model and check their hash.

    Example: embedlib models pull msd-musicnn-1
    """
    from embedlib.models.pull import DEFAULT_TIMEOUT_S
    from embedlib.models.pull import pull as pull_weights
    from embedlib.models.registry import model_spec

    spec = model_spec(name)
    with _progress(spec.name) as on_progress:
        file = pull_weights(
            spec,
            trust_first=trust_first,
            timeout_s=DEFAULT_TIMEOUT_S if timeout_s is None else timeout_s,
            on_progress=on_progress,
        )
    _print_file(file, json=json)


@app.command()
def add(
    file: GraphFile,
    name: Annotated[str, typer.Option("--as", help="Name of the model that it is.")],
    json: Json = False,
) -> None:
    """Check a weight file of your own and copy it into the cache.

    Example: embedlib models add my-t200.pb --as msd-musicnn-t200
    """
    from embedlib.models.store import add as add_weights

    _print_file(add_weights(file, name=name), json=json)


@app.command()
def verify(json: Json = False) -> None:
    """Hash every weight file of the cache again; exit code 1 when one has changed.

    Example: embedlib models verify
    """
    from embedlib.models.store import verify as verify_weights

    files = verify_weights()
    n_bad = sum(not file.is_good for file in files)
    if json:
        objects = [asdict(file) | {"is_good": file.is_good} for file in files]
        print_json({"files": objects, "n_bad": n_bad})
    else:
        for file in files:
            say(f"{_verdict(file)}  {file.path}")
        say(f"{n_bad} of {len(files)} files have changed")
    raise typer.Exit(1 if n_bad else 0)


def _summary(spec: ModelSpec) -> dict[str, Any]:
    return {
        "name": spec.name,
        "title": spec.title,
        "n_dims": spec.n_dims,
        "receptive_field_s": spec.receptive_field_s,
        "hop_s": spec.hop_s,
        "untrained": spec.untrained,
        "published": spec.weights.published,
        "licence": spec.weights.licence,
        **_weights(spec),
    }


def _facts(spec: ModelSpec) -> dict[str, Any]:
    return _summary(spec) | {
        "front_end": spec.front_end,
        "sr_hz": spec.sr_hz,
        "patch_frames": spec.patch_frames,
        "hop_frames": spec.hop_frames,
        "last_patch": spec.last_patch,
        "input_node": spec.input_node,
        "input_shape": spec.input_shape,
        "outputs": dict(spec.outputs),
        "n_trainable": spec.n_trainable,
        "batch_size": spec.batch_size,
        "file_name": spec.weights.file_name,
        "sha256": spec.weights.sha256,
        "urls": spec.weights.urls,
        "citation": spec.citation,
        "notes": spec.notes,
    }


def _weights(spec: ModelSpec) -> dict[str, str | None]:
    """Say where the weights are, or why there are none; build nothing."""
    from embedlib.errors import ModelError
    from embedlib.models.store import locate

    if spec.untrained:
        return {"weights": None, "weights_problem": "built when they are first wanted"}
    try:
        return {"weights": str(locate(spec).path), "weights_problem": None}
    except ModelError as exc:
        return {"weights": None, "weights_problem": str(exc.args[0])}


def _text(value: Any) -> str:
    match value:
        case dict():
            return ", ".join(f"{key}: {inner}" for key, inner in value.items())
        case tuple() | list():
            return ", ".join(str(inner) for inner in value if inner is not None) or "-"
        case None | "":
            return "-"
    return str(value)


def _verdict(file: VerifiedFile) -> str:
    if file.expected is None:
        return "unknown"
    return "good   " if file.is_good else "CHANGED"


def _print_file(file: WeightFile, *, json: bool) -> None:
    if json:
        print_json(file)
    else:
        say(f"{file.path}  sha256:{file.sha256}")


def _shape_text(shape: Shape) -> str:
    if shape is None:
        return "unknown"
    return "x".join("?" if length is None else str(length) for length in shape) or "scalar"


@contextmanager
def _progress(name: str) -> Iterator[Progress]:
    """Show on stderr how much came, where stderr is a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, TextColumn
    from rich.progress import Progress as Bars

    console = Console(file=sys.stderr)
    columns = (TextColumn(name), BarColumn(), DownloadColumn())
    with Bars(*columns, console=console, disable=not console.is_terminal, transient=True) as bars:
        task = bars.add_task(name, total=None)
        yield lambda n_bytes, n_total: bars.update(task, completed=n_bytes, total=n_total)
