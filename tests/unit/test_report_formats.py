"""Markdown, LaTeX and CSV: what they say, and that names from data stay names."""

from __future__ import annotations

import csv
import io
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from embedlib.probes.records import Split
from embedlib.probes.score_records import Cell, Control, Interval, Ranks, Scores
from embedlib.report.csv_table import csv_text, defused
from embedlib.report.facts import Facts
from embedlib.report.latex import escaped as latex_escaped
from embedlib.report.latex import latex_text
from embedlib.report.long_form import long_form
from embedlib.report.markdown import escaped as markdown_escaped
from embedlib.report.markdown import markdown_text
from embedlib.report.paper_table import PaperTable, paper_table
from embedlib.report.terminal import terminal_table
from embedlib.tasks.paper import PaperScore

MakeCell = Callable[..., Cell]

HOSTILE = (
    "<script>alert(1)</script>",
    "a|b",
    "=cmd|' /C calc'!A0",
    r"\input{/etc/passwd} 100% #1 $x_1^2$ ~ {}",
    "two\nlines\tand a tab",
    "[link](http://evil.example)",
    "*bold* _em_ `code`",
    "ÄÖÜ Dvořák Łódź ñ ß ï",
    "中文 🎵 \x00 \ud800",
    "\"quotes\" 'single' -- dash",
)
"""Names of classes and models as nobody should give them."""

SYMBOLS = (
    "textbackslash",
    "textasciicircum",
    "textasciitilde",
    "textless",
    "textgreater",
    "textbar",
    "textquotesingle",
    "textasciigrave",
)

FACTS = Facts(
    paper={("gtzan", "msd-musicnn-1"): PaperScore("gtzan", "msd-musicnn-1", 86, 54, 32)},
    models=("msd-musicnn-1",),
)


def tabled(scores: Scores) -> PaperTable:
    return paper_table(scores, facts=FACTS)


@pytest.fixture
def full(make_cell: MakeCell) -> Scores:
    """Two models with everything that a report can show, names hostile."""
    external = {
        "external": 0.5,
        "external_interval": Interval(0.4, 0.6),
        "drop": 0.375,
        "drop_interval": Interval(0.3, 0.45),
    }
    cells = (
        make_cell(**external, is_reproducible=False),
        *(make_cell(model=name, five_fold=0.5) for name in HOSTILE),
    )
    models = tuple(cell.model for cell in cells)
    return Scores(
        cells,
        ranks=(
            Ranks(
                "pooled",
                Split.STRATIFIED,
                models,
                tuple(float(rank) for rank in range(1, len(models) + 1)),
                3,
                0.0001,
                2.5,
            ),
        ),
        controls=tuple(
            Control("gtzan", n, "pooled", Split.STRATIFIED, 0.5, 0.8, Interval(0.4, 0.6), 20, True)
            for n in models
        ),
        notes=HOSTILE,
    )


def test_every_format_says_that_intervals_do_not_cover_the_training_draw(full: Scores) -> None:
    for text in (markdown_text(tabled(full), full), latex_text(tabled(full), full)):
        assert "Intervals do not cover what another draw of training tracks would change" in text


def test_every_format_warns_of_leaks_and_of_what_is_not_reproducible(full: Scores) -> None:
    for text in (markdown_text(tabled(full), full), latex_text(tabled(full), full)):
        assert "Control failed: msd-musicnn-1 on gtzan" in text
        assert "Not reproducible: gtzan" in text


def test_markdown_shows_the_result_its_interval_and_the_paper(full: Scores) -> None:
    (line,) = [
        line
        for line in markdown_text(tabled(full), full).splitlines()
        if line.startswith("| gtzan | pooled, stratified | 930 tracks |")
    ]
    assert (
        "| **87.5** [85.0, 90.0]<br>JD **50.0** [40.0, 60.0]<br>AD 37.5 [30.0, 45.0]"
        "<br>paper 86 (+1.5) |"
    ) in line


def test_no_name_adds_a_cell_or_a_line_to_a_markdown_table(full: Scores) -> None:
    text = markdown_text(tabled(full), full)
    tables = re.findall(r"(?:^\|.*\|\n)+", text, flags=re.MULTILINE)
    assert len(tables) == 4  # the paper's, all numbers, ranks, controls
    for table in tables:
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}) == 1


@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_is_no_markup_in_markdown(name: str) -> None:
    text = markdown_escaped(name)
    assert "\n" not in text
    assert not re.search(r"(?<!\\)[*`|\[$~]|<|>", text)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_is_no_command_in_latex(name: str) -> None:
    text = latex_escaped(name)
    commands = re.findall(r"\\[a-z]+", text)
    assert text.isascii()
    assert set(commands) <= {rf"\{name}" for name in (*SYMBOLS, "v", "l", "ss", "i")}
    assert not re.search(r"(?<!\\)[%#$&_^~]", re.sub(r"\\\^", "", text))


def test_a_number_that_is_missing_is_an_empty_cell_in_latex(make_cell: MakeCell) -> None:
    scores = Scores((make_cell(task="sad"), make_cell(task="gtzan", model="b", external=0.5)))
    text = latex_text(tabled(scores), scores)
    start = r"gtzan & pooled, stratified & 930 & 50.0"
    assert start + r" &  &  &  & \best 87.5 & \best 50.0 &  \\" in text


def test_without_external_scores_there_is_one_column_a_model(make_cell: MakeCell) -> None:
    scores = Scores((make_cell(), make_cell(model="b")))
    assert r"Task & Protocol & Tracks & Chance & 5F & 5F \\" in latex_text(tabled(scores), scores)
    assert "## 5F\n" in markdown_text(tabled(scores), scores)


def test_every_format_says_which_score_is_of_other_labels(make_cell: MakeCell) -> None:
    apart = make_cell(model="b", five_fold=0.99, n_tracks=12, has_other_labels=True)
    scores = Scores((make_cell(), apart))
    texts = (markdown_text(tabled(scores), scores), latex_text(tabled(scores), scores))
    for text in texts:
        assert "other labels, n = 12" in text
    assert "**87.5**" in texts[0]
    assert "**99.0**" not in texts[0]
    assert r"\apart 99.0" in texts[1]
    (row, _) = terminal_table(scores, facts=Facts())
    assert "99.0 (other labels, n = 12)" in row
    assert [record["standing"] for record in long_form(tabled(scores))] == ["best", "apart"]


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="needs pdflatex")
def test_the_latex_document_compiles(full: Scores, tmp_path: Path) -> None:
    (tmp_path / "report.tex").write_text(latex_text(tabled(full), full))
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "report.tex"]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout[-2000:]
    assert (tmp_path / "report.pdf").stat().st_size > 10_000


def test_csv_gives_back_names_and_numbers(full: Scores) -> None:
    rows = list(csv.DictReader(io.StringIO(csv_text(tabled(full)))))
    assert len(rows) == len(full.cells)
    first = rows[0]
    assert first["model"] == "msd-musicnn-1"
    assert float(first["five_fold_pct"]) == 87.5
    assert float(first["difference_to_paper_pct"]) == 1.5
    assert (float(first["drop_low_pct"]), float(first["drop_high_pct"])) == (30.0, 45.0)
    assert first["confusion"] == "[[400, 65], [50, 415]]"
    assert rows[1]["external_pct"] == ""


def test_no_text_of_a_csv_file_starts_like_a_formula(full: Scores) -> None:
    rows = list(csv.reader(io.StringIO(csv_text(tabled(full)))))
    texts = [value for row in rows for value in row if not re.fullmatch(r"-?[\d.e-]+", value)]
    assert not [text for text in texts if text.startswith(("=", "+", "-", "@", "\t", "\r"))]


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@sum", "\tx", "\rx"])
def test_a_formula_is_kept_behind_an_apostrophe(name: str) -> None:
    assert defused(name) == f"'{name}"


def test_a_negative_number_stays_a_number_in_csv(make_cell: MakeCell) -> None:
    (row,) = csv.DictReader(io.StringIO(csv_text(tabled(Scores((make_cell(drop=-0.07),))))))
    assert row["drop_pct"] == "-7.0"
