"""The peak of a card: the largest rate of a matrix product in float32, through onnxruntime.

Run by jobs/bench.py: python jobs/bench_gpu_peak.py JOB.json, which leaves JOB.result
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from embedlib.engines.onnx_providers import providers, require_used

SIDE: Final = 8192
"""Of square matrices: 1.1 TFLOP a product, which no card ends before it is at full clock."""

MIN_CALLS, MEASURE_S = 3, 1.0


def product_model(side: int) -> bytes:
    """Write a model of one matrix product, whose second factor is one of its weights."""
    from onnx import TensorProto, helper, numpy_helper

    weights = np.random.default_rng(0).standard_normal((side, side), dtype=np.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "product",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [side, side])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [side, side])],
        [numpy_helper.from_array(weights, "w")],
    )
    opsets = [helper.make_opsetid("", 17)]
    data: bytes = helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()
    return data


def measure_peak(*, device: str, side: int = SIDE, measure_s: float = MEASURE_S) -> float:
    """Measure the rate of a product whose factors and result stay where it is computed.

    Parameters
    ----------
    device : {'cpu', 'cuda'}
        Where; on a CPU with all threads that onnxruntime takes, which is for tests.
    side : int
        Of the matrices.
    measure_s : float
        Seconds to measure for, at least.

    Returns
    -------
    peak : float
        GFLOP per second, of the fastest call.
    """
    import onnxruntime as ort

    wanted = providers(ort, device=device)
    session = ort.InferenceSession(product_model(side), providers=wanted, enable_fallback=0)
    require_used(session, wanted)
    value = ort.OrtValue.ortvalue_from_shape_and_type([side, side], np.float32, device, 0)
    value.update_inplace(np.ones((side, side), np.float32))
    binding = session.io_binding()
    binding.bind_ortvalue_input("x", value)
    binding.bind_output("y", device)
    times: list[float] = []
    while len(times) <= MIN_CALLS or sum(times[1:]) < measure_s:
        started = time.perf_counter()
        session.run_with_iobinding(binding)
        binding.synchronize_outputs()
        times.append(time.perf_counter() - started)
    return 2.0 * side**3 / min(times[1:]) / 1e9


def main(job: Mapping[str, Any], out: Path) -> None:
    """Carry out a job."""
    out.write_text(json.dumps({"peak_gflops": measure_peak(device=job["device"])}))


if __name__ == "__main__":
    job_file = Path(sys.argv[1])
    main(json.loads(job_file.read_text()), job_file.with_suffix(".result"))
