"""Measure embedlib on this machine: every figure beside what it is compared with, in one run.

Run: python jobs/bench.py extract --out bench/extract.json
     python jobs/bench.py models --out bench/models.json
     python jobs/bench.py overhead --out bench/overhead.json
     python jobs/bench.py search --out bench/search.json

``extract`` holds the speed of MusiCNN against the documented Essentia loop; ``models`` tells what
each step of each model costs, and holds all models from one decode against their parts;
``overhead`` tells what the driver costs where nothing is decoded or embedded, and what Ray adds;
``search`` tells what a search table of a million vectors costs, and its recall.
Every measurement is a process of its own, bound to its cores before it starts. What is compared
takes turns, and figures are medians.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from argparse import ArgumentParser, Namespace
from pathlib import Path

import bench_extract
import bench_models
import bench_overhead
import bench_search
from bench_setting import ROOT, say, surroundings

from embedlib.config import read_config
from embedlib.errors import EmbedlibError

VERBS = {
    "extract": bench_extract,
    "models": bench_models,
    "overhead": bench_overhead,
    "search": bench_search,
}


def arguments() -> Namespace:
    """Read the command line."""
    parser = ArgumentParser(description=__doc__.splitlines()[0])
    verbs = parser.add_subparsers(dest="verb", required=True)
    for name, verb in VERBS.items():
        own = verbs.add_parser(name, help=verb.__doc__.splitlines()[0])
        own.add_argument("--config", type=Path, default=ROOT / f"configs/bench/{name}.yaml")
        own.add_argument("--out", type=Path, default=ROOT / f"bench/{name}.json")
        own.add_argument("--no-floors", action="store_true", help="never exit with 1 for slowness")
        verb.add_flags(own)
    return parser.parse_args()


def main() -> int:
    """Measure, write, show, judge."""
    flags = {key: value for key, value in vars(arguments()).items() if value is not None}
    verb, path, out = VERBS[name := flags.pop("verb")], flags.pop("config"), flags.pop("out")
    is_judged = not flags.pop("no_floors")
    config = verb.bench_config(read_config(path) | flags, origin=str(path))
    cores = sorted(os.sched_getaffinity(0))
    result = surroundings(name, config, cores)
    with tempfile.TemporaryDirectory(prefix="embedlib-bench-") as scratch:
        result |= verb.run(config, Path(scratch), cores)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(result, indent=2) + "\n")
    verb.show(result)
    for line in result["broken_floors"]:
        say(line)
    return int(is_judged and bool(result["broken_floors"]))


if __name__ == "__main__":
    try:
        sys.exit(main())
    except EmbedlibError as exc:
        say(f"error: {exc}")
        sys.exit(exc.exit_code)
