"""From fits to the scores of a report: what counts, what is left out, and what is said of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score

from embedlib.probes.commits import FitCommitter
from embedlib.probes.records import Fit, FitKey, Params, Role, Split
from embedlib.probes.score_records import Scores
from embedlib.probes.scores import read_scores, score_all
from embedlib.probes.table import save_cohort, write_fits
from embedlib.tasks.cohort import Cohort

CLASSES = ("ape", "bee", "cat")
N_FOLDS = 3


def cohort(task: str = "toy", *, n_tracks: int = 60, groups: tuple[str, ...] = ()) -> Cohort:
    ids = tuple(f"{task}-{number:03}" for number in range(n_tracks))
    return Cohort(task, CLASSES, ids, np.arange(n_tracks) % 3, groups)


def fit(of: Cohort, index: np.ndarray, predicted: np.ndarray, **changes: object) -> Fit:
    names = {"role", "model", "split", "params", "repeat", "shuffle", "fold"}
    key = FitKey(
        **{
            "role": Role.CV, "task": of.task, "model": "tiny", "protocol": "pooled",
            "split": Split.STRATIFIED, "params": Params(), "n_folds": N_FOLDS,
        }
        | {name: value for name, value in changes.items() if name in names}
    )  # fmt: skip
    made = Fit(
        "fit", "group", key, of.cohort_id, of.cohort_id, "emb", "emb", "print", 4, "sync:9",
        key.seed, 9, 3, index, of.y[index], predicted, 9, 5, 0, True, 0.5, (0.9,), (0.8,), 0.0,
    )  # fmt: skip
    return replace(made, **{name: value for name, value in changes.items() if name not in names})


def split_of(
    of: Cohort, *, accuracy: float = 0.8, seed: int = 0, lost: Sequence[int] = (), **changes: object
) -> list[Fit]:
    """One fit for each fold, predictions right with the given probability."""
    rng = np.random.default_rng([seed, *of.task.encode()])
    folds = rng.permutation(len(of)) % N_FOLDS
    has_vectors = ~np.isin(np.arange(len(of)), lost)
    fits = []
    for fold in range(N_FOLDS):
        index = np.flatnonzero((folds == fold) & has_vectors)
        y = of.y[index]
        predicted = np.where(rng.random(len(y)) < accuracy, y, (y + 1) % 3)
        fits.append(fit(of, index, predicted, fold=fold, **changes))
    return fits


def external_fit(of: Cohort, tested: Cohort, *, accuracy: float = 0.6, **changes: object) -> Fit:
    index = np.arange(len(tested))
    rng = np.random.default_rng(9)
    predicted = np.where(rng.random(len(index)) < accuracy, tested.y, (tested.y + 1) % 3)
    changes = {
        "test_cohort_id": tested.cohort_id,
        "truth": tested.y,
        "schedule": "whole:5",
    } | changes
    return replace(
        fit(of, np.arange(0), predicted, role=Role.EXTERNAL), test_index=index, **changes
    )


def by_id(*cohorts: Cohort) -> dict[str, Cohort]:
    return {each.cohort_id: each for each in cohorts}


def test_the_folds_are_pooled_before_they_are_scored() -> None:
    toy = cohort()
    fits = split_of(toy)

    (cell,) = score_all(fits, by_id(toy)).cells

    truth, predicted = (
        np.concatenate([getattr(each, name) for each in fits]) for name in ("truth", "predicted")
    )
    assert cell.five_fold == pytest.approx(balanced_accuracy_score(truth, predicted), abs=1e-12)
    assert cell.five_fold in cell.interval
    assert np.sum(cell.confusion) == cell.n_scored == cell.n_tracks == 60


def test_the_deviation_over_folds_is_that_of_numpy() -> None:
    toy = cohort()
    fits = split_of(toy)

    (cell,) = score_all(fits, by_id(toy)).cells

    per_fold = [balanced_accuracy_score(each.truth, each.predicted) for each in fits]
    assert cell.fold_std == pytest.approx(np.std(per_fold), abs=1e-12)


def test_repeated_splits_give_a_deviation_and_no_other_number() -> None:
    toy = cohort()
    first, second = split_of(toy), split_of(toy, seed=1, repeat=1)

    (alone,) = score_all(first, by_id(toy)).cells
    (both,) = score_all(second + first, by_id(toy)).cells
    (other,) = score_all(
        [replace(each, key=replace(each.key, repeat=0)) for each in second], by_id(toy)
    ).cells

    expected = np.std([alone.five_fold, other.five_fold], ddof=1)
    assert both.repeat_std == pytest.approx(expected, abs=1e-12)
    assert replace(both, n_repeats=1, repeat_std=None) == alone


def test_the_fit_of_least_validation_loss_counts_and_not_the_one_that_scores_best() -> None:
    toy = cohort()
    modest = split_of(toy, accuracy=0.5, val_loss=0.1, params=Params(n_hidden=10))
    lucky = split_of(toy, accuracy=1.0, val_loss=0.2)

    (cell,) = score_all(lucky + modest, by_id(toy)).cells

    assert cell.chosen == (Params(n_hidden=10),) * N_FOLDS
    assert cell.five_fold < 0.8


def test_a_cell_without_one_fold_is_left_out_and_named() -> None:
    toy = cohort()

    scores = score_all(split_of(toy)[:2], by_id(toy))

    assert scores.cells == ()
    assert scores.notes[0] == (
        "toy with tiny (pooled, stratified): not fitted: fold 2 of split 0; run the sweep to its "
        "end"
    )


def test_a_cell_of_which_only_a_later_split_is_there_is_left_out() -> None:
    toy = cohort()

    scores = score_all(split_of(toy, repeat=1), by_id(toy))

    assert scores.cells == ()
    assert any("fold 0+1+2 of split 0" in note for note in scores.notes)


def test_a_later_split_that_lacks_a_fold_does_not_count() -> None:
    toy = cohort()

    scores = score_all(split_of(toy) + split_of(toy, seed=1, repeat=1)[1:], by_id(toy))

    assert [(cell.n_repeats, cell.repeat_std) for cell in scores.cells] == [(1, None)]
    assert any("fold 0 of split 1" in note for note in scores.notes)


def test_a_fit_that_was_dropped_leaves_its_fold_open() -> None:
    toy = cohort()
    fits = split_of(toy)

    assert score_all([*fits[1:], replace(fits[0], is_final=False)], by_id(toy)).cells == ()


def test_tracks_without_embedding_are_counted() -> None:
    toy = cohort()

    scores = score_all(split_of(toy, lost=(3, 8)), by_id(toy))

    assert (scores.cells[0].n_tracks, scores.cells[0].n_scored) == (60, 58)
    assert "toy: 2 of 60 tracks have no embedding of tiny and are not scored" in scores.notes


@pytest.mark.parametrize(
    "newer",
    [
        {"embeddings_id": "new"},
        {"schedule": "sync:1,9"},
        {"embeddings_id": "new", "table_version": 9},
    ],
)
def test_of_two_states_the_later_one_counts(newer: dict[str, object]) -> None:
    toy = cohort()
    later = split_of(toy, accuracy=0.9, **newer)

    scores = score_all(split_of(toy, accuracy=0.4) + later, by_id(toy))

    assert scores.cells == score_all(later, by_id(toy)).cells
    assert any("2 states" in note for note in scores.notes)


def test_new_labels_replace_old_ones() -> None:
    old, new = cohort(n_tracks=60), cohort(n_tracks=63)

    scores = score_all(split_of(old) + split_of(new), by_id(old, new))

    assert [cell.n_tracks for cell in scores.cells] == [63]


def test_an_older_complete_state_counts_until_the_newer_is_complete() -> None:
    toy = cohort()
    old, new = split_of(toy), split_of(toy, accuracy=0.9, embeddings_id="new")

    scores = score_all(old + new[:1], by_id(toy))

    assert scores.cells == score_all(old, by_id(toy)).cells


def test_an_external_set_gives_a_score_and_a_drop() -> None:
    toy, wild = cohort(), cohort("wild", n_tracks=90)
    external = external_fit(toy, wild)

    (cell,) = score_all([*split_of(toy), external], by_id(toy, wild)).cells

    assert cell.external == pytest.approx(balanced_accuracy_score(wild.y, external.predicted))
    assert cell.drop == pytest.approx(cell.five_fold - cell.external)
    assert cell.external in cell.external_interval
    assert cell.drop in cell.drop_interval
    assert cell.n_external == 90


def test_the_interval_of_a_drop_is_as_wide_as_both_sets_make_it() -> None:
    toy, wild = cohort(n_tracks=600), cohort("wild", n_tracks=900)

    (cell,) = score_all([*split_of(toy), external_fit(toy, wild)], by_id(toy, wild)).cells

    inside, outside, drop = (
        each.high - each.low for each in (cell.interval, cell.external_interval, cell.drop_interval)
    )
    assert drop == pytest.approx(np.hypot(inside, outside), rel=0.08)


def test_an_external_set_without_a_class_is_scored_on_the_others() -> None:
    toy = cohort()
    wild = replace(cohort("wild"), y=np.arange(60) % 2)

    scores = score_all([*split_of(toy), external_fit(toy, wild, accuracy=1.0)], by_id(toy, wild))

    assert scores.cells[0].external == 1.0
    assert any(
        note.startswith("external set of toy: no scored track is of cat;") for note in scores.notes
    )


def test_an_empty_external_set_is_one_line() -> None:
    toy, wild = cohort(), cohort("wild", n_tracks=0)

    scores = score_all([*split_of(toy), external_fit(toy, wild)], by_id(toy, wild))

    assert (scores.cells[0].external, scores.cells[0].drop) == (None, None)
    assert sum("external set of toy: no track" in note for note in scores.notes) == 1


def test_an_external_score_of_older_embeddings_is_left_out() -> None:
    toy, wild = cohort(), cohort("wild")
    old = external_fit(toy, wild, embeddings_id="old")

    scores = score_all([*split_of(toy), old], by_id(toy, wild))

    assert scores.cells[0].external is None
    assert any("its external score is of other labels" in note for note in scores.notes)


def test_asha_is_not_reproducible() -> None:
    toy = cohort()

    (cell,) = score_all(split_of(toy, schedule="asha"), by_id(toy)).cells

    assert not cell.is_reproducible


def test_a_task_with_groups_that_no_split_keeps_together_is_named() -> None:
    toy = cohort(groups=tuple(f"artist {number // 4}" for number in range(60)))
    plain, kept = split_of(toy), split_of(toy, split=Split.GROUPED)

    assert any("folds ignore them" in note for note in score_all(plain, by_id(toy)).notes)
    assert not any("folds ignore" in note for note in score_all(plain + kept, by_id(toy)).notes)


def test_tracks_of_a_group_widen_the_interval_when_they_fail_together() -> None:
    alone = cohort(n_tracks=600)
    grouped = cohort(n_tracks=600, groups=tuple(f"artist {number // 30}" for number in range(600)))
    wrong = np.arange(600) < 120  # four artists
    fits = [
        [
            fit(of, index, np.where(wrong[index], (of.y[index] + 1) % 3, of.y[index]), fold=fold)
            for fold, index in enumerate(np.array_split(np.arange(600), N_FOLDS))
        ]
        for of in (alone, grouped)
    ]

    (narrow,), (wide,) = (score_all(each, by_id(alone, grouped)).cells for each in fits)

    assert narrow.five_fold == wide.five_fold
    assert wide.interval.high - wide.interval.low > 2 * (narrow.interval.high - narrow.interval.low)


def test_models_are_compared_on_the_tracks_of_both() -> None:
    toy = cohort(n_tracks=300)
    good = split_of(toy, accuracy=0.95, model="good", lost=range(20))
    bad = split_of(toy, accuracy=0.5, model="bad", lost=range(10, 30))

    (found,) = score_all(good + bad, by_id(toy)).comparisons

    truth, predictions = toy.y[30:], {}
    for name, fits in (("good", good), ("bad", bad)):
        predictions[name] = np.full(300, -1)
        for each in fits:
            predictions[name][each.test_index] = each.predicted
    expected = [balanced_accuracy_score(truth, predictions[name][30:]) for name in ("bad", "good")]
    assert (found.model_a, found.model_b) == ("bad", "good")
    assert found.difference == pytest.approx(expected[0] - expected[1], abs=1e-12)
    assert found.p == found.p_holm < 1e-3


def test_p_values_are_corrected_over_all_pairs_and_tasks_of_a_setting() -> None:
    tasks = [cohort("one", n_tracks=90), cohort("two", n_tracks=90)]
    fits = [
        each
        for of in tasks
        for accuracy, model in ((0.6, "a"), (0.7, "b"), (0.8, "c"))
        for each in split_of(of, accuracy=accuracy, model=model, seed=int(accuracy * 10))
    ]

    scores = score_all(fits, by_id(*tasks))

    found = scores.comparisons
    least = min(found, key=lambda each: each.p)
    assert len(found) == 6
    assert least.p_holm == pytest.approx(6 * least.p)
    assert all(each.p <= each.p_holm <= 1 for each in found)
    assert scores.notes == ()


def test_models_of_other_labels_are_not_compared() -> None:
    old, new = cohort(n_tracks=60), cohort(n_tracks=63)

    scores = score_all(split_of(old, model="a") + split_of(new, model="b"), by_id(old, new))

    assert scores.comparisons == ()
    assert any(
        "toy: a and b were scored on other tracks or labels" in note for note in scores.notes
    )


def test_models_without_a_common_track_are_not_compared() -> None:
    toy = cohort()
    fits = split_of(toy, model="a", lost=range(30)) + split_of(toy, model="b", lost=range(30, 60))

    scores = score_all(fits, by_id(toy))

    assert scores.comparisons == ()
    assert any("toy: a and b were scored on other tracks" in note for note in scores.notes)


def test_a_model_on_other_labels_is_told_and_takes_no_part_in_ranks() -> None:
    toy, changed, other = cohort(), cohort(n_tracks=30), cohort("two")
    fits = [
        each
        for model in ("a", "b", "c")
        for each in split_of(changed if model == "c" else toy, model=model)
        + split_of(other, model=model)
    ]

    scores = score_all(fits, by_id(toy, changed, other))

    apart = [(cell.task, cell.model) for cell in scores.cells if cell.has_other_labels]
    assert apart == [("toy", "c")]
    assert scores.ranks == ()


def test_ranks_are_over_the_tasks_of_all_models() -> None:
    tasks = [cohort(name) for name in ("one", "two", "three")]
    fits = [
        each
        for of in tasks
        for accuracy, model in ((0.3, "poor"), (0.95, "fine"))
        if (of.task, model) != ("three", "poor")
        for each in split_of(of, accuracy=accuracy, model=model)
    ]

    scores = score_all(fits, by_id(*tasks))

    (ranks,) = scores.ranks
    assert (ranks.models, ranks.mean_ranks, ranks.n_tasks) == (("fine", "poor"), (1.0, 2.0), 2)
    assert any("over the 2 of 3 tasks" in note for note in scores.notes)


def test_one_task_has_no_ranks() -> None:
    toy = cohort()

    scores = score_all(split_of(toy, model="a") + split_of(toy, model="b"), by_id(toy))

    assert scores.ranks == ()
    (note,) = [note for note in scores.notes if note.startswith("no ranks (pooled, stratified)")]
    assert note.endswith("here: 1")


def shuffles(of: Cohort, *, accuracy: float, n_shuffles: int = 20) -> list[Fit]:
    return [
        each
        for shuffle in range(n_shuffles)
        for each in split_of(
            of, accuracy=accuracy, seed=shuffle, role=Role.CONTROL, shuffle=shuffle
        )
    ]


@pytest.mark.parametrize(("accuracy", "is_suspicious"), [(1 / 3, False), (0.45, True), (0.2, True)])
def test_a_control_is_suspicious_when_it_leaves_chance(
    accuracy: float, is_suspicious: bool
) -> None:
    toy = cohort(n_tracks=300)

    (control,) = score_all(shuffles(toy, accuracy=accuracy), by_id(toy)).controls

    assert control.chance == pytest.approx(1 / 3)
    assert control.n_shuffles == 20
    assert control.is_suspicious is is_suspicious


def test_one_shuffle_makes_no_control() -> None:
    toy = cohort()

    scores = score_all(shuffles(toy, accuracy=0.3, n_shuffles=1), by_id(toy))

    assert scores.controls == ()
    assert any("fewer than 2 shuffles" in note for note in scores.notes)


def test_scores_do_not_depend_on_what_else_is_scored() -> None:
    tasks = [cohort("one"), cohort("two")]
    fits = [split_of(of, model=model) for of in tasks for model in ("a", "b")]

    (alone,) = score_all(fits[1], by_id(*tasks)).cells
    together = score_all([each for part in fits for each in part], by_id(*tasks))

    assert alone in together.cells


def test_scores_do_not_depend_on_the_order_of_fits() -> None:
    toy = cohort()
    fits = split_of(toy, model="a") + split_of(toy, model="b", seed=1) + shuffles(toy, accuracy=0.4)
    mixed = [fits[number] for number in np.random.default_rng(0).permutation(len(fits))]

    assert score_all(fits, by_id(toy)) == score_all(mixed, by_id(toy))


def test_scores_of_an_output_are_those_of_its_fits(tmp_path: Path) -> None:
    toy, wild = cohort(), cohort("wild")
    fits = [*split_of(toy), external_fit(toy, wild)]
    for each in (toy, wild):
        save_cohort(tmp_path, each)
    FitCommitter(tmp_path).commit([write_fits(tmp_path, fits)])

    assert read_scores(tmp_path) == score_all(fits, by_id(toy, wild))


def test_an_output_without_probes_has_empty_scores(tmp_path: Path) -> None:
    assert read_scores(tmp_path) == Scores()
