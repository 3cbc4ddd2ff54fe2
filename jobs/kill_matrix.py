"""Kill each kind of process at each point of a run, run again, and show that nothing is amiss.

Run: python jobs/kill_matrix.py --sample --out bench/kill_matrix.json

A cell passes if the log shows that the victim died while a process waited at the point, and if
after one more run of the same command the output is that of a clean run, bit by bit, and verifies.
"""

from __future__ import annotations

import json
import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from concurrent.futures import as_completed
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory

from kill_cells import ALL, SAMPLE, Cell, Store, Verdict, Victim, table
from kill_lanes import playing

from embedlib.errors import EmbedlibError
from embedlib.run.points import Point


def arguments() -> Namespace:
    """Read the command line."""
    parser = ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sample", action="store_true", help="some cells, as in make test")
    parser.add_argument("--victims", nargs="+", type=Victim, default=list(Victim))
    parser.add_argument("--points", nargs="+", type=Point, default=list(Point))
    parser.add_argument("--stores", nargs="+", type=Store, default=list(Store))
    parser.add_argument("--out", type=Path, help="a JSON file for the verdicts")
    return parser.parse_args()


def chosen(flags: Namespace) -> list[Cell]:
    """Give the cells that the command line names."""
    return [
        cell
        for cell in (SAMPLE if flags.sample else ALL)
        if cell.victim in flags.victims
        and cell.point in flags.points
        and cell.store in flags.stores
    ]


def played(cells: list[Cell]) -> Iterator[Verdict]:
    """Play cells, and tell each verdict on stderr."""
    with TemporaryDirectory(prefix="kill-matrix-") as folder, playing(cells, Path(folder)) as plays:
        for each in as_completed(plays.values()):
            verdict = each.result()
            words = "; ".join(verdict.faults) or "ok"
            print(f"{verdict.cell}: {words} ({verdict.wall_s:.0f} s)", file=sys.stderr, flush=True)
            yield verdict


def main() -> int:
    """Play, write, show, judge."""
    flags, started_s = arguments(), time.monotonic()
    verdicts = list(played(chosen(flags)))
    if flags.out is not None:
        flags.out.parent.mkdir(parents=True, exist_ok=True)
        flags.out.write_text(json.dumps([asdict(each) for each in verdicts], indent=2) + "\n")
    n_failed = sum(bool(verdict.faults) for verdict in verdicts)
    print("\n".join(table(verdicts)))
    wall_s = time.monotonic() - started_s
    print(f"{len(verdicts)} cells, {n_failed} failed, {wall_s:.0f} s")
    return int(n_failed > 0 or not verdicts)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except EmbedlibError as exc:
        print(f"error: {exc}", file=sys.stderr)
        sys.exit(exc.exit_code)
