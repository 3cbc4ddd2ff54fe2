"""The table of models in the README, and the figures that it shows."""

from __future__ import annotations

import importlib
import json
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from embedlib.errors import ConfigError
from embedlib.models.registry import model_spec, paper_models

ROOT = Path(__file__).parents[2]
JOBS = ROOT / "jobs"


def job_module(name: str) -> ModuleType:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(JOBS))
        return importlib.import_module(name)


model_table, model_rows = job_module("model_table"), job_module("model_rows")
FIGURES: dict[str, Any] = json.loads(model_table.FIGURES.read_text())
PARITIES = model_table.parities_of(FIGURES)
LOGARITHMIC = "spleeter-5s-3"

each_engine = pytest.mark.parametrize("engine", model_rows.ENGINES)
each_measured = pytest.mark.parametrize("name", paper_models())


@pytest.fixture
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMBEDLIB_CACHE", str(tmp_path))


def row_of(name: str, parity: Any = None) -> dict[str, str]:
    text = model_rows.table([model_spec(name)], {name: parity})
    header, _, row = (line.strip("| ").split(" | ") for line in text.splitlines())
    return dict(zip(header, row, strict=True))


def test_the_readme_shows_what_specs_and_figures_give() -> None:
    readme = model_table.README.read_text()
    shown = model_table.replace_section(readme, model_table.section(FIGURES))
    assert readme == shown, "run: python jobs/model_table.py --write"


def test_there_are_figures_of_every_model_that_the_paper_has() -> None:
    assert list(PARITIES) == [spec.name for spec in model_table.SPECS]
    measured = {name for name, parity in PARITIES.items() if parity is not None}
    assert measured == set(paper_models())


@each_measured
@each_engine
def test_the_nodes_of_every_engine_keep_the_bound_of_its_precision(name: str, engine: str) -> None:
    assert 0 < PARITIES[name].nodes[engine] <= model_rows.max_relative_l2(engine)


@pytest.mark.parametrize("name", [name for name in paper_models() if name != LOGARITHMIC])
def test_embeddings_are_as_near_as_their_node(name: str) -> None:
    assert PARITIES[name].vectors == PARITIES[name].nodes


def test_the_logarithm_of_spleeter_leaves_f32_fit_for_use() -> None:
    distances = PARITIES[LOGARITHMIC].vectors
    # No bound holds for all audio: a sum within rounding of 0 may change its sign.
    assert max(distances["openvino f32"], distances["onnxruntime f32"]) <= 1e-3


def test_published_weights_were_measured_as_they_are_pinned() -> None:
    measured = {name: parity for name, parity in PARITIES.items() if parity is not None}
    published = {name for name, parity in measured.items() if parity.weights == "published"}
    assert "msd-musicnn-1" in published
    assert {measured[name].sha256 for name in published} == {
        model_spec(name).weights.sha256 for name in published
    }


@each_measured
def test_bf16_is_allowed_where_embeddings_keep_its_bound(name: str) -> None:
    engine = "openvino bf16"
    is_within = PARITIES[name].vectors[engine] <= model_rows.max_relative_l2(engine)
    assert model_spec(name).takes_bf16 == is_within
    assert row_of(name, PARITIES[name])[engine].endswith("not allowed") != is_within


def test_embeddings_farther_apart_than_their_nodes_are_shown_too() -> None:
    parity, engine = PARITIES["msd-vgg-1"], "openvino f32"
    farther = replace(parity, vectors={**parity.vectors, engine: 1.2e-4})
    assert "vectors" not in row_of("msd-vgg-1", parity)[engine]
    assert row_of("msd-vgg-1", farther)[engine].endswith("; vectors 1.2e-04")


@pytest.mark.parametrize(
    ("name", "column", "shown"),
    [
        ("msd-musicnn-1", "embedding node", "`model/dense/BiasAdd`"),
        ("msd-musicnn-1", "weights", "published, sha256 pinned"),
        ("msd-vgg-1", "weights", "published, hash locked at the first download"),
        ("msd-vgg-t200", "weights", "never published: a file of your own"),
        ("msd-vgg-t200", "embedding node", "`model/flatten/Reshape`, as in its twin"),
        ("deepsquare-k16-3", "embedding node", "`input of output`, found by structure"),
        (LOGARITHMIC, "embedding node", "`conv2d_5/BiasAdd` and 4 more, as in the older file"),
        (LOGARITHMIC, "dims", "16 x 1280"),
        ("audioset-yamnet-1", "parameters", "not known"),
        ("audioset-yamnet-1", "measured with", "needs published weights"),
    ],
)
def test_a_cell_says_what_is_known(name: str, column: str, shown: str) -> None:
    assert row_of(name)[column] == shown


def test_only_what_stands_between_the_marks_is_replaced() -> None:
    begin, end = model_table.BEGIN, model_table.END
    assert model_table.replace_section(f"a\n{begin}old\n{end}z\n", "new\n") == (
        f"a\n{begin}new\n{end}z\n"
    )


@pytest.mark.parametrize(("n_begin", "n_end"), [(0, 0), (0, 1), (1, 0), (2, 1), (1, 2)])
def test_a_readme_without_its_marks_is_refused(n_begin: int, n_end: int) -> None:
    readme = model_table.BEGIN * n_begin + model_table.END * n_end
    with pytest.raises(ConfigError, match="put them where the table belongs"):
        model_table.replace_section(readme, "")


@pytest.mark.slow
@pytest.mark.usefixtures("_own_cache")
@each_measured
def test_a_new_measurement_keeps_the_bounds_too(name: str) -> None:
    pytest.importorskip("essentia")
    parity = model_table.measure(model_spec(name), model_table.music())
    for engine in model_rows.ENGINES:
        assert parity.nodes[engine] <= model_rows.max_relative_l2(engine)
