"""Progress of a run on stderr: a live line on a terminal, else a line every 30 seconds."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext

from rich.console import Console
from rich.live import Live
from rich.text import Text

from embedlib.catalog.shards import ShardSize
from embedlib.features.front_end import front_end
from embedlib.records import KEPT, PartResult
from embedlib.run.driver import RunPlan
from embedlib.run.events import Decoded, Embedded, Event, SlotAdded, Tick, Written
from embedlib.run.extract import RunWatcher
from embedlib.run.scheduler import Scheduler

LINE_EVERY_S = 30.0

_BAR_CELLS = 24


class _AudioCount:
    """Seconds of audio embedded, counted per model, chunk by chunk.

    A chunk's length is kept until every model of its shard has written its part.
    """

    def __init__(self, models: Mapping[str, tuple[str, ...]]) -> None:
        self._models = models
        self._written_s = 0.0
        self._n_left: dict[str, int] = {}
        self._chunk_s: dict[str, dict[int, float]] = {}
        self._open_s: dict[tuple[str, str], float] = {}

    @property
    def total_s(self) -> float:
        return self._written_s + sum(self._open_s.values())

    def count(self, event: Event) -> None:
        match event:
            case Decoded(attempt_id, seq, n_bytes, name):
                fe = front_end(name)
                n_frames = n_bytes / (4 * fe.n_bands)
                of_attempt = self._chunk_s.setdefault(attempt_id, {})
                of_attempt[seq] = n_frames * fe.hop_samples / fe.sr_hz
            case Embedded(attempt_id, seq, model):
                so_far_s = self._open_s.get((attempt_id, model), 0.0)
                chunk_s = self._chunk_s.get(attempt_id, {}).get(seq, 0.0)
                self._open_s[attempt_id, model] = so_far_s + chunk_s
            case Written(attempt_id, part):
                self._written_s += part.audio_s
                self._open_s.pop((attempt_id, part.model), None)
                n_models = len(self._models[part.shard_id])
                self._n_left[attempt_id] = self._n_left.get(attempt_id, n_models) - 1
                if not self._n_left[attempt_id]:
                    del self._n_left[attempt_id]
                    self._chunk_s.pop(attempt_id, None)
            case _:
                pass


class Progress(RunWatcher):
    """Watch a run and say how far it is; a context manager.

    Parameters
    ----------
    console : Console, optional
        Where to say it; stderr by default.
    """

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(file=sys.stderr)
        self._live: Live | None = None
        self._started = time.monotonic()
        self._said = self._started
        self._n_rows = 0
        self._n_done = 0
        self._n_failed = 0
        self._planned_s = 0.0
        self._done_s = 0.0
        self._sizes: Mapping[str, ShardSize] = {}
        self._audio = _AudioCount({})
        self._stages: Counter[str] = Counter()
        self._is_started = False

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.stop()

    def on_plan(self, plan: RunPlan) -> None:
        """Learn how much there is to do, and show it; a run may have one plan after another.

        Parameters
        ----------
        plan : RunPlan
            The pending shards.
        """
        if not plan.shards:
            return
        self._n_rows = self._n_done = self._n_failed = 0
        self._planned_s = self._done_s = 0.0
        self._is_started = False
        self._audio = _AudioCount(plan.models)
        self._sizes = plan.sizes
        for shard_id, size in plan.sizes.items():
            self._n_rows += size.n_tracks * len(plan.models[shard_id])
            self._planned_s += size.audio_s * len(plan.models[shard_id])
        self._started = self._said = time.monotonic()
        if self._console.is_terminal and self._live is None:
            self._live = Live(
                get_renderable=self._render, console=self._console, refresh_per_second=4
            )
            self._live.start()

    def on_event(self, event: Event, scheduler: Scheduler) -> None:
        """Count what has happened.

        Parameters
        ----------
        event : Event
            What.
        scheduler : Scheduler
            Its state after the event.
        """
        self._audio.count(event)
        match event:
            case SlotAdded() if not self._is_started:
                self._is_started = True
                self._started = time.monotonic()  # speed and time left leave the start out
            case Embedded():
                self._stages[scheduler.bottleneck] += 1
            case Written(_, part):
                self._stages.update(_binding_stage(part))
                self._n_done += part.n_rows
                self._n_failed += sum(n for status, n in part.statuses if status not in KEPT)
                self._done_s += self._sizes[part.shard_id].audio_s
            case Tick():
                self._say_now_and_then()

    def line(self) -> str:
        """Say where the run is.

        Returns
        -------
        line : str
            Rows, audio, speed, failures, time left, and the stage that binds.
        """
        elapsed_s = max(time.monotonic() - self._started, 1e-3)
        audio_s = self._audio.total_s
        stage = max(self._stages, key=self._stages.__getitem__, default="start")
        return (
            f"{self._n_done}/{self._n_rows} tracks  {audio_s / 3600:.2f} h of audio  "
            f"{audio_s / elapsed_s:.0f}x real time  {self._n_failed} failed  "
            f"ETA {self._eta(elapsed_s)}  bound by {stage}"
        )

    def _eta(self, elapsed_s: float) -> str:
        """Time left, from the audio of shards that are done against what was planned."""
        if not self._done_s:
            return "-"
        left_s = round(elapsed_s * max(self._planned_s - self._done_s, 0.0) / self._done_s)
        return f"{left_s // 3600}:{left_s // 60 % 60:02}:{left_s % 60:02}"

    def _render(self) -> Text:
        share = self._n_done / self._n_rows if self._n_rows else 0.0
        n_full = round(share * _BAR_CELLS)
        bar = "━" * n_full + "╌" * (_BAR_CELLS - n_full)
        return Text(f"{bar} {share:4.0%}  {self.line()}", no_wrap=True, overflow="ellipsis")

    def _say_now_and_then(self) -> None:
        if self._live is None and time.monotonic() - self._said > LINE_EVERY_S:
            self._said = time.monotonic()
            self._console.print(self.line(), soft_wrap=True)


def watching(*, quiet: bool) -> AbstractContextManager[RunWatcher]:
    """Give what looks on while a run works.

    Parameters
    ----------
    quiet : bool
        Whether nothing is shown.

    Returns
    -------
    watcher : context manager of RunWatcher
        A `Progress`, or one that is told all and says nothing.
    """
    return nullcontext(RunWatcher()) if quiet else Progress()


def _binding_stage(part: PartResult) -> list[str]:
    """Name the longest stage of a part that one worker made the whole way."""
    seconds = dict(part.stage_s)
    return [max(seconds, key=seconds.__getitem__)] if "decode" in seconds else []
