"""A model ready to run: its engine, its readouts, its heads.

`LoadedModel` alone knows how many patches a batch has: it fills up what it is given to batches of
one size, and takes a smaller size for good where memory is lacking.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np

from embedlib.engines.engine import Engine, GraphSpec
from embedlib.engines.load import load_engine
from embedlib.engines.memory import WAY_OUT
from embedlib.errors import BatchMemoryError, EngineError, ModelError
from embedlib.features.readout import Readout, readout
from embedlib.models.folders import cache_folder
from embedlib.models.locks import write_atomically
from embedlib.models.spec import Output
from embedlib.records import Float32
from embedlib.run.job import HeadJob, ModelJob

_LOG = logging.getLogger("embedlib")

Result = TypeVar("Result")


def materialise(data: bytes, *, folder: Path, suffix: str = ".pb") -> Path:
    """Put a graph on this node under its hash, once, whoever comes first.

    Parameters
    ----------
    data : bytes
        The verified graph.
    folder : Path
        The node's cache; made if absent.
    suffix : str
        Of the file.

    Returns
    -------
    path : Path
        ``folder/<sha256><suffix>``.
    """
    path = folder / f"{hashlib.sha256(data).hexdigest()}{suffix}"
    if not path.exists():
        write_atomically(path, data)
    return path


def graph_file(graph: bytes | str, job: ModelJob) -> Path:
    """Give the file of a verified graph on this node.

    Parameters
    ----------
    graph : bytes or str
        The graph, or the path of the driver's own file where the driver is on this node.
    job : ModelJob
        Whose graph it is.

    Returns
    -------
    path : Path
        Who reads it compares its hash with that of the job.
    """
    if isinstance(graph, bytes):
        return materialise(graph, folder=_graphs_folder(), suffix=job.graph_suffix)
    return Path(graph)


def graph_spec(job: ModelJob, graph: Path) -> GraphSpec:
    """Say what an engine is to load for a job.

    Parameters
    ----------
    job : ModelJob
        Which model, and how.
    graph : Path
        The verified graph file.

    Returns
    -------
    spec : GraphSpec
        With the nodes of all outputs, one after the other.
    """
    return GraphSpec(
        path=graph,
        input_node=job.input_node,
        output_nodes=tuple(node for output in job.outputs for node in output.nodes),
        patch_shape=job.input_shape,
        batch_size=job.batch_size,
        precision=job.precision,
        device=job.device,
        sha256=job.graph_sha256,
    )


def _graphs_folder() -> Path:
    return cache_folder() / "graphs"


@dataclass(frozen=True, slots=True)
class _Reading:
    """Which of the engine's arrays make up one output."""

    output: Output
    readout: Readout
    start: int

    def read(self, arrays: tuple[Float32, ...]) -> Float32:
        own = arrays[self.start : self.start + len(self.output.nodes)]
        vectors = self.readout.read(own)
        wanted = (self.output.n_vectors, self.output.n_values)
        if vectors.shape[1:] != wanted:
            raise EngineError(
                f"{', '.join(self.output.nodes)} gave {vectors.shape[1:]} values per patch, "
                f"not {wanted}",
                fix="choose a node with one vector per patch",
            )
        return vectors


class LoadedModel:
    """A graph in an engine, from model inputs to vectors.

    The engine gets batches of one size, that of the job. Where one does not fit into memory, the
    size is halved, the same inputs are run again, and the smaller size stays.

    Parameters
    ----------
    job : ModelJob
        Which model, and how.
    graph : Path
        The verified graph file.

    Attributes
    ----------
    n_outputs : int
        Arrays that a call gives: the embeddings, the further outputs, the heads.

    Raises
    ------
    BatchMemoryError
        If there is no memory for one patch, or for the only batch that the graph takes.
    """

    def __init__(self, job: ModelJob, graph: Path) -> None:
        self._job = job
        self._graph = graph
        self._network: _Network | None = None
        self.n_outputs = len(job.outputs) + len(job.heads)
        self._within_memory(self._load)

    @property
    def batch_size(self) -> int:
        """Patches of one batch, after all that did not fit."""
        return self._job.batch_size

    def __call__(self, inputs: Float32) -> tuple[Float32, ...]:
        """Run some model inputs.

        Parameters
        ----------
        inputs : np.ndarray [shape=(n_patches, *input_shape), float32]
            One or more; zeros fill up the last batch.

        Returns
        -------
        vectors : tuple of np.ndarray [shape=(n_patches, n_vectors, n_values), float32]
            Embeddings, further outputs, heads.

        Raises
        ------
        BatchMemoryError
            If there is no memory for one patch, or for the only batch that the graph takes.
        EngineError
            If the graph gives other shapes than the job says.
        """
        return self._within_memory(lambda: self._load()(inputs))

    def _within_memory(self, work: Callable[[], Result]) -> Result:
        """Do what needs memory, by smaller and smaller batches."""
        lacking = ""
        while True:
            try:
                return work()
            except BatchMemoryError as exc:
                if self._job.batch_size == 1:
                    raise
                lacking = str(exc.args[0])
            except ModelError as exc:  # once halved: a graph that takes no other batch
                if not lacking:
                    raise
                raise BatchMemoryError(f"{lacking}; {exc.args[0]}", fix=WAY_OUT) from exc
            # Behind the handler, because the error holds on to the engine that is to go.
            self._halve(lacking)

    def _halve(self, lacking: str) -> None:
        before = self._job.batch_size
        self._job = replace(self._job, batch_size=before // 2)
        self._network = None
        _LOG.warning("model=%s batch_size=%d->%d: %s", self._job.name, before, before // 2, lacking)

    def _load(self) -> _Network:
        if self._network is None:
            self._network = _Network(self._job, self._graph)
        return self._network


class _Network:
    """An engine, its readouts and its heads, for batches of one size."""

    def __init__(self, job: ModelJob, graph: Path) -> None:
        self._readings = _readings(job.outputs)
        self._engine = load_engine(job.engine, graph_spec(job, graph))
        self._heads = [_load_head(head, job) for head in job.heads]
        self._batch_size = job.batch_size

    def __call__(self, inputs: Float32) -> tuple[Float32, ...]:
        starts = range(0, len(inputs), self._batch_size)
        batches = [self._run(inputs[start : start + self._batch_size]) for start in starts]
        return tuple(np.concatenate(vectors) for vectors in zip(*batches, strict=True))

    def _run(self, inputs: Float32) -> list[Float32]:
        arrays = self._engine(_filled(inputs, self._batch_size))
        read = [reading.read(arrays) for reading in self._readings]
        heads = [predict(read[0][:, 0]) for predict in self._heads]
        return [vectors[: len(inputs)] for vectors in (*read, *heads)]


def _filled(inputs: Float32, n_patches: int) -> Float32:
    """Fill up a batch with zeros, so that the engine sees one shape only."""
    if len(inputs) == n_patches:
        return inputs
    batch = np.zeros((n_patches, *inputs.shape[1:]), np.float32)
    batch[: len(inputs)] = inputs
    return batch


def _readings(outputs: tuple[Output, ...]) -> list[_Reading]:
    starts = [0]
    for output in outputs:
        starts.append(starts[-1] + len(output.nodes))
    return [
        _Reading(output, readout(output.readout), start)
        for output, start in zip(outputs, starts, strict=False)
    ]


class _Head:
    """A head in an engine, from a batch of embeddings to one vector each."""

    def __init__(self, head: HeadJob, engine: Engine) -> None:
        self._head = head
        self._engine = engine

    def __call__(self, embeddings: Float32) -> Float32:
        (predictions,) = self._engine(embeddings.reshape(-1, *self._head.input_shape))
        return predictions.reshape(len(embeddings), 1, self._head.n_values)


def _load_head(head: HeadJob, job: ModelJob) -> _Head:
    path = materialise(head.graph, folder=_graphs_folder())
    spec = GraphSpec(
        path=path,
        input_node=head.input_node,
        output_nodes=(head.output_node,),
        patch_shape=head.input_shape,
        batch_size=job.batch_size,
        device=job.device,
        sha256=path.stem,
    )
    return _Head(head, load_engine(job.engine, spec))
