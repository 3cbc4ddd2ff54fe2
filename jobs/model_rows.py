"""From specs and measured figures to the table of models: pure functions of jobs/model_table.py."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from embedlib.models.graph import INPUT_OF
from embedlib.models.spec import ModelSpec

ENGINES = ("openvino f32", "openvino bf16", "onnxruntime f32")
"""What is held against Essentia's TensorFlow in f32: engine and precision."""

MAX_RELATIVE_L2 = {"f32": 1e-5, "bf16": 3e-2}
"""In f32, `embedlib.tables.diff` takes no more for the same numbers. In bf16, the published MusiCNN
reaches 2e-2 on its worst recording."""

# The nodes are those of `spleeter-5s.pb`, which the paper's code reads.
OLDER_FILE = frozenset({"spleeter-5s-3"})

HEADER = (
    "name",
    "dims",
    "front end",
    "rate",
    "patch",
    "hop",
    "parameters",
    "embedding node",
    "weights",
    "licence",
    "measured with",
    *ENGINES,
)


@dataclass(frozen=True, slots=True)
class Parity:
    """How far the engines are from Essentia's TensorFlow on one model.

    Attributes
    ----------
    weights : {'published', 'random'}
        What it ran with.
    sha256 : str
        Hex digest of the graph file.
    n_patches : int
        Inputs that were compared.
    nodes : mapping of str to float
        Per engine the largest relative l2 of an embedding node.
    vectors : mapping of str to float
        Per engine the relative l2 of the embeddings, which a readout makes of the nodes.
    """

    weights: str
    sha256: str
    n_patches: int
    nodes: Mapping[str, float]
    vectors: Mapping[str, float]


def max_relative_l2(engine: str) -> float:
    """Give the bound of an engine.

    Parameters
    ----------
    engine : str
        One of `ENGINES`.

    Returns
    -------
    bound : float
        That of its precision.

    Examples
    --------
    >>> max_relative_l2("openvino bf16")
    0.03
    """
    return MAX_RELATIVE_L2[engine.split()[-1]]


def table(specs: Sequence[ModelSpec], parities: Mapping[str, Parity | None]) -> str:
    """Write the table in Markdown.

    Parameters
    ----------
    specs : sequence of ModelSpec
        One per row.
    parities : mapping of str to (Parity or None)
        By name of the model; None where it was not measured.

    Returns
    -------
    markdown : str
        Lines, the last one ended too.
    """
    rows = [_row(spec, parities[spec.name]) for spec in specs]
    head = f"| {' | '.join(HEADER)} |\n|{'---|' * len(HEADER)}\n"
    return head + "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _row(spec: ModelSpec, parity: Parity | None) -> tuple[str, ...]:
    return (
        f"`{spec.name}`",
        _dims(spec),
        f"`{spec.front_end}`",
        f"{spec.sr_hz / 1000:g} kHz",
        f"{spec.receptive_field_s:.3f} s",
        f"{spec.hop_s:.3f} s",
        "not known" if spec.n_trainable is None else f"{spec.n_trainable:,}",
        _node(spec),
        _weights(spec),
        spec.weights.licence,
        "needs published weights" if parity is None else f"{parity.weights} weights",
        *(_distance(spec, parity, engine) for engine in ENGINES),
    )


def _dims(spec: ModelSpec) -> str:
    n_vectors = spec.embedding.n_vectors
    return f"{n_vectors} x {spec.n_dims}" if n_vectors > 1 else str(spec.n_dims)


def _node(spec: ModelSpec) -> str:
    """Name the embedding node, and say how sure it is that the file has it."""
    first, *others = spec.embedding.nodes
    name = f"`{first}`" + (f" and {len(others)} more" if others else "")
    if first.startswith(INPUT_OF):
        return f"{name}, found by structure"
    if not spec.weights.published:
        return f"{name}, as in its twin"
    return f"{name}, as in the older file" if spec.name in OLDER_FILE else name


def _weights(spec: ModelSpec) -> str:
    if not spec.weights.published:
        return "never published: a file of your own"
    known = "sha256 pinned" if spec.weights.sha256 else "hash locked at the first download"
    return f"published, {known}"


def _distance(spec: ModelSpec, parity: Parity | None, engine: str) -> str:
    if parity is None:
        return "-"
    nodes, vectors = parity.nodes[engine], parity.vectors[engine]
    text = f"{nodes:.1e}"
    if f"{vectors:.1e}" != text:
        text += f"; vectors {vectors:.1e}"
    is_refused = engine.endswith("bf16") and not spec.takes_bf16
    return f"{text}: not allowed" if is_refused else text
