"""What became of one track, for people: rows, attempts, log lines."""

from __future__ import annotations

from typing import TYPE_CHECKING

from embedlib.cli.output import print_facts, print_table, say

if TYPE_CHECKING:
    from embedlib.run.track_story import Attempt, TrackStory

_OF_A_ROW = ("status", "error", "version", "shard_id", "duration_s", "size", "n_patches")


def print_story(story: TrackStory) -> None:
    """Print what became of a track.

    Parameters
    ----------
    story : TrackStory
        Of the track.
    """
    print_facts(
        {
            "track": story.track_id,
            "uri": story.uri or next((row["uri"] for row in story.rows.values()), ""),
            "version": story.version or "no longer in the catalogue",
            "shard": story.shard_id,
        }
    )
    for model, row in story.rows.items():
        say("")
        print_facts({"model": model} | {name: row[name] for name in _OF_A_ROW})
    _print_attempts(story.attempts)
    say("")
    for line in story.lines or ("no log of a run names it",):
        say(line)


def _print_attempts(attempts: tuple[Attempt, ...]) -> None:
    if attempts:
        say("")
        header = ("run", "attempt", "model", "worker", "outcome", "seconds", "reason")
        print_table([_cells(each) for each in attempts], header=header)


def _cells(attempt: Attempt) -> tuple[str, ...]:
    seconds = "" if attempt.wall_s is None else f"{attempt.wall_s:.1f}"
    return (
        attempt.run,
        attempt.attempt,
        attempt.model,
        attempt.worker,
        attempt.outcome,
        seconds,
        attempt.reason,
    )
