"""Build a search table of drawn vectors and ask it, in a process of its own.

Run by jobs/bench_search.py: python jobs/bench_search_run.py JOB.json, which leaves JOB.result
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from deltalake import write_deltalake

from embedlib.records import Float32
from embedlib.search.build import build
from embedlib.search.index import sample_vectors
from embedlib.search.query import Searcher, open_search
from embedlib.tables.manifest import ModelManifest, ensure_manifest
from embedlib.tables.vectors import model_schema

MODEL = "drawn"
N_CLUSTERS = 1_000
BATCH_ROWS = 50_000
K = 10
N_ADDED = 100


def draws(n_rows: int, n_dims: int, n_latent: int) -> Iterator[Float32]:
    """Draw vectors in clusters of a space of few dimensions, with noise in all of them.

    Embeddings of music are like that: most of their variance is in some tens of directions.
    Without structure every vector would be as far from each other one, and no index could help.
    """
    rng = np.random.default_rng(440)
    centres = rng.standard_normal((N_CLUSTERS, n_latent), dtype=np.float32)
    mixing = rng.standard_normal((n_latent, n_dims), dtype=np.float32)
    for first in range(0, n_rows, BATCH_ROWS):
        n = min(BATCH_ROWS, n_rows - first)
        latent = rng.standard_normal((n, n_latent), dtype=np.float32)
        latent = centres[rng.integers(0, N_CLUSTERS, n)] + np.float32(0.7) * latent
        noise = rng.standard_normal((n, n_dims), dtype=np.float32)
        yield latent @ mixing + np.float32(0.5) * noise


def batch_of(vectors: Float32, schema: pa.Schema, *, prefix: str, first: int) -> pa.RecordBatch:
    """Make rows of a model table with nothing but ids and embeddings."""
    n_rows, n_dims = vectors.shape
    names = pa.array([f"{prefix}{number:08}" for number in range(first, first + n_rows)])
    values = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), n_dims)
    known = {
        "track_id": names,
        "uri": names,
        "n_patches": pa.repeat(pa.scalar(1, pa.int32()), n_rows),
        "embedding": values.cast(schema.field("embedding").type),
    }
    columns = [known.get(field.name, _empty(field, n_rows)) for field in schema]
    return pa.record_batch(columns, schema=schema)


def _empty(field: pa.Field, n_rows: int) -> pa.Array:
    if field.nullable:
        return pa.nulls(n_rows, field.type)
    value = "" if pa.types.is_string(field.type) else 0
    return pa.repeat(pa.scalar(value).cast(field.type), n_rows)


def write_table(out: Path, *, n_rows: int, n_dims: int, n_latent: int, prefix: str = "t") -> None:
    """Write, or add to, a model table of drawn vectors."""
    manifest = drawn_manifest(n_dims)
    ensure_manifest(out, manifest)
    schema, first = model_schema(manifest), 0
    for vectors in draws(n_rows, n_dims, n_latent):
        batch = batch_of(vectors, schema, prefix=prefix, first=first)
        write_deltalake(out / MODEL, pa.table(batch), mode="append")
        first += len(vectors)


def drawn_manifest(n_dims: int) -> ModelManifest:
    """Describe a table that no model has made."""
    return ModelManifest(
        model=MODEL,
        n_dims=n_dims,
        untrained=True,
        node="none",
        front_end="musicnn-mel",
        front_end_version=1,
        sr_hz=16_000,
        resampler="none",
        decoder="none",
        patch_frames=187,
        patch_hop_frames=93,
        last_patch="tile-short",
        precision="f32",
        patches=False,
    )


def seconds(work: Callable[[], object]) -> float:
    """Tell how long something takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def query_ms(searcher: Searcher, vectors: Float32, *, exact: bool) -> tuple[float, float]:
    """Ask for the neighbours of each vector, alone: median and 95th percentile in milliseconds."""
    searcher.nearest(vectors[0], k=K, exact=exact)
    took = [
        1e3 * seconds(lambda vector=vector: searcher.nearest(vector, k=K, exact=exact))
        for vector in vectors
    ]
    return float(np.percentile(took, 50)), float(np.percentile(took, 95))


def n_bytes(folder: Path) -> int:
    """Add up the files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def measure(job: dict[str, Any]) -> dict[str, float]:
    """Build, ask, add, build again."""
    out, n_rows = Path(job["out"]), job["rows"]
    size = {"n_dims": job["dims"], "n_latent": job["latent_dims"]}
    write_table(out, n_rows=n_rows, **size)
    build_s = seconds(lambda: build(out, MODEL))
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    searcher = open_search(out, MODEL)
    vectors = sample_vectors(searcher.table, n_rows, n_queries=job["queries"], seed=2)
    p50_ms, p95_ms = query_ms(searcher, vectors, exact=False)
    exact_ms, exact_p95_ms = query_ms(searcher, vectors[:50], exact=True)
    lance = out / "search" / f"{MODEL}.lance"
    figures = {
        "build s": build_s,
        "build peak MiB": peak_mib,
        "query p50 ms": p50_ms,
        "query p95 ms": p95_ms,
        "exact query p50 ms": exact_ms,
        "exact query p95 ms": exact_p95_ms,
        "recall at 10": searcher.recall(n_queries=job["queries"]),
        "probes": searcher.state.n_probes,
        "table MB": n_bytes(lance / "data") / 1e6,
        "index MB": n_bytes(lance / "_indices") / 1e6,
    }
    write_table(out, n_rows=N_ADDED, prefix="new", **size)
    return figures | {f"update by {N_ADDED} tracks s": seconds(lambda: build(out, MODEL))}


if __name__ == "__main__":
    job_file = Path(sys.argv[1])
    found = measure(json.loads(job_file.read_text()))
    job_file.with_suffix(".result").write_text(json.dumps(found))
