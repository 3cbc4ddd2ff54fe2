"""Shards that a model has begun: what is decoded for them, and when they are done."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest

from embedlib.audio.decode import AudioLimits
from embedlib.config import extract_config
from embedlib.records import PartResult, Track, TrackRow
from embedlib.run.driver import Commits, RunPlan
from embedlib.run.events import Commit, Committed
from embedlib.run.job import DecodeJob
from embedlib.run.planning import ReadyJobs, run_plan
from embedlib.tables.commit import commit_parts
from embedlib.tables.manifest import ModelManifest
from embedlib.tables.pending import pending_shards
from embedlib.tables.planned import PlannedTracks

MakeRow = Callable[..., TrackRow]
MakePart = Callable[..., PartResult]

DECODING = DecodeJob(("musicnn-mel",), "pyav", "soxr-hq", AudioLimits(), 1 << 20)
CONFIG = extract_config({"sources": ["a"], "models": ["tiny"], "out": "o"})


@pytest.fixture
def part_of(
    make_row: MakeRow, make_part: MakePart, manifest: ModelManifest
) -> Callable[..., PartResult]:
    def make(
        out: Path, names: str, *, shard_id: str = "s", model: str = "tiny", attempt_id: str = "1"
    ) -> PartResult:
        return make_part(
            out,
            [make_row(name) for name in names],
            shard_id=shard_id,
            attempt_id=f"{attempt_id}{names}",
            manifest=dataclasses.replace(manifest, model=model),
        )

    return make


def keep_nothing() -> None:
    """There is no log to be kept before a commit."""


def plan_of(out: Path, *models: str, shards: dict[str, str]) -> RunPlan:
    """Plan tracks by shard, each a letter, for models that need no weights."""
    tracks = PlannedTracks()
    for shard_id, names in shards.items():
        tracks.add(Track(name, f"/music/{name}", 1, "17", shard_id=shard_id) for name in names)
    jobs = ReadyJobs(models=dict.fromkeys(models), graphs={}, decode=DECODING)
    pending = {model: pending_shards(out, model, tracks) for model in models}
    return run_plan(CONFIG, out=out, jobs=jobs, pending=pending)


def ids(plan: RunPlan, shard_id: str) -> str:
    return "".join(track.track_id for track in plan.shards[shard_id].tracks)


@pytest.mark.parametrize(("first", "second"), [("tiny", "other"), ("other", "tiny")])
def test_a_shard_that_models_lack_different_tracks_of_is_decoded_whole(
    tmp_path: Path, part_of: Callable[..., PartResult], first: str, second: str
) -> None:
    commit_parts(tmp_path, "tiny", [part_of(tmp_path, "a")])
    plan = plan_of(tmp_path, first, second, shards={"s": "abc", "t": "de"})
    assert (ids(plan, "s"), ids(plan, "t")) == ("abc", "de")
    assert plan.sizes["s"].n_tracks == 3


def test_a_shard_that_one_model_lacks_is_decoded_for_what_it_lacks(
    tmp_path: Path, part_of: Callable[..., PartResult]
) -> None:
    commit_parts(tmp_path, "tiny", [part_of(tmp_path, "a")])
    commit_parts(tmp_path, "other", [part_of(tmp_path, "abc", model="other")])
    plan = plan_of(tmp_path, "tiny", "other", shards={"s": "abc"})
    assert ids(plan, "s") == "bc"
    assert plan.models == {"s": ("tiny",)}


def test_a_begun_shard_is_not_done_because_another_driver_was_faster_elsewhere(
    tmp_path: Path, part_of: Callable[..., PartResult]
) -> None:
    commit_parts(tmp_path, "tiny", [part_of(tmp_path, "a")])
    commits = Commits(
        plan_of(tmp_path, "tiny", shards={"s": "ab", "t": "c", "u": "d"}),
        before_commit=keep_nothing,
    )
    theirs = [part_of(tmp_path, "c", shard_id="t"), part_of(tmp_path, "d", shard_id="u")]
    commit_parts(tmp_path, "tiny", theirs)
    late = part_of(tmp_path, "c", shard_id="t", attempt_id="late")
    event = commits.carry_out(Commit("tiny", (late,)))
    assert event == Committed("tiny", ("t", "u"))


def test_a_begun_shard_is_done_when_its_part_is_committed(
    tmp_path: Path, part_of: Callable[..., PartResult]
) -> None:
    commit_parts(tmp_path, "tiny", [part_of(tmp_path, "a")])
    commits = Commits(
        plan_of(tmp_path, "tiny", shards={"s": "ab", "t": "c"}), before_commit=keep_nothing
    )
    parts = (part_of(tmp_path, "ab"), part_of(tmp_path, "c", shard_id="t"))
    assert commits.carry_out(Commit("tiny", parts)) == Committed("tiny", ("s", "t"))
