"""Write tables of drawn vectors, or read one of them one way, in a process of its own.

Run by jobs/bench_read.py: python jobs/bench_read_run.py JOB.json, which leaves JOB.result
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
from bench_search_run import MODEL, drawn_manifest, draws, seconds
from numpy.typing import NDArray

from embedlib.errors import RunError
from embedlib.records import DecodedTrack, Float32, PartResult, Status, Track, TrackRow
from embedlib.search.export import export
from embedlib.tables.commit import commit_parts
from embedlib.tables.manifest import ModelManifest, ensure_manifest
from embedlib.tables.parquet import read_rows
from embedlib.tables.parts import write_part
from embedlib.tables.reader import open_output
from embedlib.tables.upkeep import compact

WHOLE = ("means", "patches", "starts")
"""Columns that are read as a whole."""

SOME = {"one track": 1, "256 tracks": 256}
"""What is read of the patches by the ids of random tracks, and of how many."""

EMBEDLIB, NPY, MAPPED, LISTS = "embedlib", "npy", "npy, mapped and copied", "to_pylist"
READ_BY = {
    EMBEDLIB: (*WHOLE, *SOME),
    NPY: WHOLE,
    MAPPED: (*WHOLE, *SOME),
    LISTS: WHOLE,
}
"""What each way reads."""

STORED = {"means": "embedding", "patches": "patch_embeddings", "starts": "patch_t0_ms"}
"""Names of the columns in a table."""

LAYOUTS = ("parts", "compacted")
LAY_OUT = "lay out"

N_LATENT = 32
HOP_MS = 1488
N_LISTED_VALUES = 2_000_000
"""That ``to_pylist`` reads: it makes an object of each."""


# Tables


def lay_out(job: Mapping[str, Any]) -> dict[str, Any]:
    """Write a table as parts, compacted, and as matrices; see that all hold the same numbers."""
    folder, size = Path(job["out"]), job["size"]
    drawn = np.concatenate(
        list(draws(size["tracks"] * size["patches"], size["dims"], min(N_LATENT, size["dims"])))
    )
    vectors = drawn.reshape(size["tracks"], size["patches"], size["dims"])
    parts, compacted = (folder / name for name in LAYOUTS)
    write_s = seconds(lambda: write_output(parts, vectors, n_rows=size["tracks_per_part"]))
    shutil.copytree(parts, compacted)
    compact(compacted)
    for out in (parts, compacted):
        require_equal(out, vectors)
        save_matrices(out)
    export_s = seconds(
        lambda: export(compacted, folder / "exported", to="npy", model=MODEL, what="patches")
    )
    exported = vectors[table_order(compacted)].reshape(drawn.shape)
    require_same(np.load(folder / "exported" / "embedding.npy"), exported)
    return {
        "write_s": write_s,
        "export_s": export_s,
        "payload_bytes": drawn.nbytes,
        "file_bytes": {
            out.name: sum(path.stat().st_size for path in open_output(out).files(MODEL))
            for out in (parts, compacted)
        },
        "n_files": {out.name: len(open_output(out).files(MODEL)) for out in (parts, compacted)},
    }


def write_output(out: Path, vectors: Float32, *, n_rows: int) -> None:
    """Write vectors [shape=(n_tracks, n_patches, n_dims)] as parts, and commit them."""
    manifest = replace(drawn_manifest(vectors.shape[2]), patches=True)
    ensure_manifest(out, manifest)
    parts = [
        drawn_part(out / MODEL, manifest, vectors[first : first + n_rows], first=first)
        for first in range(0, len(vectors), n_rows)
    ]
    commit_parts(out, MODEL, parts)


def drawn_part(
    folder: Path, manifest: ModelManifest, vectors: Float32, *, first: int
) -> PartResult:
    """Write the part of some tracks, by the writer that workers use."""
    decoded = DecodedTrack(0, Status.OK, duration_s=30.0, sr_hz=44_100, n_samples=1_323_000)
    starts = HOP_MS * np.arange(vectors.shape[1], dtype=np.int32)
    rows = [
        TrackRow(Track(name, f"/{name}", size=1, version="1"), decoded, False, starts, each)
        for name, each in zip(track_names(first, len(vectors)), vectors, strict=True)
    ]
    return write_part(
        folder,
        manifest=manifest,
        shard_id=f"{first:08x}",
        attempt_id="0",
        rows=rows,
        provenance={},
    )


def track_names(first: int, n_tracks: int) -> list[str]:
    """Name the tracks of drawn vectors."""
    return [f"track{number:08}" for number in range(first, first + n_tracks)]


def require_equal(out: Path, vectors: Float32) -> None:
    """Hold what a table gives against what was written."""
    output = open_output(out)
    written = vectors[table_order(out)]
    require_same(output.patches(MODEL).to_numpy(), written.reshape(-1, vectors.shape[2]))
    means = written.mean(axis=1, dtype=np.float64).astype(np.float32)
    require_same(output.tracks(MODEL).to_numpy(), means)
    starts = HOP_MS * np.arange(vectors.shape[1], dtype=np.int32)
    require_same(read_starts(out), np.tile(starts, len(vectors)))


def table_order(out: Path) -> list[int]:
    """Give the numbers of the tracks in the order of a table, which is that of its files."""
    names = open_output(out).tracks(MODEL).track_ids
    return [int(name.removeprefix("track")) for name in names]


def require_same(found: np.ndarray, wanted: np.ndarray) -> None:
    """Refuse to time what reads other numbers."""
    if not np.array_equal(found, wanted):
        raise RunError("what was read is not what was written", fix="look for the cause first")


def save_matrices(out: Path) -> None:
    """Leave the columns of a table as plain matrices beside it, in its order."""
    output = open_output(out)
    np.save(matrix_path(out, "patches"), output.patches(MODEL).to_numpy())
    np.save(matrix_path(out, "means"), output.tracks(MODEL).to_numpy())
    np.save(matrix_path(out, "starts"), read_starts(out))


def matrix_path(out: Path, column: str) -> Path:
    """Say where the plain matrix of a column lies."""
    return out.with_name(f"{out.name}-{column}.npy")


# Reading


def read_starts(out: Path) -> np.ndarray:
    """Read when each patch starts [int32, milliseconds]."""
    table = open_output(out).tracks(MODEL).to_arrow(["patch_t0_ms"])
    return np.concatenate([each.flatten().to_numpy() for each in table["patch_t0_ms"].chunks])


def read_whole(out: Path, column: str) -> np.ndarray:
    """Read a column as users do."""
    if column == "starts":
        return read_starts(out)
    output = open_output(out)
    return (output.tracks if column == "means" else output.patches)(MODEL).to_numpy()


def read_tracks(out: Path, chosen: NDArray[np.int64]) -> np.ndarray:
    """Read the patches of the tracks in some rows of the table, by their ids."""
    ids = [f"track{number:08}" for number in chosen]
    where = pc.field("track_id").isin(ids)
    files = open_output(out).files(MODEL)
    column = read_rows(files, ["patch_embeddings"], where=where)["patch_embeddings"]
    return np.concatenate([each.flatten().flatten().to_numpy() for each in column.chunks])


def read_lists(out: Path, column: str, n_values: int) -> np.ndarray:
    """Read the first rows of a column by way of Python objects."""
    name = STORED[column]
    with pq.ParquetFile(open_output(out).files(MODEL)[0]) as file:
        n_rows = max(1, N_LISTED_VALUES // n_values)
        return np.array(next(file.iter_batches(n_rows, columns=[name]))[name].to_pylist())


def take_tracks(path: Path, chosen: NDArray[np.int64], n_patches: int) -> np.ndarray:
    """Copy the patches of some tracks out of a mapped matrix."""
    mapped = np.load(path, mmap_mode="r")
    return mapped.reshape(-1, n_patches, mapped.shape[1])[chosen]


def whole_reader(job: Mapping[str, Any], column: str) -> Callable[[], np.ndarray]:
    """Give the call that reads a column as a whole."""
    out, size = Path(job["table"]), job["size"]
    path = matrix_path(out, column)
    n_values = {"means": size["dims"], "patches": size["patches"] * size["dims"]}
    return {
        EMBEDLIB: lambda: read_whole(out, column),
        NPY: lambda: np.load(path),
        MAPPED: lambda: np.array(np.load(path, mmap_mode="r")),
        LISTS: lambda: read_lists(out, column, n_values.get(column, size["patches"])),
    }[job["way"]]


def some_reader(
    job: Mapping[str, Any], what: str, rng: np.random.Generator
) -> Callable[[], np.ndarray]:
    """Give the call that reads random tracks."""
    out, size = Path(job["table"]), job["size"]
    n_chosen = min(size["tracks"], SOME[what])
    chosen = np.sort(rng.choice(size["tracks"], n_chosen, replace=False))
    if job["way"] == EMBEDLIB:
        return lambda: read_tracks(out, chosen)
    return lambda: take_tracks(matrix_path(out, "patches"), chosen, size["patches"])


def timed(reader: Callable[[], np.ndarray]) -> dict[str, float]:
    """Read once."""
    started, cpu_started = time.perf_counter(), time.process_time()
    n_bytes = reader().nbytes
    return {
        "s": time.perf_counter() - started,
        "cpu_s": time.process_time() - cpu_started,
        "n_bytes": n_bytes,
    }


def read(job: Mapping[str, Any]) -> dict[str, Any]:
    """Read all that a way can read, as often as wanted, after a first time that is left out."""
    rng = np.random.default_rng(job["n_round"])
    found = {}
    for what in READ_BY[job["way"]]:
        runs = []
        for _ in range(1 + job["repeats"]):
            is_whole = what in WHOLE
            runs.append(timed(whole_reader(job, what) if is_whole else some_reader(job, what, rng)))
        found[what] = runs[1:]
    return {"runs": found}


if __name__ == "__main__":
    job_file = Path(sys.argv[1])
    job = json.loads(job_file.read_text())
    found = lay_out(job) if job["way"] == LAY_OUT else read(job)
    job_file.with_suffix(".result").write_text(json.dumps(found))
