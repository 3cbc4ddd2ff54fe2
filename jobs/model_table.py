"""The table of models in the README: what each model is, and how far engines are apart on it.

Run: python jobs/model_table.py          measures the engines and writes docs/models.json
     python jobs/model_table.py --write  writes the table into README.md, from specs and figures

All engines get the same inputs, which the front end of the model makes of synthetic music. The
TensorFlow in Essentia is the reference. The eight models of the paper are measured, with their
published weights where these are found, else with random ones.
"""

from __future__ import annotations

import argparse
import json
import sys
import textwrap
from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from bench_figures import cpu_of, facts_of
from model_rows import ENGINES, Parity, table

from embedlib.audio.resample import SOXR_HQ
from embedlib.audio.synth import synthesise_music
from embedlib.engines.engine import GraphSpec
from embedlib.engines.load import load_engine
from embedlib.errors import ConfigError, EmbedlibError, EngineError
from embedlib.features.front_end import front_end
from embedlib.features.patch_input import patch_input
from embedlib.features.patches import PatchCutter
from embedlib.features.readout import readout
from embedlib.models.registry import collect_specs, paper_models
from embedlib.models.spec import ModelSpec, Output
from embedlib.models.store import WeightFile, build, find_weights, locate
from embedlib.records import Float32
from embedlib.run.arrays import array_chunk

ROOT = Path(__file__).resolve().parents[1]
FIGURES, README = ROOT / "docs" / "models.json", ROOT / "README.md"
BEGIN, END = "<!-- models:begin -->\n", "<!-- models:end -->\n"

README_COLUMNS = 100

REFERENCE = "essentia f32"
LIBRARIES = ("essentia-tensorflow", "openvino", "onnxruntime", "numpy")
MUSIC_S, MUSIC_SR_HZ = 20.0, 44_100  # two patches or more of each of the eight

# Those of embedlib itself, whatever packages are installed beside it.
SPECS = tuple(collect_specs(()).values())


def music() -> Float32:
    """Give the samples that all models hear."""
    return np.concatenate(list(synthesise_music(MUSIC_S, sr_hz=MUSIC_SR_HZ)), axis=1)


def model_inputs(spec: ModelSpec, samples: Float32) -> Float32:
    """Make the inputs of a model, all patches of the samples in one batch."""
    front = front_end(spec.front_end)
    chunk = array_chunk(samples, sr_hz=MUSIC_SR_HZ, index=0, front_end=front, resampler=SOXR_HQ)
    cutter = PatchCutter(spec.patch_rule())
    patches = [*cutter.push(chunk.frames), *cutter.finish()[0]]
    make = patch_input(spec.patch_input).make
    return np.stack([make(patch) for patch in patches]).reshape(-1, *spec.input_shape)


def run_graph(
    engine: str, spec: ModelSpec, *, file: WeightFile, inputs: Float32
) -> tuple[Float32, ...]:
    """Give what the embedding nodes of a graph give in an engine, such as ``openvino bf16``."""
    name, precision = engine.split()
    graph = GraphSpec(
        path=file.path,
        input_node=file.input_node,
        output_nodes=file.outputs[0].nodes,
        patch_shape=spec.input_shape,
        batch_size=len(inputs),
        precision=precision,
    )
    return load_engine(name, graph)(inputs)


def measure(spec: ModelSpec, samples: Float32) -> Parity:
    """Measure how far the engines are from Essentia's TensorFlow on one model."""
    is_found = find_weights(spec) is not None
    file = locate(spec) if is_found else build(spec)
    inputs = model_inputs(spec, samples)
    expected = run_graph(REFERENCE, spec, file=file, inputs=inputs)
    nodes, vectors = {}, {}
    for engine in ENGINES:
        found = run_graph(engine, spec, file=file, inputs=inputs)
        nodes[engine] = max(map(relative_l2, found, expected))
        vectors[engine] = relative_l2(*(_read(file.outputs[0], each) for each in (found, expected)))
    weights = "published" if is_found else "random"
    return Parity(weights, file.sha256, len(inputs), nodes=nodes, vectors=vectors)


def _read(output: Output, arrays: tuple[Float32, ...]) -> Float32:
    return readout(output.readout).read(arrays)


def relative_l2(found: Float32, expected: Float32) -> float:
    """Give the distance of two arrays as a share of the length of the second, to three digits."""
    return float(f"{np.linalg.norm(found - expected) / np.linalg.norm(expected):.3g}")


def measure_all() -> dict[str, Any]:
    """Measure the eight models, and say where and with what."""
    cpu, flags = cpu_of(Path("/proc/cpuinfo").read_text())
    if "bf16" not in facts_of(flags, n_cores=1):
        raise EngineError(f"{cpu} has no bf16", fix="measure on a CPU with avx512_bf16 or amx_bf16")
    samples = music()
    models: dict[str, Any] = {}
    for spec in SPECS:
        is_measured = spec.name in paper_models()
        models[spec.name] = asdict(measure(spec, samples)) if is_measured else None
        print(f"{spec.name}: {models[spec.name] or 'needs published weights'}", file=sys.stderr)
    return {
        "made_by": "jobs/model_table.py",
        "cpu": cpu,
        "flags": flags,
        "versions": {name: version(name) for name in LIBRARIES},
        "models": models,
    }


def parities_of(figures: Mapping[str, Any]) -> dict[str, Parity | None]:
    """Read the measured models, None for those that were not measured."""
    found = figures["models"].items()
    return {name: None if values is None else Parity(**values) for name, values in found}


def section(figures: Mapping[str, Any]) -> str:
    """Write what stands between the marks of the README."""
    libraries = ", ".join(f"{name} {number}" for name, number in figures["versions"].items())
    note = (
        "The last three columns are the relative l2 distance to the TensorFlow in Essentia, in "
        f"f32, at the embedding nodes, over equal inputs made of {MUSIC_S:g} s of synthetic music: "
        "at most 1e-5 in f32, and 3e-2 where bf16 is allowed. *vectors* are the embeddings "
        "that are read from the nodes, where they are farther apart: Spleeter's recipe takes "
        "logarithms, which magnify every difference near 0, so its embeddings of two engines "
        f"agree but roughly. Measured with {libraries}, on {figures['cpu']} "
        f"({', '.join(figures['flags'])}), by `python jobs/model_table.py` into "
        "[docs/models.json](docs/models.json)."
    )
    wrapped = textwrap.fill(note, README_COLUMNS, break_on_hyphens=False, break_long_words=False)
    return f"{table(SPECS, parities_of(figures))}\n{wrapped}\n"


def replace_section(readme: str, text: str) -> str:
    """Put a text between the marks of the README.

    Raises
    ------
    ConfigError
        If the marks are not there, once each and in order.
    """
    before, begin, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end or BEGIN in rest or END in after:
        raise ConfigError(
            f"{README.name} has not one {BEGIN.strip()} before one {END.strip()}",
            fix="put them where the table belongs",
        )
    return before + begin + text + end + after


def main() -> None:
    """Read the command line, then measure or write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help="write the README, measure nothing")
    if parser.parse_args().write:
        text = section(json.loads(FIGURES.read_text()))
        README.write_text(replace_section(README.read_text(), text))
    else:
        FIGURES.write_text(json.dumps(measure_all(), indent=1) + "\n")


if __name__ == "__main__":
    try:
        main()
    except EmbedlibError as exc:
        print(f"error: {exc}", file=sys.stderr)
        sys.exit(exc.exit_code)
