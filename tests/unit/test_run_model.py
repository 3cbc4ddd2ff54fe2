"""A loaded model: one size of batches, halved where memory ends, by an engine of known memory."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from embedlib.config import extract_config
from embedlib.engines.engine import Engine, GraphSpec
from embedlib.errors import BatchMemoryError, EngineError, ModelError
from embedlib.models.registry import model_spec
from embedlib.models.store import WeightFile
from embedlib.records import Float32
from embedlib.run.instances import Instance
from embedlib.run.job import HeadJob, ModelJob
from embedlib.run.model import LoadedModel
from embedlib.run.prepare import model_job
from embedlib.run.resolve import Prepared

N_DIMS = 200
BATCH_SIZE = 8


class Machine:
    """Where engines are loaded: memory for so many patches, graphs that may want one size only."""

    def __init__(self) -> None:
        self.room_when_loading = self.room_when_running = BATCH_SIZE
        self.only_size: int | None = None
        self.loaded: list[int] = []
        self.batches: list[Float32] = []
        self.engines: weakref.WeakSet[SumEngine] = weakref.WeakSet()

    def load(self, name: str, spec: GraphSpec) -> Engine:
        assert len(self.engines) == (1 if spec.path.name.startswith("head") else 0)
        if self.only_size not in (None, spec.batch_size):
            raise ModelError(f"the graph takes batches of exactly {self.only_size} patches")
        self.loaded.append(spec.batch_size)
        require_room(spec, self.room_when_loading)
        return SumEngine(spec, self)


class SumEngine:
    """The sum of a patch, as often as an output has values."""

    name = "sum"

    def __init__(self, spec: GraphSpec, machine: Machine) -> None:
        self._spec = spec
        self._machine = machine
        machine.engines.add(self)

    def __call__(self, batch: Float32) -> tuple[Float32, ...]:
        require_room(self._spec, self._machine.room_when_running)
        assert len(batch) == self._spec.batch_size
        self._machine.batches.append(batch.copy())
        sums = batch.reshape(len(batch), -1).sum(axis=1, keepdims=True)
        return tuple(np.repeat(sums, N_DIMS, axis=1) for _ in self._spec.output_nodes)


def require_room(spec: GraphSpec, n_patches: int) -> None:
    if spec.batch_size > n_patches:
        raise BatchMemoryError(f"a batch of {spec.batch_size} does not fit", fix="buy memory")


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    """No engine is left to the garbage collector: its memory is wanted at once."""
    made = Machine()
    monkeypatch.setattr("embedlib.run.model.load_engine", made.load)
    gc.disable()
    yield made
    gc.enable()


@pytest.fixture
def job(tmp_path: Path) -> ModelJob:
    """A job with inputs of three numbers, in batches of eight."""
    spec = model_spec("msd-musicnn-1")
    file = WeightFile(tmp_path / "none.pb", "ab" * 32, False, spec.input_node, spec.outputs)
    config = extract_config({"sources": ["a"], "models": [spec.name], "out": "o"})
    prepared = Prepared(Instance(spec.name, spec), config, file, spec.outputs[:1], ())
    return replace(model_job(prepared, folder=tmp_path), input_shape=(3,), batch_size=BATCH_SIZE)


GRAPH = Path("graph.pb")


def inputs_of(*values: float) -> Float32:
    """Inputs whose sums are these."""
    return np.array([[value, 0, 0] for value in values], np.float32)


def sums(vectors: tuple[Float32, ...]) -> list[float]:
    return [float(value) for value in vectors[0][:, 0, 0]]


@pytest.mark.parametrize("n_patches", [1, 7, 8, 9, 20])
def test_any_number_of_patches_comes_back_from_full_batches(
    machine: Machine, job: ModelJob, n_patches: int
) -> None:
    values = range(1, n_patches + 1)
    vectors = LoadedModel(job, GRAPH)(inputs_of(*values))
    assert vectors[0].shape == (n_patches, 1, N_DIMS)
    assert sums(vectors) == list(values)
    fed = np.concatenate(machine.batches)
    assert fed[:, 0].tolist() == [*values, *[0] * (-n_patches % BATCH_SIZE)]


@pytest.mark.parametrize("room", [1, 2, 3, 7])
def test_a_batch_that_does_not_fit_is_run_again_in_halves_that_do(
    machine: Machine, job: ModelJob, room: int
) -> None:
    machine.room_when_running = room
    model = LoadedModel(job, GRAPH)
    assert sums(model(inputs_of(*range(9)))) == list(range(9))
    assert model.batch_size <= room < 2 * model.batch_size
    assert {len(batch) for batch in machine.batches} == {model.batch_size}


def test_a_batch_that_does_not_fit_when_it_is_loaded_is_halved_there(
    machine: Machine, job: ModelJob
) -> None:
    machine.room_when_loading = 2
    model = LoadedModel(job, GRAPH)
    assert (machine.loaded, model.batch_size) == ([8, 4, 2], 2)


def test_the_smaller_size_is_kept_and_told_once(
    machine: Machine, job: ModelJob, caplog: pytest.LogCaptureFixture
) -> None:
    machine.room_when_running = 4
    model = LoadedModel(job, GRAPH)
    model(inputs_of(1.0))
    machine.room_when_running = 8
    model(inputs_of(1.0))
    assert machine.loaded == [8, 4]
    assert [record.getMessage() for record in caplog.records] == [
        "model=msd-musicnn-1 batch_size=8->4: a batch of 8 does not fit"
    ]


def test_sizes_that_are_no_powers_of_two_are_halved_to_one(machine: Machine, job: ModelJob) -> None:
    machine.room_when_running = 1
    model = LoadedModel(replace(job, batch_size=7), GRAPH)
    assert sums(model(inputs_of(*range(7)))) == list(range(7))
    assert machine.loaded == [7, 3, 1]


def test_heads_take_the_size_of_their_model(
    machine: Machine, job: ModelJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("embedlib.run.model.materialise", lambda *_, **__: Path("head.pb"))
    head = HeadJob("moods", b"", "in", "out", (N_DIMS,), N_DIMS)
    machine.room_when_running = 4
    model = LoadedModel(replace(job, heads=(head,)), GRAPH)
    embeddings, moods = model(inputs_of(*range(5)))
    assert machine.loaded == [8, 8, 4, 4]
    assert moods[:, 0, 0].tolist() == [N_DIMS * value for value in sums((embeddings,))]


def test_where_one_patch_does_not_fit_the_error_says_so_and_a_later_call_may_succeed(
    machine: Machine, job: ModelJob
) -> None:
    machine.room_when_running = 0
    model = LoadedModel(job, GRAPH)
    with pytest.raises(EngineError, match="a batch of 1 does not fit; buy memory"):
        model(inputs_of(1.0))
    machine.room_when_running = 1
    assert sums(model(inputs_of(3.0))) == [3.0]


def test_a_graph_that_takes_one_size_only_cannot_be_halved(machine: Machine, job: ModelJob) -> None:
    machine.room_when_running, machine.only_size = 4, BATCH_SIZE
    model = LoadedModel(job, GRAPH)
    words = "a batch of 8 does not fit; the graph takes batches of exactly 8 patches; give each"
    with pytest.raises(BatchMemoryError, match=words):
        model(inputs_of(1.0))


def test_a_graph_that_cannot_be_loaded_is_no_matter_of_memory(
    machine: Machine, job: ModelJob
) -> None:
    machine.only_size = 64
    with pytest.raises(ModelError, match="exactly 64"):
        LoadedModel(job, GRAPH)
