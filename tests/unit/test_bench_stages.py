"""The benchmark of stages: counted operations, shares, limits, one measurement of each kind."""

from __future__ import annotations

import doctest
import importlib
import os
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from embedlib.audio.encode import write_audio
from embedlib.audio.synth import synthesise_music
from embedlib.config import read_config
from embedlib.engines.openvino_core import import_openvino, openvino_core
from embedlib.errors import ConfigError

ROOT = Path(__file__).parents[2]
MODEL = "deepsquare-k16-3"
INFERENCE: dict[str, Any] = {
    "peaks": {"f32": {"slow": 50.0, "fast": 100.0}, "bf16": {"slow": 300.0, "fast": 200.0}},
    "numpy_peak": 10.0,
    "models": {
        name: {
            "table": name,
            "takes_bf16": name == "a",
            "batch_size": 4,
            "hop_s": 2.0,
            "operations": {"n_all": 60, "n_on_padding": 6},
            "patch_ms": {"f32": {"4": 800.0, "1": 1000.0}, "bf16": {"4": 400.0, "1": 300.0}},
        }
        for name in ("a", "b")
    },
}
BARE = {
    "audio_s": 30.0,
    "cpu_s": {"decode": 0.25, "16000 Hz, 1 ch": 0.5, "mel": 1.0, "other": 2.0},
    "disk_bytes_per_s": 1000.0,
    "empty_commit_s": 0.125,
}


@pytest.fixture(scope="module", autouse=True)
def jobs() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "jobs"))
        yield


@pytest.fixture(scope="module")
def figures(jobs: None) -> ModuleType:
    return importlib.import_module("bench_stage_figures")


@pytest.fixture(scope="module")
def tables(jobs: None) -> ModuleType:
    return importlib.import_module("bench_stage_tables")


@pytest.fixture(scope="module")
def operations(jobs: None) -> ModuleType:
    return importlib.import_module("bench_operations")


@pytest.fixture(scope="module")
def stages(jobs: None) -> ModuleType:
    return importlib.import_module("bench_stages")


def parts_of(model: str, **other: Any) -> Any:
    """Parts of a minute: 1 s decode, 2 s resampling, 3 s front end, 6 s inference, 5 s beside."""
    cpu_s = {"decode": 1.0, "resample": 2.0, "front end": 3.0, "inference": 6.0}
    cpu_s |= dict.fromkeys(("cut", "patch input", "readout", "write", "commit"), 1.0)
    values = {"engine": "openvino", "table": model, "front_end": "mel", "signal": "16000 Hz, 1 ch"}
    counts = {"audio_s": 60.0, "n_files": 3, "n_shards": 2, "n_patches": 10, "n_filled": 2}
    costs = importlib.import_module("bench_costs")
    return costs.Parts(model=model, cpu_s=cpu_s, wall_s=20.0, **{**values, **counts, **other})


def run_of(stream_cpu_s: float, **other: Any) -> Any:
    times = dict.fromkeys(("timed_s", "stream_s", "load_s", "cpu_s", "wall_s"), 50.0)
    counts = {"audio_s": 60.0, "stream_audio_s": 60.0, "n_files": 3, "n_patches": 20}
    run = importlib.import_module("bench_figures").Run
    return run(contender="pass", stream_cpu_s=stream_cpu_s, **{**times, **counts, **other})


def one_layer(kind: str, **padding: Any) -> Any:
    """A layer on an image of 8 x 6 with 4 channels, or a dense one from 4 to 5."""
    ov = import_openvino()
    ops = importlib.import_module("openvino.opset13")
    weights = np.ones((5, 4, 3, 3), np.float32)
    x = ops.parameter([2, 4, 8, 6], np.float32)
    if kind == "convolution":
        y = ops.convolution(x, weights, [1, 1], [0, 0], [0, 0], [1, 1], **padding)
    elif kind == "grouped":
        y = ops.group_convolution(
            x, weights.reshape(5, 4, 1, 3, 3)[:4, :1], [1, 1], [0, 0], [0, 0], [1, 1], **padding
        )
    else:
        x = ops.parameter([2, 4], np.float32)
        y = ops.matmul(x, np.ones((5, 4), np.float32), False, True)
    return ov.Model([y], [x])


@pytest.mark.parametrize(
    ("kind", "n_all"),
    [
        ("convolution", 2 * 2 * 5 * 6 * 4 * 4 * 9),
        ("grouped", 2 * 2 * 4 * 6 * 4 * 9),
        ("dense", 2 * 2 * 5 * 4),
    ],
)
def test_an_operation_is_a_multiplication_or_an_addition(
    operations: ModuleType, kind: str, n_all: int
) -> None:
    assert operations.count_operations(one_layer(kind)) == operations.Operations(n_all, 0)


def test_taps_on_padding_count_and_are_told(operations: ModuleType) -> None:
    found = operations.count_operations(one_layer("convolution", auto_pad="same_upper"))
    per_tap = 2 * 2 * 5 * 4
    inside = (3 * 8 - 2) * (3 * 6 - 2)
    assert found == operations.Operations(per_tap * 48 * 9, per_tap * (48 * 9 - inside))


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("dilation", [1, 2])
def test_taps_inside_are_those_of_a_convolution_of_ones(
    operations: ModuleType, stride: int, dilation: int
) -> None:
    n_in, span, n_before = 11, 4, 2
    padded = np.concatenate([np.zeros(n_before), np.ones(n_in), np.zeros(3)])
    reach = (span - 1) * dilation + 1
    starts = range(0, len(padded) - reach + 1, stride)
    expected = sum(padded[start : start + reach : dilation].sum() for start in starts)
    found = operations.taps_inside(
        n_in=n_in, n_out=len(starts), span=span, stride=stride, dilation=dilation, n_before=n_before
    )
    assert found == expected


def test_the_peak_of_bf16_is_measured_beside_that_of_f32(
    operations: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(operations, "PEAK_S", 0.01)
    found = operations.measure_peaks(openvino_core(), ["f32", "bf16"])
    assert {len(products) for products in found.values()} == {2}
    assert min(min(products.values()) for products in found.values()) > 1e9


@pytest.mark.parametrize("name", ["bench_operations", "bench_stage_figures"])
def test_the_examples_run(name: str) -> None:
    result = doctest.testmod(importlib.import_module(name))
    assert result.attempted
    assert not result.failed


def test_stages_add_up_to_the_pass(figures: ModuleType) -> None:
    found = figures.stages_s([parts_of("a"), parts_of("b")], run_of(40.0))
    assert found["front end"] == 3.0
    assert found["inference"] == 12.0
    assert found["commit"] == 2.0
    assert found[figures.OWN] == 40.0 - 6 - 2 * 11
    assert sum(found.values()) == 40.0


def test_operations_are_held_against_the_faster_product_of_their_precision(
    figures: ModuleType,
) -> None:
    parts = [parts_of("a"), parts_of("b")]
    assert figures.operations_s(parts, INFERENCE, "f32") == 2 * 600 / 100
    assert figures.operations_s(parts, INFERENCE, "bf16") == 600 / 300 + 600 / 100


def test_limits_are_for_the_audio_of_the_parts(figures: ModuleType) -> None:
    parts = [parts_of("a"), parts_of("b", front_end="other")]
    found = figures.limits_s(parts, BARE, n_bytes=500, inference_s=7.0)
    assert found == {
        "decode": 0.5,
        "resample": 1.0,
        "front end": 6.0,
        "inference": 7.0,
        "write": 0.5,
        "commit": 0.25,
    }


def test_the_middle_is_that_of_each_stage(figures: ModuleType) -> None:
    passes = [
        figures.Pass({"decode": a, "inference": b}, {"inference": 3.0}, 9.0)
        for a, b in ((1.0, 9.0), (2.0, 8.0), (9.0, 1.0))
    ]
    found = figures.middle(passes)
    assert found.stage_s == {"decode": 2.0, "inference": 8.0}
    assert found.to_limit == 0.3
    assert found.beside_inference_ms == pytest.approx(2 / 3.6)


def test_bars_hold_what_tables_hold_and_are_never_negative(
    figures: ModuleType, tables: ModuleType
) -> None:
    found = figures.Pass({"inference": 4.0, figures.OWN: -1.0}, {"inference": 3.0}, 9.0)
    (bars,) = tables.bars_of({"eight, f32": found})
    whole, beside = bars["series"]
    assert whole["parts"] == [["inference", 4.0], [figures.OWN, 0.0]]
    assert (whole["limit"], beside["limit"], beside["parts"]) == (3.0, 0, [[figures.OWN, 0.0]])
    assert importlib.import_module("bench_bars").drawing(bars).has_limits


@pytest.mark.parametrize(
    ("l2", "cosine", "is_allowed"),
    [(3e-2, 0.999, True), (3.1e-2, 1.0, False), (1e-3, 0.998, False)],
)
def test_bf16_is_allowed_within_both_bounds(
    figures: ModuleType, tables: ModuleType, l2: float, cosine: float, is_allowed: bool
) -> None:
    found = {"max_relative_l2": l2, "min_cosine": cosine, "n_patches": 1}
    assert figures.is_allowed(found) == is_allowed
    assert tables.parity_table({"m": found})["rows"][0][-1] == ("yes" if is_allowed else "no")


def test_a_batch_that_was_not_measured_has_a_dash(tables: ModuleType) -> None:
    models = {"a": INFERENCE["models"]["a"], "b": {**INFERENCE["models"]["b"]}}
    models["b"]["patch_ms"] = {"f32": {"4": 600.0}}
    *_, table = tables.inference_tables({**INFERENCE, "models": models})
    assert table["columns"][3:5] == ["1", "4"]
    assert table["rows"][0][3:] == ["1000.00", "800.00", "1.00", "75%"]
    assert table["rows"][-1][3:5] == ["-", "600.00"]


def test_what_bf16_does_to_a_probe_is_told(tables: ModuleType) -> None:
    cell = {"low": 0.1, "high": 0.9, "n_tracks": 9}
    accuracies = {"f32": {"accuracy": 0.5, **cell}, "bf16": {"accuracy": 0.475, **cell}}
    table = tables.probe_table({"accuracies": accuracies, "n_changed": 3})
    assert table["rows"][1] == ["bf16", "9", "47.5%", "10.0%", "90.0%"]
    assert table["notes"] == ["bf16 - f32: -2.5 points; the probe says another class of 3 clips."]


def config_of(stages: ModuleType, **change: Any) -> Any:
    values = read_config(ROOT / "configs" / "bench" / "stages.yaml")
    short = values.pop("short")
    return stages.bench_config({**values, **short, **change}, origin="FILE")


@pytest.mark.parametrize("change", [{"rounds": 0}, {"groups": ["five"]}, {"minute": 1}])
def test_a_wrong_key_is_named(stages: ModuleType, change: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=f"FILE: {next(iter(change))}"):
        config_of(stages, **change)


def test_a_limit_on_an_unknown_figure_is_refused_before_anything_runs(
    stages: ModuleType, tmp_path: Path
) -> None:
    config = config_of(stages, ceilings={"nine, f32": 1.0})
    with pytest.raises(ConfigError, match="'nine, f32'"):
        stages.run(config, tmp_path, [0])
    assert not list(tmp_path.iterdir())


def test_all_cores_are_held_against_the_operations_of_all_cores(stages: ModuleType) -> None:
    eight = importlib.import_module("bench_stage_figures").Pass({}, {"inference": 1800.0}, 1.0)
    run = run_of(0.0, stream_s=20.0)
    found = stages.all_cores_figures({"f32": run}, eight={"f32": eight}, n_cores=2)
    assert list(found.values()) == [0.75, 3.0]
    assert found.keys() <= stages.figure_names()


def test_a_model_that_bf16_would_change_stays_in_f32(stages: ModuleType, tmp_path: Path) -> None:
    own = stages.Stages(config_of(stages, weights=tmp_path), tmp_path, [0], tmp_path, tmp_path)
    assert own.named("spleeter-5s-3", "bf16") == "spleeter-5s-3:precision=f32"
    assert own.named("spleeter-5s-3", "f32") == "spleeter-5s-3"
    assert own.named("msd-musicnn-1", "bf16") == "msd-musicnn-1"


def test_each_group_is_in_the_next_one(stages: ModuleType) -> None:
    sizes = [len(models) for models in stages.GROUPS.values()]
    assert sizes == [1, 4, 8]
    assert set(stages.GROUPS["MusiCNN"]) < set(stages.GROUPS["four"]) < set(stages.GROUPS["eight"])


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clip")
    music = synthesise_music(13.0, sr_hz=44_100, n_channels=2, style="chords")
    write_audio(folder / "clip.flac", music, sr_hz=44_100)
    return folder


def test_bare_stages_hear_all_of_the_audio(clip: Path, tmp_path: Path) -> None:
    bare = importlib.import_module("bench_bare")
    job = {"audio": str(clip), "front_ends": ["musicnn-mel", "mono-48k"], "out": tmp_path / "out"}
    found = bare.measure_bare(job)
    assert found["audio_s"] == pytest.approx(13.0)
    names = {"decode", "16000 Hz, 1 ch", "48000 Hz, 1 ch", "musicnn-mel", "mono-48k"}
    assert found["cpu_s"].keys() == names
    assert min(found["disk_bytes_per_s"], found["empty_commit_s"]) > 0


def test_inference_is_measured_in_each_batch_that_is_short_enough(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("EMBEDLIB_CACHE", str(tmp_path / "cache"))
    inference = importlib.import_module("bench_inference")
    monkeypatch.setattr(inference, "measure_peaks", lambda *_: {"f32": {"product": 1.0}})
    job = {"models": [MODEL], "precisions": ["f32"], "batches": [1, 4, 1000]}
    found = inference.measure_inference(job | {"call_s": 0.5, "turn_s": 0.01, "out": tmp_path})
    model = found["models"][MODEL]
    assert model["patch_ms"]["f32"].keys() == {4, 1}
    assert model["operations"]["n_all"] == pytest.approx(0.357e9, rel=1e-3)
    assert model["hop_s"] == pytest.approx(5.944, abs=1e-3)


@pytest.mark.slow
def test_a_whole_measurement_of_one_model_adds_up(
    stages: ModuleType, monkeypatch: pytest.MonkeyPatch, clip: Path, tmp_path: Path
) -> None:
    monkeypatch.setenv("EMBEDLIB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setitem(stages.GROUPS, "MusiCNN", (MODEL,))
    change = {"audio": [clip], "groups": ["MusiCNN"], "minutes": 0.2, "ceilings": {}, "floors": {}}
    (scratch := tmp_path / "scratch").mkdir()
    found = stages.run(config_of(stages, **change), scratch, [min(os.sched_getaffinity(0))])
    assert found["broken_floors"] == []
    (parity,) = found["parities"].values()
    assert 0 < parity["max_relative_l2"] < 3e-2
    assert found["figures"].keys() <= stages.figure_names()
    for one in found["rounds"]["f32"]:
        assert one["passes"]["MusiCNN"]["n_patches"] == one["parts"][MODEL]["n_patches"]
