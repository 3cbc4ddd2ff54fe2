"""`bench.py gpu`: its figures from made-up runs, and a machine without a card."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from embedlib.config import read_config

ROOT = Path(__file__).parents[2]


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "jobs"))
    return importlib.import_module("bench_gpu")


@pytest.fixture
def peak(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "jobs"))
    return importlib.import_module("bench_gpu_peak")


def test_a_speed_is_that_of_one_card_and_its_share_counts_all_operations(bench: ModuleType) -> None:
    measured = bench.Measured((3000.0, 4000.0, 5000.0), ((0.9999, 1e-5), (0.99999, 2e-5)))
    figures = measured.figures(gflop=10.0, n_cards=2, peak_gflops=50_000.0)
    assert figures == {
        bench.SPEED: 2000.0,
        bench.SHARE: 0.4,
        bench.COSINE: 0.9999,
        bench.DISTANCE: 2e-5,
    }


def test_cards_are_those_that_the_driver_lists(bench: ModuleType, tmp_path: Path) -> None:
    assert bench.n_cards(tmp_path / "gone") == 0
    for slot in ("0000:01:00.0", "0000:02:00.0"):
        (tmp_path / slot).mkdir()
    assert bench.n_cards(tmp_path) == 2


@pytest.mark.parametrize("missing", ["onnx", "onnxruntime"])
def test_a_missing_package_is_told_with_the_line_that_installs_it(
    bench: ModuleType, missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench, "find_spec", lambda name: name != missing)
    assert bench.why_none(n_found=1).endswith("pip install 'embedlib[gpu]'")


def test_an_onnxruntime_without_cuda_is_told(
    bench: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    ort = pytest.importorskip("onnxruntime")
    monkeypatch.setattr(ort, "get_available_providers", lambda: ["CPUExecutionProvider"])
    assert bench.why_none(n_found=1).startswith("this onnxruntime knows no CUDA")


@pytest.mark.parametrize("is_short", [False, True])
def test_without_a_card_there_is_one_line_and_no_figure(
    bench: ModuleType, tmp_path: Path, is_short: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench, "n_cards", lambda: 0)
    values = read_config(ROOT / "configs" / "bench" / "gpu.yaml")
    short = values.pop("short")
    config = bench.bench_config({**values, **(short if is_short else {})}, origin="gpu.yaml")
    result = bench.run(config, tmp_path, [0])
    (table,) = result["tables"]
    assert (result["figures"], result["broken_floors"], table["rows"]) == ({}, [], [])
    assert table["notes"] == ["no NVIDIA card on this machine: nothing was measured"]
    assert list(tmp_path.iterdir()) == []


def test_every_group_has_all_its_figures(bench: ModuleType) -> None:
    names = bench.figure_names()
    assert len(names) == 1 + len(bench.FIGURES_OF_GROUP) * len(bench.GROUPS)
    figures = dict.fromkeys(names, 0.5)
    rows = list(bench.rows_of(figures, bench.GROUPS))
    assert rows[0] == ("MusiCNN", "0", "50.0%", "0.500000", "5.0e-01")


def test_the_peak_of_a_device_is_measured(peak: ModuleType) -> None:
    pytest.importorskip("onnxruntime")
    assert peak.measure_peak(device="cpu", side=64, measure_s=0.0) > 0.01


def test_the_product_that_is_measured_is_a_product(peak: ModuleType) -> None:
    ort = pytest.importorskip("onnxruntime")
    providers = ["CPUExecutionProvider"]
    session = ort.InferenceSession(peak.product_model(8), providers=providers)
    (weights,) = session.run(None, {"x": np.eye(8, dtype=np.float32)})
    (doubled,) = session.run(None, {"x": 2 * np.eye(8, dtype=np.float32)})
    assert weights.std() > 0.5
    assert np.array_equal(doubled, 2 * weights)
