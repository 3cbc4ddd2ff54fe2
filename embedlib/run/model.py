"""A model ready to run: its engine, its readouts, its heads."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from embedlib.engines.engine import Engine, GraphSpec
from embedlib.engines.load import load_engine
from embedlib.errors import EngineError
from embedlib.features.readout import Readout, readout
from embedlib.models.locks import file_sha256, require_sha256, write_atomically
from embedlib.models.spec import Output
from embedlib.models.store import cache_folder
from embedlib.records import Float32
from embedlib.run.job import HeadJob, ModelJob


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
        A file with that content.

    Raises
    ------
    HashMismatchError
        If the file was replaced since.
    """
    if isinstance(graph, bytes):
        return materialise(graph, folder=_graphs_folder(), suffix=job.graph_suffix)
    require_sha256(file_sha256(Path(graph)), expected=job.graph_sha256, origin=graph)
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
    """A graph in an engine, from a batch of model inputs to vectors.

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
    """

    def __init__(self, job: ModelJob, graph: Path) -> None:
        self._readings = _readings(job.outputs)
        self._engine = load_engine(job.engine, graph_spec(job, graph))
        self._heads = [_load_head(head, job) for head in job.heads]
        self.n_outputs = len(self._readings) + len(self._heads)

    def __call__(self, batch: Float32) -> tuple[Float32, ...]:
        """Run one batch.

        Parameters
        ----------
        batch : np.ndarray [shape=(batch_size, *input_shape), float32]
            Model inputs.

        Returns
        -------
        vectors : tuple of np.ndarray [shape=(batch_size, n_vectors, n_values), float32]
            Embeddings, further outputs, heads.

        Raises
        ------
        EngineError
            If the graph gives other shapes than the job says.
        """
        arrays = self._engine(batch)
        read = [reading.read(arrays) for reading in self._readings]
        embeddings = read[0][:, 0]
        heads = [predict(embeddings) for predict in self._heads]
        return (*read, *heads)


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
    spec = GraphSpec(
        path=materialise(head.graph, folder=_graphs_folder()),
        input_node=head.input_node,
        output_nodes=(head.output_node,),
        patch_shape=head.input_shape,
        batch_size=job.batch_size,
        device=job.device,
    )
    return _Head(head, load_engine(job.engine, spec))
