"""One parcel of fits carried out in this process: arrays in, rows out."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from embedlib.catalog.stores import Place
from embedlib.probes.card import make_card
from embedlib.probes.choice import choose
from embedlib.probes.fitting import fit_group, fit_whole
from embedlib.probes.folds import fold_parts, shuffled
from embedlib.probes.network import plain_numerics
from embedlib.probes.outcome import Outcome
from embedlib.probes.plan import FitGroup, MaterialKey, Parcel
from embedlib.probes.probe import Probe
from embedlib.probes.records import Fit, Parts, Protocol, Role, Sample
from embedlib.probes.rows import rows_of
from embedlib.probes.saved import save_probe
from embedlib.probes.table import kept_probe_place
from embedlib.probes.training import Training
from embedlib.tables.layout import OutLike
from embedlib.tables.manifest import ModelManifest
from embedlib.tasks.cohort import Cohort
from embedlib.tasks.task import Task


@dataclass(frozen=True, slots=True, eq=False)
class ExternalSet:
    """What is scored by a probe that was trained on the whole task set.

    Attributes
    ----------
    cohort : Cohort
        Its labelled tracks.
    sample : Sample
        Their vectors.
    """

    cohort: Cohort
    sample: Sample


@dataclass(frozen=True, slots=True, eq=False)
class Material:
    """What all fits of one model on one task share.

    Attributes
    ----------
    task : Task
        As its file tells it.
    manifest : ModelManifest
        Of the model table.
    cohort : Cohort
        Labelled tracks.
    sample : Sample
        Their vectors.
    external : ExternalSet or None
        None where there is none, or it is empty.
    """

    task: Task
    manifest: ModelManifest
    cohort: Cohort
    sample: Sample
    external: ExternalSet | None = None

    @property
    def n_bytes(self) -> int:
        """Bytes of all vectors."""
        external = self.external.sample.x.nbytes if self.external else 0
        return self.sample.x.nbytes + external


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Parcels, and the arrays that they need.

    Attributes
    ----------
    out : Path or StorePath
        The output folder, absolute.
    parcels : tuple of Parcel
        In the order in which they should start.
    materials : mapping of MaterialKey to Material
        Of their subjects.
    keeps_probes : bool
        Whether the chosen probes of the first split are saved.
    """

    out: Place
    parcels: tuple[Parcel, ...]
    materials: Mapping[MaterialKey, Material]
    keeps_probes: bool


def carry_out(parcel: Parcel, material: Material, *, keep_in: OutLike | None) -> tuple[Fit, ...]:
    """Fit all groups of a parcel.

    Parameters
    ----------
    parcel : Parcel
        What to fit.
    material : Material
        Of its subject.
    keep_in : str, path-like, StorePath or None
        Output that gets the chosen probe of each fold of the first split; None keeps none.

    Returns
    -------
    fits : tuple of Fit
        Of all groups, in their order.

    Raises
    ------
    ConfigError
        If a fold has nothing to train on or to validate on.
    OutputError
        If a probe cannot be kept.
    """
    fits: list[Fit] = []
    protocol = parcel.subject.protocol
    with plain_numerics():
        for group in parcel.groups:
            if material.external and group.keys[0].role is Role.EXTERNAL:
                fits.append(_external_fit(group, material, material.external, protocol=protocol))
            else:
                fits += _fold_fits(group, material, protocol=protocol, keep_in=keep_in)
    return tuple(fits)


def training_of(
    group: FitGroup, number: int, material: Material, *, protocol: Protocol
) -> Training:
    """Begin one fit of a group, which others decide how far to train.

    Parameters
    ----------
    group : FitGroup
        Of one fold.
    number : int
        Of the fit in the group.
    material : Material
        Of its subject.
    protocol : Protocol
        How to train.

    Returns
    -------
    training : Training
        Before its first epoch.
    """
    return Training(
        group.keys[number],
        sample=material.sample,
        y=_labels(group, material).y,
        classes=material.cohort.classes,
        parts=_parts(group, material),
        protocol=protocol,
    )


def fit_of(group: FitGroup, number: int, outcome: Outcome, material: Material) -> Fit:
    """Make the row of a fit.

    Parameters
    ----------
    group : FitGroup
        Of one fold.
    number : int
        Of the fit in the group.
    outcome : Outcome
        What came out of its training.
    material : Material
        Of its subject.

    Returns
    -------
    fit : Fit
        With all that it was made of.
    """
    cohort, sample = material.cohort, material.sample
    return Fit(
        fit_id=group.fit_ids[number],
        group_id=group.group_id,
        key=outcome.key,
        cohort_id=cohort.cohort_id,
        test_cohort_id=cohort.cohort_id,
        embeddings_id=sample.embeddings_id,
        test_embeddings_id=sample.embeddings_id,
        fingerprint=sample.fingerprint,
        table_version=sample.table_version,
        schedule=group.schedule,
        seed=outcome.key.seed,
        n_train=outcome.n_train,
        n_val=outcome.n_val,
        test_index=outcome.test_index,
        truth=_labels(group, material).y[outcome.test_index],
        predicted=outcome.predicted,
        n_epochs=outcome.n_epochs,
        best_epoch=outcome.best_epoch,
        rung=outcome.rung,
        is_final=outcome.is_final,
        val_loss=outcome.val_loss,
        train_curve=outcome.train_curve,
        val_curve=outcome.val_curve,
        wall_s=outcome.wall_s,
    )


def _fold_fits(
    group: FitGroup, material: Material, *, protocol: Protocol, keep_in: OutLike | None
) -> list[Fit]:
    outcomes = fit_group(
        group.keys,
        sample=material.sample,
        y=_labels(group, material).y,
        classes=material.cohort.classes,
        parts=_parts(group, material),
        protocol=protocol,
        rungs=group.rungs,
    )
    fits = [fit_of(group, number, each, material) for number, each in enumerate(outcomes)]
    key = group.keys[0]
    if keep_in is not None and key.role is Role.CV and key.repeat == 0:
        chosen = choose(fits)
        _keep(chosen, outcomes[fits.index(chosen)].probe, material, out=keep_in)
    return fits


def _external_fit(
    group: FitGroup, material: Material, external: ExternalSet, *, protocol: Protocol
) -> Fit:
    started_s = time.perf_counter()
    (key,), (n_epochs,), sample = group.keys, group.rungs, material.sample
    probe, curve = fit_whole(
        key,
        sample=sample,
        y=material.cohort.y,
        classes=material.cohort.classes,
        protocol=protocol,
        n_epochs=n_epochs,
    )
    test_cohort, test_sample = external.cohort, external.sample
    index = np.flatnonzero(test_sample.has_vectors)
    predicted = probe.track_probabilities(*rows_of(test_sample, index)).argmax(axis=1)
    return Fit(
        fit_id=group.fit_ids[0],
        group_id=group.group_id,
        key=key,
        cohort_id=material.cohort.cohort_id,
        test_cohort_id=test_cohort.cohort_id,
        embeddings_id=sample.embeddings_id,
        test_embeddings_id=test_sample.embeddings_id,
        fingerprint=sample.fingerprint,
        table_version=sample.table_version,
        schedule=group.schedule,
        seed=key.seed,
        n_train=int(sample.has_vectors.sum()),
        n_val=0,
        test_index=index,
        truth=test_cohort.y[index],
        predicted=predicted,
        n_epochs=n_epochs,
        best_epoch=n_epochs,
        rung=0,
        is_final=True,
        val_loss=float("nan"),
        train_curve=curve,
        val_curve=(),
        wall_s=time.perf_counter() - started_s,
    )


def _keep(fit: Fit, probe: Probe, material: Material, *, out: OutLike) -> None:
    card = make_card(
        material.task,
        material.manifest,
        key=fit.key,
        n_epochs=fit.best_epoch,
        n_tracks=fit.n_train,
        cohort_id=fit.cohort_id,
    )
    save_probe(kept_probe_place(out, fit.fit_id), probe, card)


def _labels(group: FitGroup, material: Material) -> Cohort:
    return shuffled(material.cohort, shuffle=group.keys[0].shuffle)


def _parts(group: FitGroup, material: Material) -> Parts:
    return fold_parts(group.folds, fold=group.keys[0].fold, has_vectors=material.sample.has_vectors)
