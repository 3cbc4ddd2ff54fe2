"""Progress: what it counts, and that it is said where it belongs."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console

from embedlib.audio.decode import AudioLimits
from embedlib.catalog.shards import ShardSize
from embedlib.cli import progress as module
from embedlib.cli.progress import Progress, drawn
from embedlib.records import PartResult, Shard, Track
from embedlib.run import advance
from embedlib.run.driver import RunPlan, SecondSignal
from embedlib.run.events import (
    Decoded,
    DecoderAdded,
    Drain,
    Embedded,
    SlotAdded,
    Tick,
    Written,
)
from embedlib.run.job import DecodeJob
from embedlib.run.standing import Standing

FRAME_BYTES = 4 * 96
FRAMES_PER_S = 62.5  # of 256 samples at 16 kHz


def plan_of(n_shards: int, *, models: tuple[str, ...] = ("m",)) -> RunPlan:
    """A plan of shards with two tracks and a minute of audio each."""
    shards = {
        f"s{number}": Shard(
            f"s{number}", tuple(Track(f"{number}{half}", "", -1, "") for half in "ab"), 60.0
        )
        for number in range(n_shards)
    }
    return RunPlan(
        out=Path("out"),
        run_id="r",
        shards=shards,
        sizes={shard_id: ShardSize(2, 60.0) for shard_id in shards},
        models=dict.fromkeys(shards, models),
        jobs={name: SimpleNamespace(front_end="musicnn-mel") for name in models},
        graphs={},
        decode=DecodeJob(("musicnn-mel",), "pyav", "soxr-hq", AudioLimits(60.0, 60.0), 1 << 20),
        budget_bytes=1 << 28,
    )


def part(shard_id: str, *, model: str = "m", failed: int = 0) -> PartResult:
    statuses = (("ok", 2 - failed), ("undecodable", failed))
    return PartResult(model, shard_id, "f", 2, 100, 40, 60.0, statuses)


def chunk(attempt_id: str, seq: int, *, duration_s: float) -> Decoded:
    n_bytes = round(duration_s * FRAMES_PER_S) * FRAME_BYTES
    return Decoded(attempt_id, seq, n_bytes, "musicnn-mel")


class Clock:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def monotonic(self) -> float:
        return self.now_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    for each in (module, advance):
        monkeypatch.setattr(each, "time", clock)
    return clock


@pytest.fixture
def pipe() -> Console:
    return Console(file=io.StringIO(), width=200)


def written(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_the_line_counts_rows_audio_speed_failures_and_time_left(
    clock: Clock, pipe: Console
) -> None:
    plan = plan_of(3)
    scheduler = plan.scheduler()
    progress = Progress(pipe)
    progress.on_plan(plan)
    progress.on_event(chunk("a0", 0, duration_s=60.0), scheduler)
    clock.now_s += 6.0
    progress.on_event(Embedded("a0", 0, "m"), scheduler)
    progress.on_event(Written("a0", part("s0", failed=1)), scheduler)
    assert progress.line().startswith(
        "33%  1 failed  ETA 0:00:12  2/6 rows  0.02 model hours at 10x  "
    )


def test_speed_leaves_the_start_of_the_workers_out(clock: Clock, pipe: Console) -> None:
    progress, plan = Progress(pipe), plan_of(1)
    progress.on_plan(plan)
    clock.now_s += 100.0
    progress.on_event(SlotAdded("w", "m"), plan.scheduler())
    progress.on_event(chunk("a0", 0, duration_s=60.0), plan.scheduler())
    clock.now_s += 2.0
    progress.on_event(SlotAdded("late", "m"), plan.scheduler())
    progress.on_event(Embedded("a0", 0, "m"), plan.scheduler())
    assert "at 30x" in progress.line()


def test_audio_counts_once_for_each_model(clock: Clock, pipe: Console) -> None:
    progress, plan = Progress(pipe), plan_of(1, models=("m", "n"))
    progress.on_plan(plan)
    events = [
        chunk("a0", 0, duration_s=36.0),
        Embedded("a0", 0, "m"),
        Written("a0", part("s0")),
        Embedded("a0", 0, "n"),
    ]
    for event in events:
        progress.on_event(event, plan.scheduler())
    # A part says what was decoded, 60 s here; the open one counts by its chunks.
    assert f"2/4 rows  {(60 + 36) / 3600:.2f} model hours" in progress.line()


def test_the_stage_that_other_workers_wait_for_is_named(clock: Clock, pipe: Console) -> None:
    progress, plan = Progress(pipe), plan_of(1)
    scheduler = plan.scheduler()
    progress.on_plan(plan)
    assert progress.line().endswith("  starting workers")
    for event in (DecoderAdded("d", "node"), SlotAdded("w", "m", node_id="node"), Tick()):
        scheduler.on(event)
        progress.on_event(event, scheduler)
    assert progress.line().endswith("  decode-bound: 1 of 1 model workers idle")


@pytest.mark.parametrize("stage", ["decode", "embed"])
def test_the_longest_stage_of_a_part_that_one_worker_made_is_named(
    stage: str, clock: Clock, pipe: Console
) -> None:
    progress, plan = Progress(pipe), plan_of(1)
    progress.on_plan(plan)
    stage_s = {"decode": 1.0, "embed": 1.0} | {stage: 2.0}
    made = replace(part("s0"), stage_s=tuple(stage_s.items()))
    progress.on_event(Written("a0", made), plan.scheduler())
    assert progress.line().endswith(f"bound by {stage}: 67 % of the time")


def test_time_left_is_unknown_before_a_shard_is_done(clock: Clock, pipe: Console) -> None:
    progress = Progress(pipe)
    progress.on_plan(plan_of(1))
    assert "ETA -" in progress.line()


def test_where_there_is_no_terminal_a_line_is_said_every_half_minute(
    clock: Clock, pipe: Console
) -> None:
    plan = plan_of(1)
    with Progress(pipe) as progress:
        progress.on_plan(plan)
        for _ in range(65):
            clock.now_s += 1.0
            progress.on_event(Tick(), plan.scheduler())
    lines = written(pipe).splitlines()
    assert len(lines) == 2
    assert all(line.startswith("0%  0 failed") for line in lines)


def test_a_terminal_gets_two_live_lines_the_second_for_what_binds() -> None:
    terminal = Console(file=io.StringIO(), width=200, force_terminal=True)
    plan = plan_of(1)
    with Progress(terminal) as progress:
        progress.on_plan(plan)
        progress.on_event(Written("a0", part("s0")), plan.scheduler())
    shown = written(terminal)
    assert "100%" in shown
    assert "2/2 rows  0.02 model hours" in shown
    assert re.search(r"\nstarting workers *\n", shown)


def test_nothing_is_shown_where_nothing_is_to_do() -> None:
    terminal = Console(file=io.StringIO(), force_terminal=True)
    with Progress(terminal) as progress:
        progress.on_plan(plan_of(0))
        progress.on_event(Tick(), plan_of(0).scheduler())
    assert written(terminal) == ""


def test_progress_goes_to_stderr(capsys: pytest.CaptureFixture[str], clock: Clock) -> None:
    plan = plan_of(1)
    with Progress() as progress:
        progress.on_plan(plan)
        clock.now_s += 31.0
        progress.on_event(Tick(), plan.scheduler())
    stdout, stderr = capsys.readouterr()
    assert stdout == ""
    assert stderr.startswith("0%  0 failed")


def test_events_of_an_attempt_that_is_over_stop_no_run(clock: Clock, pipe: Console) -> None:
    progress, plan = Progress(pipe), plan_of(1)
    progress.on_plan(plan)
    for event in (Embedded("a0", 0, "m"), Written("a0", part("s0")), Embedded("a0", 1, "m")):
        progress.on_event(event, plan.scheduler())
    assert "2/2 rows  0.02 model hours" in progress.line()


LONG = "untrained-discogs-multi-embeddings-effnet-bs64"  # 46 characters
LARGE = Standing(
    n_rows=80_000_000,
    n_done=41_000_000,
    n_failed=12_345,
    audio_s=4e9,
    elapsed_s=1e6,
    left_s=1e6,
    bottleneck=f"bound by {LONG}: 12 of 12 workers busy, 123 chunks wait",
)


@pytest.mark.parametrize("standing", [Standing(n_rows=1656, bottleneck="starting workers"), LARGE])
@pytest.mark.parametrize("width", [60, 80, 200])
def test_two_lines_fit_the_terminal_failures_and_time_left_right_behind_the_share(
    standing: Standing, width: int
) -> None:
    first, second = drawn(standing, width=width).plain.splitlines()
    assert max(len(first), len(second)) <= width
    assert re.search(r"\d% +\d+ failed  ETA (-|277:46:40)  \d+/\d+ rows", first)
    assert second.endswith(standing.bottleneck[-10:])


def test_a_long_name_loses_its_middle_and_the_numbers_behind_it_stay() -> None:
    _, second = drawn(LARGE, width=80).plain.splitlines()
    assert re.fullmatch(
        r"bound by untrained-\S+…\S+-bs64: 12 of 12 workers busy, 123 chunks wait", second
    )


def test_what_a_signal_does_takes_the_place_of_what_binds(clock: Clock, pipe: Console) -> None:
    progress, plan = Progress(pipe), plan_of(1)
    progress.on_plan(plan)
    progress.on_event(Drain(), plan.scheduler())
    assert progress.line().endswith(
        "  ending: up to 20 s for what is in flight; Ctrl-C again ends now"
    )


def test_a_second_signal_is_told_with_the_way_to_continue(pipe: Console) -> None:
    with pytest.raises(SecondSignal), Progress(pipe):
        raise SecondSignal(130)
    assert written(pipe) == "ended by a second signal; run the same command to continue\n"


def test_another_end_is_not_told_as_a_signal(pipe: Console) -> None:
    with pytest.raises(SystemExit), Progress(pipe):
        raise SystemExit(143)
    assert written(pipe) == ""
