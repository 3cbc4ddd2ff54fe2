"""What a plan would cost: sums of known costs, and samples of real decoding."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from embedlib.audio.decode import AudioLimits
from embedlib.audio.encode import write_audio
from embedlib.config import ExtractConfig, extract_config
from embedlib.errors import ConfigError
from embedlib.records import Track
from embedlib.run.calibrate import keep_cost
from embedlib.run.driver import RunPlan
from embedlib.run.estimate import DECODE, DecodeCost, add_up, known_estimate, measure_decode
from embedlib.run.job import DecodeJob
from embedlib.run.outlook import model_outlook
from embedlib.run.planning import ReadyJobs, ready_jobs, run_plan
from embedlib.run.prices import Prices, read_prices
from embedlib.tables.pending import PendingShards
from embedlib.tables.planned import PlannedTracks

VGG, TEMPO = "untrained-msd-vgg-1", "untrained-deepsquare-k16-3"
SR_HZ = 16_000
HOUR = Track("a", "/a.wav", 3600 * 176_400, "1", shard_id="0a")
HALF = Track("b", "/b.wav", 1800 * 176_400, "1", shard_id="0b")
DECODING = DecodeJob(("musicnn-mel",), "pyav", "soxr-hq", AudioLimits(), 1 << 20)


@pytest.fixture(scope="module")
def jobs(tmp_path_factory: pytest.TempPathFactory) -> ReadyJobs:
    return ready_jobs(config_of(), out=tmp_path_factory.mktemp("jobs"))


@pytest.fixture
def plan(jobs: ReadyJobs, tmp_path: Path) -> RunPlan:
    """An hour for one model, an hour and a half for the other."""
    left = {VGG: pending(HOUR, HALF), TEMPO: pending(HOUR)}
    return run_plan(config_of(), out=tmp_path, jobs=jobs, pending=left)


def pending(*tracks: Track) -> PendingShards:
    planned = PlannedTracks()
    planned.add(tracks)
    return PendingShards(planned, sizes=planned.sizes)


def config_of(**options: object) -> ExtractConfig:
    values = {"sources": ["a"], "models": [VGG, TEMPO], "out": "o", "n_cores": 4, **options}
    return extract_config(values)


def wav_of(folder: Path, name: str, *, duration_s: int) -> Track:
    path = folder / name
    write_audio(path, np.zeros((1, duration_s * SR_HZ), np.float32), sr_hz=SR_HZ)
    return Track(name, str(path), -1, str(path.stat().st_mtime_ns))


COSTS_S = {VGG: 0.02, TEMPO: 0.01}


def test_hours_are_audio_times_cost_and_decoding_is_shared(plan: RunPlan) -> None:
    found = add_up(plan, config_of(), decode=DecodeCost(0.004), costs_s=COSTS_S, prices=None)
    assert found.stage_hours == pytest.approx({DECODE: 0.006, VGG: 0.03, TEMPO: 0.01})
    assert found.core_hours == pytest.approx(0.046)
    assert (found.gpu_hours, found.n_gpus, found.cost) == (0.0, 0, None)


def test_the_time_is_the_work_over_the_cores(plan: RunPlan) -> None:
    on_four, on_one = (
        add_up(plan, config, decode=DecodeCost(0.004), costs_s=COSTS_S, prices=None)
        for config in (config_of(), config_of(local=True))
    )
    assert (on_four.n_cores, on_one.n_cores) == (4, 1)
    assert on_one.wall_s == pytest.approx(4 * on_four.wall_s) == pytest.approx(0.046 * 3600)


def test_what_the_sizes_promised_is_corrected_by_the_sample(plan: RunPlan) -> None:
    plain, longer = (
        add_up(plan, config_of(), decode=DecodeCost(0.004, s), costs_s=COSTS_S, prices=None)
        for s in (1.0, 1.5)
    )
    assert longer.audio_s == pytest.approx(1.5 * plain.audio_s) == pytest.approx(1.5 * 5400)
    assert longer.core_hours == pytest.approx(1.5 * plain.core_hours)


@pytest.mark.parametrize(
    ("decode_s", "costs_s", "stage"),
    [(0.004, COSTS_S, VGG), (0.05, COSTS_S, DECODE), (0.004, {VGG: 0.001, TEMPO: 0.1}, TEMPO)],
)
def test_the_dearest_stage_binds(
    plan: RunPlan, decode_s: float, costs_s: dict[str, float], stage: str
) -> None:
    found = add_up(plan, config_of(), decode=DecodeCost(decode_s), costs_s=costs_s, prices=None)
    assert found.bound_by == stage


@pytest.mark.parametrize(("decode_s", "wall_h", "stage"), [(0.004, 0.04, VGG), (0.4, 0.15, DECODE)])
def test_a_card_works_beside_the_cores(
    plan: RunPlan, decode_s: float, wall_h: float, stage: str
) -> None:
    config = config_of(device="cuda", engine="onnxruntime")
    found = add_up(plan, config, decode=DecodeCost(decode_s), costs_s=COSTS_S, prices=None)
    assert (found.gpu_hours, found.n_gpus) == (pytest.approx(0.04), 1)
    assert found.core_hours == pytest.approx(1.5 * decode_s)
    assert (found.wall_s / 3600, found.bound_by) == (pytest.approx(wall_h), stage)


def test_cost_is_hours_times_prices(plan: RunPlan) -> None:
    prices = Prices(core_hour=0.5, gpu_hour=2.0)
    config = config_of(device="cuda", engine="onnxruntime")
    found = add_up(plan, config, decode=DecodeCost(0.004), costs_s=COSTS_S, prices=prices)
    assert found.cost == pytest.approx(0.006 * 0.5 + 0.04 * 2.0)


def test_an_estimate_without_measuring_needs_every_cost(
    plan: RunPlan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EMBEDLIB_CACHE", str(tmp_path / "cache"))
    keep_cost(plan.jobs[VGG], 0.02)
    assert known_estimate(plan, config_of()) is None
    keep_cost(plan.jobs[TEMPO], 0.01)
    found = known_estimate(plan, config_of())
    assert found is not None
    assert (found.stage_hours[VGG], found.n_sampled) == (pytest.approx(0.03), 0)


# The sample


def test_a_sample_tells_how_long_the_audio_really_is(tmp_path: Path) -> None:
    # Without a size a file counts as a song of four minutes.
    tracks = tuple(wav_of(tmp_path, f"{n}.wav", duration_s=12) for n in range(3))
    found = measure_decode(tracks, DECODING)
    assert found.n_sampled == 3
    assert found.scale == pytest.approx(12 / 240, rel=0.01)
    assert 0 < found.core_s < 0.5


def test_a_sample_ends_when_its_time_is_over(tmp_path: Path) -> None:
    tracks = tuple(wav_of(tmp_path, f"{n}.wav", duration_s=600) for n in range(3))
    found = measure_decode(tracks, DECODING, sample_s=0.0)
    assert (found.n_sampled, found.scale) == (1, 1.0)


def test_files_that_give_no_audio_leave_what_is_usual(tmp_path: Path) -> None:
    gone = Track("gone", str(tmp_path / "gone.wav"), 10, "1")
    assert measure_decode([gone], DECODING) == DecodeCost()


# Rows, patches, bytes


def test_patches_are_those_of_the_promised_length(jobs: ReadyJobs) -> None:
    found = model_outlook(jobs.models[VGG], pending(HOUR))
    assert (found.n_rows, found.n_shards, found.audio_s) == (1, 1, 3600.0)
    assert found.n_patches == 1 + (3600 * SR_HZ // 256 + 1 - 187) // 93


def test_without_patches_less_is_written(jobs: ReadyJobs) -> None:
    job = jobs.models[VGG]
    sparse = replace(job, manifest=replace(job.manifest, patches=False))
    with_patches, without = (model_outlook(each, pending(HOUR)) for each in (job, sparse))
    assert with_patches.n_patches == without.n_patches
    assert with_patches.n_bytes > 10 * without.n_bytes


# Prices


def test_prices_are_read_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "prices.yaml").write_text("core_hour: 0.04\n")
    assert read_prices(tmp_path / "prices.yaml") == Prices(core_hour=0.04)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("core_hours: 1\n", "unknown key 'core_hours'"),
        ("core_hour: cheap\n", "core_hour='cheap' is no price"),
        ("gpu_hour: -1\n", "gpu_hour=-1 is no price"),
        ("gpu_hour: .nan\n", "gpu_hour=nan is no price"),
    ],
)
def test_what_is_no_price_is_named(tmp_path: Path, text: str, named: str) -> None:
    (tmp_path / "prices.yaml").write_text(text)
    with pytest.raises(ConfigError, match=named):
        read_prices(tmp_path / "prices.yaml")
