"""Graphs without their dead filters against the whole ones in Essentia's TensorFlow.

The bound is tight: OpenVINO and TensorFlow differ by up to 3e-6 on one and the same graph. Two
tests put an error in on purpose, and show that the bound catches it.
"""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from tensorboardX.proto.graph_pb2 import GraphDef

from embedlib.engines.engine import Engine, GraphSpec
from embedlib.engines.load import load_engine
from embedlib.errors import EngineError
from embedlib.features.front_end import front_end
from embedlib.features.patches import PatchCutter, PatchRule
from embedlib.models.builder import build_untrained
from embedlib.models.dead.facts import DEAD_BELOW
from embedlib.models.dead.fold import fold_dead_filters
from embedlib.models.graph import const_array, list_nodes, parse_graph
from embedlib.models.registry import model_spec
from embedlib.records import Float32

pytest.importorskip("openvino")
essentia = pytest.importorskip("essentia")
essentia.log.infoActive = False
essentia.log.warningActive = False
es = pytest.importorskip("essentia.standard")

OUTPUTS = ("model/dense/BiasAdd", "model/Sigmoid")
FRONT_END = ("conv2d", "conv2d_1", "conv2d_2", "conv2d_3", "conv2d_4")
MAX_RELATIVE_L2 = 5e-6
MIN_COSINE_BF16 = 0.999

MSD = "msd-musicnn-1.pb"
# How many filters of each front-end layer live.
ALIVE = {MSD: [23, 14, 3, 7, 17], "genre_dortmund_musicnn_msd.pb": [196, 153, 51, 49, 45]}
AUDIO = (
    "dubstep.aac",
    "dubstep.flac",
    "dubstep.mp3",
    "dubstep.ogg",
    "dubstep.wav",
    "flamenco.mp3",
    "hiphop.mp3",
    "long_voice.flac",
    "techno_loop.mp3",
)

every_file = pytest.mark.parametrize("name", ALIVE)


def load(engine: str, path: Path, *, batch_size: int = 1, precision: str = "f32") -> Engine:
    spec = GraphSpec(path, "model/Placeholder", OUTPUTS, (187, 96), batch_size, precision)
    return load_engine(engine, spec)


loaded = cache(load)


def run(engine: Engine, patches: Float32) -> list[Float32]:
    rows = [engine(patch[np.newaxis]) for patch in patches]
    return [np.concatenate(column) for column in zip(*rows, strict=True)]


@cache
def patches_of(path: Path) -> Float32:
    y = es.MonoLoader(filename=str(path), sampleRate=16000)()
    frames = front_end("musicnn-mel").stream()
    return PatchCutter(PatchRule()).push(np.concatenate([frames.push(y), frames.flush()]))


@pytest.fixture
def odd_patches(rng: np.random.Generator) -> Float32:
    """Give noise, silence, values that no mel energies have, a click, and sound that stops."""
    patches = rng.uniform(0, 4, (6, 187, 96)).astype(np.float32)
    patches[1] = 0.0
    patches[2] -= 10.0
    patches[3] *= 3.0
    patches[4] = 0.0
    patches[4, 0, 0] = 4.0
    patches[5, 40:] = 0.0
    return patches


def published(folder: Path, name: str) -> Path:
    if not (folder / name).is_file():
        pytest.skip(f"needs the real {name}")
    return folder / name


def folded(path: Path, *, dead_below: float = DEAD_BELOW) -> GraphDef:
    graph = parse_graph(path.read_bytes(), origin=path.name)
    return fold_dead_filters(graph, outputs=OUTPUTS, dead_below=dead_below).graph


def written(graph: GraphDef, folder: Path) -> Path:
    path = folder / "written.pb"
    path.write_bytes(graph.SerializeToString(deterministic=True))
    return path


def half_dead(folder: Path) -> Path:
    """Write an untrained MusiCNN with many dead filters, and one layer of nothing else."""
    graph = parse_graph(build_untrained(model_spec("msd-musicnn-1")), origin="untrained")
    dead = {f"{layer}/kernel": slice(0, 51, 2) for layer in FRONT_END}
    dead["conv2d_3/kernel"] = slice(None)
    for node in graph.node:
        if node.name in dead:
            values = np.array(const_array(node))
            values[..., dead[node.name]] = 1e-30
            node.attr["value"].tensor.tensor_content = values.tobytes()
    return written(graph, folder).rename(folder / "half_dead.pb")


def relative_l2(ours: Float32, theirs: Float32) -> float:
    """Give the error of the worst patch."""
    errors = np.linalg.norm(ours - theirs, axis=1) / np.linalg.norm(theirs, axis=1)
    return float(errors.max())


def assert_close(ours: list[Float32], theirs: list[Float32]) -> None:
    assert [output.shape for output in ours] == [output.shape for output in theirs]
    assert max(map(relative_l2, ours, theirs)) <= MAX_RELATIVE_L2


@every_file
@pytest.mark.parametrize("dead_below", [1e-9, 1e-7, 1e-5])
def test_the_filters_of_a_published_file_are_clearly_dead_or_alive(
    shared_models: Path, name: str, dead_below: float
) -> None:
    graph = folded(published(shared_models, name), dead_below=dead_below)
    shapes = {node.name: node.shape for node in list_nodes(graph)}
    assert [shapes[f"model/{layer}/Conv2D"][-1] for layer in FRONT_END] == ALIVE[name]


@every_file
@pytest.mark.parametrize("audio", AUDIO)
def test_openvino_gives_the_numbers_of_the_whole_graph_on_real_audio(
    shared_models: Path, shared_audio: Path, name: str, audio: str
) -> None:
    path = published(shared_models, name)
    patches = patches_of(shared_audio / audio)
    assert_close(run(loaded("openvino", path), patches), run(loaded("essentia", path), patches))


@every_file
def test_openvino_gives_the_numbers_of_the_whole_graph_on_odd_patches(
    shared_models: Path, name: str, odd_patches: Float32
) -> None:
    path = published(shared_models, name)
    theirs = run(loaded("essentia", path), odd_patches)
    assert_close(run(loaded("openvino", path), odd_patches), theirs)


def test_filters_that_were_killed_by_hand_are_folded_exactly(
    tmp_path: Path, odd_patches: Float32
) -> None:
    path = half_dead(tmp_path)
    theirs = run(load("essentia", path), odd_patches)
    assert_close(run(load("openvino", path), odd_patches), theirs)


def test_tensorflow_runs_the_folded_graph_too(tmp_path: Path, odd_patches: Float32) -> None:
    path = half_dead(tmp_path)
    ours = run(load("essentia", written(folded(path), tmp_path)), odd_patches)
    assert_close(ours, run(load("essentia", path), odd_patches))


def test_bf16_points_where_f32_does(shared_models: Path, shared_audio: Path) -> None:
    path = published(shared_models, MSD)
    patches = np.concatenate([patches_of(shared_audio / audio) for audio in AUDIO])
    ours, _ = run(loaded("openvino", path, precision="bf16"), patches)
    theirs, _ = run(loaded("openvino", path), patches)
    norms = np.linalg.norm(ours, axis=1) * np.linalg.norm(theirs, axis=1)
    assert ((ours * theirs).sum(axis=1) / norms).min() >= MIN_COSINE_BF16


@pytest.mark.parametrize("precision", ["f32", "bf16"])
def test_results_are_bit_equal_whatever_the_run_and_the_neighbours(
    tmp_path: Path, odd_patches: Float32, precision: str
) -> None:
    path = half_dead(tmp_path)
    once, again = (load("openvino", path, batch_size=6, precision=precision) for _ in range(2))
    for straight, turned in zip(once(odd_patches), again(odd_patches[::-1]), strict=True):
        np.testing.assert_array_equal(straight, turned[::-1])


def without_its_weakest_living_filter(path: Path, folder: Path) -> Path:
    """Write a graph in which the living filter that moves least is dead as well."""
    graph = parse_graph(path.read_bytes(), origin=path.name)
    nodes = {node.name: node for node in graph.node}
    sizes: dict[tuple[str, int], float] = {}
    for number, layer in enumerate(FRONT_END, start=1):
        norm = f"batch_normalization_{number}"
        gamma, variance = (
            const_array(nodes[f"{norm}/{part}"]) for part in ("gamma", "moving_variance")
        )
        kernel = const_array(nodes[f"{layer}/kernel"])
        moves = np.linalg.norm(kernel.reshape(-1, len(gamma)), axis=0)
        moves = moves * np.abs(gamma / np.sqrt(variance + 1e-3))
        sizes |= {(layer, index): float(size) for index, size in enumerate(moves) if size > 1e-6}
    assert len(sizes) == sum(ALIVE[path.name])
    layer, index = min(sizes, key=lambda key: sizes[key])
    values = np.array(const_array(nodes[f"{layer}/kernel"]))
    values[..., index] = 0.0
    nodes[f"{layer}/kernel"].attr["value"].tensor.tensor_content = values.tobytes()
    return written(graph, folder)


def test_a_living_filter_that_is_folded_would_not_pass(
    shared_models: Path, odd_patches: Float32, tmp_path: Path
) -> None:
    path = published(shared_models, MSD)
    theirs = run(loaded("essentia", path), odd_patches)
    ours = run(load("openvino", without_its_weakest_living_filter(path, tmp_path)), odd_patches)
    assert relative_l2(ours[0], theirs[0]) > 2 * MAX_RELATIVE_L2


def test_a_bias_that_forgets_the_edges_would_not_pass(tmp_path: Path, odd_patches: Float32) -> None:
    path = half_dead(tmp_path)
    theirs = run(load("essentia", path), odd_patches)
    wrong = folded(path)
    for node in wrong.node:
        if node.name == "conv2d_5/bias/read":
            bias = np.broadcast_to(const_array(node)[:, 90:91], (1, 187, 1, 64))
            node.attr["value"].tensor.tensor_content = bias.tobytes()
    ours = run(load("openvino", written(wrong, tmp_path)), odd_patches)
    assert relative_l2(ours[0], theirs[0]) > 100 * MAX_RELATIVE_L2


def test_no_temporary_file_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = half_dead(tmp_path)
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    load("openvino", path)
    assert not list(folder.iterdir())


def test_a_temporary_folder_that_is_gone_is_an_error_with_a_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = half_dead(tmp_path)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    monkeypatch.setenv("EMBEDLIB_CACHE", str(tmp_path))  # nothing is converted yet
    with pytest.raises(EngineError, match=r"half_dead.pb, cut .*: .*; set TMPDIR"):
        load("openvino", path)
