"""What models cost here: measured once, kept, and never a reason to fail."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from embedlib.config import extract_config
from embedlib.run import calibrate
from embedlib.run.calibrate import (
    Measured,
    fitted,
    keep_cost,
    known_costs,
    measure,
    measure_cost,
)
from embedlib.run.job import ModelJob
from embedlib.run.prepare import model_job
from embedlib.run.resolve import prepare_models


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EMBEDLIB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def vgg(tmp_path: Path) -> tuple[ModelJob, Path]:
    values = {"sources": ["a"], "models": ["untrained-msd-vgg-1"], "out": "o"}
    (prepared,) = prepare_models(extract_config(values))
    return model_job(prepared, folder=tmp_path), prepared.file.path


def test_twice_the_hop_costs_half(vgg: tuple[ModelJob, Path]) -> None:
    job, graph = vgg
    wide = replace(job, rule=replace(job.rule, hop_frames=186))
    assert measure_cost(job, graph) / measure_cost(wide, graph) == pytest.approx(2, rel=0.6)


def test_what_was_measured_is_known_the_next_time(vgg: tuple[ModelJob, Path]) -> None:
    job, _ = vgg
    keep_cost(job, 0.0125)
    assert known_costs({"vgg": job, "other": replace(job, precision="bf16")}) == {"vgg": 0.0125}


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b'{"cost_s": "much"}', b"\xff"])
def test_a_damaged_entry_is_as_good_as_none(
    vgg: tuple[ModelJob, Path], cache: Path, content: bytes
) -> None:
    keep_cost(vgg[0], 0.0125)
    (entry,) = (cache / "costs").iterdir()
    entry.write_bytes(content)
    assert known_costs({"vgg": vgg[0]}) == {}


def test_a_cache_that_cannot_be_written_is_no_harm(vgg: tuple[ModelJob, Path], cache: Path) -> None:
    (cache / "costs").write_text("in the way")
    keep_cost(vgg[0], 0.0125)
    assert known_costs({"vgg": vgg[0]}) == {}


def test_a_batch_size_that_was_measured_for_a_card_is_taken(vgg: tuple[ModelJob, Path]) -> None:
    job = replace(vgg[0], device="cuda")
    assert fitted(job) == job
    keep_cost(job, 0.0001, batch_size=64)
    assert fitted(job).batch_size == 64
    assert known_costs({"vgg": job, "fitted": fitted(job)}) == {"vgg": 1e-4, "fitted": 1e-4}


def test_on_a_cpu_the_batch_size_is_that_of_the_spec(vgg: tuple[ModelJob, Path]) -> None:
    keep_cost(vgg[0], 0.0125, batch_size=64)
    assert fitted(vgg[0]) == vgg[0]
    assert measure(*vgg).batch_size == vgg[0].batch_size


def test_a_card_is_measured_in_the_batch_that_is_kept(
    vgg: tuple[ModelJob, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    costs_s = {1: 1.0, 2: 0.5, 4: 0.49}
    monkeypatch.setattr(calibrate, "measure_cost", lambda job, _: costs_s[job.batch_size])
    assert measure(replace(vgg[0], device="cuda"), vgg[1]) == Measured(0.5, 2)
