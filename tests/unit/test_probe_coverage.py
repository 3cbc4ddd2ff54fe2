"""The drawn catalogue: its best possible accuracy, its output, the judgement of probes on it."""

from __future__ import annotations

import doctest
import importlib
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import yaml
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from embedlib.errors import OutputError
from embedlib.probes.probe import Probe
from embedlib.probes.settings import sweep_config
from embedlib.probes.statistics import balanced_accuracy
from embedlib.records import Float32
from embedlib.tables.reader import open_output
from embedlib.tables.verify import verify
from embedlib.tasks.paper import paper_scores, paper_tasks
from embedlib.tasks.registry import task
from embedlib.tasks.sources import internal

JOBS = Path(__file__).parents[2] / "jobs"
N_DRAWS = 200_000


@pytest.fixture(scope="module")
def job() -> Iterator[Callable[[str], ModuleType]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(JOBS))
        yield importlib.import_module


@pytest.fixture(scope="module")
def draws(job: Callable[[str], ModuleType]) -> ModuleType:
    return job("coverage_draws")


@pytest.fixture(scope="module")
def judge(job: Callable[[str], ModuleType]) -> ModuleType:
    return job("coverage_judge")


@pytest.fixture(scope="module")
def make_cell(draws: ModuleType) -> Callable[..., Any]:
    """Make a cell of three classes that can be told apart in part."""

    def make(**changes: Any) -> Any:
        fields = {
            "task": "colours",
            "model": "eye",
            "classes": ("red", "green", "blue"),
            "n_tracks": 300,
            "n_dims": 20,
            "paper": 0.7,
        }
        return draws.Cell(**fields | changes)

    return make


def test_examples_in_the_scripts_run(job: Callable[[str], ModuleType]) -> None:
    for name in ("coverage_draws", "coverage_catalogue"):
        result = doctest.testmod(job(name))
        assert result.attempted
        assert not result.failed


@pytest.mark.parametrize("n_classes", [2, 3, 10])
@pytest.mark.parametrize("accuracy", [0.55, 0.98])
def test_the_best_accuracy_is_that_of_the_nearest_corner(
    draws: ModuleType, n_classes: int, accuracy: float
) -> None:
    rng = np.random.default_rng(0)
    source = draws.Gaussians.of_accuracy(accuracy, n_classes=n_classes, n_dims=17, rng=rng)
    y = np.arange(N_DRAWS) % n_classes
    found = balanced_accuracy(y, source.nearest(source.draw(y, rng=rng)))
    assert found == pytest.approx(accuracy, abs=4 * np.sqrt(accuracy * (1 - accuracy) / N_DRAWS))


@pytest.mark.parametrize("n_classes", [2, 5])
def test_a_linear_classifier_with_much_to_learn_from_comes_to_the_best_accuracy(
    draws: ModuleType, n_classes: int
) -> None:
    rng = np.random.default_rng(1)
    source = draws.Gaussians.of_accuracy(0.8, n_classes=n_classes, n_dims=24, rng=rng)
    y = np.arange(20_000) % n_classes
    fitted = LinearDiscriminantAnalysis().fit(source.draw(y, rng=rng), y)
    found = balanced_accuracy(y, fitted.predict(source.draw(y, rng=rng)))
    assert found == pytest.approx(0.8, abs=0.012)


def test_no_class_is_easier_than_another(draws: ModuleType) -> None:
    rng = np.random.default_rng(2)
    source = draws.Gaussians.of_accuracy(0.7, n_classes=4, n_dims=20, rng=rng)
    y = np.arange(40_000) % 4
    is_right = source.nearest(source.draw(y, rng=rng)) == y
    assert [is_right[y == k].mean() for k in range(4)] == pytest.approx([0.7] * 4, abs=0.02)


def test_at_chance_the_classes_lie_on_each_other(draws: ModuleType) -> None:
    source = draws.Gaussians.of_accuracy(0.25, n_classes=4, n_dims=20, rng=np.random.default_rng(0))
    assert np.abs(source.corners).max() < 1e-6


@pytest.mark.parametrize(("n_tracks", "n_classes"), [(8732, 10), (230, 2), (90, 9)])
def test_all_tracks_have_a_class_and_the_largest_has_twice_the_smallest(
    draws: ModuleType, n_tracks: int, n_classes: int
) -> None:
    counts = draws.class_counts(n_tracks, n_classes)
    assert counts.sum() == n_tracks
    assert counts[-1] / counts[0] == pytest.approx(2, rel=0.3)


def test_draws_depend_on_what_they_are_for_and_on_nothing_else(make_cell: Any) -> None:
    cell, y = make_cell(), np.zeros(5, dtype=np.int64)
    first = cell.draw(y, purpose="tracks")
    np.testing.assert_array_equal(first, make_cell().draw(y, purpose="tracks"))
    others = [
        cell.draw(y, purpose="fresh"),
        replace(cell, model="ear").draw(y, purpose="tracks"),
        replace(cell, seed=1).draw(y, purpose="tracks"),
    ]
    assert not any(np.array_equal(first, other) for other in others)


def test_all_models_of_a_task_have_the_same_labels(make_cell: Any) -> None:
    labels = [make_cell(model=model).labels for model in ("eye", "ear")]
    np.testing.assert_array_equal(*labels)


def test_the_cells_are_those_of_the_paper(draws: ModuleType) -> None:
    cells = draws.paper_cells(None, None, scale=1, seed=0)
    assert len({(cell.task, cell.model) for cell in cells}) == len(cells) == len(paper_scores())
    sizes = {cell.task: cell.n_tracks for cell in cells}
    assert sizes == {task.task: task.size for task in paper_tasks()}
    assert [c.n_dims for c in cells[:8]] == [200, 200, 256, 256, 128, 256, 512, 1280]
    assert all(cell.paper < cell.bayes < 1 for cell in cells)


@pytest.fixture(scope="module")
def written(
    job: Callable[[str], ModuleType], make_cell: Any, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Any, list[Any]]:
    """A catalogue of two tasks and two models."""
    cells = [
        make_cell(task=name, model=model, n_tracks=n, n_dims=n_dims)
        for name, n in (("colours", 40), ("shades", 30))
        for model, n_dims in (("eye", 20), ("ear", 33))
    ]
    folder = tmp_path_factory.mktemp("drawn")
    return job("coverage_catalogue").write_catalogue(folder, cells), cells


def test_what_is_written_is_whole(written: tuple[Any, list[Any]]) -> None:
    report = verify(written[0].out)
    assert report.problems == ()
    assert (report.n_tracks, dict(report.n_rows)) == (70, {"eye": 70, "ear": 70})


def test_tables_hold_the_draws_and_manifests_their_labels(
    written: tuple[Any, list[Any]],
) -> None:
    catalogue, cells = written
    table = open_output(catalogue.out).tracks("ear")
    vector_of = dict(zip(table.track_ids, table.to_numpy(), strict=True))
    file, labels = catalogue.tasks[1]
    cohort = internal(task(str(file)), str(labels), out=str(catalogue.out)).cohort
    cell = cells[3]
    np.testing.assert_array_equal(cohort.y, cell.labels)
    expected = cell.draw(cell.labels, purpose="tracks")
    np.testing.assert_array_equal([vector_of[name] for name in cohort.track_ids], expected)


def best_probe(cell: Any) -> Probe:
    """The nearest corner as a network: each hidden unit is half of a projection."""
    source = cell.source()
    corners = source.corners @ source.basis.T
    weights = corners.T.astype(np.float32)
    n_dims, n_classes = weights.shape
    offsets = (-(corners**2).sum(axis=1) / 2).astype(np.float32)
    zeros, ones = np.zeros(n_dims, np.float32), np.ones(n_dims, np.float32)
    halves: Float32 = np.vstack([np.eye(n_classes), -np.eye(n_classes)]).astype(np.float32)
    w1 = np.hstack([weights, -weights])
    return Probe(
        cell.classes, zeros, ones, w1, np.zeros(2 * n_classes, np.float32), halves, offsets
    )


def test_the_best_probe_is_found_to_be_as_good_as_can_be(judge: ModuleType, make_cell: Any) -> None:
    cell = make_cell()
    assert judge.true_accuracy([best_probe(cell)], cell) == pytest.approx(cell.bayes, abs=0.012)


def test_the_true_accuracy_is_the_mean_over_the_folds(judge: ModuleType, make_cell: Any) -> None:
    cell, other = make_cell(), make_cell(seed=1)
    good, useless = best_probe(cell), best_probe(other)
    each = [judge.true_accuracy([probe], cell, n_fresh=3000) for probe in (good, useless)]
    both = judge.true_accuracy([good, useless], cell, n_fresh=3000)
    assert both == pytest.approx(np.mean(each))
    assert each[0] > each[1] + 0.2


def test_a_cell_that_was_not_swept_is_one_line(
    judge: ModuleType, written: tuple[Any, list[Any]]
) -> None:
    with pytest.raises(OutputError, match="has no score of eye on colours; run the sweep"):
        judge.judge(written[0].out, written[1])


def test_the_best_score_is_above_itself_half_of_the_time(judge: ModuleType, make_cell: Any) -> None:
    cell = make_cell()
    assert judge.p_above_bayes(cell.bayes, cell) == pytest.approx(0.5, abs=0.05)


def test_a_score_that_cannot_be_is_called_so(judge: ModuleType, make_cell: Any) -> None:
    cell = make_cell()
    assert judge.p_above_bayes(cell.bayes + 0.15, cell) < 1e-3
    assert judge.p_above_bayes(0.0, cell) == 1


def test_the_configuration_of_the_sweep_is_whole(
    job: Callable[[str], ModuleType], written: tuple[Any, list[Any]], monkeypatch: Any
) -> None:
    monkeypatch.setattr(sys, "argv", ["probe_coverage.py", "--repeats", "2", "--local"])
    script = job("probe_coverage")
    path = script.sweep_file(written[0], script.arguments())
    config = sweep_config(yaml.safe_load(path.read_text()))
    assert config.keep_probes
    assert config.local
    assert (config.repeats, config.controls, len(config.tasks)) == (2, 0, 2)


GOOD = {
    "n_cells": 128,
    "n_inside": 115,
    "n_above_bayes": 0,
    "wall_s": 1800.0,
    "peak_pss_bytes": 4 * 2**30,
}


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"n_inside": 114}, "114 of 128 intervals hold the truth, not 115"),
        ({"n_above_bayes": 1}, "1 scores are above the best possible one"),
        ({"wall_s": 1801.0}, "the sweep took 1801 s"),
        ({"peak_pss_bytes": 5 * 2**30}, "took 5.00 GiB"),
    ],
)
def test_each_bound_can_be_broken(
    job: Callable[[str], ModuleType], changes: dict[str, Any], fault: str
) -> None:
    script = job("probe_coverage")
    assert script.faults_of(GOOD) == []
    (found,) = script.faults_of(GOOD | changes)
    assert fault in found
