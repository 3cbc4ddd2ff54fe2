"""A sweep ends in something usable: probes that are kept, trained anew, and applied to tables."""

from __future__ import annotations

import csv
import importlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import typer
from click.testing import Result
from typer.testing import CliRunner

from embedlib.cli.probe_use import predict, train
from embedlib.errors import CatalogError, ConfigError, OutputError
from embedlib.probes.predict import open_predictor
from embedlib.probes.saved import load_probe
from embedlib.probes.scores import read_scores
from embedlib.probes.settings import sweep_config
from embedlib.probes.statistics import balanced_accuracy
from embedlib.probes.sweep import run_sweep
from embedlib.probes.table import kept_probe_place, read_fits
from embedlib.probes.train import train_probe
from embedlib.records import Track
from embedlib.tables.catalog import adopt

JOBS = Path(__file__).parents[2] / "jobs"
CLASSES = ("red", "green", "blue")
N_TRACKS = 90

app = typer.Typer()
app.command()(train)
app.command()(predict)


@pytest.fixture(scope="module")
def draws() -> Iterator[Callable[[str], ModuleType]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(JOBS))
        yield importlib.import_module


@pytest.fixture(scope="module")
def catalogue(draws: Callable[[str], ModuleType], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """An output of one task and two models, whose classes can be told apart well."""
    cells = [
        draws("coverage_draws").Cell(
            task="colours", model=model, classes=CLASSES, n_tracks=N_TRACKS, n_dims=n, paper=0.9
        )
        for model, n in (("eye", 20), ("ear", 33))
    ]
    return draws("coverage_catalogue").write_catalogue(tmp_path_factory.mktemp("drawn"), cells)


@pytest.fixture(scope="module")
def swept(catalogue: Any) -> Any:
    """The same after a sweep that kept its probes; only of the model `eye`."""
    task, labels = catalogue.tasks[0]
    config = {
        "out": str(catalogue.out),
        "tasks": [{"task": str(task), "labels": str(labels)}],
        "models": ["eye"],
        "repeats": 1,
        "controls": 0,
        "params": {"n_hidden": [20, 50]},
        "keep_probes": True,
        "local": True,
    }
    run_sweep(sweep_config(config))
    return catalogue


def run(*arguments: object) -> Result:
    result = CliRunner().invoke(app, [str(each) for each in arguments], catch_exceptions=False)
    assert result.exit_code == 0
    return result


def train_on(catalogue: Any, to: Path, *options: object) -> Result:
    task, labels = catalogue.tasks[0]
    where = ("--task", task, "--labels", labels, "--to", to)
    return run("train", catalogue.out, *where, *options)


def labels_of(catalogue: Any) -> dict[str, str]:
    with catalogue.tasks[0][1].open(newline="") as file:
        return {row["track_id"]: row["label"] for row in csv.DictReader(file)}


def test_from_a_sweep_to_predictions(swept: Any, tmp_path: Path) -> None:
    said = train_on(swept, tmp_path / "p.npz", "--model", "eye").stdout
    assert "balanced accuracy 0." in said
    counted = run("predict", tmp_path / "p.npz", swept.out, "--to", tmp_path / "p.parquet").stdout
    assert f"{N_TRACKS} tracks: " in counted
    label_of = labels_of(swept)
    rows = pq.read_table(tmp_path / "p.parquet").to_pylist()
    truth, found = (
        np.array([CLASSES.index(name) for name in names])
        for names in (
            [label_of[row["track_id"]] for row in rows],
            [row["predicted"] for row in rows],
        )
    )
    assert balanced_accuracy(truth, found) > 0.8


def test_the_card_has_the_score_and_the_setting_of_the_sweep(swept: Any, tmp_path: Path) -> None:
    said = train_on(swept, tmp_path / "p.npz", "--model", "eye", "--json").stdout
    card = load_probe(tmp_path / "p.npz")[1]
    (cell,) = read_scores(str(swept.out)).cells
    assert json.loads(said)["card"]["npz_sha256"] == card.npz_sha256
    assert card.score is not None
    assert card.score.balanced_accuracy == cell.five_fold
    assert (card.score.low, card.score.high) == (cell.interval.low, cell.interval.high)
    assert card.params in cell.chosen
    assert card.n_epochs in {fit.best_epoch for fit in read_fits(swept.out)}
    assert (card.n_tracks, card.fold) == (N_TRACKS, -1)


def test_kept_probes_predict_what_the_sweep_scored(swept: Any) -> None:
    kept = [
        (fit, place)
        for fit in read_fits(swept.out)
        if (place := kept_probe_place(swept.out, fit.fit_id)).exists()
    ]
    assert sorted(fit.key.fold for fit, _ in kept) == [0, 1, 2, 3, 4]
    ids = sorted(labels_of(swept))
    for fit, place in kept:
        rows = [row for b in open_predictor(place, swept.out).batches() for row in b.to_pylist()]
        class_of = {row["track_id"]: row["predicted"] for row in rows}
        found = [class_of[ids[index]] for index in fit.test_index]
        assert found == [CLASSES[number] for number in fit.predicted]


def test_the_same_command_gives_the_same_bytes(swept: Any, tmp_path: Path) -> None:
    for name in ("a.npz", "b.npz"):
        train_on(swept, tmp_path / name, "--model", "eye")
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_without_a_sweep_a_probe_is_trained_and_its_score_unknown(
    swept: Any, tmp_path: Path
) -> None:
    said = train_on(swept, tmp_path / "p.npz", "--model", "ear").stdout
    card = load_probe(tmp_path / "p.npz")[1]
    assert "not scored" in said
    assert card.score is None
    assert 1 <= card.n_epochs <= 200
    assert card.params.n_hidden == 100


def test_a_sweep_of_other_labels_is_not_taken_over(swept: Any, tmp_path: Path) -> None:
    task, labels = swept.tasks[0]
    fewer = tmp_path / "fewer.csv"
    fewer.write_text("\n".join(labels.read_text().splitlines()[:-1]))
    card = train_probe(
        swept.out, task=str(task), labels=str(fewer), model="eye", to=tmp_path / "p.npz"
    ).card
    assert (card.n_tracks, card.score) == (N_TRACKS - 1, None)


def test_labelled_tracks_that_the_catalogue_lacks_are_told(swept: Any, tmp_path: Path) -> None:
    task, labels = swept.tasks[0]
    more = tmp_path / "more.csv"
    more.write_text(labels.read_text() + "colours/lost.wav,red\n")
    where = ("--task", task, "--labels", more, "--to", tmp_path / "p.npz", "--model", "ear")
    said = run("train", swept.out, *where)
    assert f"note: 1 of {N_TRACKS + 1} labelled tracks are not in the catalogue" in said.stderr


def test_labelled_tracks_without_any_embedding_are_one_line(
    draws: Callable[[str], ModuleType], tmp_path: Path
) -> None:
    cell = draws("coverage_draws").Cell(
        task="colours", model="eye", classes=CLASSES, n_tracks=30, n_dims=20, paper=0.9
    )
    catalogue = draws("coverage_catalogue").write_catalogue(tmp_path, [cell])
    task, labels = catalogue.tasks[0]
    lone = Track("lone.wav", "/synthetic/lone.wav", size=1, version="1")
    adopt(catalogue.out, [lone], sources=["/synthetic"])
    labels.write_text("track_id,label\nlone.wav,red\n")
    with pytest.raises(CatalogError, match="none of the 1 labelled tracks of colours has an"):
        train_probe(
            catalogue.out, task=str(task), labels=str(labels), model="eye", to=tmp_path / "p.npz"
        )


def test_predictions_go_to_stdout_as_csv_and_the_summary_to_stderr(
    swept: Any, tmp_path: Path
) -> None:
    train_on(swept, tmp_path / "p.npz", "--model", "eye")
    result = run("predict", tmp_path / "p.npz", swept.out)
    rows = list(csv.DictReader(result.stdout.splitlines()))
    assert len(rows) == N_TRACKS
    assert list(rows[0]) == ["track_id", "predicted", "p_red", "p_green", "p_blue"]
    assert f"{N_TRACKS} tracks: " in result.stderr


def test_json_is_one_object(swept: Any, tmp_path: Path) -> None:
    train_on(swept, tmp_path / "p.npz", "--model", "eye")
    rows = json.loads(run("predict", tmp_path / "p.npz", swept.out, "--json").stdout)
    to = ("--to", tmp_path / "p.csv")
    counted = json.loads(run("predict", tmp_path / "p.npz", swept.out, *to, "--json").stdout)
    assert len(rows["predictions"]) == counted["n_tracks"] == N_TRACKS
    assert sum(n for _, n in counted["counts"]) == N_TRACKS


@pytest.mark.parametrize(
    ("options", "error", "problem"),
    [
        ({"protocol": "folded"}, ConfigError, "unknown protocol 'folded'; choose one of paper"),
        ({"to": Path("p.txt")}, ConfigError, r"ends in \.npz"),
        ({"model": "nose"}, OutputError, "has no table of 'nose'"),
        ({"protocol": "paper"}, OutputError, "was made without patches"),
        ({"labels": "nowhere.csv"}, CatalogError, "nowhere.csv"),
    ],
)
def test_what_cannot_be_trained_is_one_line(
    swept: Any, tmp_path: Path, options: dict[str, Any], error: type[Exception], problem: str
) -> None:
    task, labels = swept.tasks[0]
    fields = {"labels": str(labels), "model": "eye", "to": tmp_path / "p.npz"} | options
    with pytest.raises(error, match=problem) as caught:
        train_probe(swept.out, task=str(task), **fields)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []
