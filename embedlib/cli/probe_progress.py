"""Progress of a sweep on stderr: a live line on a terminal, else a line every 30 seconds."""

from __future__ import annotations

import sys
import time

from rich.console import Console
from rich.live import Live
from rich.text import Text

from embedlib.cli.progress import LINE_EVERY_S
from embedlib.probes.ledger import SweepWatcher


class SweepProgress(SweepWatcher):
    """Watch a sweep and say how far it is; a context manager.

    Parameters
    ----------
    console : Console, optional
        Where to say it; stderr by default.
    """

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(file=sys.stderr)
        self._live: Live | None = None
        self._n_fits = 0
        self._n_skipped = 0
        self._n_done = 0
        self._started = self._said = time.monotonic()

    def __enter__(self) -> SweepProgress:
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.stop()

    def on_plan(self, n_fits: int, n_skipped: int) -> None:
        """Learn how much there is to do, and start to show it.

        Parameters
        ----------
        n_fits : int
            Fits that are left to do, beside those seen before.
        n_skipped : int
            Fits that are committed already.
        """
        if not self._n_fits:
            self._started = self._said = time.monotonic()
        self._n_fits += n_fits
        self._n_skipped += n_skipped
        if n_fits and self._live is None and self._console.is_terminal:
            self._live = Live(
                get_renderable=self._render, console=self._console, refresh_per_second=4
            )
            self._live.start()

    def on_fits(self, n_fits: int) -> None:
        """Count fits that have ended.

        Parameters
        ----------
        n_fits : int
            How many.
        """
        self._n_done += n_fits
        if self._live is None and time.monotonic() - self._said > LINE_EVERY_S:
            self._said = time.monotonic()
            self._console.print(self.line(), soft_wrap=True)

    def line(self) -> str:
        """Say where the sweep is.

        Returns
        -------
        line : str
            Fits done and skipped, speed, time left.
        """
        elapsed_s = max(time.monotonic() - self._started, 1e-3)
        per_minute = 60 * self._n_done / elapsed_s
        skipped = f"  {self._n_skipped} skipped" if self._n_skipped else ""
        return (
            f"{self._n_done}/{self._n_fits} fits{skipped}  {per_minute:.0f} fits/min  "
            f"ETA {self._eta(elapsed_s)}"
        )

    def _eta(self, elapsed_s: float) -> str:
        """Time left, as if all fits took alike: the longest come first, so it is rather less."""
        if not self._n_done:
            return "-"
        left_s = round(elapsed_s * (self._n_fits - self._n_done) / self._n_done)
        return f"{left_s // 3600}:{left_s // 60 % 60:02}:{left_s % 60:02}"

    def _render(self) -> Text:
        return Text(self.line(), no_wrap=True, overflow="ellipsis")
