"""Progress of a run on stderr: a live line on a terminal, else a line every 30 seconds."""

from __future__ import annotations

import sys
import time
from contextlib import AbstractContextManager, nullcontext
from types import TracebackType

from rich.console import Console
from rich.live import Live
from rich.text import Text

from embedlib.run.advance import Advance
from embedlib.run.driver import RunPlan, SecondSignal
from embedlib.run.events import Event, Tick
from embedlib.run.extract import RunWatcher
from embedlib.run.scheduler import Scheduler
from embedlib.run.standing import Standing

LINE_EVERY_S = 30.0

LOOK_EVERY_S = 0.25
"""Between looks at where the run is: as often as the live line is drawn anew."""

_BAR_CELLS = 24

_ENDED_AT_ONCE = "ended by a second signal; run the same command to continue"


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

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        if self._live:
            self._look()
            self._live.stop()
        if isinstance(error, SecondSignal):
            self._console.print(_ENDED_AT_ONCE, soft_wrap=True)

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
            Share, failures, time left, rows, audio, speed, and what binds.
        """
        self._look()
        return str(self._standing)

    def _look(self) -> None:
        self._looked = time.monotonic()
        if self._advance:
            self._standing = self._advance.standing()

    def _render(self) -> Text:
        return drawn(self._standing, width=self._console.width)

    def _say_now_and_then(self) -> None:
        if self._live is None and time.monotonic() - self._said > LINE_EVERY_S:
            self._said = time.monotonic()
            self._console.print(self.line(), soft_wrap=True)


def drawn(standing: Standing, *, width: int) -> Text:
    """Draw where a run is, in two lines that fit a terminal.

    Parameters
    ----------
    standing : Standing
        Of the run.
    width : int > 0
        Characters of a line; where they are few, the bar gets shorter, and then words are left out
        from the end.

    Returns
    -------
    lines : Text
        A bar and how far it is; below it what binds, once that is known.
    """
    words = list(standing.words())
    while len(words) > 1 and len("  ".join(words)) > width:
        words.pop()
    said = "  ".join(words)
    n_cells = max(0, min(_BAR_CELLS, width - len(said) - 2))
    n_full = round(standing.share * n_cells)
    cells = "━" * n_full + "╌" * (n_cells - n_full)
    lines = (f"{cells}  {said}".lstrip(), shortened(standing.bottleneck, width=width))
    return Text("\n".join(filter(None, lines)), no_wrap=True, overflow="ellipsis")


def shortened(text: str, *, width: int) -> str:
    """Take the middle out of the longest word of a text that is too long for a line.

    Parameters
    ----------
    text : str
        Such as one with the name of a model.
    width : int > 0
        Characters of a line.

    Returns
    -------
    text : str
        As long as a line at most, where the longest word is longer than what is too much.

    Examples
    --------
    >>> shortened("bound by discogs-effnet-artist: 2 of 2 workers busy", width=40)
    'bound by disco…tist: 2 of 2 workers busy'
    """
    n_over = len(text) - width
    if n_over <= 0:
        return text
    word = max(text.split(), key=len)
    n_kept = max(2, len(word) - n_over - 1)
    short = f"{word[: n_kept - n_kept // 2]}…{word[-(n_kept // 2) :]}"
    return text.replace(word, short, 1)


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
