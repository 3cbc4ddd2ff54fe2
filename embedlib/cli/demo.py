"""``embedlib demo``: the whole way on a catalogue made of nothing, in a minute."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated

import typer

from embedlib.cli.extract import run_and_show, summary_lines
from embedlib.cli.output import print_json, say

MODELS = ("msd-musicnn-1", "msd-vgg-1")


def demo(
    out: Annotated[Path, typer.Option(help="Folder for the clips and the output.")] = Path("demo"),
    local: Annotated[bool, typer.Option("--local", help="Run without Ray.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
) -> None:
    """Make a small catalogue, damaged files among it, extract it, and show how to read it.

    Takes published weights where EMBEDLIB_MODELS holds them, random ones elsewhere.

    Example: embedlib demo --out demo
    """
    from embedlib.audio.synth import synthesise_catalogue
    from embedlib.config import extract_config

    clips, tables = out / "clips", out / "tables"
    if not clips.exists():
        unfinished = out / ".clips.tmp"
        shutil.rmtree(unfinished, ignore_errors=True)
        synthesise_catalogue(unfinished)
        unfinished.rename(clips)
    config = extract_config(
        {
            "sources": [str(clips)],
            "models": [_available(name) for name in MODELS],
            "out": str(tables),
            "local": local,
        }
    )
    summary = run_and_show(config, quiet=quiet)
    if json:
        print_json(summary)
    else:
        for line in [*summary_lines(summary), "", *_reading_lines(tables, config.models[0])]:
            say(line)
    if summary.signal_number:
        raise typer.Exit(128 + summary.signal_number)


def _available(name: str) -> str:
    """Choose the model with published weights that are known, else its untrained stand-in."""
    from embedlib.errors import WeightsMissingError
    from embedlib.models.registry import model_spec
    from embedlib.models.store import locate
    from embedlib.models.trust import Trust

    try:
        file = locate(model_spec(name))
    except WeightsMissingError:
        return f"untrained-{name}"
    return f"untrained-{name}" if file.trust is Trust.UNKNOWN else name


def _reading_lines(tables: Path, model: str) -> list[str]:
    """One runnable line of Python per reader."""
    delta = f'deltalake.DeltaTable("{tables / model}")'
    query = "select track_id, status, n_patches from tracks"
    return [
        "read it with",
        f'  embedlib:  import embedlib; embedlib.open("{tables}").tracks("{model}").to_numpy()',
        f"  pandas:    import deltalake; {delta}.to_pandas()",
        f'  polars:    import polars; polars.read_delta("{tables / model}")',
        f"  duckdb:    import deltalake, duckdb; tracks = {delta}.to_pyarrow_dataset(); "
        f'duckdb.sql("{query}").show()',
    ]
