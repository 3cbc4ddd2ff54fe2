"""The benchmark of all models: its figures, its ceilings, its memory samples, one measurement."""

from __future__ import annotations

import doctest
import importlib
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

import embedlib
from embedlib.audio.encode import write_audio
from embedlib.audio.synth import synthesise_music
from embedlib.errors import ConfigError, RunError
from embedlib.tables.reader import open_output

ROOT = Path(__file__).parents[2]
MODEL = "untrained-deepsquare-k16-3"
CONFIG = {
    "audio": [],
    "models": ["all"],
    "engines": [],
    "precision": "f32",
    "minutes": 10,
    "rounds": 3,
    "ceilings": {},
}


FROM_THE_SCRIPT = (
    *("table", "front_end", "signal", "audio_s", "n_files", "n_shards", "n_patches", "n_filled"),
    "cpu_s",
)


@pytest.fixture(scope="module", autouse=True)
def jobs() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "jobs"))
        yield


@pytest.fixture(scope="module")
def costs(jobs: None) -> ModuleType:
    return importlib.import_module("bench_costs")


@pytest.fixture(scope="module")
def memory(jobs: None) -> ModuleType:
    return importlib.import_module("bench_memory")


@pytest.fixture(scope="module")
def models(jobs: None) -> ModuleType:
    return importlib.import_module("bench_models")


def parts_of(costs: ModuleType, model: str, **other: Any) -> Any:
    """Parts of a minute of audio: 1 s decode, 2 s resampling, 3 s front end, 10 s for the model."""
    cpu_s = {"decode": 1.0, "resample": 2.0, "front end": 3.0, "cut": 0.5}
    cpu_s |= {"patch input": 4.0, "inference": 6.0, "readout": 0.5, "write": 0.5}
    values = {
        "model": model,
        "engine": "openvino",
        "table": model,
        "front_end": "mel",
        "signal": "16000 Hz, 1 ch",
        "audio_s": 60.0,
        "n_files": 3,
        "n_shards": 3,
        "n_patches": 30,
        "n_filled": 10,
        "cpu_s": cpu_s,
        "wall_s": 20.0,
    }
    return costs.Parts(**(values | other))


def pass_of(stream_cpu_s: float, n_patches: int) -> Any:
    figures = importlib.import_module("bench_figures")
    times = dict.fromkeys(("timed_s", "stream_s", "load_s", "cpu_s", "wall_s"), 99.0)
    counts = {"audio_s": 60.0, "stream_audio_s": 60.0, "n_files": 3, "n_patches": n_patches}
    return figures.Run(contender="pass", stream_cpu_s=stream_cpu_s, **times, **counts)


def round_of(costs: ModuleType, together_s: float, **other: Any) -> Any:
    parts = [parts_of(costs, "a"), parts_of(costs, "b")]
    separate = [pass_of(26.0, 30), pass_of(26.0, 30)]
    return replace(costs.Round(parts, separate, pass_of(together_s, 60)), **other)


@pytest.mark.parametrize("name", ["bench_costs", "bench_memory"])
def test_the_examples_run(name: str) -> None:
    result = doctest.testmod(importlib.import_module(name))
    assert result.attempted
    assert not result.failed


def test_models_of_one_front_end_share_its_pass(costs: ModuleType) -> None:
    assert costs.parts_s([parts_of(costs, "a"), parts_of(costs, "b")]) == 1 + 2 + 3 + 2 * 10


def test_another_front_end_of_the_same_signal_is_resampled_once(costs: ModuleType) -> None:
    parts = [parts_of(costs, "a"), parts_of(costs, "b", front_end="other")]
    assert costs.parts_s(parts) == 1 + 2 + 2 * 3 + 2 * 10


def test_what_several_models_had_measured_counts_by_its_median(costs: ModuleType) -> None:
    times = [{**parts_of(costs, "a").cpu_s, "decode": s} for s in (1.0, 9.0, 2.0)]
    shared = costs.shared_s([parts_of(costs, "a", cpu_s=cpu_s) for cpu_s in times])
    assert shared == {"decode": 2.0, "resample to 16000 Hz, 1 ch": 2.0, "front end mel": 3.0}


def test_what_a_run_adds_of_its_own_is_no_part(costs: ModuleType) -> None:
    slow = {**parts_of(costs, "a").cpu_s, "cut": 50.0, "readout": 50.0, "write": 50.0}
    assert costs.parts_s([parts_of(costs, "a", cpu_s=slow)]) == 16.0


def test_one_pass_is_held_against_the_parts_of_its_own_round(costs: ModuleType) -> None:
    found = costs.ratios([round_of(costs, s) for s in (26.0, 52.0, 28.6)])
    assert found[costs.TO_PARTS] == pytest.approx({"median": 1.1, "least": 1.0, "greatest": 2.0})
    assert found[costs.TO_SEPARATE]["greatest"] == 2.0


def test_costs_are_by_minute_of_audio(costs: ModuleType) -> None:
    found = costs.costs([parts_of(costs, "a", audio_s=120.0)])["a openvino"]
    assert found["inference"] == 3.0
    assert found["filled"] == 0.25
    assert costs.passes([round_of(costs, 30.0)])["one pass"] == 30.0


def test_engines_of_one_model_are_not_mixed_up(costs: ModuleType) -> None:
    slow = {**parts_of(costs, "a").cpu_s, "inference": 60.0}
    found = costs.costs([parts_of(costs, "a"), parts_of(costs, "a", engine="tf", cpu_s=slow)])
    assert [row["inference"] for row in found.values()] == [6.0, 60.0]


@pytest.mark.parametrize("side", ["parts", "separate"])
def test_a_side_that_embeds_less_is_refused(costs: ModuleType, side: str) -> None:
    found = round_of(costs, 26.0)
    costs.require_same_patches(found)
    with pytest.raises(RunError, match="embedded 30 patches, the one pass 60"):
        costs.require_same_patches(replace(found, **{side: getattr(found, side)[:1]}))


def test_a_ceiling_that_is_just_reached_is_not_broken(costs: ModuleType) -> None:
    assert not costs.broken_ceilings({"a": 1.1}, {"a": 1.1, "what another mode measures": 3.0})


def test_a_ceiling_for_an_unknown_figure_is_refused_before_anything_runs(
    models: ModuleType, tmp_path: Path
) -> None:
    config = models.bench_config(CONFIG | {"ceilings": {"one pass": 1.0}}, origin="FILE")
    with pytest.raises(ConfigError, match="'one pass'; there are one pass / its parts"):
        models.run(config, tmp_path, [0])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("change", "key"),
    [({"minuts": 3}, "minuts"), ({"rounds": 0}, "rounds"), ({"precision": "f16"}, "precision")],
)
def test_a_wrong_key_of_the_configuration_is_named(
    models: ModuleType, change: dict[str, Any], key: str
) -> None:
    with pytest.raises(ConfigError, match=f"FILE: {key}: "):
        models.bench_config(CONFIG | change, origin="FILE")


def test_all_are_the_models_of_the_paper(models: ModuleType) -> None:
    config = models.bench_config(CONFIG | {"models": ["all", "maest"]}, origin="FILE")
    assert len(models.named_models(config)) == 9


def test_files_and_folders_are_audio(models: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    files = [tmp_path / "a.mp3", tmp_path / "folder" / "b.flac"]
    for file in files:
        file.touch()
    values = {"audio": [files[0], tmp_path / "folder"]}
    config = models.bench_config(CONFIG | values, origin="FILE")
    links = models.lay_out_audio(config, tmp_path / "links").iterdir()
    assert {link.readlink() for link in links} == set(files)


def test_songs_are_made_where_no_audio_is_given(models: ModuleType, tmp_path: Path) -> None:
    config = models.bench_config(CONFIG | {"minutes": 0.05}, origin="FILE")
    files = sorted(models.lay_out_audio(config, tmp_path / "songs").iterdir())
    assert [file.suffix for file in files] == [".mp3", ".flac", ".m4a"]
    assert all(file.stat().st_size for file in files)


def write_process(proc: Path, pid: int, *, parent: int, title: str, pss_kib: int) -> None:
    folder = proc / str(pid)
    folder.mkdir(parents=True)
    (folder / "stat").write_text(f"{pid} (a ) name) S {parent} 0 0")
    (folder / "cmdline").write_bytes(title.encode() + b"\0")
    (folder / "smaps_rollup").write_text(
        f"0-1 ---p 0 [rollup]\nRss: {2 * pss_kib} kB\nPss: {pss_kib} kB\nPss_Anon: 1 kB\n"
    )


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    """A driver with two workers below a helper of Ray, and a stranger."""
    write_process(tmp_path, 7, parent=1, title="python", pss_kib=10)
    write_process(tmp_path, 8, parent=7, title="raylet", pss_kib=20)
    write_process(tmp_path, 30, parent=8, title="ray::ModelActor.embed", pss_kib=40)
    write_process(tmp_path, 31, parent=8, title="ray::ModelActor", pss_kib=40)
    write_process(tmp_path, 9, parent=1, title="ray::ModelActor", pss_kib=999)
    (tmp_path / "meminfo").touch()
    return tmp_path


def test_memory_is_that_of_the_process_and_all_below_it(memory: ModuleType, proc: Path) -> None:
    sample = memory.sample_tree(7, proc=proc)
    assert memory.total(sample) == memory.Held(4, 110 * 1024, 220 * 1024)
    assert sample["model workers"] == memory.Held(2, 80 * 1024, 160 * 1024)
    assert set(sample) == {"driver", "Ray", "model workers"}


def test_a_process_that_ends_while_it_is_looked_at_holds_nothing(
    memory: ModuleType, proc: Path
) -> None:
    (proc / "30" / "smaps_rollup").write_text("")
    (proc / "31" / "smaps_rollup").unlink()
    assert memory.total(memory.sample_tree(7, proc=proc)).pss_bytes == 30 * 1024


def test_the_peak_is_that_of_the_sum_and_not_the_sum_of_peaks(memory: ModuleType) -> None:
    early = {"driver": memory.Held(1, 5, 6), "Ray": memory.Held(2, 1, 2)}
    late = {"driver": memory.Held(1, 4, 5), "Ray": memory.Held(2, 3, 4)}
    found = memory.peaks([early, late, {}])
    assert found["peak"] == {"n_processes": 3, "pss_bytes": 7, "rss_bytes": 9}
    assert found["at_peak"]["driver"]["pss_bytes"] == 4
    assert found["own_peaks"]["driver"]["pss_bytes"] == 5


def test_a_run_that_fails_is_one_line(memory: ModuleType) -> None:
    with pytest.raises(RunError, match="ended with code 2: "):
        memory.follow(["extract", "--no-such-flag"], cores=os.sched_getaffinity(0))


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clips")
    for name, duration_s in (("long.flac", 20.0), ("short.mp3", 4.0)):
        music = synthesise_music(duration_s, sr_hz=44_100, n_channels=2, style="chords")
        write_audio(folder / name, music, sr_hz=44_100)
    return folder


def test_the_parts_embed_what_a_run_embeds(
    monkeypatch: pytest.MonkeyPatch, clips: Path, tmp_path: Path
) -> None:
    monkeypatch.setenv("EMBEDLIB_CACHE", str(tmp_path / "cache"))
    parts = importlib.import_module("bench_parts")
    job = {"model": MODEL, "options": {"engine": "openvino"}, "out": str(tmp_path / "parts")}
    found = parts.measure_parts({**job, "audio": str(clips), "warm_up": str(clips)})
    summary = embedlib.extract([str(clips)], models=[MODEL], out=tmp_path / "run", local=True)
    assert (found["n_patches"], found["n_files"]) == (summary.n_patches, 2)
    columns = ["track_id", "patch_embeddings"]
    files = list((tmp_path / "parts").rglob("part-*.parquet"))
    written = pq.read_table(files, columns=columns).sort_by("track_id")
    run = open_output(tmp_path / "run").tracks(MODEL).to_arrow(columns).sort_by("track_id")
    assert written.equals(run.select(columns))
    assert min(found["cpu_s"].values()) > 0


def test_a_round_measures_parts_and_passes_of_the_same_work(
    models: ModuleType, monkeypatch: pytest.MonkeyPatch, clips: Path, tmp_path: Path
) -> None:
    monkeypatch.setenv("EMBEDLIB_CACHE", str(tmp_path / "cache"))
    bench = models.Bench(tmp_path, 0, clips, clips, "f32")
    found = models.measure_round(bench, [MODEL], "openvino", n_round=1)
    (parts,), (alone,) = found.parts, found.separate
    assert parts.audio_s == pytest.approx(24.0, abs=0.1)
    assert parts.n_patches == alone.n_patches == found.together.n_patches
    assert 0 < found.together.stream_cpu_s < found.together.cpu_s


def test_cpu_time_of_other_threads_counts(rng: np.random.Generator) -> None:
    tally = importlib.import_module("bench_parts").Tally()
    with tally.of("stage"), ThreadPoolExecutor(1) as pool:
        pool.submit(np.sort, rng.random(1_000_000)).result()
    assert tally.cpu_s["stage"] > 0.005


def test_a_model_that_a_further_engine_refuses_is_noted_and_left_out(
    models: ModuleType, costs: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refuse(script: str, job: dict[str, Any], **_: Any) -> dict[str, Any]:
        asked.append(job["model"])
        if job["model"] == "b":
            raise RunError("parts b tf ended with code 1: no bf16")
        return {"wall_s": 1.0, **measured}

    asked: list[str] = []
    measured = {k: getattr(parts_of(costs, "a"), k) for k in FROM_THE_SCRIPT}
    monkeypatch.setattr(models, "measure", refuse)
    bench = models.Bench(tmp_path, 0, tmp_path, tmp_path, "bf16")
    for n_round in (1, 2):
        found = models.measure_engine(bench, ["a", "b"], "tf", n_round=n_round)
        assert [part.model for part in found] == ["a"]
    assert bench.refused == {"b tf": "parts b tf ended with code 1: no bf16"}
    assert asked == ["a", "b", "a"]


def test_tables_tell_costs_and_what_was_not_measured(costs: ModuleType) -> None:
    rounds = [round_of(costs, 30.0)]
    result = {
        "rounds": [asdict(each) for each in rounds],
        "costs": costs.costs(rounds[0].parts),
        "passes": costs.passes(rounds),
        "ratios": costs.ratios(rounds),
        "refused": {"a onnx": "no graph"},
        "untrained": ["untrained-a"],
    }
    own, shared, ratios = costs.cost_tables(result, precision="f32")
    assert own["rows"][0] == ["a", "openvino", "0.500", "4.000", "6.000", "0.500", "0.500", "25%"]
    assert own["notes"][1:] == ["Not measured: a onnx: no graph", "Random weights: untrained-a"]
    assert ["one pass", "30.000"] in shared["rows"]
    assert ratios["rows"][0] == [costs.TO_PARTS, "1.154", "1.154", "1.154"]


def test_the_table_of_memory_ends_with_all_processes(memory: ModuleType) -> None:
    gib = 2**30
    samples = [{"driver": memory.Held(1, gib, 2 * gib), "Ray": memory.Held(3, 2 * gib, 4 * gib)}]
    found = {**memory.peaks(samples), "n_cores": 2, "n_samples": 1}
    assert memory.memory_table(found)["rows"] == [
        ["Ray", "3", "2.00", "4.00", "2.00"],
        ["driver", "1", "1.00", "2.00", "1.00"],
        ["all", "4", "3.00", "6.00", "3.00"],
    ]
