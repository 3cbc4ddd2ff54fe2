"""Tables and bars of `bench.py stages`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from bench_operations import NUMPY
from bench_show import figure_text, table_of
from bench_stage_figures import (
    INFERENCE,
    MAX_L2,
    MIN_COSINE,
    Pass,
    accuracy_change,
    default_to_best,
    is_allowed,
    peak_of,
)

_NONE: Final = "-"


def pass_table(name: str, found: Pass) -> dict[str, Any]:
    """Show the stages of a pass beside their limits.

    Parameters
    ----------
    name : str
        Of the pass.
    found : Pass
        What it took.

    Returns
    -------
    table : dict of str to Any
        As `bench_show.table_of` makes it.
    """
    rows = [
        _stage_row(stage, cpu_s, found.limit_s.get(stage), wall_s=found.wall_s)
        for stage, cpu_s in found.stage_s.items()
    ]
    waiting_s = found.wall_s - found.cpu_s
    total = ("all", figure_text(found.cpu_s), f"{found.cpu_s / found.wall_s:.1%}", _NONE, _NONE)
    return table_of(
        f"{name}: CPU seconds per hour of audio, one core",
        ("stage", "CPU s", "share of wall", "limit s", "limit / CPU"),
        [*rows, total],
        notes=[
            f"{found.heard}. {figure_text(found.wall_s)} s of wall, {figure_text(waiting_s)} s of "
            f"them waiting; all but inference {found.beside_inference_ms:.2f} ms per second of "
            f"audio; the counted operations at the peak of the core are {found.to_limit:.1%} of "
            "all CPU time."
        ],
    )


def _stage_row(
    stage: str, cpu_s: float, limit_s: float | None, *, wall_s: float
) -> tuple[str, ...]:
    known = limit_s is not None and cpu_s > 0
    return (
        stage,
        figure_text(cpu_s),
        f"{cpu_s / wall_s:.1%}",
        _NONE if limit_s is None else figure_text(limit_s),
        f"{limit_s / cpu_s:.0%}" if known and limit_s is not None else _NONE,
    )


def bars_of(passes: Mapping[str, Pass]) -> list[dict[str, Any]]:
    """Lay the stages of passes out as stacked bars.

    Parameters
    ----------
    passes : mapping of str to Pass
        By name.

    Returns
    -------
    bars : list of dict of str to Any
        As `bench_bars.drawing` takes them, one drawing per pass; the tick stands at the sum of all
        limits that are known.
    """
    return [
        {
            "title": f"{name}: where the time goes",
            "unit": "CPU s per hour of audio",
            "series": [
                {
                    "label": name,
                    "parts": [[stage, max(0.0, s)] for stage, s in found.stage_s.items()],
                    "limit": sum(found.limit_s.values()),
                },
                {
                    "label": "all but inference",
                    "parts": [
                        [stage, max(0.0, s)]
                        for stage, s in found.stage_s.items()
                        if stage != INFERENCE
                    ],
                    "limit": sum(s for k, s in found.limit_s.items() if k != INFERENCE),
                },
            ],
        }
        for name, found in passes.items()
    ]


def inference_tables(inference: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Show the peak of the core, the operations, and milliseconds a patch.

    Parameters
    ----------
    inference : mapping of str to Any
        What `bench_inference.py` measured.

    Returns
    -------
    tables : list of dict of str to Any
        As `bench_show.table_of` makes them.
    """
    return [_peak_table(inference), _operations_table(inference), _patch_table(inference)]


def _peak_table(inference: Mapping[str, Any]) -> dict[str, Any]:
    rows = [
        (precision, name, _giga(peak))
        for precision, products in inference["peaks"].items()
        for name, peak in products.items()
    ]
    rows.append(("f32", NUMPY, _giga(inference["numpy_peak"])))
    return table_of(
        "Peak of the core, GFLOP/s, through the same runtime and with constant weights",
        ("precision", "product", "GFLOP/s"),
        rows,
        notes=["The larger one of each precision is the peak; NumPy's is for comparison only."],
    )


def _giga(value: float) -> str:
    return figure_text(value / 1e9)


def _operations_table(inference: Mapping[str, Any]) -> dict[str, Any]:
    rows = [
        (
            model["table"],
            _giga(model["operations"]["n_all"]),
            f"{model['operations']['n_on_padding'] / model['operations']['n_all']:.1%}",
            f"{model['hop_s']:.3f}",
            _giga(model["operations"]["n_all"] / model["hop_s"]),
        )
        for model in inference["models"].values()
    ]
    per_s = sum(m["operations"]["n_all"] / m["hop_s"] for m in inference["models"].values())
    return table_of(
        "Operations, counted in the converted models after dead filters were folded away",
        ("model", "GFLOP a patch", "on padding", "hop s", "GFLOP per s of audio"),
        [*rows, ("all", _NONE, _NONE, _NONE, _giga(per_s))],
        notes=["Twice the multiply-accumulates of convolutions and dense layers, padding counted."],
    )


def _patch_table(inference: Mapping[str, Any]) -> dict[str, Any]:
    models = inference["models"].values()
    times = [found for model in models for found in model["patch_ms"].values()]
    sizes = sorted({int(size) for found in times for size in found})
    rows = [
        (
            model["table"],
            precision,
            str(model["batch_size"]),
            *(f"{patch_ms[str(n)]:.2f}" if str(n) in patch_ms else _NONE for n in sizes),
            f"{default_to_best(patch_ms, model['batch_size']):.2f}",
            f"{_to_peak(model, patch_ms, peak_of(inference, precision)):.0%}",
        )
        for model in models
        for precision, patch_ms in model["patch_ms"].items()
    ]
    columns = ("model", "precision", "batch", *map(str, sizes), "best / batch", "of the peak")
    return table_of(
        "Milliseconds a patch, by batch",
        columns,
        rows,
        notes=[
            "`batch` is what a run takes, `best / batch` its time against the fastest one, and the "
            "last column the rate of its operations against the peak of the precision."
        ],
    )


def _to_peak(model: Mapping[str, Any], patch_ms: Mapping[str, float], peak: float) -> float:
    own_s = patch_ms[str(model["batch_size"])] / 1e3
    return float(model["operations"]["n_all"] / own_s / peak)


def parity_table(parities: Mapping[str, Mapping[str, float]]) -> dict[str, Any]:
    """Show bf16 held against f32.

    Parameters
    ----------
    parities : mapping of str to mapping of str to float
        By model, as `bench_figures.parity` gives them.

    Returns
    -------
    table : dict of str to Any
        As `bench_show.table_of` makes it.
    """
    rows = [
        (
            model,
            str(found["n_patches"]),
            f"{found['max_relative_l2']:.1e}",
            f"{found['min_cosine']:.5f}",
            "yes" if is_allowed(found) else "no",
        )
        for model, found in parities.items()
    ]
    return table_of(
        "bf16 held against f32, over the audio that was timed",
        ("model", "patches", "max relative l2 of a file", "min cosine of a patch", "within bounds"),
        rows,
        notes=[f"Bounds: l2 of at most {MAX_L2:g}, cosine of at least {MIN_COSINE:g}."],
    )


def probe_table(clips: Mapping[str, Any]) -> dict[str, Any]:
    """Show what bf16 does to the accuracy of a probe.

    Parameters
    ----------
    clips : mapping of str to Any
        What `bench_clips.py` found.

    Returns
    -------
    table : dict of str to Any
        As `bench_show.table_of` makes it.
    """
    rows = [
        (
            precision,
            str(found["n_tracks"]),
            *(f"{found[key]:.1%}" for key in ("accuracy", "low", "high")),
        )
        for precision, found in clips["accuracies"].items()
    ]
    return table_of(
        "Balanced accuracy of a probe on the labelled clips, five folds",
        ("precision", "clips", "accuracy", "interval from", "to"),
        rows,
        notes=[
            f"bf16 - f32: {100 * accuracy_change(clips):+.1f} points; the probe says another class "
            f"of {clips['n_changed']} clips."
        ],
    )
