"""Commit parts to a table, in a process of its own.

Run by jobs/bench_commit.py: python jobs/bench_commit_run.py JOB.json, which leaves JOB.result

What is in a table before is in its log alone: a commit opens none of these files. The same rows go
into a table that delta-rs writes, and into files that no log names.
"""

from __future__ import annotations

import json
import sys
import time
import uuid
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from coverage_catalogue import drawn_manifest, drawn_row
from deltalake import DeltaTable, write_deltalake
from deltalake.transaction import AddAction

from embedlib.errors import RunError
from embedlib.records import PartResult, Track, TrackRow
from embedlib.tables.commit import Committer, open_or_create
from embedlib.tables.manifest import ModelManifest, ensure_manifest
from embedlib.tables.parts import write_part
from embedlib.tables.rows import rows_table
from embedlib.tables.snapshot import read_snapshot
from embedlib.tables.vectors import model_schema

MODEL = "drawn"
N_DIMS = 200
"""As MusiCNN has them."""

TURNS, RACE = "turns", "race"
"""What a process does: all ways in turns, or commits alone, against others at the same table."""

PATIENCE_S = 120.0
"""For the other writers to be ready."""

Batch = Mapping[str, list[TrackRow]]
"""Rows by shard."""


def draw_batch(n_shards: int, n_rows: int) -> Batch:
    """Draw the rows of shards that nobody has had before."""
    rng = np.random.default_rng(440)
    return {
        (shard_id := uuid.uuid4().hex[:16]): [
            drawn_row(
                number,
                Track(f"{shard_id}/{number:04}.wav", "", size=1, version="1", shard_id=shard_id),
                rng.standard_normal(N_DIMS, dtype=np.float32),
            )
            for number in range(n_rows)
        ]
        for _ in range(n_shards)
    }


def write_files(folder: Path, batch: Batch, manifest: ModelManifest) -> list[PartResult]:
    """Write a part of each shard, as workers do."""
    return [
        write_part(
            folder,
            manifest=manifest,
            shard_id=shard_id,
            attempt_id="0",
            rows=rows,
            provenance={"engine": "drawn"},
        )
        for shard_id, rows in batch.items()
    ]


def table_of(batch: Batch, manifest: ModelManifest) -> pa.Table:
    """Make one Arrow table of all rows."""
    return pa.concat_tables(
        rows_table(rows, manifest=manifest, shard_id=shard_id) for shard_id, rows in batch.items()
    )


def fill_log(table: DeltaTable, n_files: int) -> None:
    """Enter files that are nowhere; no commit looks at them."""
    stats = {"numRecords": 1, "nullCount": {"track_id": 0, "shard_id": 0}}
    files: list[Any] = []
    for number in range(n_files):
        bounds = {"track_id": f"{number:016x}/0", "shard_id": f"{number:016x}"}
        text = json.dumps({**stats, "minValues": bounds, "maxValues": bounds})
        files.append(AddAction(f"part-{number:016x}-0.parquet", 1, {}, 0, True, text))
    table.create_write_transaction(files, mode="append", schema=table.schema())


class Tables:
    """A table of embedlib, one that delta-rs writes, and a folder for files alone."""

    def __init__(self, root: Path) -> None:
        self.manifest = drawn_manifest(MODEL, n_dims=N_DIMS)
        self.schema = model_schema(self.manifest)
        self.root = root
        self.folder = root / "ours" / MODEL
        self.peer_folder = root / "delta-rs" / MODEL
        self.files = root / "files"

    def lay_out(self, *, n_files: int, n_rows: int) -> int:
        """Make the tables, see that the same rows come out of both, and fill them.

        Returns the number of rows that were compared.
        """
        ensure_manifest(self.root / "ours", self.manifest)
        for folder in (self.peer_folder, self.files):
            folder.mkdir(parents=True)
        ours, theirs = (open_or_create(f, self.schema) for f in (self.folder, self.peer_folder))
        batch = draw_batch(3, n_rows)
        Committer(self.root / "ours", MODEL).commit(write_files(self.folder, batch, self.manifest))
        write_deltalake(theirs, table_of(batch, self.manifest), mode="append")
        n_compared = require_same_rows(self.folder, self.peer_folder)
        ours.update_incremental()
        for table in (ours, theirs):
            fill_log(table, n_files)
        return n_compared


def require_same_rows(ours: Path, theirs: Path) -> int:
    """See that two tables hold the same rows; how many."""
    one, other = (
        pa.concat_tables(pq.read_table(file.path) for file in read_snapshot(folder).files)
        .replace_schema_metadata()
        .sort_by("track_id")
        for folder in (ours, theirs)
    )
    if not one.cast(other.schema).equals(other):
        raise RunError(
            f"the tables have {len(one)} and {len(other)} rows, or other ones",
            fix="look for the cause first: their times cannot be compared",
        )
    return len(one)


def take_turns(tables: Tables, *, n_shards: int, n_rows: int, n_times: int) -> dict[str, Any]:
    """Write and commit, write alone, and have delta-rs append, by turns; seconds of each time."""
    committer = Committer(tables.root / "ours", MODEL)
    theirs = DeltaTable(tables.peer_folder)
    seconds: dict[str, list[float]] = {"write": [], "commit": [], "append": [], "alone": []}
    for _ in range(n_times + 1):
        batch = draw_batch(n_shards, n_rows)
        moments = [time.perf_counter()]
        parts = write_files(tables.folder, batch, tables.manifest)
        moments.append(time.perf_counter())
        committer.commit(parts)
        moments.append(time.perf_counter())
        write_deltalake(theirs, table_of(batch, tables.manifest), mode="append")
        moments.append(time.perf_counter())
        write_files(tables.files, batch, tables.manifest)
        moments.append(time.perf_counter())
        for way, took_s in zip(seconds, np.diff(moments), strict=True):
            seconds[way].append(float(took_s))
    # The first time opens tables and loads code.
    return {way: each[1:] for way, each in seconds.items()}


@dataclass(frozen=True, slots=True)
class Race:
    """When a writer began and ended, by a clock that all of them share, and what it committed."""

    began_s: float
    ended_s: float
    shard_ids: Sequence[str]


def race(
    tables: Tables, *, n_shards: int, n_rows: int, n_times: int, meeting: str, n_writers: int
) -> Race:
    """Commit as fast as can be, beginning with the others."""
    parts = [
        write_files(tables.folder, draw_batch(n_shards, n_rows), tables.manifest)
        for _ in range(n_times + 1)
    ]
    committer = Committer(tables.root / "ours", MODEL)
    committer.commit(parts.pop())
    meet(tables.root / f"meeting {meeting} {n_shards}", n_writers)
    began_s = time.monotonic()
    commits = [committer.commit(each) for each in parts]
    shard_ids = [shard_id for commit in commits for shard_id in commit.committed]
    return Race(began_s, time.monotonic(), shard_ids)


def meet(folder: Path, n_writers: int) -> None:
    """Wait until all writers are here."""
    folder.mkdir(exist_ok=True)
    (folder / uuid.uuid4().hex).touch()
    deadline_s = time.monotonic() + PATIENCE_S
    while len(list(folder.iterdir())) < n_writers:
        if time.monotonic() > deadline_s:
            raise RunError("the other writers do not come", fix="see why they ended")
        time.sleep(0.001)


def measure(job: dict[str, Any]) -> dict[str, Any]:
    """Do what the job says, for each size of a batch."""
    tables = Tables(Path(job["root"]))
    size = {"n_rows": job["rows"], "n_times": job["transactions"]}
    if job["task"] == TURNS:
        n_compared = tables.lay_out(n_files=job["files"], n_rows=job["rows"])
        found = {n: take_turns(tables, n_shards=n, **size) for n in job["batches"]}
        return {"rows_compared": n_compared, "batches": found}
    others = {"meeting": job["meeting"], "n_writers": job["n_writers"]}
    races = {n: race(tables, n_shards=n, **size, **others) for n in job["batches"]}
    require_logged(tables, chain.from_iterable(each.shard_ids for each in races.values()))
    return {"batches": {n: [each.began_s, each.ended_s] for n, each in races.items()}}


def require_logged(tables: Tables, shard_ids: Iterable[str]) -> None:
    """See that the log names each shard that was reported as committed, and names it once."""
    n_files = Counter(file.shard_id for file in read_snapshot(tables.folder).files)
    for shard_id in shard_ids:
        if n_files[shard_id] != 1:
            raise RunError(
                f"the log names shard {shard_id} {n_files[shard_id]} times",
                fix="this is a bug of the commit",
            )


if __name__ == "__main__":
    job_file = Path(sys.argv[1])
    found = measure(json.loads(job_file.read_text()))
    job_file.with_suffix(".result").write_text(json.dumps(found))
