"""The figures of the paper, and the list of faulty tracks."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from embedlib.models.registry import paper_models
from embedlib.tasks.adapters.gtzan import CORRUPT, faults
from embedlib.tasks.paper import paper_scores, paper_tasks

GOLDEN = Path(__file__).parents[1] / "golden" / "tasks"


def numbers(ranges: str) -> set[int]:
    ends = (part.partition("-") for part in ranges.split())
    return {n for first, _, last in ends for n in range(int(first), int(last or first) + 1)}


@pytest.fixture
def lists() -> dict[str, set[str]]:
    golden = json.loads((GOLDEN / "gtzan_lists.json").read_text())
    return {
        part: {f"{genre}.{n:05d}" for genre in golden for n in numbers(golden[genre][part])}
        for part in ("train", "valid", "test")
    }


def test_the_paper_scores_each_model_on_each_task_once() -> None:
    cells = [(score.task, score.model) for score in paper_scores()]
    tasks = {task.task for task in paper_tasks()}
    assert set(cells) == {(task, model) for task in tasks for model in paper_models()}
    assert len(cells) == len(set(cells)) == 128


def test_the_drop_of_the_paper_is_the_difference_of_its_two_accuracies() -> None:
    drops = [
        (score.drop_pct, score.five_fold_pct - score.external_pct)
        for score in paper_scores()
        if score.external_pct is not None
    ]
    assert len(drops) == 14 * 8
    assert all(reported == difference for reported, difference in drops)


def test_only_the_two_tasks_without_music_have_no_external_accuracy() -> None:
    without = {score.task for score in paper_scores() if score.external_pct is None}
    assert without == {"urbansound8k", "fs-loop-ds"}
    assert all(score.drop_pct is None for score in paper_scores() if score.task in without)


@pytest.mark.parametrize(
    ("task", "model", "pct"),
    [
        ("gtzan", "msd-musicnn-1", 86),
        ("voice_instrumental", "deepsquare-k16-3", 58),
        ("fs-loop-ds", "spleeter-5s-3", 46),
        ("dortmund", "openl3-music-mel128-emb512-3", 38),
    ],
)
def test_models_of_the_paper_have_our_names(task: str, model: str, pct: int) -> None:
    (score,) = [s for s in paper_scores() if (s.task, s.model) == (task, model)]
    assert score.five_fold_pct == pct


def test_faults_are_what_the_published_lists_leave_out(lists: dict[str, set[str]]) -> None:
    listed = lists["train"] | lists["valid"] | lists["test"]
    genres = {track.partition(".")[0] for track in listed}
    everything = {f"{genre}.{n:05d}" for genre in genres for n in range(100)}
    assert {part: len(tracks) for part, tracks in lists.items()} == {
        "train": 443,
        "valid": 197,
        "test": 290,
    }
    assert faults() == everything - listed
    assert len(faults()) == 70


def test_the_corrupt_track_is_not_among_the_faults(lists: dict[str, set[str]]) -> None:
    assert lists["train"] >= CORRUPT
    assert not CORRUPT & faults()
