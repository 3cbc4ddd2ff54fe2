"""Train one probe on a whole task, by what a sweep has found, and save it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from embedlib.catalog.stores import Place
from embedlib.errors import CatalogError, ConfigError
from embedlib.probes.card import Card, make_card
from embedlib.probes.fitting import fit_whole
from embedlib.probes.probe import Probe
from embedlib.probes.records import PROTOCOLS, FitKey, Protocol, Role
from embedlib.probes.samples import read_sample
from embedlib.probes.saved import card_place, save_probe
from embedlib.probes.table import read_fits
from embedlib.probes.train_setting import TrainingSet, inner_setting, key_of, swept_setting
from embedlib.tables.layout import OutLike, model_folder, output_root
from embedlib.tables.manifest import read_manifest
from embedlib.tasks.match import Matched
from embedlib.tasks.registry import task as find_task
from embedlib.tasks.sources import internal


@dataclass(frozen=True, slots=True)
class Trained:
    """A probe that was saved.

    Attributes
    ----------
    card : Card
        As written.
    notes : tuple of str
        What a person should know, one line each.
    """

    card: Card
    notes: tuple[str, ...]


def train_probe(
    out: OutLike,
    *,
    task: str,
    model: str,
    to: Place,
    labels: str | None = None,
    protocol: str = "pooled",
) -> Trained:
    """Train a probe on all labelled tracks of a task, and save it with its card.

    Hyper-parameters and epochs are those of the sweep of the same tracks, labels and embeddings, if
    ``OUT/probes`` holds a whole one. Else they are the paper's, and an inner split tells when to
    stop.

    Parameters
    ----------
    out : str or path-like
        An output folder.
    task : str
        Name of a task, or path of its YAML file.
    model : str
        Name of a model table.
    to : Path or StorePath
        File of the probe, ``.npz``; the card goes beside it.
    labels : str, optional
        Label manifest, or folder of the data set.
    protocol : str, optional
        Name of a protocol.

    Returns
    -------
    trained : Trained
        The card as saved; its `score` is None where no sweep was found.

    Raises
    ------
    ConfigError
        If the task, the protocol or the file name is impossible, or a class has too few tracks.
    CatalogError
        If the labels contradict themselves, or no labelled track has an embedding.
    OutputError
        If there is no such table, or it is damaged, or the disk is full.
    """
    card_place(to)  # refuses a name before anything is read
    root, known, how = output_root(out), find_task(task), _protocol(protocol)
    matched = internal(known, labels, out=str(root))
    given = _training_set(matched, how, model=model, out=root)
    setting = swept_setting(read_fits(root), given) or inner_setting(given)
    # The role under which a sweep trains on the whole task set: the same seed, so the same probe.
    key = key_of(given, setting, role=Role.EXTERNAL)
    card = make_card(
        known,
        read_manifest(model_folder(root, model)),
        key=key,
        n_epochs=setting.n_epochs,
        n_tracks=int(given.sample.has_vectors.sum()),
        cohort_id=given.cohort.cohort_id,
        score=setting.score,
    )
    probe = _fitted(key, given, n_epochs=setting.n_epochs)
    return Trained(save_probe(to, probe, card), tuple(_notes(matched, given)))


def _protocol(name: str) -> Protocol:
    if name not in PROTOCOLS:
        raise ConfigError(f"unknown protocol {name!r}", fix=f"choose one of {', '.join(PROTOCOLS)}")
    return PROTOCOLS[name]


def _training_set(matched: Matched, protocol: Protocol, *, model: str, out: OutLike) -> TrainingSet:
    cohort = matched.cohort
    sample = read_sample(out, model, cohort, uses_patches=protocol.uses_patches)
    if not sample.has_vectors.any():
        raise CatalogError(
            f"none of the {len(cohort)} labelled tracks of {cohort.task} has an embedding of "
            f"{model}",
            fix="run `embedlib extract` for them; `embedlib failures` says which gave none",
        )
    return TrainingSet(cohort, sample, protocol)


def _fitted(key: FitKey, given: TrainingSet, *, n_epochs: int) -> Probe:
    probe, _ = fit_whole(
        key,
        sample=given.sample,
        y=given.cohort.y,
        classes=given.cohort.classes,
        protocol=given.protocol,
        n_epochs=n_epochs,
    )
    return probe


def _notes(matched: Matched, given: TrainingSet) -> Iterator[str]:
    if matched.absence:
        yield matched.absence
    if n_without := int((~given.sample.has_vectors).sum()):
        yield f"{n_without} labelled tracks have no embedding of {given.sample.model}"
