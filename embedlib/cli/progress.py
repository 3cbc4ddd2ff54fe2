"""Progress of a run on stderr: a live line on a terminal, else a line every 30 seconds."""

from __future__ import annotations

import sys
import time
from contextlib import AbstractContextManager, nullcontext

from rich.console import Console
from rich.live import Live
from rich.text import Text

from embedlib.run.advance import Advance
from embedlib.run.driver import RunPlan
from embedlib.run.events import Event, Tick
from embedlib.run.extract import RunWatcher
from embedlib.run.scheduler import Scheduler
from embedlib.run.standing import Standing

LINE_EVERY_S = 30.0

LOOK_EVERY_S = 0.25
"""Between looks at where the run is: as often as the live line is drawn anew."""

_BAR_CELLS = 24


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
        self._advance: Advance | None = None
        self._standing = Standing()
        self._looked = self._said = time.monotonic()

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._look()
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
        self._advance = Advance(plan)
        self._said = time.monotonic()
        self._look()
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
        if self._advance is None:
            return
        self._advance.observe(event, scheduler)
        # Here, and not where the line is drawn: that thread would see the scheduler change.
        if self._live and time.monotonic() - self._looked >= LOOK_EVERY_S:
            self._look()
        if isinstance(event, Tick):
            self._say_now_and_then()

    def line(self) -> str:
        """Say where the run is.

        Returns
        -------
        line : str
            Rows, audio, speed, failures, time left, and what binds.
        """
        self._look()
        return str(self._standing)

    def _look(self) -> None:
        self._looked = time.monotonic()
        if self._advance:
            self._standing = self._advance.standing()

    def _render(self) -> Text:
        return bar(self._standing)

    def _say_now_and_then(self) -> None:
        if self._live is None and time.monotonic() - self._said > LINE_EVERY_S:
            self._said = time.monotonic()
            self._console.print(self.line(), soft_wrap=True)


def bar(standing: Standing) -> Text:
    """Draw where a run is.

    Parameters
    ----------
    standing : Standing
        Of the run.

    Returns
    -------
    line : Text
        A bar, its share in percent, and the line for people.
    """
    share = standing.n_done / standing.n_rows if standing.n_rows else 0.0
    n_full = round(share * _BAR_CELLS)
    cells = "━" * n_full + "╌" * (_BAR_CELLS - n_full)
    return Text(f"{cells} {share:4.0%}  {standing}", no_wrap=True, overflow="ellipsis")


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
