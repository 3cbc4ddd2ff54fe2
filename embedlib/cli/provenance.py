"""``embedlib provenance``: parse, call, print."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

from embedlib.cli.output import print_facts, print_json, print_table, say
from embedlib.cli.outputs import Json

if TYPE_CHECKING:
    from embedlib.run.provenance import (
        MakerRows,
        RowProvenance,
        RunFacts,
        TableFacts,
        TableProvenance,
    )
    from embedlib.tables.manifest import Column, ModelManifest

Named = Annotated[str, typer.Argument(help="Folder of the output, or OUT@3 for its third state.")]
Model = Annotated[str, typer.Argument(help="Name of a model table.")]

Sections: TypeAlias = dict[str, dict[str, Any]]
"""Facts by title and name."""


def provenance(
    out: Named,
    model: Model,
    track: Annotated[str | None, typer.Argument(help="A track_id; else the table.")] = None,
    json: Json = False,
) -> None:
    """Print everything that made the rows of a model: settings, software, machines, runs.

    With a track everything that made its row: file, version, hash, part, commit, run.

    Example: embedlib provenance OUT msd-musicnn-1 a.mp3
    """
    from embedlib.run.provenance import TableProvenance, row_provenance, table_provenance

    found = table_provenance(out, model) if track is None else row_provenance(out, model, track)
    if json:
        print_json(found)
    elif isinstance(found, TableProvenance):
        _print_table(found)
    else:
        _print_row(found)


def _print_table(found: TableProvenance) -> None:
    _print_sections(_settings(found.table) | {"made by, all rows": found.common})
    names = sorted({name for each in found.makers for name in each.maker.facts})
    varying = [name for name in names if name not in found.common]
    say("\nrows")
    print_table(
        [_maker_cells(each, varying) for each in found.makers],
        header=(*varying, "run", "rows", "files"),
    )
    say("\nruns")
    print_table(
        [(run.run_id, *_run_cells(run)) for run in found.runs],
        header=("run", "kind", "state", "ended (UTC)", "options"),
    )


def _print_row(found: RowProvenance) -> None:
    planned, commit = found.planned, found.commit
    listed: dict[str, Any] = {"listed": "no longer as this version"}
    if planned is not None:
        listed = {"listed": "as this version", "start_s": planned.start_s, "end_s": planned.end_s}
    part = {
        "file": found.file,
        "rows in it": found.file_rows,
        "bytes": found.file_bytes,
        "table version": commit.version if commit else None,
        "committed (UTC)": commit.committed_at if commit else None,
        "copied by": found.maker.copied_by,
    }
    lost = {"name": "not known since the row was copied"}
    of_the_row: Sections = {
        "track": found.row | listed,
        "part": part,
        "made by": found.maker.facts,
        "run": lost if found.run is None else _run_section(found.run),
    }
    _print_sections(_settings(found.table) | of_the_row)


def _settings(table: TableFacts) -> Sections:
    manifest = table.manifest
    columns = {column.name: _column(column) for column in manifest.columns}
    return {
        "table": _table(table),
        "graph": _graph(manifest),
        "audio": _audio(table),
        "patches": _patches(table),
        **({"further columns": columns} if columns else {}),
        "weights": {"licence": manifest.licence, "citation": manifest.citation},
    }


def _print_sections(sections: Sections) -> None:
    """Print each title with its facts under it, and empty lines between."""
    for number, (title, facts) in enumerate(sections.items()):
        say(f"\n{title}" if number else title)
        told = facts or {"nothing known": None}
        print_facts({f"  {name}": value for name, value in told.items()})


def _table(table: TableFacts) -> dict[str, Any]:
    return {
        "out": table.out,
        "model": table.model,
        "state": table.state or "newest",
        "version": table.version,
        "rows": table.n_rows,
        "files": table.n_files,
        "fingerprint": table.fingerprint,
        "schema version": table.manifest.schema_version,
    }


def _graph(manifest: ModelManifest) -> dict[str, Any]:
    random = {"builder version": manifest.builder_version, "seed": manifest.seed}
    sha256 = {"sha256": manifest.graph_sha256} if manifest.graph_sha256 else {}
    return {
        "spec": manifest.spec,
        "untrained": "yes" if manifest.untrained else "no",
        **(random if manifest.untrained else {}),
        **sha256,
        "node": manifest.node,
        "readout": f"{manifest.readout} (version {manifest.readout_version})",
        "dimensions": manifest.n_dims,
        "vectors per patch": manifest.n_vectors,
        "precision": manifest.precision,
    }


def _audio(table: TableFacts) -> dict[str, Any]:
    manifest = table.manifest
    return {
        "decoder": manifest.decoder,
        "resampler": manifest.resampler,
        "rate (Hz)": manifest.sr_hz,
        "front end": f"{manifest.front_end} (version {manifest.front_end_version})",
        "parameters": table.front_end,
        "patch input": f"{manifest.patch_input} (version {manifest.patch_input_version})",
    }


def _patches(table: TableFacts) -> dict[str, Any]:
    manifest, front = table.manifest, table.front_end
    length, hop = f"{manifest.patch_frames} frames", f"{manifest.patch_hop_frames} frames"
    if front:
        hop_s = manifest.patch_hop_frames * front["hop_samples"] / front["sr_hz"]
        hop = f"{hop}, {hop_s:.3f} s"
    return {
        "length": length,
        "hop": hop,
        "last patch": manifest.last_patch,
        "kept beside the mean": "yes" if manifest.patches else "no",
    }


def _column(column: Column) -> str:
    head = f", head {column.head} {column.head_sha256}" if column.head else ""
    classes = f", classes {' '.join(column.classes)}" if column.classes else ""
    readout = f"{column.readout} (version {column.readout_version})"
    return f"{column.n_dims} values of {', '.join(column.nodes)}, readout {readout}{head}{classes}"


def _maker_cells(each: MakerRows, varying: list[str]) -> tuple[str, ...]:
    facts, run = each.maker.facts, each.maker.run_id or f"({each.maker.copied_by or 'unknown'})"
    cells = [facts.get(name, "-") for name in varying]
    return (*cells, run, str(each.n_rows), str(each.n_files))


def _run_cells(run: RunFacts) -> tuple[str, ...]:
    ended = run.ended_at[:19].replace("T", " ")
    state = "-" if run.state is None else str(run.state)
    return run.kind or "-", state, ended or "-", "kept" if run.config else "gone"


def _run_section(run: RunFacts) -> dict[str, Any]:
    return {
        "name": run.run_id,
        "kind": run.kind,
        "state after it": run.state,
        "ended (UTC)": run.ended_at,
        "options": _options(run),
        "summary": f"{run.folder}/summary.json" if run.summary else None,
    }


def _options(run: RunFacts) -> dict[str, Any] | None:
    """Pick the options that are no defaults."""
    from embedlib.config import ExtractConfig

    if run.config is None:
        return None
    defaults = {name: field.default for name, field in ExtractConfig.model_fields.items()}
    return {name: value for name, value in run.config.items() if value != defaults.get(name)}
