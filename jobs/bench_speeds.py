"""Tables of `bench.py extract`: speeds, and beside each what the output is worth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from bench_show import table_of

COLUMNS = (
    *("contender", "x real time", "ms of core per s", "load s", "faster than"),
    *("held to", "min cosine", "max relative l2"),
)

NOTES = (
    "Times are from loaded models to the last saved embedding; ms of core: cores x wall time.",
    "Cosine over patches, l2 over files; the worst of all models, against the contender named.",
)


def case_table(found: Mapping[str, Any]) -> dict[str, Any]:
    """Make the table of a case.

    Parameters
    ----------
    found : mapping of str to Any
        What `bench_rounds.measure_case` gave.

    Returns
    -------
    table : dict of str to Any
        As `table_of` makes it.
    """
    worst = worst_parities(found["outputs"])
    rows = [
        (
            name,
            f"{figures['speed']:.1f}",
            f"{core_ms(figures['speed'], n_cores=found['n_cores'][name]):.2f}",
            f"{figures['load_s']:.1f}",
            ratios_text(name, found["ratios"]),
            *parity_cells(worst.get(name)),
        )
        for name, figures in found["medians"].items()
    ]
    return table_of(found["title"], COLUMNS, rows, notes=[*NOTES, *model_notes(found["outputs"])])


def core_ms(speed: float, *, n_cores: int) -> float:
    """Give the milliseconds of cores that a second of audio takes.

    Examples
    --------
    >>> core_ms(100.0, n_cores=2)
    20.0
    """
    return 1000.0 * n_cores / speed


def ratios_text(name: str, ratios: Mapping[str, float]) -> str:
    """Write how much faster a contender is than each of its peers.

    Examples
    --------
    >>> ratios_text("a", {"a / b": 3.04, "a / 2 x c": 0.97, "d / b": 2.0})
    '3.0 x b; 0.97 x 2 x c'
    """
    others = ((key.partition(" / "), value) for key, value in ratios.items())
    return "; ".join(
        f"{value:.{1 if value >= 1.995 else 2}f} x {other}"
        for (ours, _, other), value in others
        if ours == name
    )


def worst_parities(outputs: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Give the worst figures of each contender over its models.

    Examples
    --------
    >>> worst_parities([
    ...     {"contender": "a", "like": "b", "min_cosine": 0.9, "max_relative_l2": 0.1},
    ...     {"contender": "a", "like": "b", "min_cosine": 1.0, "max_relative_l2": 0.2},
    ... ])
    {'a': {'like': 'b', 'min_cosine': 0.9, 'max_relative_l2': 0.2}}
    """
    found: dict[str, dict[str, Any]] = {}
    for row in outputs:
        so_far = found.setdefault(
            row["contender"], {"like": row["like"], "min_cosine": 1.0, "max_relative_l2": 0.0}
        )
        so_far["min_cosine"] = min(so_far["min_cosine"], row["min_cosine"])
        so_far["max_relative_l2"] = max(so_far["max_relative_l2"], row["max_relative_l2"])
    return found


def parity_cells(worst: Mapping[str, Any] | None) -> tuple[str, str, str]:
    """Write parity; nothing where a contender is timed only."""
    if worst is None:
        return ("", "", "")
    return (worst["like"], f"{worst['min_cosine']:.5f}", f"{worst['max_relative_l2']:.1e}")


def model_notes(outputs: Sequence[Mapping[str, Any]]) -> list[str]:
    """Write parity by model, where there are several: a line per contender."""
    lines: dict[str, list[str]] = {}
    for row in outputs:
        text = f"{row['model']} {row['min_cosine']:.5f} {row['max_relative_l2']:.1e}"
        lines.setdefault(f"{row['contender']} to {row['like']}", []).append(text)
    return [f"{pair}: {', '.join(texts)}" for pair, texts in lines.items() if len(texts) > 1]


def start_table(starts: Mapping[str, Sequence[float]]) -> dict[str, Any]:
    """Make the table of the starts."""
    rows = [
        (name, f"{min(seconds):.1f}", f"{median(seconds):.1f}") for name, seconds in starts.items()
    ]
    notes = ["From the start of the process; converted graphs are in the cache."]
    return table_of("Start to first committed shard", ("run", "best", "median"), rows, notes=notes)
