"""``embedlib extract``: parse, call, print."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from embedlib.cli.output import print_json, say

if TYPE_CHECKING:
    from embedlib.config import ExtractConfig
    from embedlib.run.extract import RunSummary
    from embedlib.run.index_summary import IndexSummary
    from embedlib.run.retry import RetrySummary

NEW_FAILURES = 3
"""Exit code of a run that ended but met more new failures than it was allowed."""


def extract(
    sources: Annotated[
        list[str] | None,
        typer.Argument(help="Files, folders, globs, manifests (CSV, JSONL, Parquet), URLs."),
    ] = None,
    models: Annotated[
        list[str] | None,
        typer.Option(
            help="Names of models, see `embedlib models list`; `all` for those of the paper; "
            "NAME:key=value,... to set variant, patch_hop_frames, as (table) ... for one."
        ),
    ] = None,
    preset: Annotated[
        str | None, typer.Option(help="Settings to start from, such as lbd2020; flags override.")
    ] = None,
    allow_untrained: Annotated[
        bool | None,
        typer.Option("--allow-untrained", help="Random weights for models whose own are missing."),
    ] = None,
    outputs: Annotated[
        list[str] | None,
        typer.Option(help="Further outputs to keep, a column each: activations, or nodes."),
    ] = None,
    heads: Annotated[
        list[str] | None,
        typer.Option(help="Classifiers to run on the embeddings, a column each."),
    ] = None,
    out: Annotated[
        str | None, typer.Option(help="Folder of the output, or URL: s3://, gs://, az://.")
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="YAML file with any of these options; flags override it.")
    ] = None,
    weights: Annotated[
        str | None, typer.Option(help="Weight file to use, when one model is named.")
    ] = None,
    node: Annotated[
        str | None, typer.Option(help="Output node to read, when one model is named.")
    ] = None,
    engine: Annotated[
        str | None, typer.Option(help="auto, openvino, essentia, onnxruntime or tensorrt.")
    ] = None,
    device: Annotated[str | None, typer.Option(help="cpu or cuda.")] = None,
    precision: Annotated[str | None, typer.Option(help="f32 or bf16.")] = None,
    decoder: Annotated[str | None, typer.Option(help="pyav or essentia (MonoLoader).")] = None,
    resampler: Annotated[
        str | None, typer.Option(help="soxr-hq, or essentia-q0 (best) to essentia-q4.")
    ] = None,
    patch_hop_frames: Annotated[
        int | None, typer.Option(help="Distance of patches in frames; the model's own by default.")
    ] = None,
    last_patch: Annotated[
        str | None,
        typer.Option(help="tile-short, pad-short, discard, repeat, pad or centred."),
    ] = None,
    patches: Annotated[
        bool | None, typer.Option(help="Keep the embedding of each patch beside their mean.")
    ] = None,
    max_duration_s: Annotated[
        float | None, typer.Option(help="Longer tracks become rows with status too_long.")
    ] = None,
    cpu_deadline_s: Annotated[
        float | None, typer.Option(help="CPU seconds that decoding one track may take.")
    ] = None,
    carry: Annotated[
        list[str] | None, typer.Option(help="Column of the manifests to keep; may be repeated.")
    ] = None,
    allow_schemes: Annotated[
        list[str] | None,
        typer.Option(help="Schemes that audio may have: s3, https ..., file for local paths."),
    ] = None,
    allow_roots: Annotated[
        list[str] | None,
        typer.Option(help="Paths and URLs below which all audio must lie, links followed."),
    ] = None,
    allow_unverified: Annotated[
        list[str] | None,
        typer.Option(help="Models and heads whose weights nobody has pinned or locked."),
    ] = None,
    shard_hours: Annotated[float | None, typer.Option(help="Hours of audio per shard.")] = None,
    single_writer: Annotated[
        bool | None,
        typer.Option("--single-writer", help="Accept a store unfit for two runs at once."),
    ] = None,
    local: Annotated[
        bool | None, typer.Option("--local", help="Run in this process, without Ray.")
    ] = None,
    address: Annotated[
        str | None, typer.Option(help="A running Ray cluster; one is started here otherwise.")
    ] = None,
    n_cores: Annotated[int | None, typer.Option(help="Cores to use on this machine.")] = None,
    budget_mb: Annotated[
        int | None, typer.Option(help="Limit for decoded audio in flight, in MiB; 4 or more.")
    ] = None,
    worker_memory_mb: Annotated[
        int | None, typer.Option(help="Memory at which a worker is replaced, in MiB.")
    ] = None,
    pool_min: Annotated[
        int | None, typer.Option(help="Workers that a model has at least, over the cluster.")
    ] = None,
    pool_max: Annotated[
        int | None, typer.Option(help="Workers that a model has at most, over the cluster.")
    ] = None,
    grow_to: Annotated[
        int | None, typer.Option(help="Cores or cards to ask the cluster's autoscaler for.")
    ] = None,
    accept_missing: Annotated[
        bool | None,
        typer.Option("--accept-missing", help="Go on where most files of a shard are gone."),
    ] = None,
    max_failed: Annotated[
        int | None, typer.Option(help="New failures that still exit with 0.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
) -> None:
    """Extract the embeddings of a catalogue into tables; run it again to continue.

    Exit codes: 0 all done, 1 an error, 2 wrong usage, 3 finished with more new failures than
    --max-failed, 130 and 143 ended by SIGINT and SIGTERM.

    Example: embedlib extract ~/music --models msd-musicnn-1 --out OUT
    """
    checked = checked_config(locals())
    summary = run_and_show(checked, quiet=quiet)
    if json:
        print_json(summary)
    else:
        for line in summary_lines(summary):
            say(line)
    raise typer.Exit(exit_code(summary, max_failed=checked.max_failed))


def checked_config(arguments: Mapping[str, Any]) -> ExtractConfig:
    """Put together what the command line and the file of `--config` say.

    Parameters
    ----------
    arguments : mapping of str to Any
        All arguments of `extract` by name.

    Returns
    -------
    config : ExtractConfig
        What is wanted.

    Raises
    ------
    ConfigError
        If an option is unknown or wrong.
    """
    from embedlib.config import extract_config

    values, origin = given_values(arguments)
    return extract_config(values, origin=origin)


def given_values(arguments: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    """Put together what the command line and the file of `--config` say, unchecked.

    Parameters
    ----------
    arguments : mapping of str to Any
        All arguments of `extract` by name.

    Returns
    -------
    values : dict of str to Any
        Fields of `ExtractConfig` that somebody has set.
    origin : str
        Where they come from, for errors.

    Raises
    ------
    ConfigError
        If the file cannot be read.
    """
    from embedlib.config import read_config

    flags = dict(arguments)
    config, *_ = (flags.pop(name) for name in ("config", "json", "quiet"))
    for name in ("outputs", "heads"):
        flags[name] = [part for text in flags[name] or () for part in text.split(",")]
    given = {name: value for name, value in flags.items() if value not in (None, [])}
    values = read_config(config) if config else {}
    return values | given, str(config) if config else "command line"


def run_and_show(config: ExtractConfig, *, quiet: bool) -> RunSummary:
    """Carry out a run with its progress on stderr.

    Parameters
    ----------
    config : ExtractConfig
        What to do.
    quiet : bool
        Whether to show nothing.

    Returns
    -------
    summary : RunSummary
        What was done.
    """
    from embedlib.cli.progress import watching
    from embedlib.run.extract import run_extract

    with watching(quiet=quiet) as watcher:
        return run_extract(config, watcher=watcher)


def summary_lines(summary: RunSummary) -> list[str]:
    """Say in a few lines what a run did.

    Parameters
    ----------
    summary : RunSummary
        What was done.

    Returns
    -------
    lines : list of str
        For people.
    """
    lines = [_main_line(summary)]
    if summary.n_failed:
        lines.append(failures_line(summary))
    if summary.decoding:
        lines.append(decoding_line(summary))
    if summary.predicted_s is not None and summary.worked_s:
        lines.append(
            f"took {summary.worked_s:.1f} s from the first shard on, "
            f"predicted {summary.predicted_s:.1f} s"
        )
    if summary.n_changed or summary.n_vanished:
        lines.append(
            f"{summary.n_changed} tracks have changed and {summary.n_vanished} have vanished since "
            "they were planned; their rows were left as they are, `embedlib index` takes them up"
        )
    if summary.untrained:
        lines.append(
            f"note: random weights in {', '.join(summary.untrained)}: "
            "such embeddings show shapes and speed, and mean nothing"
        )
    if summary.signal_number:
        lines.append("ended early by a signal; run the same command to continue")
    return lines


def failures_line(summary: RunSummary | IndexSummary) -> str:
    """Say how many rows of a run, over all models, have no embedding, by reason.

    Parameters
    ----------
    summary : RunSummary or IndexSummary
        What was done.

    Returns
    -------
    line : str
        For people.
    """
    failed = [f"{n} {status}" for status, n in summary.statuses.items() if status not in _KEPT]
    return f"failed rows: {', '.join(failed)}; see `embedlib failures {summary.out}`"


_ONE_OF = {
    "decodes": "decode",
    "resamplings": "resampling",
    "front_end_passes": "front end pass",
}


def decoding_line(summary: RunSummary | IndexSummary) -> str:
    """Say what was done to the audio.

    Parameters
    ----------
    summary : RunSummary or IndexSummary
        What was done.

    Returns
    -------
    line : str
        For people.
    """
    counts = []
    for name, done in summary.decoding.items():
        what = _ONE_OF[name] if done == 1 else name.replace("_", " ")
        saved = summary.decoding_saved.get(name, 0)
        counts.append(f"{done} {what}" + (f" ({saved} saved)" if saved > 0 else ""))
    return f"audio: {', '.join(counts)}"


_KEPT = ("ok", "damaged", "truncated")


def _main_line(summary: RunSummary) -> str:
    models = ", ".join(summary.models)
    if not summary.n_rows and not summary.signal_number:
        return f"nothing to do: all {summary.n_tracks} tracks are in {summary.out} for {models}"
    hours = summary.audio_s / 3600
    rate = summary.audio_s / summary.wall_s
    is_one = len(summary.models) == 1
    return (
        f"{summary.n_rows} rows, {summary.n_patches} patches, "
        f"{hours:.2f} {'h of audio' if is_one else 'model hours'} for {models} in "
        f"{summary.wall_s:.1f} s ({rate:.0f} times real time{'' if is_one else ', models summed'})"
        f" -> {summary.out}"
    )


def exit_code(summary: RunSummary | RetrySummary | IndexSummary, *, max_failed: int) -> int:
    """Say by a number how a run ended.

    Parameters
    ----------
    summary : RunSummary, RetrySummary or IndexSummary
        What was done.
    max_failed : int
        New failures that are none to speak of.

    Returns
    -------
    code : int
        0, 3, or 128 more than the number of a signal.
    """
    if summary.signal_number:
        return 128 + summary.signal_number
    return NEW_FAILURES if summary.n_failed > max_failed else 0
