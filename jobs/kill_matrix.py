"""Kill each kind of process at each point of a run, run again, and show that nothing is amiss.

Run: python jobs/kill_matrix.py --sample --out bench/kill_matrix.json

A cell passes if the log shows that the victim died while a process waited at the point, and if
after one more run of the same command the output is that of a clean run, bit by bit, and verifies.
"""

from __future__ import annotations

import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import as_completed
from pathlib import Path
from tempfile import TemporaryDirectory

from kill_cells import ALL, SAMPLE, Cell, Store, Verdict, Victim, table
from kill_lanes import playing
from pydantic import TypeAdapter

from embedlib.errors import EmbedlibError
from embedlib.run.points import Point

VERDICTS = TypeAdapter(list[Verdict])

TITLE = """# Whatever dies

Who was killed by SIGKILL, while a process of the run waited at which point of the life of a shard,
with audio and output on a disk (`file`) and in an S3 store on the same machine (`s3`). `ok` means
that the log shows that the victim died there, and that after the same command once more (with
`--local` where the head was lost) the output is that of an undisturbed run, bit by bit, and
verifies. Made by `jobs/kill_matrix.py`, which [jobs/README.md](../jobs/README.md) describes.
"""


def arguments() -> Namespace:
    """Read the command line."""
    parser = ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sample", action="store_true", help="some cells, as in make test")
    parser.add_argument("--victims", nargs="+", type=Victim, default=list(Victim))
    parser.add_argument("--points", nargs="+", type=Point, default=list(Point))
    parser.add_argument("--stores", nargs="+", type=Store, default=list(Store))
    parser.add_argument("--out", type=Path, help="a JSON file that keeps verdicts of cells")
    parser.add_argument("--page", type=Path, help="a Markdown file for all verdicts of --out")
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


def kept(path: Path, verdicts: Iterable[Verdict]) -> list[Verdict]:
    """Keep verdicts in a file, beside those of other cells that it holds, and give all of them."""
    earlier = VERDICTS.validate_json(path.read_bytes()) if path.exists() else []
    found = {each.cell: each for each in (*earlier, *verdicts)}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(VERDICTS.dump_json([*found.values()], indent=2))
    return [found[cell] for cell in ALL if cell in found]


def lines(verdicts: Sequence[Verdict]) -> list[str]:
    """Show verdicts, in Markdown."""
    n_failed = sum(bool(verdict.faults) for verdict in verdicts)
    return [*table(verdicts), "", f"{len(verdicts)} cells of {len(ALL)}, {n_failed} failed"]


def main() -> int:
    """Play, write, show, judge."""
    flags, started_s = arguments(), time.monotonic()
    verdicts = list(played(chosen(flags)))
    known = kept(flags.out, verdicts) if flags.out else verdicts
    if flags.page:
        flags.page.write_text("\n".join([TITLE, *lines(known), ""]))
    print("\n".join(lines(verdicts)), f"in {time.monotonic() - started_s:.0f} s")
    return int(any(verdict.faults for verdict in verdicts) or not verdicts)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except EmbedlibError as exc:
        print(f"error: {exc}", file=sys.stderr)
        sys.exit(exc.exit_code)
