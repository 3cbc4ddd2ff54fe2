"""The table of the paper: order, marks, sizes, and the paper's numbers beside ours."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from embedlib.probes.records import Params, Split
from embedlib.probes.score_records import Cell, Comparison, Scores
from embedlib.report.cautions import cautions
from embedlib.report.facts import Facts, shipped_facts
from embedlib.report.long_form import long_form
from embedlib.report.long_table import HEADER, in_words, long_table
from embedlib.report.paper_table import Entry, Standing, paper_table
from embedlib.report.terminal import TERMINAL_HEADER, terminal_table
from embedlib.tasks.task import Task

MakeCell = Callable[..., Cell]


def only(scores: Scores, facts: Facts) -> Entry:
    (entry,) = paper_table(scores, facts=facts).entries
    return entry


def standings(scores: Scores, facts: Facts) -> list[str]:
    (line,) = paper_table(scores, facts=facts).lines
    return [str(entry.standing) for entry in line.scored]


def pair(p_holm: float, *, a: str = "a", b: str = "b", task: str = "gtzan") -> Comparison:
    return Comparison(task, "pooled", Split.STRATIFIED, a, b, 0.1, p_holm, p_holm)


@pytest.fixture(scope="module")
def facts() -> Facts:
    return shipped_facts()


def test_tasks_and_models_stand_in_the_order_of_the_paper(
    make_cell: MakeCell, facts: Facts
) -> None:
    names = ["sad", "own-task", "gtzan", "gender", "dortmund"]
    models = ["my-model", "spleeter-5s-3", "msd-musicnn-1"]
    cells = tuple(make_cell(task=name, model=model) for name in names for model in models)
    table = paper_table(Scores(cells), facts=facts)
    assert [line.task for line in table.lines] == ["dortmund", "gtzan", "sad", "gender", "own-task"]
    assert table.models == ("msd-musicnn-1", "spleeter-5s-3", "my-model")


def test_every_task_of_the_paper_has_its_group_and_its_size(facts: Facts) -> None:
    of_paper = {name for name, _ in facts.paper}
    assert len(of_paper) == 16
    assert {facts.group(name) for name in of_paper} == {"genre", "mood", "miscellaneous"}
    assert all(facts.tasks[name].size for name in of_paper)


def test_protocols_and_splits_of_a_task_stand_below_each_other(
    make_cell: MakeCell, facts: Facts
) -> None:
    variants = [("pooled", Split.GROUPED), ("paper", Split.STRATIFIED)]
    cells = tuple(
        make_cell(task=task, protocol=protocol, split=split)
        for task in ("gtzan", "dortmund")
        for protocol, split in variants
    )
    lines = paper_table(Scores(cells), facts=facts).lines
    assert [(line.task, line.variant) for line in lines] == [
        ("dortmund", "paper, stratified"),
        ("dortmund", "pooled, grouped"),
        ("gtzan", "paper, stratified"),
        ("gtzan", "pooled, grouped"),
    ]


def test_a_missing_cell_leaves_its_place_empty(make_cell: MakeCell, facts: Facts) -> None:
    cells = (make_cell(model="a"), make_cell(model="b"), make_cell(task="sad", model="b"))
    by_task = {line.task: line for line in paper_table(Scores(cells), facts=facts).lines}
    assert by_task["sad"].entries[0] is None
    assert by_task["sad"].entries[1] is not None


def test_the_best_results_of_a_line_are_marked_ties_included(
    make_cell: MakeCell, facts: Facts
) -> None:
    values = {"a": 0.9, "b": 0.9, "c": 0.8}
    scores = Scores(tuple(make_cell(model=m, five_fold=value) for m, value in values.items()))
    assert standings(scores, facts) == ["best", "best", "other"]


@pytest.mark.parametrize(
    ("p_holm", "expected"), [(0.05, "close"), (0.7, "close"), (0.049, "other")]
)
@pytest.mark.parametrize("names", [("a", "b"), ("b", "a")])
def test_a_model_is_marked_weakly_unless_holm_says_it_is_worse(
    make_cell: MakeCell, facts: Facts, p_holm: float, expected: str, names: tuple[str, str]
) -> None:
    best, other = names
    cells = (make_cell(model=best, five_fold=0.9), make_cell(model=other, five_fold=0.8))
    table = paper_table(Scores(cells, (pair(p_holm),)), facts=facts)
    by_model = {entry.cell.model: str(entry.standing) for entry in table.entries}
    assert by_model == {best: "best", other: expected}


def test_only_comparisons_with_the_best_of_the_same_line_count(
    make_cell: MakeCell, facts: Facts
) -> None:
    cells = tuple(
        make_cell(model=m, five_fold=v) for m, v in {"a": 0.9, "b": 0.6, "c": 0.5}.items()
    )
    elsewhere = (pair(1.0, task="sad"), pair(1.0, a="b", b="c"))
    assert standings(Scores(cells, elsewhere), facts) == ["best", "other", "other"]


def test_the_best_external_result_is_marked_and_models_without_one_are_not(
    make_cell: MakeCell, facts: Facts
) -> None:
    values = {"a": 0.4, "b": None, "c": 0.6}
    scores = Scores(tuple(make_cell(model=m, external=value) for m, value in values.items()))
    entries = paper_table(scores, facts=facts).entries
    assert [e.external_standing for e in entries] == [
        Standing.OTHER,
        Standing.OTHER,
        Standing.BEST,
    ]


def test_the_size_says_what_is_missing(make_cell: MakeCell, facts: Facts) -> None:
    cells = (make_cell(), make_cell(task="sad", n_tracks=230), make_cell(task="own-task"))
    by_task = {line.task: line for line in paper_table(Scores(cells), facts=facts).lines}
    assert by_task["gtzan"].size == "930 of 1,000 excerpts"
    assert by_task["own-task"].size == "930 tracks"
    assert [by_task[name].is_off_size for name in ("gtzan", "sad", "own-task")] == [
        True,
        False,
        False,
    ]


def test_the_papers_number_stands_beside_ours_with_the_difference(
    make_cell: MakeCell, facts: Facts
) -> None:
    entry = only(Scores((make_cell(five_fold=0.875),)), facts)  # the paper: 86
    assert entry.paper_five_fold == 0.86
    assert entry.difference == pytest.approx(0.015)


@pytest.mark.parametrize("changes", [{"task": "own-task"}, {"model": "my-model"}])
def test_what_the_paper_does_not_know_has_no_difference(
    make_cell: MakeCell, facts: Facts, changes: dict[str, str]
) -> None:
    entry = only(Scores((make_cell(**changes),)), facts)
    assert (entry.paper_five_fold, entry.paper_external, entry.difference) == (None, None, None)


def test_beside_an_external_score_the_papers_is_named_other_data_without_difference(
    make_cell: MakeCell, facts: Facts
) -> None:
    table = paper_table(Scores((make_cell(external=0.5, drop=0.375),)), facts=facts)
    (record,) = long_form(table)
    assert record["external_pct"] == 50.0
    assert record["paper_external_on_other_data_pct"] == 54.0  # table 2
    assert [name for name in record if "difference" in name] == ["difference_to_paper_pct"]


def test_a_task_of_the_papers_without_external_numbers_has_none(
    make_cell: MakeCell, facts: Facts
) -> None:
    assert only(Scores((make_cell(task="urbansound8k"),)), facts).paper_external is None


def test_a_task_that_others_define_keeps_its_group_and_comes_last(make_cell: MakeCell) -> None:
    own = Task(name="insects", group="animals", classes=["bee", "fly"], size=1000)
    table = paper_table(
        Scores((make_cell(task="insects"), make_cell(task="unheard-of"))),
        facts=Facts(tasks={"insects": own}),
    )
    assert [(line.group, line.size) for line in table.lines] == [
        ("animals", "930 of 1,000 excerpts"),
        ("own", "930 tracks"),
    ]


def test_all_rows_of_the_long_table_have_all_columns(make_cell: MakeCell, facts: Facts) -> None:
    cells = (make_cell(), make_cell(model="b", external=0.5, n_scored=900, repeat_std=None))
    rows = long_table(paper_table(Scores(cells), facts=facts))
    assert {len(row) for row in rows} == {len(HEADER)}
    assert rows[1][HEADER.index("Tracks")] == "900 of 930"
    assert rows[1][HEADER.index("Std splits")] == ""


def test_parameters_that_differ_between_folds_are_counted() -> None:
    text = in_words([Params(n_hidden=50), Params(), Params()])
    assert text.index("hidden 100") < text.index("hidden 50")
    assert text.endswith("batch 32 (1x)")


def test_a_sweep_whose_order_depended_on_time_is_a_caution(make_cell: MakeCell) -> None:
    (sentence,) = cautions(Scores((make_cell(is_reproducible=False), make_cell(task="sad"))))
    assert sentence.startswith("Not reproducible: gtzan.")
    assert not cautions(Scores((make_cell(),)))


def test_the_terminal_shows_every_cell_with_its_interval_and_the_paper(
    make_cell: MakeCell, facts: Facts
) -> None:
    cells = (make_cell(), make_cell(model="my-model", five_fold=0.5))
    line = ("gtzan", "pooled, stratified")
    rows = terminal_table(Scores(cells), facts=facts)
    assert rows == [
        (*line, "msd-musicnn-1", "87.5 *", "[85.0, 90.0]", "86 (+1.5)", "", ""),
        ("", "", "my-model", "50.0", "[85.0, 90.0]", "", "", ""),
    ]
    assert {len(row) for row in rows} == {len(TERMINAL_HEADER)}
