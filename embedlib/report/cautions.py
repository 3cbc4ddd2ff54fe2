"""What a reader must see before the numbers, as sentences for all formats."""

from __future__ import annotations

from embedlib.probes.score_records import Control, Scores
from embedlib.report.numbers import points, span


def cautions(scores: Scores) -> tuple[str, ...]:
    """Say what makes numbers doubtful.

    Parameters
    ----------
    scores : Scores
        Controls and cells.

    Returns
    -------
    sentences : tuple of str
        Suspicious controls first, then what is not reproducible; empty is good news.
    """
    suspicious = [_suspicion(control) for control in scores.controls if control.is_suspicious]
    chance = sorted({cell.task for cell in scores.cells if not cell.is_reproducible})
    if chance:
        suspicious.append(
            f"Not reproducible: {', '.join(chance)}. Their sweep used the scheduler asha, whose "
            "choices depend on the order in which trials end."
        )
    return tuple(suspicious)


def _suspicion(control: Control) -> str:
    return (
        f"Control failed: {control.model} on {control.task} ({control.protocol}, {control.split}) "
        f"reads {points(control.mean)} % off shuffled labels, where chance is "
        f"{points(control.chance)} % and the 99 % band {span(control.band)}: something leaks, "
        "and the scores of this task cannot be trusted."
    )
