"""The onnxruntime engine: which device it runs on, and what it refuses."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from embedlib.engines import onnx as engine_module
from embedlib.engines import onnx_providers
from embedlib.engines.engine import GraphSpec
from embedlib.engines.load import load_engine, resolve_engine
from embedlib.engines.onnx import OnnxEngine
from embedlib.engines.onnx_card import CardSession
from embedlib.errors import ConfigError, EngineError, ModelError, WeightsMissingError
from embedlib.models.graph_writer import GraphWriter

ort = pytest.importorskip("onnxruntime")


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    writer = GraphWriter(scope="m")
    writer.op("Relu", "out", [writer.placeholder("in", shape=[-1, 4])])
    path = tmp_path / "tiny.pb"
    path.write_bytes(writer.serialise())
    return path


def spec(path: Path, **options: Any) -> GraphSpec:
    outputs: Sequence[str] = options.pop("outputs", ("m/out",))
    return GraphSpec(path, "m/in", tuple(outputs), (4,), batch_size=2, **options)


def test_a_batch_that_may_not_be_written_to_is_taken(graph: Path) -> None:
    batch = np.array([[-1, 0, 1, 2], [3, -4, 5, -6]], np.float32)
    batch.flags.writeable = False
    (output,) = OnnxEngine(spec(graph))(batch)
    assert np.array_equal(output, np.maximum(batch, 0))


def test_results_stay_when_the_engine_is_called_again(graph: Path) -> None:
    engine = OnnxEngine(spec(graph))
    (first,) = engine(np.ones((2, 4), np.float32))
    engine(np.zeros((2, 4), np.float32))
    assert (first == 1).all()


def test_a_node_that_is_wanted_twice_is_given_twice(graph: Path) -> None:
    one, other = OnnxEngine(spec(graph, outputs=("m/out", "m/out")))(np.ones((2, 4), np.float32))
    assert np.array_equal(one, other)


def test_a_published_onnx_file_runs_as_it_is(graph: Path, tmp_path: Path) -> None:
    exported = engine_module._read_model(spec(graph))
    published = tmp_path / "tiny.onnx"
    published.write_bytes(exported.data)
    (output,) = OnnxEngine(spec(published))(np.full((2, 4), -1, np.float32))
    assert (output == 0).all()


def test_another_precision_is_refused(graph: Path) -> None:
    with pytest.raises(ConfigError, match="precision='bf16' is not possible with the onnxruntime"):
        OnnxEngine(spec(graph, precision="bf16"))


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsMissingError, match=r"gone\.pb"):
        OnnxEngine(spec(tmp_path / "gone.pb"))


def test_a_node_that_is_not_there_is_refused(graph: Path) -> None:
    with pytest.raises(ModelError, match="models nodes"):
        OnnxEngine(spec(graph, outputs=("m/gone",)))


def test_a_model_that_onnxruntime_cannot_use_is_named(graph: Path, tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    model = onnx.load_model_from_string(engine_module._read_model(spec(graph)).data)
    model.graph.node[0].op_type = "Rely"
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(model.SerializeToString())
    with pytest.raises(ModelError, match=r"onnxruntime cannot use broken\.onnx: "):
        OnnxEngine(spec(broken))


def test_an_onnxruntime_without_cuda_is_refused_with_the_line_that_installs_it(
    graph: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ort, "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(EngineError, match=r"knows no GPU; pip install 'embedlib\[gpu\]'"):
        OnnxEngine(spec(graph, device="cuda"))


@pytest.fixture
def ort_that_falls_back(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """An onnxruntime that knows CUDA, but leaves it out of its sessions, as without a driver."""
    asked: list[dict[str, Any]] = []

    def session(data: bytes, **options: Any) -> SimpleNamespace:
        asked.append(options)
        return SimpleNamespace(get_providers=lambda: ["CPUExecutionProvider"])

    known = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(ort, "get_available_providers", lambda: known)
    monkeypatch.setattr(ort, "InferenceSession", session)
    return asked


def test_a_gpu_that_cannot_be_used_is_an_error_and_no_run_on_the_cpu(
    graph: Path, ort_that_falls_back: list[dict[str, Any]]
) -> None:
    with pytest.raises(EngineError, match="cannot use the GPU of this machine"):
        OnnxEngine(spec(graph, device="cuda"))


def test_a_session_for_the_gpu_asks_for_float32_and_no_fallback(
    graph: Path, ort_that_falls_back: list[dict[str, Any]]
) -> None:
    with pytest.raises(EngineError):
        OnnxEngine(spec(graph, device="cuda"))
    (options,) = ort_that_falls_back
    ((provider, settings),) = options["providers"]
    assert provider == "CUDAExecutionProvider"
    assert settings["use_tf32"] == "0"
    assert options["enable_fallback"] == 0


@pytest.mark.parametrize("package", ["onnx", "onnxruntime"])
def test_a_package_that_is_not_installed_is_named(
    graph: Path, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(EngineError, match=f"{package} is not installed; pip install {package}$"):
        OnnxEngine(spec(graph))


def test_auto_on_a_gpu_means_onnxruntime() -> None:
    assert resolve_engine("auto", device="cuda") == "onnxruntime"


def test_auto_on_a_cpu_takes_onnxruntime_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("embedlib.engines.load.find_spec", lambda name: name == "onnxruntime")
    assert resolve_engine("auto") == "onnxruntime"


@pytest.mark.parametrize("name", ["openvino", "essentia"])
def test_engines_that_know_no_gpu_name_the_one_that_does(name: str) -> None:
    with pytest.raises(ConfigError, match=rf"engine='{name}' .*; use --engine onnxruntime"):
        resolve_engine(name, device="cuda")


@pytest.mark.parametrize(("device", "extra"), [("cpu", "onnx"), ("cuda", "gpu")])
def test_onnxruntime_comes_with_the_extra_of_the_device(
    device: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("embedlib.engines.load.find_spec", lambda _: None)
    with pytest.raises(EngineError, match=rf"pip install 'embedlib\[{extra}\]'"):
        resolve_engine("onnxruntime", device=device)


def test_an_unknown_device_is_refused(graph: Path) -> None:
    with pytest.raises(ConfigError, match="device='tpu' is unknown; use one of cpu, cuda"):
        spec(graph, device="tpu")
    with pytest.raises(ConfigError, match="device='tpu' is unknown"):
        resolve_engine("auto", device="tpu")


def test_the_engine_is_loaded_by_its_name(graph: Path) -> None:
    assert load_engine("onnxruntime", spec(graph)).name == "onnxruntime"


class Session:
    """Of an onnxruntime that has loaded some of what was asked for."""

    def __init__(self, *names: str) -> None:
        self.get_providers = lambda: [*names, onnx_providers.CPU]


def ort_with(*names: str) -> SimpleNamespace:
    known = [*names, onnx_providers.CPU]
    return SimpleNamespace(__version__="1.31", get_available_providers=lambda: known)


def test_tensorrt_stands_before_cuda_and_keeps_its_plans(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EMBEDLIB_CACHE", str(tmp_path))
    monkeypatch.delenv("NVIDIA_TF32_OVERRIDE", raising=False)
    ort_ = ort_with(onnx_providers.TENSORRT, onnx_providers.CUDA)
    (first, options), (second, _) = onnx_providers.providers(
        ort_, device="cuda", with_tensorrt=True
    )
    assert (first, second) == (onnx_providers.TENSORRT, onnx_providers.CUDA)
    assert Path(options["trt_engine_cache_path"]).parent == tmp_path
    assert os.environ["NVIDIA_TF32_OVERRIDE"] == "0"


def test_without_tensorrt_cuda_runs_all_and_a_line_says_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    found = onnx_providers.providers(
        ort_with(onnx_providers.CUDA), device="cuda", with_tensorrt=True
    )
    assert [name for name, _ in found] == [onnx_providers.CUDA]
    assert "knows no TensorRT: CUDA alone" in caplog.text


def test_a_tensorrt_that_cannot_be_loaded_is_a_line_of_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    wanted = [(onnx_providers.TENSORRT, {}), (onnx_providers.CUDA, {})]
    onnx_providers.require_used(Session(onnx_providers.CUDA), wanted)
    assert "TensorRT cannot be loaded" in caplog.text


def test_tensorrt_without_a_card_is_refused() -> None:
    with pytest.raises(ConfigError, match="engine='tensorrt' is not possible with device='cpu'"):
        resolve_engine("tensorrt")


@pytest.fixture
def bound(graph: Path) -> CardSession:
    """What a card gets, on the CPU: the same calls of onnxruntime, with other memory."""
    model = engine_module._read_model(spec(graph))
    session = ort.InferenceSession(model.data, providers=[onnx_providers.CPU])
    names = dict.fromkeys(model.output_names)
    return CardSession(
        ort,
        session,
        input_name=model.input_name,
        output_names=[*names],
        shape=(2, 4),
        device="cpu",
    )


def test_a_bound_session_gives_the_outputs_of_each_batch(bound: CardSession) -> None:
    batch = np.array([[-1, 0, 1, 2], [3, -4, 5, -6]], np.float32)
    batch.flags.writeable = False
    (first,) = bound.run(batch)
    (second,) = bound.run(-batch)
    assert np.array_equal(first, np.maximum(batch, 0))
    assert np.array_equal(second, np.maximum(-batch, 0))


def test_a_bound_session_reads_its_batch_before_it_returns(bound: CardSession) -> None:
    batch = np.ones((2, 4), np.float32)
    (output,) = bound.run(batch)
    batch[:] = 5
    assert (output == 1).all()
