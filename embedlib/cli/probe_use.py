"""The verbs that end in something usable: train a probe and save it, apply a saved one."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from embedlib.cli.output import print_json, say

if TYPE_CHECKING:
    from embedlib.probes.card import Card
    from embedlib.probes.prediction_files import Summary

Out = Annotated[str, typer.Argument(help="Folder of the output.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


def train(
    out: Out,
    task: Annotated[str, typer.Option(help="Name of a task, or its YAML file.")],
    model: Annotated[str, typer.Option(help="Name of a model table.")],
    to: Annotated[str, typer.Option(help="File to save to (.npz); its card goes beside it.")],
    labels: Annotated[
        str | None, typer.Option(help="Label manifest (CSV), or folder of the data set.")
    ] = None,
    protocol: Annotated[str, typer.Option(help="How to train: pooled, or paper.")] = "pooled",
    json: Json = False,
) -> None:
    """Train a probe on a whole task, as a sweep has chosen, and save it.

    Example: embedlib probe train OUT --task gtzan --labels GTZAN --model msd-musicnn-1 --to p.npz
    """
    from embedlib.catalog.places import place
    from embedlib.probes.train import train_probe

    trained = train_probe(
        out, task=task, labels=labels, model=model, protocol=protocol, to=place(to)
    )
    for note in trained.notes:
        print(f"note: {note}", file=sys.stderr)
    if json:
        print_json({"probe": to, **asdict(trained)})
    else:
        say(f"{to}: {_described(trained.card)}")


def predict(
    probe: Annotated[str, typer.Argument(help="A saved probe (.npz).")],
    out: Out,
    model: Annotated[
        str | None, typer.Option(help="Name of a model table; that of the probe by default.")
    ] = None,
    to: Annotated[
        str | None, typer.Option(help="File to write: .parquet, .csv or .jsonl; stdout else.")
    ] = None,
    any_embeddings: Annotated[
        bool, typer.Option("--any-embeddings", help="Also embeddings that were made otherwise.")
    ] = False,
    json: Json = False,
) -> None:
    """Apply a saved probe to a table: class and probabilities of each track, as CSV.

    Example: embedlib probe predict p.npz OUT --to predictions.parquet
    """
    from embedlib.catalog.places import place
    from embedlib.probes.predict import open_predictor
    from embedlib.probes.prediction_files import print_predictions, write_predictions

    predictor = open_predictor(place(probe), out, model=model, any_embeddings=any_embeddings)
    if to is not None:
        summary = write_predictions(predictor, place(to))
        if json:
            print_json({"probe": probe, "to": to, **asdict(summary)})
        else:
            say(f"{to}: {_counted(summary)}")
    elif json:
        rows = [row for batch in predictor.batches() for row in batch.to_pylist()]
        print_json({"probe": probe, "model": predictor.table.manifest.model, "predictions": rows})
    else:
        summary = print_predictions(predictor, sys.stdout.buffer)
        print(_counted(summary), file=sys.stderr)


def _described(card: Card) -> str:
    facts = (
        f"{card.task} by {card.model}, {len(card.classes)} classes, {card.n_tracks} tracks, "
        f"{card.n_epochs} epochs"
    )
    if card.score is None:
        return f"{facts}; not scored, `embedlib probe sweep` would"
    score = card.score
    interval = f"{score.low:.3f} to {score.high:.3f}"
    return f"{facts}; balanced accuracy {score.balanced_accuracy:.3f} ({interval}) in the sweep"


def _counted(summary: Summary) -> str:
    counts = ", ".join(f"{n} {name}" for name, n in summary.counts)
    without = f", {summary.n_without} without embedding" if summary.n_without else ""
    return f"{summary.n_tracks} tracks: {counts}{without}"
