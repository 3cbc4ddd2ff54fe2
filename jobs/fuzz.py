"""Feed damaged files to a run, ten thousand of them, and hold it to its promises.

Run: python jobs/fuzz.py --files 10000 [--kill]

The files are made of nothing, each from a seed and its number: sound files in eight formats with
flipped bits, lost ends and pieces, the heads of others. The run must end, give each file a row,
find audio in three of ten, and leave neither processes nor temporary files. With ``--kill`` it is
repeated while its workers are killed at random, and must write the same rows. A broken promise is
one line and exit code 1.
"""

from __future__ import annotations

import json
import sys
import tempfile
from argparse import ArgumentParser, Namespace
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from bench_memory import DRIVER, KINDS
from fuzz_files import draw_recipe, mutate, sound_files
from fuzz_run import Killer, Watched, watch

import embedlib
from embedlib.cli.output import print_table
from embedlib.errors import EmbedlibError
from embedlib.records import KEPT

MODELS = ("untrained-deepsquare-k16-3",)
"""Tempo-CNN: 12 s of audio in a hundredth of a second, so that decoding is what takes the time."""

SHARD_HOURS = 0.01
"""Small shards, about 200 in ten thousand files, so that many workers can be killed."""

LEAST_KEPT_SHARE = 0.3
LEAST_STATUSES = 5
MOST_WORKER_BYTES = 1 << 30
"""A header may claim gigabytes. A worker that holds its model has about a third of this."""


@dataclass(frozen=True, slots=True)
class Fuzzed:
    """One run over the damaged files.

    Attributes
    ----------
    name : str
        What people call it.
    out : Path
        Its output.
    watched : Watched
        How it went.
    """

    name: str
    out: Path
    watched: Watched


def write_files(folder: Path, *, n_files: int, seed: int) -> None:
    """Write the damaged files, each in the folder of its format and mutation."""
    contents = sound_files()
    for index in range(n_files):
        recipe = draw_recipe(seed, index, contents=contents)
        place = folder / recipe.format / recipe.mutation
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{index:05}.{recipe.format}").write_bytes(mutate(recipe, contents))


def fuzz(
    files: Path,
    folder: Path,
    *,
    models: Sequence[str] = MODELS,
    is_local: bool = False,
    kill_seed: int | None = None,
) -> Fuzzed:
    """Run over the files, undisturbed or with workers killed at random."""
    name = "undisturbed" if kill_seed is None else "with workers killed"
    out = folder / "out"
    killer = None if kill_seed is None else Killer(out, seed=kill_seed)
    options = ["--no-patches", "--quiet", "--shard-hours", str(SHARD_HOURS)]
    options += ["--max-failed", str(sys.maxsize), *(["--local"] if is_local else [])]
    named = [text for model in models for text in ("--models", model)]
    arguments = ["extract", str(files), *named, "--out", str(out), *options]
    return Fuzzed(name, out, watch(arguments, scratch=folder, killer=killer))


def broken_promises(run: Fuzzed, *, n_files: int) -> Iterator[str]:
    """Say what a run did not keep, each in one line.

    Parameters
    ----------
    run : Fuzzed
        One that has ended.
    n_files : int
        That it was given.

    Yields
    ------
    line : str
        None for a run that is as it should be.
    """
    watched = run.watched
    if watched.exit_code:
        last_line = (watched.stderr.strip().splitlines() or ["no message"])[-1]
        yield f"the run ended with code {watched.exit_code}: {last_line}"
        return
    yield from _broken_on_disk(run, n_files=n_files)
    for kind, n_bytes in watched.peak_bytes.items():
        if kind in (DRIVER, *KINDS.values()) and n_bytes > MOST_WORKER_BYTES:
            yield f"{kind} held {n_bytes >> 20} MiB, more than {MOST_WORKER_BYTES >> 20}"
    yield from (f"still there: {title}" for title in watched.outlived)
    yield from (f"left in the temporary folder: {name}" for name in watched.left)
    for word in ("Traceback", "Warning"):
        if word in watched.stderr:
            yield f"stderr has a {word}"


def _broken_on_disk(run: Fuzzed, *, n_files: int) -> Iterator[str]:
    report = embedlib.verify(run.out)
    yield from map(str, report.problems)
    if len(report.notes) > run.watched.n_killed:  # each may leave one part behind
        yield f"{len(report.notes)} files that no log names: {report.notes[0]}"
    for model in embedlib.open(run.out).models:
        statuses = Counter(status for _, _, status in endings(run.out, model))
        n_kept = sum(statuses[status] for status in KEPT)
        if statuses.total() != n_files:
            yield f"{model} has {statuses.total()} rows of {n_files} files"
        if n_kept < LEAST_KEPT_SHARE * n_files:
            yield f"{model} has audio of {n_kept} files only"
        if len(statuses) < LEAST_STATUSES:
            yield f"{model} has {len(statuses)} statuses only: {', '.join(statuses)}"


def endings(out: Path, model: str) -> list[tuple[str, str, str]]:
    """Give format, mutation and status of each row of a model."""
    table = embedlib.open(out).tracks(model).to_arrow(["track_id", "status"])
    rows = zip(table["track_id"].to_pylist(), table["status"].to_pylist(), strict=True)
    return [(*track_id.split("/")[:2], status) for track_id, status in rows]


def show(run: Fuzzed) -> None:
    """Print how the files ended, by format and mutation, and what the run took."""
    rows = endings(run.out, embedlib.open(run.out).models[0])
    counts = Counter(rows)
    statuses = sorted({status for _, _, status in rows})
    places = sorted({(kind, mutation) for kind, mutation, _ in rows})
    lines = [
        (*place, *(str(counts[*place, status] or "") for status in statuses)) for place in places
    ]
    totals = Counter(status for _, _, status in rows)
    lines.append(("all", "", *(str(totals[status]) for status in statuses)))
    print_table(lines, header=("format", "mutation", *statuses))
    peaks = ", ".join(f"{kind} {n >> 20}" for kind, n in sorted(run.watched.peak_bytes.items()))
    print(
        f"{run.name}: {len(rows)} files in {run.watched.wall_s:.0f} s, "
        f"{run.watched.n_killed} workers killed; most MiB of one process: {peaks}"
    )


def arguments() -> Namespace:
    """Read the command line."""
    parser = ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=10_000, help="how many")
    parser.add_argument("--seed", type=int, default=0, help="of the files, and of what is killed")
    parser.add_argument("--models", nargs="+", default=MODELS)
    parser.add_argument("--local", action="store_true", help="in one process, without Ray")
    parser.add_argument("--kill", action="store_true", help="once more, with workers killed")
    parser.add_argument("--folder", type=Path, help="where files and outputs are kept")
    parser.add_argument("--recipe", type=int, metavar="INDEX", help="print that of one file only")
    return parser.parse_args()


def run_all(given: Namespace, folder: Path) -> list[Fuzzed]:
    """Run once, and once more where workers are to be killed."""
    files, models = folder / "files", given.models
    write_files(files, n_files=given.files, seed=given.seed)
    runs = [fuzz(files, folder / "calm", models=models, is_local=given.local)]
    if given.kill:
        runs.append(fuzz(files, folder / "kill", models=models, kill_seed=given.seed))
    return runs


def judge(runs: Sequence[Fuzzed], *, n_files: int) -> list[str]:
    """Say what the runs did not keep, and where they differ if they kept all."""
    broken = [
        f"{run.name}: {line}" for run in runs for line in broken_promises(run, n_files=n_files)
    ]
    if broken or len(runs) == 1:
        return broken
    return [str(each) for each in embedlib.diff(*(run.out for run in runs)).differences]


def main() -> int:
    """Write, run, show, judge."""
    given = arguments()
    if given.recipe is not None:
        recipe = draw_recipe(given.seed, given.recipe, contents=sound_files())
        print(json.dumps(asdict(recipe)))
        return 0
    with tempfile.TemporaryDirectory(prefix="embedlib-fuzz-") as scratch:
        runs = run_all(given, given.folder or Path(scratch))
        broken = judge(runs, n_files=given.files)
        for run in runs:
            if not run.watched.exit_code:
                show(run)
    for line in broken:
        print(line, file=sys.stderr)
    return int(bool(broken))


if __name__ == "__main__":
    try:
        sys.exit(main())
    except EmbedlibError as exc:
        print(f"error: {exc}", file=sys.stderr)
        sys.exit(exc.exit_code)
