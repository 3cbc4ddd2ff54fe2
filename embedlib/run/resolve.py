"""From the models that a configuration names to their files, outputs and heads, all checked."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from embedlib.config import ExtractConfig, extract_config
from embedlib.engines.load import READ_ONNX, resolve_engine
from embedlib.errors import ConfigError, WeightsMissingError
from embedlib.models.graph import parse_graph
from embedlib.models.heads import Head, locate_head
from embedlib.models.locks import read_weights
from embedlib.models.nodes import resolve_output
from embedlib.models.spec import EMBEDDINGS, Output
from embedlib.models.store import WeightFile, is_onnx, locate
from embedlib.models.trust import require_trust
from embedlib.run.instances import Instance, instances, require_own_tables, untrained

Found = TypeVar("Found")


@dataclass(frozen=True, slots=True)
class Prepared:
    """One model of a run, with all that was found of it.

    Attributes
    ----------
    instance : Instance
        What the user named; the stand-in where weights are missing and that is allowed.
    config : ExtractConfig
        What he wants of it.
    file : WeightFile
        Its verified weights.
    outputs : tuple of Output
        What is read: the embeddings first.
    heads : tuple of Head
        What is made of them.
    """

    instance: Instance
    config: ExtractConfig
    file: WeightFile
    outputs: tuple[Output, ...]
    heads: tuple[Head, ...]


def prepare_models(config: ExtractConfig) -> tuple[Prepared, ...]:
    """Find and check the weights of all models, before anything else is done.

    Parameters
    ----------
    config : ExtractConfig
        What the user wants.

    Returns
    -------
    models : tuple of Prepared
        In the order in which they were named.

    Raises
    ------
    ConfigError
        If a name is unknown, or an option does not go with the models.
    ModelError
        If weights are missing, or not what they should be.
    """
    named = instances(config.models)
    _refuse_what_is_for_one(config, named)
    found = _located_all(named, config)
    # A stand-in may be named beside the model that it stands in for.
    require_own_tables(model.instance.table for model in found)
    # The embeddings are always read.
    further = [name for name in config.outputs if name != EMBEDDINGS]
    outputs = _shared_out(further, found, _output)
    heads = _shared_out(config.heads, found, _head)
    return tuple(
        replace(model, outputs=(*model.outputs, *own_outputs), heads=tuple(own_heads))
        for model, own_outputs, own_heads in zip(found, outputs, heads, strict=True)
    )


def _refuse_what_is_for_one(config: ExtractConfig, named: Sequence[Instance]) -> None:
    if len(named) > 1 and (config.weights or config.node):
        raise ConfigError(
            f"--weights and --node belong to one model, {len(named)} are named",
            fix="name one model, or write MODEL:weights=FILE or MODEL:node=NODE",
        )
    front_ends = {instance.spec.front_end for instance in named}
    if config.patch_hop_frames is not None and len(front_ends) > 1:
        raise ConfigError(
            f"patch_hop_frames={config.patch_hop_frames} would count frames of "
            f"{' and '.join(sorted(front_ends))}",
            fix=f"say it of each model: {named[0].table}:patch_hop_frames=...",
        )


def _located_all(named: Sequence[Instance], config: ExtractConfig) -> list[Prepared]:
    """Find the weights of all models, or name all that are missing."""
    found: list[Prepared] = []
    missing: dict[str, WeightsMissingError] = {}
    for instance in named:
        try:
            found.append(_located(instance, config))
        except WeightsMissingError as exc:
            missing[instance.spec.name] = exc
    if len(missing) > 1:
        raise WeightsMissingError(
            f"the weights of {', '.join(missing)} are missing",
            fix="fetch what is published with `embedlib models pull NAME`, bring your own with "
            "`embedlib models add FILE --as NAME`, or take --allow-untrained for stand-ins with "
            "random weights such as `embedlib models build NAME` makes",
        )
    for only in missing.values():
        raise only
    return found


def _located(instance: Instance, config: ExtractConfig) -> Prepared:
    """Find the weights of one model, or make its stand-in where that is allowed."""
    values = config.model_dump(exclude={"preset"}) | dict(instance.options)
    own = extract_config(values, origin=instance.table)
    path = Path(own.weights) if own.weights else None
    engine = resolve_engine(own.engine, device=own.device)
    if own.precision == "bf16" and not instance.spec.takes_bf16:
        raise ConfigError(
            f"precision='bf16' would change what the embeddings of {instance.spec.name} say",
            fix=f"keep this one in f32: {instance.spec.name}:precision=f32",
        )
    if path is not None and is_onnx(path) and engine not in READ_ONNX:
        raise ConfigError(f"{engine} does not read {path}", fix="take --engine onnxruntime")
    try:
        file = locate(instance.spec, path=path, prefer_onnx=engine in READ_ONNX)
    except WeightsMissingError:
        if path is not None or not config.allow_untrained or instance.spec.write_graph is None:
            raise
        instance = untrained(instance)
        file = locate(instance.spec)
    _require_trust(file, name=instance.spec.base_name, config=own)
    prepared = Prepared(instance, own, file, (), ())
    embedding = _output(own.node, prepared) if own.node else file.outputs[0]
    return replace(prepared, outputs=(embedding,))


def _require_trust(file: WeightFile | Head, *, name: str, config: ExtractConfig) -> None:
    accepted = config.allow_unverified
    require_trust(file.trust, name=name, path=file.path, sha256=file.sha256, accepted=accepted)


def _shared_out(
    names: Iterable[str],
    models: Sequence[Prepared],
    find: Callable[[str, Prepared], Found],
) -> list[list[Found]]:
    """Give each model those of the wanted things that it has; one that none has is an error."""
    shares: list[list[Found]] = [[] for _ in models]
    for name in dict.fromkeys(names):
        refusals: list[ConfigError] = []
        for share, model in zip(shares, models, strict=True):
            try:
                share.append(find(name, model))
            except ConfigError as exc:
                refusals.append(exc)
        if len(refusals) == len(models):
            raise refusals[0]
    return shares


def _head(name: str, model: Prepared) -> Head:
    """Find a head of a model, which must give the embeddings that the head was made for."""
    head = locate_head(name, model=model.instance.spec)
    _require_trust(head, name=name, config=model.config)
    own, read = model.file.outputs[0], model.outputs[0]
    if read.nodes != own.nodes:
        raise ConfigError(
            f"the head {name} takes the embeddings of {model.instance.spec.base_name}, "
            f"not what its node {', '.join(read.nodes)} gives",
            fix=f"leave the node out, or add {model.instance.table}:as=ANOTHER-NAME without it",
        )
    return head


def _output(name: str, model: Prepared) -> Output:
    """Find an output of a model by its purpose or node."""
    known = {output.purpose: output for output in model.file.outputs}
    if name in known:
        return known[name]
    if is_onnx(model.file.path):
        raise ConfigError(
            f"{model.file.path.name} has no output {name!r}", fix=f"choose one of {list(known)}"
        )
    graph = parse_graph(read_weights(model.file.path), origin=str(model.file.path))
    return resolve_output(model.instance.spec, graph, name)
