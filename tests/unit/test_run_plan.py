"""What a run has left to do: shards, the models that need them, and no more."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from embedlib.audio.encode import write_audio
from embedlib.config import extract_config
from embedlib.run.driver import RunPlan
from embedlib.run.extract import RunWatcher, run_extract

MUSICNN, VGG, TEMPO = (
    f"untrained-{name}" for name in ("msd-musicnn-1", "msd-vgg-1", "deepsquare-k16-3")
)

Plan = Callable[..., RunPlan]


class Onlooker(RunWatcher):
    """Keep the plan of a run."""

    def on_plan(self, plan: RunPlan) -> None:
        self.plan = plan


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tmp_path_factory.mktemp("cache"))


@pytest.fixture
def plan_of(cache: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Plan:
    """Run models over a folder of clips and give the plan that the run had."""
    monkeypatch.setenv("EMBEDLIB_CACHE", cache)
    clips = tmp_path / "clips"
    clips.mkdir()
    write_audio(clips / "a.wav", np.zeros((1, 16_000), np.float32), sr_hz=16_000)

    def run(*models: str) -> RunPlan:
        onlooker, out = Onlooker(), str(tmp_path / "out")
        values = {"sources": [str(clips)], "models": list(models), "out": out, "local": True}
        run_extract(extract_config(values), watcher=onlooker)
        return onlooker.plan

    return run


def test_a_finished_output_leaves_no_shard_and_no_model(plan_of: Plan) -> None:
    assert list(plan_of(MUSICNN, TEMPO).jobs) == [MUSICNN, TEMPO]
    plan = plan_of(MUSICNN, TEMPO)
    assert (plan.shards, plan.jobs) == ({}, {})


def test_a_model_that_is_finished_gets_no_worker(plan_of: Plan) -> None:
    plan_of(MUSICNN)
    plan = plan_of(MUSICNN, TEMPO)
    assert list(plan.jobs) == [TEMPO]
    assert set(plan.models.values()) == {(TEMPO,)}


def test_each_shard_is_for_the_models_that_have_not_seen_it(plan_of: Plan, tmp_path: Path) -> None:
    plan_of(MUSICNN)
    shutil.copy(tmp_path / "clips" / "a.wav", tmp_path / "clips" / "b.wav")
    plan = plan_of(MUSICNN, TEMPO)
    wanted = {plan.shards[each].tracks[0].track_id: plan.models[each] for each in plan.shards}
    assert wanted == {"a.wav": (TEMPO,), "b.wav": (MUSICNN, TEMPO)}


def test_a_shard_is_decoded_for_the_front_ends_of_its_models(plan_of: Plan) -> None:
    plan = plan_of(MUSICNN, VGG, TEMPO)
    assert plan.decode_job([TEMPO]).front_ends == ("tempocnn-mel",)
    assert plan.decode_job([VGG, TEMPO, MUSICNN]).front_ends == ("musicnn-mel", "tempocnn-mel")
