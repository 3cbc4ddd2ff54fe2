"""From the fits of an output to the scores of its report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import combinations, groupby

import numpy as np

from embedlib.probes.cells import ScoredCell, run_accuracy, score_cell
from embedlib.probes.comparisons import holm, paired_p
from embedlib.probes.controls import chance_band
from embedlib.probes.ranks import critical_difference, friedman_p, model_ranks
from embedlib.probes.records import Fit, Float64, Role, Split, derived_seed
from embedlib.probes.score_records import Comparison, Control, Ranks, Scores
from embedlib.probes.scoring import CellKey, Selected, by_cell, external_fit, select
from embedlib.probes.statistics import UnitCounts, count_units
from embedlib.probes.table import read_cohort, read_fits
from embedlib.tables.layout import OutLike
from embedlib.tasks.cohort import Cohort

MIN_RANKED = 2
"""Tasks, and models, without which there are no ranks."""

MIN_SHUFFLES = 2
"""Shuffles without which their deviation is unknown."""


def read_scores(out: OutLike) -> Scores:
    """Score what an output holds.

    Parameters
    ----------
    out : str, path-like or StorePath
        The output folder.

    Returns
    -------
    scores : Scores
        Empty before the first sweep.

    Raises
    ------
    OutputError
        If the table of probes, or the labelled tracks beside it, cannot be read.
    """
    fits = read_fits(out)
    ids = {name for fit in fits for name in (fit.cohort_id, fit.test_cohort_id)}
    return score_all(fits, {name: read_cohort(out, name) for name in sorted(ids)})


def score_all(fits: Sequence[Fit], cohorts: Mapping[str, Cohort], *, seed: int = 0) -> Scores:
    """Score fits.

    Parameters
    ----------
    fits : sequence of Fit
        In the order of the table: of two states of the same data the later one counts.
    cohorts : mapping of str to Cohort
        The labelled tracks that they name, by id.
    seed : int, optional
        Of all draws. Those of a cell or comparison depend on its names beside it and on nothing
        else, so that a score does not change when others are added.

    Returns
    -------
    scores : Scores
        Of all cells of which the first split is complete.
    """
    given = by_cell(fits, role=Role.CV)
    selected = {key: select(key, found) for key, found in given.items()}
    externals = by_cell(fits, role=Role.EXTERNAL)
    cells = _compared_to_most(_cells(selected, externals, cohorts, seed=seed))
    compared, compare_notes = _comparisons(cells, seed=seed)
    ranks, rank_notes = _all_ranks(cells)
    controls, control_notes = _controls(by_cell(fits, role=Role.CONTROL))
    notes = [
        *(note for each in selected.values() for note in each.notes),
        *(note for each in cells for note in each.notes),
        *_stale_externals(cells, externals),
        *_ungrouped(cells),
        *compare_notes,
        *rank_notes,
        *control_notes,
    ]
    return Scores(
        cells=tuple(each.cell for each in cells),
        comparisons=compared,
        ranks=ranks,
        controls=controls,
        notes=tuple(dict.fromkeys(notes)),
    )


def _cells(
    selected: Mapping[CellKey, Selected],
    externals: Mapping[CellKey, Sequence[Fit]],
    cohorts: Mapping[str, Cohort],
    *,
    seed: int,
) -> Iterator[ScoredCell]:
    for key, each in selected.items():
        like = each.runs[0].fits[0] if each.runs else None
        external = external_fit(externals.get(key, ()), like=like) if like else None
        scored = score_cell(key, each, external, cohorts=cohorts, seed=seed)
        if scored is not None:
            yield scored


def _compared_to_most(cells: Iterable[ScoredCell]) -> list[ScoredCell]:
    """Tell the cells whose tracks and labels are not those of most models of their line."""
    found = list(cells)
    cohorts: dict[tuple[str, Split, str], list[Cohort]] = {}
    for each in found:
        cohorts.setdefault(each.key[:3], []).append(each.cohort)
    common = {line: _most_common(given) for line, given in cohorts.items()}
    return [
        each
        if each.cohort.cohort_id == common[each.key[:3]]
        else replace(each, cell=replace(each.cell, has_other_labels=True))
        for each in found
    ]


def _most_common(cohorts: Sequence[Cohort]) -> str:
    """Name the cohort that is there most often; of several the one with more tracks."""
    n_of = Counter(each.cohort_id for each in cohorts)
    return max(
        cohorts, key=lambda each: (n_of[each.cohort_id], len(each), each.cohort_id)
    ).cohort_id


def _stale_externals(
    cells: Sequence[ScoredCell], externals: Mapping[CellKey, Sequence[Fit]]
) -> Iterator[str]:
    for each in cells:
        if each.external is None and each.key in externals:
            yield (
                f"{each.key}: its external score is of other labels, embeddings or folds and is "
                "left out; run the sweep again"
            )


def _by_setting(cells: Iterable[ScoredCell]) -> Iterator[tuple[str, Split, list[ScoredCell]]]:
    """Part cells, which are sorted, by protocol and split."""
    for (protocol, split), found in groupby(cells, key=lambda each: each.key[:2]):
        yield protocol, split, list(found)


def _ungrouped(cells: Sequence[ScoredCell]) -> Iterator[str]:
    """Name the tasks whose groups are known but were kept together in no split."""
    kept = {each.key.task for each in cells if each.key.split is not Split.STRATIFIED}
    for task in sorted({each.key.task for each in cells if any(each.cohort.groups)} - kept):
        yield (
            f"{task}: groups are known but folds ignore them, so that the scores may be too good; "
            "sweep with `--groups both` to see by how much"
        )


def _comparisons(
    cells: Sequence[ScoredCell], *, seed: int
) -> tuple[tuple[Comparison, ...], list[str]]:
    compared: list[Comparison] = []
    notes: list[str] = []
    for _, _, found in _by_setting(cells):
        family = []
        for a, b in combinations(found, 2):
            if a.key.task != b.key.task:
                continue
            if pair := _shared_counts(a, b):
                family.append(_comparison(a, b, *pair, seed=seed))
            else:
                notes.append(
                    f"{a.key.task}: {a.key.model} and {b.key.model} were scored on other tracks or "
                    f"labels ({a.key.protocol}, {a.key.split}) and are not compared"
                )
        corrected = holm([each.p for each in family])
        compared += [replace(each, p_holm=p) for each, p in zip(family, corrected, strict=True)]
    return tuple(compared), notes


def _shared_counts(a: ScoredCell, b: ScoredCell) -> tuple[UnitCounts, UnitCounts] | None:
    """Count the tracks that both models have an embedding of; None where there are none."""
    if a.cohort.cohort_id != b.cohort.cohort_id:
        return None
    index, in_a, in_b = np.intersect1d(
        a.predictions.index, b.predictions.index, assume_unique=True, return_indices=True
    )
    if not len(index):
        return None
    units, truth = a.cohort.units[index], a.predictions.truth[in_a]
    return (
        count_units(units, truth, a.predictions.predicted[in_a]),
        count_units(units, truth, b.predictions.predicted[in_b]),
    )


def _comparison(
    a: ScoredCell, b: ScoredCell, counts_a: UnitCounts, counts_b: UnitCounts, *, seed: int
) -> Comparison:
    p = paired_p(counts_a, counts_b, seed=derived_seed("flips", *a.key, b.key.model, seed))
    return Comparison(
        task=a.key.task,
        protocol=a.key.protocol,
        split=a.key.split,
        model_a=a.key.model,
        model_b=b.key.model,
        difference=counts_a.accuracy - counts_b.accuracy,
        p=p,
        p_holm=p,
    )


def _all_ranks(cells: Sequence[ScoredCell]) -> tuple[tuple[Ranks, ...], list[str]]:
    ranks, notes = [], []
    for protocol, split, found in _by_setting(cells):
        by_task: dict[str, dict[str, float]] = {}
        for each in found:
            scores = by_task.setdefault(each.key.task, {})
            if not each.cell.has_other_labels:
                scores[each.key.model] = each.cell.five_fold
        models = sorted({each.key.model for each in found})
        complete = [scores for scores in by_task.values() if len(scores) == len(models)]
        if len(complete) < MIN_RANKED or len(models) < MIN_RANKED:
            notes.append(
                f"no ranks ({protocol}, {split}): they need two tasks that the same models, two "
                f"or more, were scored on; here: {len(complete) if len(models) > 1 else 0}"
            )
            continue
        if len(complete) < len(by_task):
            notes.append(
                f"ranks ({protocol}, {split}): over the {len(complete)} of {len(by_task)} tasks "
                "that all models were scored on"
            )
        table = np.array([[scores[model] for model in models] for scores in complete])
        ranks.append(_ranks(protocol, split, models, table))
    return tuple(ranks), notes


def _ranks(protocol: str, split: Split, models: Sequence[str], accuracies: Float64) -> Ranks:
    found = model_ranks(accuracies)
    means = found.mean(axis=0)
    order = np.argsort(means, kind="stable")
    return Ranks(
        protocol=protocol,
        split=split,
        models=tuple(models[number] for number in order),
        mean_ranks=tuple(means[order].tolist()),
        n_tasks=len(accuracies),
        friedman_p=friedman_p(found),
        critical_difference=critical_difference(len(models), n_tasks=len(accuracies)),
    )


def _controls(
    given: Mapping[CellKey, Sequence[Fit]],
) -> tuple[tuple[Control, ...], list[str]]:
    controls, notes = [], []
    for key, fits in given.items():
        selected = select(key, fits)
        notes += [f"control of {note}" for note in selected.notes]
        if len(selected.runs) < MIN_SHUFFLES:
            notes.append(f"control of {key}: fewer than {MIN_SHUFFLES} shuffles, no band")
        else:
            controls.append(_control(key, selected))
    return tuple(controls), notes


def _control(key: CellKey, selected: Selected) -> Control:
    accuracies = [run_accuracy(run) for run in selected.runs]
    n_classes = len(np.unique(selected.runs[0].predictions.truth))
    band, mean = chance_band(accuracies, n_classes=n_classes), float(np.mean(accuracies))
    return Control(
        task=key.task,
        model=key.model,
        protocol=key.protocol,
        split=key.split,
        chance=1 / n_classes,
        mean=mean,
        band=band,
        n_shuffles=len(accuracies),
        is_suspicious=mean not in band,
    )
