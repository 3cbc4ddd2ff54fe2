"""Verbs that keep an output small: compact, vacuum."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from embedlib.cli.output import print_json, print_table
from embedlib.cli.outputs import Json, Out


def compact(
    out: Out,
    target_mb: Annotated[float, typer.Option(help="Fill files up to that size.")] = 128.0,
    json: Json = False,
) -> None:
    """Put the rows of small files into large ones; readers and runs go on.

    Example: embedlib compact OUT
    """
    from embedlib.tables.upkeep import compact as compact_tables

    found = compact_tables(out, target_mb=target_mb)
    if json:
        print_json({"out": out, "tables": [asdict(each) for each in found]})
        return
    print_table(
        [
            (
                each.table,
                f"{each.n_files_before} -> {each.n_files_after}",
                f"{each.n_bytes_before / 1e6:.1f} -> {each.n_bytes_after / 1e6:.1f}",
            )
            for each in found
        ],
        header=("table", "files", "MB"),
    )


def vacuum(
    out: Out,
    keep: Annotated[str, typer.Option(help="Age of versions that stay: 7d, 12h.")] = "7d",
    json: Json = False,
) -> None:
    """Delete files that only older versions have, and what killed runs left.

    Example: embedlib vacuum OUT --keep 30d
    """
    from embedlib.cli.durations import duration
    from embedlib.tables.upkeep import vacuum as vacuum_tables

    found = vacuum_tables(out, keep=duration(keep, option="--keep"))
    if json:
        print_json({"out": out, "keep": keep, "tables": [asdict(each) for each in found]})
        return
    print_table(
        [(each.table, str(each.n_files), f"{each.n_bytes / 1e6:.1f}") for each in found],
        header=("table", "files", "MB"),
    )
