"""Tables of `bench.py models`, for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bench_costs import OWN_STAGES

from embedlib.cli.output import print_table


def show_costs(result: Mapping[str, Any]) -> None:
    """Print the costs of parts and passes, and their ratios."""
    first = result["rounds"][0]["parts"][0]
    print(
        f"{first['audio_s'] / 60:.1f} min of audio in {first['n_files']} files and "
        f"{first['n_shards']} shards; {result['config']['precision']}; one core of CPU, "
        f"seconds per minute of audio, medians of {len(result['rounds'])} rounds"
    )
    print_table(
        [
            (*name.rsplit(" ", 1), *(f"{row[stage]:.3f}" for stage in OWN_STAGES), _filled(row))
            for name, row in result["costs"].items()
        ],
        header=("model", "engine", *OWN_STAGES, "empty places"),
    )
    seconds = [(name, f"{cpu_s:.3f}") for name, cpu_s in result["passes"].items()]
    print_table(seconds, header=("shared, and all together", "s"))
    for name, found in result["ratios"].items():
        spread = f"{found['least']:.3f} to {found['greatest']:.3f}"
        print(f"{name}: {found['median']:.3f} ({spread})")
    for name, reason in result["refused"].items():
        print(f"not measured: {name}: {reason}")


def _filled(row: Mapping[str, float]) -> str:
    return f"{row['filled']:.0%}"


def show_memory(memory: Mapping[str, Any]) -> None:
    """Print what each kind of process held when all together held most."""
    print(f"a run through Ray on {memory['n_cores']} cores, {memory['n_samples']} samples; GiB")
    rows = {**memory["at_peak"], "all": memory["peak"]}
    print_table(
        [
            (
                kind,
                str(held["n_processes"]),
                f"{gib(held['pss_bytes']):.2f}",
                f"{gib(held['rss_bytes']):.2f}",
                f"{gib(memory['own_peaks'].get(kind, held)['pss_bytes']):.2f}",
            )
            for kind, held in rows.items()
        ],
        header=("at the peak", "processes", "PSS", "RSS", "its own peak, PSS"),
    )


def gib(n_bytes: float) -> float:
    """Convert bytes to GiB."""
    return n_bytes / 2**30
