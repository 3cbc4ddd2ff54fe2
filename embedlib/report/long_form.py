"""One flat record per model, task, protocol and split: what the CSV file and ``--json`` hold."""

from __future__ import annotations

from dataclasses import asdict

from embedlib.probes.score_records import Interval
from embedlib.report.numbers import percent
from embedlib.report.paper_table import Entry, Line, PaperTable


def long_form(table: PaperTable) -> tuple[dict[str, object], ...]:
    """Give the table as flat records, all with the same keys.

    Parameters
    ----------
    table : PaperTable
        The table of the paper.

    Returns
    -------
    records : tuple of dict of str to object
        Line by line; ``_pct`` is percent or points, None is unknown.
    """
    return tuple(_record(line, entry) for line in table.lines for entry in line.scored)


def _record(line: Line, entry: Entry) -> dict[str, object]:
    return _names(line, entry) | _results(entry) | _evidence(line, entry)


def _names(line: Line, entry: Entry) -> dict[str, object]:
    return {
        "group": line.group,
        "task": line.task,
        "model": entry.cell.model,
        "protocol": line.protocol,
        "split": str(line.split),
    }


def _results(entry: Entry) -> dict[str, object]:
    cell = entry.cell
    return {
        "five_fold_pct": percent(cell.five_fold),
        **_ends("five_fold", cell.interval),
        "fold_std_pct": percent(cell.fold_std),
        "repeat_std_pct": percent(cell.repeat_std),
        "n_repeats": cell.n_repeats,
        "standing": str(entry.standing),
        "paper_five_fold_pct": percent(entry.paper_five_fold),
        "difference_to_paper_pct": percent(entry.difference),
        "external_pct": percent(cell.external),
        **_ends("external", cell.external_interval),
        "paper_external_on_other_data_pct": percent(entry.paper_external),
        "drop_pct": percent(cell.drop),
        **_ends("drop", cell.drop_interval),
    }


def _evidence(line: Line, entry: Entry) -> dict[str, object]:
    cell = entry.cell
    return {
        "n_tracks": cell.n_tracks,
        "n_expected": line.n_expected,
        "n_scored": cell.n_scored,
        "n_external": cell.n_external,
        "is_reproducible": cell.is_reproducible,
        "fingerprint": cell.fingerprint,
        "table_versions": cell.table_versions,
        "classes": cell.classes,
        "confusion": cell.confusion,
        "external_confusion": cell.external_confusion,
        "chosen": tuple(asdict(params) for params in cell.chosen),
    }


def _ends(name: str, interval: Interval | None) -> dict[str, object]:
    return {
        f"{name}_low_pct": percent(interval.low if interval else None),
        f"{name}_high_pct": percent(interval.high if interval else None),
    }
