"""Comparisons, ranks and controls as texts, in the columns that every format shows."""

from __future__ import annotations

from collections.abc import Iterable

from embedlib.probes.score_records import Cell, Comparison, Control, Ranks
from embedlib.report.numbers import points, probability, signed, span

CONTROL_HEADER = ("Task", "Protocol", "Model", "Chance", "Mean", "99 % band", "Shuffles", "Verdict")
"""Titles of the columns of `control_table`."""

CONTROL_SENTENCE = (
    "The same probes on shuffled labels: their mean must lie inside the band around chance, else "
    "something leaks from the test folds."
)
"""What controls are for."""

ORIGIN_HEADER = ("Model", "Fingerprint", "Versions")
"""Titles of the columns of `origin_table`."""

COMPARISON_HEADER = ("Task", "Protocol", "Model A", "Model B", "A - B", "p", "p (Holm)")
"""Titles of the columns of `comparison_table`."""

COMPARISON_SENTENCE = (
    "Paired permutation tests on balanced accuracy, on tracks that have an embedding of both "
    "models. Holm's correction covers all pairs and tasks of a protocol and split."
)
"""What comparisons are."""


def control_table(controls: Iterable[Control]) -> tuple[tuple[str, ...], ...]:
    """Write controls as rows.

    Parameters
    ----------
    controls : iterable of Control
        In order.

    Returns
    -------
    rows : tuple of tuple of str
        In the columns of `CONTROL_HEADER`, not escaped.
    """
    return tuple(
        (
            control.task,
            f"{control.protocol}, {control.split}",
            control.model,
            points(control.chance),
            points(control.mean),
            span(control.band),
            str(control.n_shuffles),
            "suspicious" if control.is_suspicious else "clean",
        )
        for control in controls
    )


def comparison_table(comparisons: Iterable[Comparison]) -> tuple[tuple[str, ...], ...]:
    """Write comparisons as rows.

    Parameters
    ----------
    comparisons : iterable of Comparison
        In order.

    Returns
    -------
    rows : tuple of tuple of str
        In the columns of `COMPARISON_HEADER`, not escaped.
    """
    return tuple(
        (
            each.task,
            f"{each.protocol}, {each.split}",
            each.model_a,
            each.model_b,
            signed(each.difference),
            probability(each.p),
            probability(each.p_holm),
        )
        for each in comparisons
    )


def origin_table(cells: Iterable[Cell]) -> tuple[tuple[str, ...], ...]:
    """Write which tables of embeddings the scores were made from.

    Parameters
    ----------
    cells : iterable of Cell
        All of them.

    Returns
    -------
    rows : tuple of tuple of str
        In the columns of `ORIGIN_HEADER`, each once, not escaped.
    """
    versions: dict[tuple[str, str], set[int]] = {}
    for cell in cells:
        versions.setdefault((cell.model, cell.fingerprint), set()).update(cell.table_versions)
    return tuple((*key, ", ".join(map(str, sorted(versions[key])))) for key in sorted(versions))


def ranks_sentence(ranks: Ranks) -> str:
    """Say what the ranks of one protocol and split rest on.

    Parameters
    ----------
    ranks : Ranks
        Of all models.

    Returns
    -------
    sentence : str
        Tasks, Friedman's test and the critical difference.
    """
    return (
        f"Mean ranks of 5F over {ranks.n_tasks} tasks (1 is best). Friedman's test of no "
        f"difference: p {_relation(ranks.friedman_p)}. Models whose mean ranks are closer than "
        f"{ranks.critical_difference:.2f} do not differ (Nemenyi, 5 %)."
    )


def _relation(p: float) -> str:
    text = probability(p)
    return text if text.startswith("<") else f"= {text}"
