"""From a frozen graph to OpenVINO's own form: cut, folded, with one fixed batch.

All surgery is done in the GraphDef, where names are what the file says: once OpenVINO has read a
graph, the names of inner nodes and of Identity nodes are gone.
"""

from __future__ import annotations

from tempfile import NamedTemporaryFile
from typing import IO, Any

from tensorboardX.proto.graph_pb2 import GraphDef

from embedlib.engines.engine import GraphSpec
from embedlib.engines.fold_proof import proven
from embedlib.errors import EngineError
from embedlib.models.blocking import give_frames_in_blocks
from embedlib.models.cut import cut, fix_batch
from embedlib.models.dead.fold import fold_dead_filters
from embedlib.models.graph import parse_graph
from embedlib.models.locks import read_weights
from embedlib.models.tensors import node_of, tensor_name


def convert(spec: GraphSpec) -> Any:
    """Convert what lies between the input and the outputs of a graph file.

    Parameters
    ----------
    spec : GraphSpec
        The graph and what to read from it.

    Returns
    -------
    model : openvino.Model
        Its outputs have the tensor names of the wanted nodes.

    Raises
    ------
    HashMismatchError
        If the file is not the one that the spec names.
    ModelError
        If the file is no harmless graph, or lacks the nodes.
    EngineError
        If there is no room for a temporary file.
    RuntimeError
        If OpenVINO cannot read the graph.
    """
    try:
        # OpenVINO 2026.4 takes no TensorFlow graph from memory.
        with NamedTemporaryFile(suffix=".pb") as file:
            _write_cut(file, spec)
            return _read(file, spec)
    except OSError as exc:
        raise EngineError(
            f"{spec.path.name}, cut to what is wanted, cannot be written: {exc.strerror}",
            fix="set TMPDIR to a folder with room that you may write to",
        ) from exc


def _write_cut(file: IO[bytes], spec: GraphSpec) -> None:
    """Write the part of the graph that is run; nothing of it stays in memory."""
    graph = parse_graph(read_weights(spec.path, expected=spec.sha256), origin=str(spec.path))
    graph = cut(
        graph,
        input_node=spec.input_node,
        outputs=spec.output_nodes,
        patch_shape=spec.patch_shape,
    )
    outputs = [node_of(output) for output in spec.output_nodes]
    folded = fold_dead_filters(graph, outputs=outputs)
    graph = proven(folded.graph, graph, spec, read=_read_graph)
    graph = give_frames_in_blocks(graph, outputs=outputs)
    _write(file, graph, spec)


def _write(file: IO[bytes], graph: GraphDef, spec: GraphSpec) -> None:
    fix_batch(graph, batch_size=spec.batch_size)
    file.write(graph.SerializeToString(deterministic=True))
    file.flush()


def _read(file: IO[bytes], spec: GraphSpec) -> Any:
    from openvino.frontend import FrontEndManager

    front_end = FrontEndManager().load_by_framework("tf")
    graph = front_end.load(file.name)
    places = map(graph.get_place_by_tensor_name, map(tensor_name, spec.output_nodes))
    graph.override_all_outputs(list(places))
    return front_end.convert(graph)


def _read_graph(graph: GraphDef, spec: GraphSpec) -> Any:
    """Convert a graph that is needed further, and is not changed."""
    copied = GraphDef()
    copied.CopyFrom(graph)
    with NamedTemporaryFile(suffix=".pb") as file:
        _write(file, copied, spec)
        return _read(file, spec)
