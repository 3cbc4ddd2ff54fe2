"""List and plan a catalogue of many tracks as `extract` does; show the driver's memory and time.

Run: python jobs/plan_catalogue.py --tracks 1e7 --max-mib 1024
     python jobs/plan_catalogue.py --tracks 1e6 --format csv --shuffled

A manifest of tracks that do not exist is written, then a process of its own lists it, adopts it
into the catalogue, and plans one model: everything up to the first decode. A second process does
it once more where the catalogue is known and the table of the model has every second shard. With
more than `--max-mib` of resident memory in either the exit code is 1.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq
from deltalake import DeltaTable
from deltalake.transaction import AddAction

from embedlib.catalog.listing import list_sources
from embedlib.cli.output import print_table
from embedlib.config import ExtractConfig, extract_config
from embedlib.errors import EmbedlibError
from embedlib.run.planning import ready_jobs, run_plan
from embedlib.tables.catalog import adopt
from embedlib.tables.layout import output_root
from embedlib.tables.manifest import ensure_manifest
from embedlib.tables.pending import pending_shards
from embedlib.tables.vectors import model_schema

MODEL = "untrained-msd-musicnn-1"

BLOCK_ROWS = 100_000
"""Of the manifest, written at a time."""

N_READ = 100
"""Shards whose tracks are read at the end, as a driver does when it starts them."""

RUNS = ("first run", "second run")


def arguments() -> Namespace:
    """Read the command line."""
    parser = ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tracks", type=float, default=1e5)
    parser.add_argument("--format", choices=("parquet", "csv"), default="parquet")
    parser.add_argument("--shuffled", action="store_true", help="ids in no order")
    parser.add_argument("--max-mib", type=float, help="of resident memory")
    parser.add_argument("--folder", type=Path, help="for the manifest and the output")
    parser.add_argument("--out", type=Path, help="a JSON file for the figures")
    parser.add_argument("--plan", nargs=2, metavar=("MANIFEST", "OUT"), help="be the process")
    return parser.parse_args()


def blocks(n_tracks: int, *, is_shuffled: bool) -> Iterator[pa.RecordBatch]:
    """Give the rows of the manifest: ids of 12 digits, paths of usual length."""
    step = 1_000_003 if is_shuffled else 1
    for first in range(0, n_tracks, BLOCK_ROWS):
        numbers = (n * step % n_tracks for n in range(first, min(n_tracks, first + BLOCK_ROWS)))
        names = [f"{n:012}" for n in numbers]
        uris = [f"/nowhere/music/{name[6:9]}/{name[9:]}/{name}.flac" for name in names]
        yield pa.record_batch({"track_id": names, "uri": uris})


def write_manifest(path: Path, *, n_tracks: int, is_shuffled: bool) -> None:
    """Write the manifest block by block."""
    schema = pa.schema({"track_id": pa.string(), "uri": pa.string()})
    writer = pq.ParquetWriter if path.suffix == ".parquet" else pc.CSVWriter
    with writer(path, schema) as file:
        for block in blocks(n_tracks, is_shuffled=is_shuffled):
            file.write_batch(block)


def config_of(manifest: str, out: str) -> ExtractConfig:
    """Ask for one model."""
    return extract_config({"sources": [manifest], "models": [MODEL], "out": out})


def plan(manifest: str, out: str) -> dict[str, float]:
    """Do what `extract` does before its first decode; seconds per step, and the peak of memory."""
    config, root = config_of(manifest, out), output_root(out)
    started, figures = time.monotonic(), {}

    def done(step: str) -> None:
        figures[f"{step}_s"] = time.monotonic() - started - sum(figures.values())

    jobs = ready_jobs(config, out=root)
    done("ready")
    catalogue = adopt(root, list_sources(config.sources), sources=config.sources)
    done("list_and_adopt")
    ensure_manifest(root, jobs.models[MODEL].manifest)
    pending = {MODEL: pending_shards(root, MODEL, catalogue.tracks)}
    done("pending")
    run = run_plan(config, out=root, jobs=jobs, pending=pending)
    scheduler = run.scheduler()
    done("plan")
    n_read = sum(len(run.shards[shard_id].tracks) for shard_id in list(run.shards)[:N_READ])
    done("read_shards")
    return figures | {
        "n_tracks": len(catalogue.tracks),
        "n_new": catalogue.changes.n_new,
        "n_pending_shards": scheduler.n_pending,
        "n_read": n_read,
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def finish_half(manifest: str, out: str) -> None:
    """Enter parts for every second shard into the log of the model; none of them is opened."""
    config, root = config_of(manifest, out), output_root(out)
    catalogue = adopt(root, [], sources=config.sources)
    sizes = list(catalogue.tracks.sizes.items())[::2]
    schema = model_schema(ready_jobs(config, out=root).models[MODEL].manifest)
    table = DeltaTable.create(root / MODEL, schema, mode="ignore")
    parts = [
        AddAction(
            path=f"part-{shard_id}-1.parquet",
            size=1,
            partition_values={},
            modification_time=0,
            data_change=True,
            stats=json.dumps(
                {
                    "numRecords": size.n_tracks,
                    "minValues": {"shard_id": shard_id},
                    "maxValues": {"shard_id": shard_id},
                }
            ),
        )
        for shard_id, size in sizes
    ]
    table.create_write_transaction(parts, mode="append", schema=table.schema())


def planned_apart(manifest: Path, out: Path) -> dict[str, float]:
    """Plan in a process that does nothing else."""
    command = [sys.executable, __file__, "--plan", str(manifest), str(out)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


def measure(flags: Namespace, folder: Path) -> dict[str, dict[str, float]]:
    """Plan twice."""
    manifest, out = folder / f"manifest.{flags.format}", folder / "out"
    write_manifest(manifest, n_tracks=int(flags.tracks), is_shuffled=flags.shuffled)
    first = planned_apart(manifest, out)
    finish_half(str(manifest), str(out))
    return dict(zip(RUNS, (first, planned_apart(manifest, out)), strict=True))


def main() -> int:
    """Measure, show, write, judge."""
    flags = arguments()
    if flags.plan:
        print(json.dumps(plan(*flags.plan)))
        return 0
    with tempfile.TemporaryDirectory(dir=flags.folder) as folder:
        figures = measure(flags, Path(folder))
    rows = [(name, *(f"{figures[run][name]:,.1f}" for run in RUNS)) for name in figures[RUNS[0]]]
    print_table(rows, header=("figure", *RUNS))
    if flags.out:
        flags.out.parent.mkdir(parents=True, exist_ok=True)
        flags.out.write_text(json.dumps(figures, indent=2) + "\n")
    peak_mib = max(run["peak_mib"] for run in figures.values())
    is_over = flags.max_mib is not None and peak_mib > flags.max_mib
    if is_over:
        print(f"error: {peak_mib:.0f} MiB are more than {flags.max_mib}", file=sys.stderr)
    return int(is_over)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except EmbedlibError as exc:
        print(f"error: {exc}", file=sys.stderr)
        sys.exit(exc.exit_code)
