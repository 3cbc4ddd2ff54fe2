"""From a table back to the model that made it, ready to make one of its rows again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from embedlib.catalog.stores import Place
from embedlib.config import ExtractConfig, extract_config
from embedlib.engines.load import READ_ONNX
from embedlib.errors import FingerprintError, OutputError
from embedlib.models.locks import file_sha256
from embedlib.models.registry import paper_models
from embedlib.models.spec import UNTRAINED_PREFIX
from embedlib.models.store import find_weights
from embedlib.run.calibrate import fitted
from embedlib.run.instances import ALL, Instance, instances
from embedlib.run.model import LoadedModel
from embedlib.run.prepare import column_name, decode_job, model_job
from embedlib.run.resolve import prepare_models
from embedlib.run.run_folder import CONFIG_FILE, run_config, run_configs
from embedlib.run.single import ReadyModel
from embedlib.tables.layout import RUNS_FOLDER
from embedlib.tables.makers import Maker
from embedlib.tables.manifest import ModelManifest, fingerprint_differences

_OF_THE_MAKER = ("engine", "device")
"""What a run may leave open, and the footers of its parts tell."""


def table_config(
    root: Place, manifest: ModelManifest, *, maker: Maker, options: Mapping[str, Any]
) -> ExtractConfig:
    """Give the options by which a table was made, for its model alone.

    Parameters
    ----------
    root : Path or StorePath
        The output folder.
    manifest : ModelManifest
        Of the table.
    maker : Maker
        Of the row that is to be made again: its run, its engine.
    options : mapping of str to Any
        Fields of `ExtractConfig` that are to differ.

    Returns
    -------
    config : ExtractConfig
        Of the run that made the row; where that is not known, of the last one for the table.

    Raises
    ------
    ConfigError
        If an option is wrong.
    OutputError
        If no run tells how the table was made.
    """
    for values in _run_options(root, maker.run_id):
        # What a preset said is among the options, so that its file is not needed.
        config = extract_config(values | {"preset": None}, origin=CONFIG_FILE)
        if text := _own_text(config.models, manifest.model):
            return _narrowed(config, text, manifest, maker=maker, options=options)
    raise OutputError(
        f"no run in {root / RUNS_FOLDER} tells how {manifest.model} was made",
        fix="restore the config.yaml of a run",
    )


def remade_model(config: ExtractConfig, manifest: ModelManifest) -> ReadyModel:
    """Load the one model of a configuration, if it is the one that made a table.

    Parameters
    ----------
    config : ExtractConfig
        As `table_config` gives it.
    manifest : ModelManifest
        Of the table.

    Returns
    -------
    ready : ReadyModel
        Makes rows of the table.

    Raises
    ------
    EngineError
        If the engine is not installed, or has no card to run on.
    FingerprintError
        If what is here makes other numbers: other weights, another version of a front end.
    ModelError
        If the weights are missing.
    """
    (prepared,) = prepare_models(config)
    job = model_job(prepared, folder=Path())
    if differences := fingerprint_differences(manifest, job.manifest):
        raise _other_numbers(manifest, differences)
    return ReadyModel(
        job=job,
        decode=decode_job(config, front_ends=[job.front_end]),
        model=LoadedModel(fitted(job), prepared.file.path),
    )


def _run_options(root: Place, run_id: str) -> Iterator[dict[str, Any]]:
    """Give the options of a run, then those of all runs, the last one first."""
    own = run_config(root, run_id) if run_id else None
    yield from chain([own] if own else [], run_configs(root))


def _own_text(texts: Sequence[str], table: str) -> str:
    """Pick what a run said of the model of one table; nothing where it was not for that."""
    for text in chain.from_iterable(paper_models() if each == ALL else (each,) for each in texts):
        (instance,) = instances([text])
        if instance.table == table:
            return text
        if f"{UNTRAINED_PREFIX}{instance.table}" == table:  # its stand-in was taken
            return f"{UNTRAINED_PREFIX}{text}"
    return ""


def _narrowed(
    config: ExtractConfig,
    text: str,
    manifest: ModelManifest,
    *,
    maker: Maker,
    options: Mapping[str, Any],
) -> ExtractConfig:
    """Leave out what was for other models, and settle what was left open."""
    columns = {column.name for column in manifest.columns if not column.head}
    made_with = {name: maker.facts[name] for name in _OF_THE_MAKER if name in maker.facts}
    values = config.model_dump() | {
        "models": [text],
        "allow_untrained": False,
        "outputs": [name for name in config.outputs if column_name(name) in columns],
        "heads": [column.head for column in manifest.columns if column.head],
        **made_with,
        **options,
    }
    if options.get("weights"):
        values["models"] = [_without_weights(text)]
    elif weights := _other_format(text, values["engine"], manifest):
        values["weights"] = str(weights)
    return extract_config(values)


def _without_weights(text: str) -> str:
    name, _, options = text.partition(":")
    kept = [option for option in options.split(",") if not option.startswith("weights=")]
    return f"{name}:{','.join(kept)}" if any(kept) else name


def _other_format(text: str, engine: str, manifest: ModelManifest) -> Path | None:
    """Find the graph of a table that an engine would pass over for an ONNX file."""
    instance: Instance = instances([text])[0]
    if engine not in READ_ONNX or manifest.untrained or "weights" in dict(instance.options):
        return None
    found = find_weights(instance.spec)
    is_it = found is not None and file_sha256(found) == manifest.graph_sha256
    return found if is_it else None


def _other_numbers(
    manifest: ModelManifest, differences: Sequence[tuple[str, str, str]]
) -> FingerprintError:
    listed = ", ".join(f"{name}={old} (here {new})" for name, old, new in differences)
    changed = {name for name, _, _ in differences}
    is_weights = "graph_sha256" in changed and not manifest.untrained
    return FingerprintError(
        f"{manifest.model} was made with {listed}",
        fix="give the weights that it was made with by --weights FILE"
        if is_weights
        else "take the embedlib that `embedlib provenance` names, the same heads and model files",
    )
