"""The page: one file, no request, no script but its own, names as text."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from embedlib.catalog.stores import StorePath
from embedlib.errors import ConfigError, OutputError
from embedlib.probes.records import Split
from embedlib.probes.score_records import Cell, Comparison, Control, Interval, Ranks, Scores
from embedlib.report.facts import Facts
from embedlib.report.page import page_text
from embedlib.report.paper_table import paper_table
from embedlib.report.write import report_folder, selected, write_report
from embedlib.tasks.task import Task

MakeCell = Callable[..., Cell]
AssertSealed = Callable[[str], None]
ALERT = "<script>alert(1)</script>"


def page(scores: Scores, facts: Facts | None = None) -> str:
    facts = facts or Facts()
    return page_text(paper_table(scores, facts=facts), scores, facts=facts)


@pytest.fixture
def hostile(make_cell: MakeCell) -> Scores:
    """Scores with a script in every name."""
    cell = make_cell(
        task=ALERT,
        model=ALERT,
        classes=(ALERT, "$x$"),
        fingerprint=ALERT,
        protocol=ALERT,
        external=0.5,
        external_interval=Interval(0.4, 0.6),
        external_confusion=((1, 2), (3, 4)),
    )
    split = Split.STRATIFIED
    return Scores(
        (cell,),
        (Comparison(ALERT, ALERT, split, ALERT, ALERT, 0.1, 0.01, 0.04),),
        (Ranks(ALERT, split, (ALERT, "b"), (1.0, 2.0), 3, 0.01, 0.5),),
        (Control(ALERT, ALERT, ALERT, split, 0.5, 0.9, Interval(0.4, 0.6), 20, True),),
        (ALERT,),
    )


def test_no_name_becomes_an_element(hostile: Scores) -> None:
    known = Task(
        name="t", group=ALERT, classes=["a", "b"], source=ALERT, citation=ALERT
    ).model_copy(update={"name": ALERT})
    text = page(hostile, Facts(tasks={ALERT: known}))
    assert text.count("<script>") == 1
    assert ALERT not in text
    assert text.count("&lt;script&gt;alert(1)&lt;/script&gt;") > 20


def test_the_policy_names_the_one_script_and_nothing_outside_is_asked_for(
    assert_sealed: AssertSealed, hostile: Scores
) -> None:
    assert_sealed(page(hostile))


def test_ids_are_unique_and_links_lead_to_them(
    make_cell: MakeCell, elements_of: Callable[[str], Any]
) -> None:
    cells = (make_cell(), make_cell(task="sad"), make_cell(task="sad", protocol="paper"))
    tags = elements_of(page(Scores(cells))).tags
    ids = [attributes["id"] for _, attributes in tags if "id" in attributes]
    links = {attributes["href"] for tag, attributes in tags if tag == "a"}
    assert len(ids) == len(set(ids))
    assert links == {"#task-0", "#task-1"}
    assert {str(link).removeprefix("#") for link in links} <= set(ids)


def test_one_cell_alone_makes_a_page_without_what_needs_more(make_cell: MakeCell) -> None:
    text = page(Scores((make_cell(),)))
    assert "<h2>Ranks</h2>" not in text
    assert "<h2>Pairs of models</h2>" not in text
    assert "<h2>Controls</h2>" not in text
    assert "Sort by JD of" not in text
    assert text.count("<svg ") == 2  # its matrix and its curves


def test_every_model_of_a_task_has_its_plots(make_cell: MakeCell) -> None:
    external = {"external": 0.5, "external_confusion": ((1, 2), (3, 4))}
    cells = tuple(make_cell(model=name, **external) for name in "abc")
    assert page(Scores(cells)).count("<svg ") == 9


def test_a_score_that_cannot_be_made_again_is_marked_in_its_cell(make_cell: MakeCell) -> None:
    text = page(Scores((make_cell(is_reproducible=False), make_cell(model="b"))))
    assert text.count('<small class="off">not reproducible</small>') == 1


def test_a_score_on_other_labels_stands_with_its_own_size_and_without_marks(
    make_cell: MakeCell,
) -> None:
    apart = make_cell(model="b", five_fold=0.99, n_tracks=12, has_other_labels=True)
    text = page(Scores((make_cell(), apart)))
    assert text.count('<small class="off">other labels, n = 12</small>') == 1
    assert text.count('class="metric best leading"') == 1
    assert text.count('class="metric apart leading"') == 1


def test_an_untrained_model_is_called_the_floor_below_the_table(make_cell: MakeCell) -> None:
    said = "untrained-b: random weights. A random network keeps timbre and loudness"
    assert said in page(Scores((make_cell(), make_cell(model="untrained-b"))))
    assert "random weights" not in page(Scores((make_cell(),)))


def test_chance_and_shuffled_labels_stand_below_the_name_of_a_task(make_cell: MakeCell) -> None:
    band = Interval(0.4, 0.6)
    control = Control("gtzan", "a", "pooled", Split.STRATIFIED, 0.5, 0.512, band, 20, False)
    scores = Scores((make_cell(), make_cell(task="sad")), controls=(control,))
    text = page(scores)
    assert "<small>chance 50.0, shuffled 51.2</small>" in text
    assert "<small>chance 50.0</small>" in text


def test_nothing_is_said_of_the_paper_or_of_jd_where_no_cell_has_them(make_cell: MakeCell) -> None:
    text = page(Scores((make_cell(),)))
    assert not [word for word in ("JD", "Alonso", "Paper 5F") if word in text]
    assert "JD" in page(Scores((make_cell(external=0.5),)))


def test_the_page_says_what_it_is_made_from_and_of_how_many_tracks(make_cell: MakeCell) -> None:
    scores = Scores((make_cell(),))
    text = page_text(
        paper_table(scores, facts=Facts()), scores, facts=Facts(), origin="Of <out>, today"
    )
    assert "Of &lt;out&gt;, today" in text
    assert "Tracks per class: rock 465, jazz 465." in text


def test_equal_scores_give_equal_bytes(make_cell: MakeCell, tmp_path: Path) -> None:
    scores = Scores((make_cell(), make_cell(task="sad")))
    first, second = (
        [Path(path).read_bytes() for path in write_report(scores, tmp_path / name, facts=Facts())]
        for name in ("a", "b")
    )
    assert first == second
    assert len(first) == 4


def test_a_report_is_written_over_the_one_before(make_cell: MakeCell, tmp_path: Path) -> None:
    write_report(Scores((make_cell(task="before"),)), tmp_path, facts=Facts())
    for path in write_report(Scores((make_cell(task="after"),)), tmp_path, facts=Facts()):
        text = Path(path).read_text()
        assert "after" in text
        assert "before" not in text
    assert len(list(tmp_path.iterdir())) == 4


def test_a_name_that_is_no_utf_8_does_not_end_a_report(make_cell: MakeCell, tmp_path: Path) -> None:
    scores = Scores((make_cell(classes=("a\udcff", "b")),), notes=("b\udcff",))
    page_path, *_ = write_report(scores, tmp_path, facts=Facts())
    assert "b?" in Path(page_path).read_text()


def test_a_file_in_the_place_of_the_folder_is_one_line(make_cell: MakeCell, tmp_path: Path) -> None:
    (tmp_path / "report").write_text("mine")
    with pytest.raises(OutputError, match="it is a file"):
        write_report(Scores((make_cell(),)), tmp_path / "report", facts=Facts())


def test_an_output_without_probes_is_one_line_with_the_way_out() -> None:
    with pytest.raises(OutputError, match=r"out has no scored probes; run embedlib probe sweep"):
        selected(Scores(), out="out")


def test_an_output_with_half_a_sweep_says_what_is_missing() -> None:
    with pytest.raises(OutputError, match="gtzan: fold 3 is missing"):
        selected(Scores(notes=("gtzan: fold 3 is missing",)), out="out")


def test_a_protocol_that_was_not_run_is_one_line_with_those_that_were(make_cell: MakeCell) -> None:
    with pytest.raises(ConfigError, match="'papers'; choose pooled"):
        selected(Scores((make_cell(),)), out="out", protocol="papers")


def test_one_protocol_can_be_shown_alone(make_cell: MakeCell) -> None:
    def scores(*protocols: str) -> Scores:
        split = Split.STRATIFIED
        return Scores(
            tuple(make_cell(protocol=p) for p in protocols),
            tuple(Comparison("t", p, split, "a", "b", 0.1, 0.1, 0.1) for p in protocols),
            tuple(Ranks(p, split, ("a", "b"), (1.0, 2.0), 3, 0.1, 0.5) for p in protocols),
            tuple(
                Control("t", "a", p, split, 0.5, 0.5, Interval(0.4, 0.6), 20, False)
                for p in protocols
            ),
        )

    assert selected(scores("paper", "pooled"), out="out", protocol="paper") == scores("paper")


def test_the_report_of_a_store_lies_in_the_working_folder() -> None:
    assert report_folder("s3://bucket/out") == Path("report")
    assert report_folder("out") == Path("out/report")
    assert not isinstance(report_folder("s3://bucket/out"), StorePath)
