"""A peer: one Ray Data pipeline per set of models, written as its documentation advises.

Paths become rows; a task decodes each file once, for all models; each model is a stage of its own,
a class whose actors load it once; the last stage writes Parquet. What follows which advice:

- ``map_batches`` with a class and ``ActorPoolStrategy`` for whatever holds a model; batches of
  several files, as far as that still keeps both cores busy.
  https://docs.ray.io/en/latest/data/batch_inference.html
- Fractional CPUs, so that the actors of all stages and the tasks between fit on the cores at the
  same time. https://docs.ray.io/en/latest/data/performance-tips.html
- Arrays travel as tensors, not lists; files differ in length, so they are tensors of variable
  shape. https://docs.ray.io/en/latest/data/working-with-tensors.html
- A stage drops what no later stage needs, the largest signals first: fewer bytes for the object
  store, which is large enough that nothing is spilled.
  https://docs.ray.io/en/latest/data/data-internals.html

The clock starts with the first file, when the last actor has loaded its model and run it once
(``wait_for_min_actors_s`` keeps all data back until then) and the first task has a process. It
stops when the last Parquet file is written.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from bench_peers import figures
from bench_ray_stages import AUDIO_S, Batch, Decode, Stage, as_table, stages_of, tensors

from embedlib.run.auth import require_tokens

STORE_BYTES = 2 << 30
ACTOR_PATIENCE_S = 600
ACTORS_CPUS, DECODE_CPUS, WRITE_CPUS = 1.0, 0.25, 0.1
"""Shares of two cores: all actors together, each task that decodes, each that writes."""

SUFFIX_PATCHES = " patches"
"""Of the column that counts the patches of a model."""


def run_ray_data(job: Mapping[str, Any]) -> dict[str, float]:
    """Run the pipeline over a folder."""
    require_tokens(is_local=True)
    from embedlib.run.cluster import ray_session

    n_cores = job["options"]["n_cores"]
    notes = Path(f"{job['out']}-notes")
    notes.mkdir()
    asked = time.time()
    with ray_session(address=None, n_cores=n_cores, store_bytes=STORE_BYTES):
        _write(job, notes)
        ended = time.time()
    started = max(max(_noted(notes, "ready")), min(_noted(notes, "decode")))
    done = _done(Path(job["out"]))
    timed_s = ended - started
    return figures(done, load_s=started - asked, timed_s=timed_s, cpu_s=n_cores * timed_s)


def _write(job: Mapping[str, Any], notes: Path) -> None:
    import ray

    options = job["options"]
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = context.print_on_execution_start = False
    context.wait_for_min_actors_s = ACTOR_PATIENCE_S
    decode, stages = stages_of(job)
    paths = sorted(str(path) for path in Path(job["audio"]).iterdir())
    n_files = options["files_per_batch"]
    data: Any = ray.data.from_items(
        [{"path": path} for path in paths], override_num_blocks=-(-len(paths) // n_files)
    )
    data = data.map_batches(
        noted_decode,
        fn_args=(decode, str(notes)),
        batch_size=n_files,
        num_cpus=DECODE_CPUS,
    )
    n_actors = options["actors_per_model"]
    for stage in stages:
        data = data.map_batches(
            ModelStage,
            fn_constructor_args=(stage, str(notes)),
            batch_size=n_files,
            compute=ray.data.ActorPoolStrategy(size=n_actors),
            num_cpus=ACTORS_CPUS / (n_actors * len(stages)),
        )
    data.write_parquet(job["out"], ray_remote_args={"num_cpus": WRITE_CPUS})


def noted_decode(batch: Batch, decode: Decode, notes: str) -> pa.Table:
    """Decode a batch, and note when that began."""
    note(notes, "decode")
    return as_table(decode(batch))


def note(folder: str, what: str) -> None:
    """Note what happened now, in a file of its own."""
    (Path(folder) / f"{what}-{uuid4().hex}").write_text(repr(time.time()))


def _noted(folder: Path, what: str) -> list[float]:
    return [float(file.read_text()) for file in folder.glob(f"{what}-*")]


class ModelStage:
    """The actor of a stage: it loads a model once."""

    def __init__(self, stage: Stage, notes: str) -> None:
        self._stage = stage
        self._embed = stage.load()
        note(notes, "ready")

    def __call__(self, batch: Batch) -> pa.Table:
        """Put vectors beside what later stages need."""
        vectors = self._embed(list(batch[self._stage.column]))
        kept = {name: column for name, column in batch.items() if name not in self._stage.drops}
        kept[self._stage.table] = tensors(vectors)
        kept[self._stage.table + SUFFIX_PATCHES] = np.array([len(found) for found in vectors])
        return as_table(kept)


def _done(out: Path) -> list[tuple[float, int]]:
    table = pq.read_table(out)
    patches = [table[name] for name in table.column_names if name.endswith(SUFFIX_PATCHES)]
    counts = np.sum([column.to_numpy() for column in patches], axis=0)
    return list(zip(table[AUDIO_S].to_pylist(), counts.tolist(), strict=True))
