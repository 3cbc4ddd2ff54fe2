"""Measure embedlib on this machine: every figure beside what it is compared with, in one run.

Run: python jobs/bench.py extract --out bench/extract.json
     python jobs/bench.py all --short --out bench

=========  =====================================================================================
verb       what it tells
=========  =====================================================================================
extract    from files to committed tables, beside Essentia's loop, a process pool and Ray Data
stages     CPU seconds of each stage per hour of audio, and how far the limit of each still is
models     what each step of each model costs, and all models from one decode against their parts
scale      workers on this machine, and nodes in the simulator: efficiency and cost
overhead   what the driver costs where nothing is decoded or embedded, and what Ray adds
probes     the grid of tasks, models and folds
search     a search table of a million vectors: build, query, recall, update
index      a night of a large catalogue in which next to nothing changed
commit     transactions per minute, alone and with others at the same table
read       columns of vectors to NumPy, beside a plain .npy file
gpu        audio hours per hour on each card; says so where there is none
=========  =====================================================================================

``all`` measures each in turn, leaves a JSON file of each in the folder, and a page that shows
them. ``--short`` takes the keys under ``short`` of each configuration: all of it in ten minutes.
Every measurement is a process of its own, bound to its cores before it starts. What is compared
takes turns, and figures are medians.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from argparse import ArgumentParser, Namespace
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from bench_page import write_page
from bench_setting import ROOT, say, surroundings

from embedlib.config import read_config
from embedlib.errors import EmbedlibError

VERBS = (
    *("extract", "stages", "models", "scale", "overhead", "probes", "search", "index"),
    *("commit", "read", "gpu"),
)
ALL, SHORT = "all", "short"


def arguments() -> Namespace:
    """Read the command line."""
    parser = ArgumentParser(description=__doc__.splitlines()[0])
    verbs = parser.add_subparsers(dest="verb", required=True)
    for name in VERBS:
        verb = module_of(name)
        own = verbs.add_parser(name, help=(verb.__doc__ or "").splitlines()[0])
        own.add_argument("--config", type=Path, default=ROOT / f"configs/bench/{name}.yaml")
        own.add_argument("--out", type=Path, default=ROOT / f"bench/{name}.json")
        _add_shared_flags(own)
        verb.add_flags(own)
    everything = verbs.add_parser(ALL, help="all of them in turn, and a page that shows them")
    everything.add_argument("--out", type=Path, default=ROOT / "bench", help="folder")
    _add_shared_flags(everything)
    return parser.parse_args()


def _add_shared_flags(parser: ArgumentParser) -> None:
    parser.add_argument("--short", action="store_true", help="less audio and fewer rounds")
    parser.add_argument("--no-floors", action="store_true", help="never exit with 1 for slowness")


def module_of(name: str) -> ModuleType:
    """Give the module of a verb."""
    return import_module(f"bench_{name}")


def measure(
    name: str, *, path: Path, out: Path, is_short: bool, flags: dict[str, Any]
) -> dict[str, Any]:
    """Measure, write, show."""
    verb = module_of(name)
    values = read_config(path)
    short = values.pop(SHORT, {})
    config = verb.bench_config({**values, **(short if is_short else {}), **flags}, origin=str(path))
    cores = sorted(os.sched_getaffinity(0))
    result = surroundings(name, config, cores) | {"is_short": is_short}
    with tempfile.TemporaryDirectory(prefix="embedlib-bench-") as scratch:
        result |= verb.run(config, Path(scratch), cores)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(result, indent=2) + "\n")
    verb.show(result)
    return result


def measure_all(*, folder: Path, is_short: bool) -> list[str]:
    """Measure each in turn, and write a page of all; what cannot be measured is said."""
    lines = []
    for name in VERBS:
        say(f"== {name}")
        path = ROOT / f"configs/bench/{name}.yaml"
        try:
            result = measure(
                name, path=path, out=folder / f"{name}.json", is_short=is_short, flags={}
            )
            lines += result["broken_floors"]
        except EmbedlibError as exc:
            lines.append(f"{name} was not measured: {exc}")
    write_page(folder)
    return lines


def main() -> int:
    """Measure, write, show, judge."""
    flags = {key: value for key, value in vars(arguments()).items() if value is not None}
    name, out, is_short = flags.pop("verb"), flags.pop("out"), flags.pop("short")
    is_judged = not flags.pop("no_floors")
    if name == ALL:
        broken = measure_all(folder=out, is_short=is_short)
    else:
        path = flags.pop("config")
        result = measure(name, path=path, out=out, is_short=is_short, flags=flags)
        broken = result["broken_floors"]
    for line in broken:
        say(line)
    return int(is_judged and bool(broken))


if __name__ == "__main__":
    try:
        sys.exit(main())
    except EmbedlibError as exc:
        say(f"error: {exc}")
        sys.exit(exc.exit_code)
