"""The verbs of ``embedlib models``: what there is, where the weights are, what a graph holds."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from embedlib.cli.output import print_facts, print_json, print_table, say

if TYPE_CHECKING:
    from embedlib.models.cache import VerifiedFile
    from embedlib.models.dead.report import FoldReport
    from embedlib.models.heads import Head
    from embedlib.models.known import Shape
    from embedlib.models.pull import Progress
    from embedlib.models.spec import ModelSpec, Output
    from embedlib.models.store import WeightFile

app = typer.Typer(
    help="Models: list them, fetch or build their weights, look into a graph.",
    epilog="Example: embedlib models list",
    no_args_is_help=True,
)

Name = Annotated[str, typer.Argument(help="Name of a model.")]
GraphFile = Annotated[Path, typer.Argument(help="A frozen TensorFlow graph (.pb).")]
WeightsFile = Annotated[Path, typer.Argument(help="A frozen TensorFlow graph (.pb), or .onnx.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


@app.command("list")
def list_models(json: Json = False) -> None:
    """List the models and where their weights are, without looking into the files.

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
                _dims(spec.embedding),
                spec.front_end,
                str(spec.sr_hz),
                f"{spec.receptive_field_s:.3f}",
                f"{spec.hop_s:.3f}",
                spec.weights.licence,
                _availability(spec),
            )
            for spec in specs
        ],
        header=("model", "dims", "front end", "Hz", "patch s", "hop s", "licence", "weights"),
    )


@app.command()
def info(name: Name, json: Json = False) -> None:
    """Show what is known of a model: outputs, times, licence, its weights and their dead filters.

    Example: embedlib models info msd-musicnn-1
    """
    from embedlib.models.registry import model_spec

    spec = model_spec(name)
    facts = _facts(spec)
    if json:
        report = _filters(spec)
        print_json(facts | {"filters": None if report is None else asdict(report)})
        return
    print_facts(facts | {"filters": _filter_lines(spec)})


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

    _print_file(build_weights(model_spec(name), seed=seed, anew=True), json=json)


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
    """Fetch the published weights of a model, or a head such as emomusic-msd-musicnn-1.

    Example: embedlib models pull msd-musicnn-1
    """
    from embedlib.models.heads import head_url
    from embedlib.models.pull import DEFAULT_TIMEOUT_S, pull_head
    from embedlib.models.pull import pull as pull_weights
    from embedlib.models.registry import model_spec

    wait_s = DEFAULT_TIMEOUT_S if timeout_s is None else timeout_s
    fetch: Callable[..., WeightFile | Head] = (
        partial(pull_weights, model_spec(name))
        if head_url(name) is None
        else partial(pull_head, name)
    )
    with _progress(name) as on_progress:
        file = fetch(trust_first=trust_first, timeout_s=wait_s, on_progress=on_progress)
    _print_file(file, json=json)


@app.command()
def add(
    file: WeightsFile,
    name: Annotated[str, typer.Option("--as", help="Name of the model or head that it is.")],
    json: Json = False,
) -> None:
    """Check a weight file of your own and copy it into the cache, with the .json beside it.

    Example: embedlib models add my-t200.pb --as msd-musicnn-t200
    """
    from embedlib.models.cache import add as add_weights

    _print_file(add_weights(file, name=name), json=json)


@app.command()
def verify(json: Json = False) -> None:
    """Hash every weight file of the cache again; exit code 1 when one has changed.

    Example: embedlib models verify
    """
    from embedlib.models.cache import verify as verify_weights

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
        "n_vectors": spec.embedding.n_vectors,
        "front_end": spec.front_end,
        "sr_hz": spec.sr_hz,
        "receptive_field_s": spec.receptive_field_s,
        "hop_s": spec.hop_s,
        "untrained": spec.untrained,
        "published": spec.weights.published,
        "can_be_built": spec.write_graph is not None,
        "licence": spec.weights.licence,
        "availability": _availability(spec),
    }


def _facts(spec: ModelSpec) -> dict[str, Any]:
    return _summary(spec) | {
        **_weights(spec),
        "patch_frames": spec.patch_frames,
        "hop_frames": spec.hop_frames,
        "last_patch": spec.last_patch,
        "patch_input": spec.patch_input,
        "input_node": spec.input_node,
        "input_shape": spec.input_shape,
        "outputs": {output.purpose: _output(output) for output in spec.outputs},
        "variants": {name: dict(changes) for name, changes in spec.variants},
        "n_trainable": spec.n_trainable,
        "batch_size": spec.batch_size,
        "file_name": spec.weights.file_name,
        "sha256": spec.weights.sha256,
        "onnx_sha256": spec.weights.onnx_sha256,
        "urls": spec.weights.urls,
        "citation": spec.citation,
        "notes": spec.notes,
    }


def _dims(output: Output) -> str:
    """Write ``16x1280`` for 16 vectors per patch."""
    return f"{output.n_vectors}x{output.n_values}" if output.n_vectors > 1 else str(output.n_values)


def _output(output: Output) -> dict[str, Any]:
    return {
        "nodes": output.nodes,
        "n_values": output.n_values,
        "n_vectors": output.n_vectors,
        "readout": output.readout,
    }


def _availability(spec: ModelSpec) -> str:
    """Say where the weights are, or what would bring them, without opening a file."""
    from embedlib.models.store import find_weights

    if spec.untrained:
        return "built when they are first wanted"
    path = find_weights(spec)
    if path is not None:
        return str(path)
    return f"embedlib models pull {spec.name}" if spec.weights.urls else "never published"


def _weights(spec: ModelSpec) -> dict[str, str | None]:
    """Say where the weights are, checked, or why there are none; build nothing."""
    from embedlib.errors import ModelError
    from embedlib.models.store import locate

    if spec.untrained:
        return {"weights": None, "weights_problem": _availability(spec)}
    try:
        return {"weights": str(locate(spec).path), "weights_problem": None}
    except ModelError as exc:
        return {"weights": None, "weights_problem": str(exc.args[0])}


def _filters(spec: ModelSpec) -> FoldReport | None:
    """Look for dead filters in the weights that are there; build nothing."""
    from embedlib.errors import ModelError
    from embedlib.models.cut import cut
    from embedlib.models.dead.fold import fold_dead_filters
    from embedlib.models.graph import parse_graph
    from embedlib.models.locks import read_weights
    from embedlib.models.store import locate

    if spec.untrained:
        return None
    try:
        file = locate(spec)
        nodes = file.outputs[0].nodes
        graph = parse_graph(read_weights(file.path), origin=str(file.path))
        graph = cut(graph, input_node=file.input_node, outputs=nodes, patch_shape=spec.input_shape)
        return fold_dead_filters(graph, outputs=nodes).report
    except ModelError:  # no weights, which another line says, or no frozen graph
        return None


def _filter_lines(spec: ModelSpec) -> list[str]:
    from embedlib.models.dead.report import report_lines

    report = _filters(spec)
    if report is not None:
        return report_lines(report)
    return ["random weights have no dead ones" if spec.untrained else "no graph to look into"]


def _verdict(file: VerifiedFile) -> str:
    if file.expected is None:
        return "unknown"
    return "good   " if file.is_good else "CHANGED"


def _print_file(file: WeightFile | Head, *, json: bool) -> None:
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
