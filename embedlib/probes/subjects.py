"""Who is probed: the labelled tracks of each task, and what each model says of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from embedlib.catalog.stores import Place
from embedlib.errors import FingerprintError, OutputError
from embedlib.probes.deals import Deal, control_deals, deals, splits_of
from embedlib.probes.plan import MaterialKey, Subject
from embedlib.probes.probe import track_means
from embedlib.probes.records import PROTOCOLS, Protocol, Sample, Split
from embedlib.probes.samples import read_samples
from embedlib.probes.settings import SweepConfig, SweepTask
from embedlib.probes.work import ExternalSet, Material
from embedlib.tables.layout import OutLike, model_folder, output_root
from embedlib.tables.manifest import read_manifest
from embedlib.tables.reader import open_output
from embedlib.tasks.cohort import Cohort
from embedlib.tasks.duplicates import Tracks, duplicate_lines, duplicates
from embedlib.tasks.match import Matched
from embedlib.tasks.registry import task as find_task
from embedlib.tasks.sources import external, internal
from embedlib.tasks.task import Task

WAVE_BYTES: Final = 1 << 29
"""Vectors held at a time; those of one model and task, where they are more."""


@dataclass(frozen=True, slots=True, eq=False)
class TaskSet:
    """The labelled tracks of a task, and how they are dealt.

    Attributes
    ----------
    task : Task
        As its file tells it.
    cohort : Cohort
        Labelled tracks that the catalogue holds.
    external : Cohort or None
        Of the external collection; None where there is none, or it is empty.
    external_out : Path or StorePath
        Output that holds their embeddings.
    deals : mapping of Split to tuple of Deal
        One for each repeat.
    controls : mapping of Split to tuple of Deal
        One for each shuffle of the labels.
    notes : tuple of str
        What a person should know, one line each.
    """

    task: Task
    cohort: Cohort
    external: Cohort | None
    external_out: Place
    deals: Mapping[Split, tuple[Deal, ...]]
    controls: Mapping[Split, tuple[Deal, ...]]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Probed:
    """One model on one task, with its arrays.

    Attributes
    ----------
    subject : Subject
        What is probed.
    material : Material
        Its arrays.
    task_set : TaskSet
        Its task.
    splits : tuple of Split
        How its tracks are dealt.
    notes : tuple of str
        What a person should know, one line each.
    """

    subject: Subject
    material: Material
    task_set: TaskSet
    splits: tuple[Split, ...]
    notes: tuple[str, ...]


def read_task_set(wanted: SweepTask, *, config: SweepConfig) -> TaskSet:
    """Find the labelled tracks of a task, and deal them, before any embedding is looked at.

    Parameters
    ----------
    wanted : SweepTask
        The task.
    config : SweepConfig
        Of the sweep.

    Returns
    -------
    task_set : TaskSet
        With at least one track.

    Raises
    ------
    ConfigError
        If the task or its labels are impossible, or a class would be missing from a fold.
    CatalogError
        If labels contradict each other, or none is of a track of the catalogue.
    """
    task = find_task(wanted.task)
    matched = internal(task, wanted.labels, out=config.out)
    external_out = output_root(wanted.external_out or config.out)
    outside = external(task, wanted.external, out=str(external_out))
    protocols = [PROTOCOLS[name] for name in config.protocols]
    splits = dict.fromkeys(
        split
        for protocol in protocols
        for split in splits_of(matched.cohort, protocol=protocol, config=config)
    )
    cohort = matched.cohort
    controls = {split: control_deals(cohort, split=split, config=config) for split in splits}
    return TaskSet(
        task=task,
        cohort=cohort,
        external=outside.cohort if outside and len(outside.cohort) else None,
        external_out=external_out,
        deals={split: deals(cohort, split=split, config=config) for split in splits},
        controls=controls,
        notes=(
            *_label_notes(task, matched, outside, out=external_out),
            *_control_notes(task, controls, n_wanted=config.controls),
        ),
    )


def model_tables(config: SweepConfig) -> tuple[str, ...]:
    """List the model tables of a sweep.

    Parameters
    ----------
    config : SweepConfig
        Its `models` and `out`.

    Returns
    -------
    names : tuple of str
        Sorted.

    Raises
    ------
    OutputError
        If the output holds none of that name, or none at all.
    """
    output = open_output(config.out)
    names = [name for each in config.models for name in _named(each, output.models)]
    if unknown := [name for name in names if name not in output.models]:
        raise OutputError(
            f"{output.root} has no table of {unknown[0]!r}",
            fix=f"it holds {', '.join(output.models) or 'no model yet'}",
        )
    if not names:
        raise OutputError(f"{output.root} holds no embeddings yet", fix="run `embedlib extract`")
    return tuple(sorted(set(names)))


def waves(
    task_sets: Sequence[TaskSet], *, models: Iterable[str], config: SweepConfig
) -> Iterator[list[Probed]]:
    """Read the embeddings of all models and tasks, as many at a time as memory is given.

    Parameters
    ----------
    task_sets : sequence of TaskSet
        The tasks.
    models : iterable of str
        Names of model tables.
    config : SweepConfig
        Of the sweep.

    Yields
    ------
    wave : list of Probed
        Of about `WAVE_BYTES`.
    """
    wave: list[Probed] = []
    first, *_ = names = tuple(models)
    for model in names:
        for protocol in (PROTOCOLS[name] for name in dict.fromkeys(config.protocols)):
            for together in _read_together(task_sets, protocol):
                wave += _probed(
                    together,
                    model=model,
                    protocol=protocol,
                    config=config,
                    tells_duplicates=model == first,
                )
                if sum(each.material.n_bytes for each in wave) >= WAVE_BYTES:
                    yield wave
                    wave = []
    if wave:
        yield wave


def _named(name: str, models: tuple[str, ...]) -> tuple[str, ...]:
    return models if name == "all" else (name,)


def _read_together(task_sets: Sequence[TaskSet], protocol: Protocol) -> Iterator[Sequence[TaskSet]]:
    """Read a table once for all tasks; patches, which are many, for each on its own."""
    if not protocol.uses_patches:
        yield task_sets
        return
    for task_set in task_sets:
        yield [task_set]


def _probed(
    task_sets: Sequence[TaskSet],
    *,
    model: str,
    protocol: Protocol,
    config: SweepConfig,
    tells_duplicates: bool,
) -> Iterator[Probed]:
    own = [each.cohort for each in task_sets]
    samples = read_samples(config.out, model, own, uses_patches=protocol.uses_patches)
    outside = _external_samples(task_sets, model=model, protocol=protocol)
    manifest = read_manifest(model_folder(config.out, model))
    for task_set, sample in zip(task_sets, samples, strict=True):
        key = MaterialKey(task_set.cohort.task, model, protocol.uses_patches)
        found = outside.get(task_set.cohort.task)
        checked = _checked(task_set, found, sample) if found else None
        notes = [*_sample_notes(task_set, sample, checked)]
        if tells_duplicates:
            notes += _duplicate_notes(task_set.cohort, sample, checked)
        yield Probed(
            subject=Subject(
                task_set.cohort, protocol, key, sample.embeddings_id, sample.x.shape[1]
            ),
            material=Material(task_set.task, manifest, task_set.cohort, sample, checked),
            task_set=task_set,
            splits=splits_of(task_set.cohort, protocol=protocol, config=config),
            notes=tuple(notes),
        )


def _external_samples(
    task_sets: Sequence[TaskSet], *, model: str, protocol: Protocol
) -> dict[str, ExternalSet]:
    """Read the external sets that a model has embeddings for, by task; each output once."""
    by_out: dict[Place, dict[str, Cohort]] = {}
    for each in task_sets:
        if each.external:
            by_out.setdefault(each.external_out, {})[each.cohort.task] = each.external
    found = {}
    for out, cohorts in by_out.items():
        if model not in open_output(out).models:
            continue
        samples = read_samples(
            out, model, list(cohorts.values()), uses_patches=protocol.uses_patches
        )
        for (task, cohort), sample in zip(cohorts.items(), samples, strict=True):
            found[task] = ExternalSet(cohort, sample)
    return found


def _checked(task_set: TaskSet, external: ExternalSet, sample: Sample) -> ExternalSet | None:
    """Refuse embeddings of another kind; none at all are no external set."""
    if external.sample.fingerprint != sample.fingerprint:
        raise FingerprintError(
            f"{task_set.external_out}/{sample.model} was made with other parameters than "
            "the table that trains",
            fix="extract the external set with the same settings",
        )
    return external if external.sample.has_vectors.any() else None


def _label_notes(
    task: Task, matched: Matched, outside: Matched | None, *, out: OutLike
) -> Iterator[str]:
    if matched.absence:
        yield f"{task.name}: {matched.absence}"
    if outside is not None and not len(outside.cohort):
        n_labels = outside.n_labelled
        yield f"{task.name}: none of the {n_labels} external labels is of a track of {out}"


def _control_notes(
    task: Task, controls: Mapping[Split, Sequence[Deal]], *, n_wanted: int
) -> Iterator[str]:
    for split, found in controls.items():
        if n_lost := n_wanted - len(found):
            yield (
                f"{task.name}: {n_lost} of {n_wanted} shuffles of its labels leave a {split} fold "
                "without some class and are no controls"
            )


def _sample_notes(task_set: TaskSet, sample: Sample, external: ExternalSet | None) -> Iterator[str]:
    pairs = [("tracks", task_set.cohort, sample)]
    if external:
        pairs.append(("external tracks", external.cohort, external.sample))
    elif task_set.external:
        yield (
            f"{task_set.cohort.task}: no external track has an embedding of {sample.model} "
            f"in {task_set.external_out}"
        )
    for what, cohort, found in pairs:
        if n_without := int((~found.has_vectors).sum()):
            yield (
                f"{cohort.task}: {n_without} of {len(cohort)} {what} have no embedding "
                f"of {found.model}"
            )


def _duplicate_notes(cohort: Cohort, sample: Sample, external: ExternalSet | None) -> Iterator[str]:
    """Look for recordings that would be trained on and tested."""
    others = _tracks(external.cohort, external.sample) if external else None
    found = duplicates(_tracks(cohort, sample), others)
    for line in duplicate_lines(*found, has_groups=bool(cohort.groups)):
        yield f"{cohort.task}: {line}; `embedlib tasks check` names them"


def _tracks(cohort: Cohort, sample: Sample) -> Tracks:
    """Give each track one vector; equal content gives equal ones, so that no hashes are needed."""
    means = track_means(sample.x.astype(np.float64), sample.starts)
    x = np.nan_to_num(means).astype(np.float32)
    return Tracks(cohort.track_ids, cohort.units, ("",) * len(cohort), x)
