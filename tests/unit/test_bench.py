"""The benchmark: its figures, its floors, and one measurement of each kind."""

from __future__ import annotations

import doctest
import importlib
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from embedlib.audio.encode import write_audio
from embedlib.audio.synth import synthesise_music
from embedlib.config import read_config
from embedlib.errors import ConfigError, RunError, WeightsMissingError

ROOT = Path(__file__).parents[2]
CONFIG = {
    "cases": ["musicnn"],
    "audio": "music",
    "clips": "clips",
    "weights": "/w.pb",
    "minutes": 10,
    "scaling_factor": 4,
    "repeats": 3,
    "floors": {},
    "ceilings": {},
}


@pytest.fixture(scope="module")
def bench() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "jobs"))
        yield importlib.import_module("bench_extract")


@pytest.fixture(scope="module")
def rounds(bench: ModuleType) -> ModuleType:
    return importlib.import_module("bench_rounds")


@pytest.fixture(scope="module")
def cases(bench: ModuleType) -> ModuleType:
    return importlib.import_module("bench_cases")


@pytest.fixture(scope="module")
def setting(bench: ModuleType) -> ModuleType:
    return importlib.import_module("bench_setting")


@pytest.fixture(scope="module")
def figures(bench: ModuleType) -> ModuleType:
    return importlib.import_module("bench_figures")


def run_of(figures: ModuleType, contender: str, timed_s: float, **other: Any) -> Any:
    values = dict.fromkeys(("stream_s", "load_s", "cpu_s", "stream_cpu_s", "wall_s"), timed_s)
    audio_s = other.get("audio_s", 600.0)
    counts = {"audio_s": audio_s, "stream_audio_s": audio_s, "n_files": 9, "n_patches": 90}
    return figures.Run(contender=contender, timed_s=timed_s, **(values | counts | other))


@pytest.mark.parametrize("name", ["figures", "rounds", "speeds", "ray_stages", "peers", "extract"])
def test_the_examples_of_a_module_run(bench: ModuleType, name: str) -> None:
    result = doctest.testmod(importlib.import_module(f"bench_{name}"))
    assert result.attempted
    assert not result.failed


def test_a_figure_is_the_median_of_the_rounds(figures: ModuleType) -> None:
    runs = [run_of(figures, "a", timed_s) for timed_s in (2.0, 60.0, 3.0)]
    found = figures.medians(runs)["a"]
    assert found["timed_s"] == 3.0
    assert found["speed"] == 200.0


def test_contenders_are_not_mixed_up(figures: ModuleType) -> None:
    runs = [run_of(figures, name, s) for s in (1.0, 2.0, 3.0) for name in ("a", "b")]
    runs[1::2] = [replace(run, timed_s=10 * run.timed_s) for run in runs[1::2]]
    found = figures.medians(runs)
    assert [found[name]["timed_s"] for name in ("a", "b")] == [2.0, 20.0]


def test_speeds_of_unequal_amounts_of_audio_are_compared_by_rate(figures: ModuleType) -> None:
    runs = [run_of(figures, "one", 6.0), run_of(figures, "two", 12.0, audio_s=2400.0)]
    comparison = figures.Comparison("two", "one", figure="stream_speed", n_times=2)
    assert comparison.name == "two / 2 x one"
    assert comparison.ratio(figures.medians(runs)) == 1.0


def test_equal_embeddings_have_no_distance(figures: ModuleType, rng: np.random.Generator) -> None:
    embeddings = {"a.mp3": rng.normal(size=(3, 200)), "b.mp3": rng.normal(size=(5, 200))}
    found = figures.parity(embeddings, embeddings)
    assert found["min_cosine"] == pytest.approx(1.0)
    assert found["max_relative_l2"] == 0.0
    assert found["n_patches"] == 8


def test_parity_tells_the_worst_patch_and_the_worst_file(figures: ModuleType) -> None:
    theirs = {"a": np.array([[3.0, 4.0], [1.0, 0.0]]), "b": np.array([[2.0, 0.0]])}
    ours = {"a": np.array([[3.0, 4.0], [0.0, 1.0]]), "b": np.array([[4.0, 0.0]])}
    found = figures.parity(ours, theirs)
    assert found["min_cosine"] == pytest.approx(0.0)
    assert found["max_relative_l2"] == pytest.approx(1.0)


@pytest.mark.parametrize(
    "theirs",
    [{"a": np.ones((2, 200))}, {}, {"a": np.ones((3, 200)), "b": np.ones((1, 200))}],
    ids=["another number of patches", "a file less", "a file more"],
)
def test_outputs_of_another_shape_are_refused(figures: ModuleType, theirs: Any) -> None:
    with pytest.raises(RunError, match="times cannot be compared"):
        figures.parity({"a": np.ones((3, 200))}, theirs)


def test_more_audio_is_the_same_work_when_every_file_is_taken_more_often(
    figures: ModuleType,
) -> None:
    more = run_of(figures, "two", 9.0, n_files=36, n_patches=360)
    figures.require_same_work([run_of(figures, "one", 9.0), more])


def test_a_contender_that_saves_less_is_refused(figures: ModuleType) -> None:
    lazy = run_of(figures, "lazy", 1.0, n_patches=89)
    with pytest.raises(RunError, match="lazy saved 89 patches"):
        figures.require_same_work([run_of(figures, "one", 9.0), lazy])


def test_a_floor_that_needs_what_is_not_there_does_not_count(figures: ModuleType) -> None:
    floors = {"a / b": figures.Floor(at_least=3), "c / b": figures.Floor(at_least=8, needs="amx")}
    found = figures.floors_that_count(floors, names=["a / b"], facts=frozenset({"bf16"}))
    assert found == {"a / b": 3.0}


def test_a_floor_for_an_unknown_ratio_is_refused_before_anything_runs(
    figures: ModuleType,
) -> None:
    floors = {"a / c": figures.Floor(at_least=3)}
    with pytest.raises(ConfigError, match="'a / c'; there are a / b"):
        figures.floors_that_count(floors, names=["a / b"], facts=frozenset())


def test_a_floor_that_is_just_reached_is_not_broken(figures: ModuleType) -> None:
    assert not figures.broken_floors({"a / b": 3.0}, {"a / b": 3.0})


@pytest.mark.parametrize(
    ("flags", "n_cores", "facts"),
    [
        (["avx2"], 1, {"avx2"}),
        (["amx_bf16"], 2, {"amx_bf16", "bf16", "two_cores"}),
        (["avx512_bf16"], 16, {"avx512_bf16", "bf16", "two_cores"}),
    ],
)
def test_facts_name_what_the_machine_has(
    figures: ModuleType, flags: list[str], n_cores: int, facts: set[str]
) -> None:
    assert figures.facts_of(flags, n_cores=n_cores) == facts


def test_a_cpu_without_a_name_is_unknown(figures: ModuleType) -> None:
    assert figures.cpu_of("processor : 0\n") == ("unknown", ())


def test_every_copy_of_a_file_has_a_name_of_its_own(setting: ModuleType, tmp_path: Path) -> None:
    files = [tmp_path / "a.mp3", tmp_path / "b b.wav"]
    folder = setting.link_copies(files, tmp_path / "links", n_copies=3)
    assert len(list(folder.iterdir())) == 6
    assert {link.readlink() for link in folder.iterdir()} == set(files)


@pytest.mark.parametrize("folder", ["absent", "empty"])
def test_a_folder_without_audio_is_an_error_with_the_way_out(
    setting: ModuleType, tmp_path: Path, folder: str
) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match=r"no audio in .*--audio"):
        setting.audio_files(tmp_path / folder)


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"minuts": 3}, "minuts"),
        ({"minutes": 0}, "minutes"),
        ({"repeats": 0}, "repeats"),
        ({"cases": ["music"]}, "cases"),
    ],
)
def test_a_wrong_key_of_the_configuration_is_named(
    bench: ModuleType, change: dict[str, Any], key: str
) -> None:
    with pytest.raises(ConfigError, match=f"FILE: {key}: "):
        bench.bench_config(CONFIG | change, origin="FILE")


def test_paths_of_the_configuration_are_from_the_root(bench: ModuleType) -> None:
    config = bench.bench_config(CONFIG, origin="FILE")
    assert config.audio == ROOT / "music"
    assert config.weights == Path("/w.pb")


def test_without_weights_nothing_is_measured(bench: ModuleType, tmp_path: Path) -> None:
    pytest.importorskip("essentia")
    config = bench.bench_config(CONFIG | {"weights": "/absent.pb"}, origin="FILE")
    with pytest.raises(WeightsMissingError, match=r"absent\.pb"):
        bench.make_bench(config, tmp_path, [0])


def test_a_limit_of_a_figure_that_nobody_measures_is_refused(
    bench: ModuleType, tmp_path: Path
) -> None:
    config = bench.bench_config(CONFIG | {"floors": {"a / b": {"at_least": 1}}}, origin="FILE")
    with pytest.raises(ConfigError, match="'a / b'"):
        bench.run(config, tmp_path, [0])


# Cases


def all_contenders(bench: ModuleType) -> list[Any]:
    return [contender for case in bench.CASES.values() for contender in case.contenders]


def test_no_two_contenders_share_a_name(bench: ModuleType) -> None:
    names = [contender.name for contender in all_contenders(bench)]
    assert len(names) == len(set(names))


def test_output_is_held_to_output_of_the_same_case(
    bench: ModuleType,
) -> None:
    for case in bench.CASES.values():
        held = {case.oracle.name} | {c.name for c in case.contenders if c.like}
        assert {c.like for c in case.contenders if c.like} <= held


def test_what_is_compared_embeds_with_the_same_models(bench: ModuleType) -> None:
    for case in bench.CASES.values():
        models = {contender.name: contender.models for contender in case.contenders}
        assert all(models[pair.ours] == models[pair.other] for pair in case.comparisons)


def test_a_machine_of_one_core_leaves_out_what_needs_two(bench: ModuleType) -> None:
    case = bench.CASES["musicnn"].on(frozenset())
    assert {contender.n_cores for contender in case.contenders} == {1}
    assert [pair.name for pair in case.comparisons] == [
        f"embedlib-f32 / {peer}"
        for peer in ("essentia", "essentia-batch1", "essentia-q4", "essentia-q4-batch1")
    ]


def test_the_short_form_is_a_configuration(bench: ModuleType) -> None:
    values = read_config(ROOT / "configs/bench/extract.yaml")
    short = values.pop("short")
    config = bench.bench_config({**values, **short}, origin="FILE")
    assert set(config.cases) < set(bench.NAMES)


def test_a_table_shows_parity_beside_speed(bench: ModuleType, figures: ModuleType) -> None:
    runs = [run_of(figures, "ours", 6.0), run_of(figures, "theirs", 18.0)]
    parity = {"contender": "ours", "like": "theirs", "model": "m"}
    found = {
        "title": "two",
        "outputs": [parity | {"min_cosine": 0.99991, "max_relative_l2": 2e-6}],
        "medians": figures.medians(runs),
        "n_cores": {"ours": 1, "theirs": 2},
        "ratios": {"ours / theirs": 3.0},
    }
    rows = bench.case_table(found)["rows"]
    assert rows[0] == [
        *("ours", "100.0", "10.00", "6.0", "3.0 x theirs", "theirs", "0.99991", "2.0e-06")
    ]
    assert rows[1] == ["theirs", "33.3", "60.00", "18.0", "", "", "", ""]


# Measurements


@pytest.fixture
def ready(rounds: ModuleType, shared_models: Path, tmp_path: Path) -> Any:
    """A bench with one clip of four seconds."""
    pytest.importorskip("essentia")
    clip = tmp_path / "clip.wav"
    music = synthesise_music(4.0, sr_hz=44100, n_channels=2, seed=1, style="chords")
    write_audio(clip, music, sr_hz=44100)
    return rounds.Bench(
        scratch=tmp_path,
        cores=[0],
        weights=shared_models / "msd-musicnn-1.pb",
        sounds={"music": rounds.Sound([clip], minutes=0.1, scaling_factor=1)},
    )


def contender_of(bench: ModuleType, case: str, name: str) -> Any:
    found = bench.CASES[case]
    (own,) = (c for c in (found.oracle, *found.contenders) if c.name == name)
    return own


@pytest.mark.parametrize("name", ["essentia-q0", "embedlib-f32"])
def test_a_measurement_counts_what_was_saved(bench: ModuleType, ready: Any, name: str) -> None:
    contender = contender_of(bench, "musicnn", name)
    run = ready.timed(contender, ready.folder("music"), out=ready.scratch / "out")
    assert (run.n_files, run.n_patches) == (1, 1)
    assert 0 < run.stream_cpu_s <= run.cpu_s
    assert run.audio_s == pytest.approx(4.0, abs=0.01)
    assert 0 < run.stream_s <= run.timed_s < run.wall_s


def test_a_contender_that_dies_is_one_line(bench: ModuleType, ready: Any) -> None:
    oracle = bench.CASES["musicnn"].oracle
    broken = replace(oracle, tool="loop", options={**oracle.options, "quality": 7})
    with pytest.raises(RunError, match=r"essentia-q0 ended with code 1: .*resampleQuality = 7"):
        ready.measure(broken, ready.folder("music"), out=ready.scratch / "out")


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["essentia-pool", "1 of eight, Ray Data, Essentia", "1 of eight, Ray Data, ours f32"]
)
def test_each_framework_saves_what_the_plain_way_saves(
    bench: ModuleType, ready: Any, figures: ModuleType, name: str
) -> None:
    outputs = importlib.import_module("bench_outputs")
    plain = "embedlib-f32" if "ours" in name else "essentia"
    found = {}
    for case, each in (("musicnn", plain), ("ray-data" if "Ray" in name else "musicnn", name)):
        contender = replace(contender_of(bench, case, each), n_cores=1)
        out = ready.scratch / each
        ready.measure(contender, ready.folder("music"), out=out)
        found[each] = outputs.read_outputs(out, tool=contender.tool)[bench.MUSICNN]
    assert figures.parity(found[name], found[plain])["max_relative_l2"] < 1e-5


@pytest.mark.parametrize("verb", ["extract", "models"])
def test_an_error_of_the_script_is_one_line_and_its_exit_code(tmp_path: Path, verb: str) -> None:
    ended = subprocess.run(
        [sys.executable, ROOT / "jobs/bench.py", verb, "--config", tmp_path / "absent.yaml"],
        capture_output=True,
        text=True,
    )
    assert ended.returncode == ConfigError.exit_code
    assert ended.stderr.startswith("error: cannot read")
    assert ended.stderr.count("\n") == 1
    assert not ended.stdout
