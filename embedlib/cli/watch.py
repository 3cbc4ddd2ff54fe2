"""``embedlib status --watch``: the runs that are at work on an output, until they have ended."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from embedlib.cli.output import print_json, say
from embedlib.errors import OutputError

if TYPE_CHECKING:
    from rich.console import Group

    from embedlib.run.lookout import Lookout, Sighting

LINE_EVERY_S = 30.0
"""Between lines where there is no terminal."""

WAIT_S = 120.0
"""How long a run may take to tell of itself: a large listing is done before it does."""


def sightings_shown(sightings: list[Sighting]) -> list[Sighting]:
    """Choose the runs that people want to know of: those at work, and the last one if it was lost.

    Parameters
    ----------
    sightings : list of Sighting
        The oldest first.

    Returns
    -------
    shown : list of Sighting
        In the same order.
    """
    last = sightings[-1:]
    return [each for each in sightings if each.is_under_way or (each in last and not each.is_well)]


def run_line(sighting: Sighting) -> str:
    """Say where a run is, or how it ended.

    Parameters
    ----------
    sighting : Sighting
        Of the run.

    Returns
    -------
    line : str
        For people.
    """
    record = sighting.record
    return f"run {record.run_id} on {record.host}: {sighting.verdict or record.standing}"


def run_object(sighting: Sighting) -> dict[str, Any]:
    """Give a run as JSON has it.

    Parameters
    ----------
    sighting : Sighting
        Of the run.

    Returns
    -------
    values : dict of str to Any
        Its record, and what is to be thought of it.
    """
    return asdict(sighting.record) | {
        "is_under_way": sighting.is_under_way,
        "verdict": sighting.verdict,
    }


def wait_for_run(out: str, lookout: Lookout, *, every_s: float) -> None:
    """Wait until a run has told of itself, and say on stderr that one is waited for.

    Parameters
    ----------
    out : str
        The output, as it was typed; it need not be there yet.
    lookout : Lookout
        Looks at it.
    every_s : float
        Seconds between looks.

    Raises
    ------
    OutputError
        If there is none after `WAIT_S`.
    """
    if lookout.look():
        return
    print(f"waiting for a run of {out}; Ctrl-C ends this", file=sys.stderr)
    deadline_s = time.monotonic() + WAIT_S
    while (left_s := deadline_s - time.monotonic()) > 0.0:
        time.sleep(min(every_s, left_s))
        if lookout.look():
            return
    raise OutputError(
        f"no run of {out} has told of itself within {WAIT_S:.0f} s",
        fix="start one, or see what is there: embedlib status OUT",
    )


def watch(out: str, lookout: Lookout, *, every_s: float, json: bool) -> bool:
    """Show the runs of an output until none is under way.

    Parameters
    ----------
    out : str
        The output, as it was typed.
    lookout : Lookout
        Looks at it.
    every_s : float
        Seconds between looks.
    json : bool
        Whether to print one object per look.

    Returns
    -------
    is_well : bool
        False where a run that was seen did not come to its end.
    """
    from rich.console import Console

    watched = _Watched(lookout)
    if json:
        _each_look(watched, every_s, lambda: print_json(_object(out, watched)))
    elif (console := Console()).is_terminal:
        _live(watched, every_s, console)
    else:
        _each_look(watched, every_s, _now_and_then(watched))
    for line in () if json else watched.endings():
        say(line)
    return all(each.is_well for each in watched.last)


class _Watched:
    """The runs that were under way at some look, or the newest where there was none."""

    def __init__(self, lookout: Lookout) -> None:
        self._lookout = lookout
        self._run_ids: set[str] = set()
        self.last: list[Sighting] = []

    def look(self) -> bool:
        """Look again; whether a run is under way."""
        sightings = self._lookout.look()
        self._run_ids |= {each.record.run_id for each in sightings if each.is_under_way}
        watched = [each for each in sightings if each.record.run_id in self._run_ids]
        self.last = watched or sightings[-1:]
        return any(each.is_under_way for each in self.last)

    def lines(self) -> list[str]:
        return [run_line(each) for each in self.last if each.is_under_way]

    def endings(self) -> list[str]:
        return [run_line(each) for each in self.last if not each.is_under_way]


def _each_look(watched: _Watched, every_s: float, show: Callable[[], None]) -> None:
    is_under_way = watched.look()
    show()
    while is_under_way:
        time.sleep(every_s)
        is_under_way = watched.look()
        show()


def _now_and_then(watched: _Watched) -> Callable[[], None]:
    said: list[float] = []

    def show() -> None:
        if not said or time.monotonic() - said[-1] > LINE_EVERY_S:
            said.append(time.monotonic())
            for line in watched.lines():
                say(line)

    return show


def _live(watched: _Watched, every_s: float, console: Any) -> None:
    from rich.live import Live

    with Live(console=console, auto_refresh=False) as live:
        _each_look(
            watched, every_s, lambda: live.update(_drawn(watched, console.width), refresh=True)
        )


def _drawn(watched: _Watched, width: int) -> Group:
    from rich.console import Group
    from rich.text import Text

    from embedlib.cli.progress import drawn

    lines: list[Text] = []
    for each in watched.last:
        if each.is_under_way:
            lines.append(Text(f"run {each.record.run_id} on {each.record.host}"))
            lines.append(drawn(each.record.standing, width=width))
    return Group(*lines)


def _object(out: str, watched: _Watched) -> dict[str, Any]:
    return {"out": out, "runs": [run_object(each) for each in watched.last]}
