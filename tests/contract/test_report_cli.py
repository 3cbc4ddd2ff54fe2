"""`embedlib report` over a table of probes: files, one object, one line for what is wrong."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from embedlib.cli.report import report
from embedlib.errors import ConfigError, OutputError
from embedlib.probes.commits import FitCommitter
from embedlib.probes.records import Fit, FitKey, Params, Role, Split
from embedlib.probes.table import save_cohort, write_fits
from embedlib.tasks.cohort import Cohort

FILES = ("index.html", "report.md", "report.tex", "report.csv")
MODELS = ("msd-musicnn-1", "audioset-vggish-3")
N_FOLDS = 5
COHORT = Cohort(
    "gtzan",
    ("<b>rock</b>", "a|b"),
    tuple(f"track-{number:03}" for number in range(100)),
    np.arange(100) // 50,
)

app = typer.Typer()
app.command()(report)


def fit(model: str, fold: int) -> Fit:
    """A probe that is wrong on the first track of a class it tests, and on no other."""
    key = FitKey(Role.CV, "gtzan", model, "pooled", Split.STRATIFIED, Params(), N_FOLDS, fold=fold)
    index = np.arange(fold, 100, N_FOLDS)
    truth = COHORT.y[index]
    predicted = np.where(index == fold, 1 - truth, truth)
    cohort_id = COHORT.cohort_id
    return Fit(
        f"{model}-{fold}", model, key, cohort_id, cohort_id, "emb", "emb", "print", 4, "sync:9",
        key.seed, 60, 20, index, truth, predicted, 3, 2, 0, True, 0.5,
        (0.9, 0.7, 0.6), (0.8, 0.7, 0.75), 0.1,
    )  # fmt: skip


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An output with the probes of two models on one task, all alike."""
    folder = tmp_path_factory.mktemp("out")
    save_cohort(folder, COHORT)
    fits = [fit(model, fold) for model in MODELS for fold in range(N_FOLDS)]
    FitCommitter(folder).commit([write_fits(folder, fits)])
    return folder


def printed(*arguments: object) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception is not None:
        raise result.exception
    return result.stdout


def test_the_report_lies_in_the_output_and_its_table_is_printed(out: Path) -> None:
    lines = printed(out).splitlines()
    assert [Path(line) for line in lines[-4:]] == [out / "report" / name for name in FILES]
    shown = [line.split() for line in lines if "95.0 *" in line]
    assert [words[-2:] for words in shown] == [["86", "(+9.0)"], ["84", "(+11.0)"]]
    for name in FILES:
        assert "95.0" in (out / "report" / name).read_text()


def test_columns_that_no_cell_fills_are_not_printed(out: Path) -> None:
    (header,) = [line.split() for line in printed(out).splitlines() if line.startswith("task ")]
    assert header == ["task", "protocol", "model", "5F", "95", "%", "paper"]


def test_the_page_names_the_output_the_day_and_the_version(out: Path) -> None:
    printed(out)
    page = (out / "report" / "index.html").read_text()
    assert re.search(rf"Of {out}, written \d{{4}}-\d\d-\d\d, embedlib \d", page)


def test_json_is_one_object_with_every_number(out: Path, tmp_path: Path) -> None:
    found = json.loads(printed(out, "--to", tmp_path / "there", "--json"))
    assert found["files"] == [str(tmp_path / "there" / name) for name in FILES]
    assert [cell["model"] for cell in found["cells"]] == list(MODELS)
    assert [cell["five_fold_pct"] for cell in found["cells"]] == [95.0, 95.0]
    assert found["cells"][0]["paper_five_fold_pct"] == 86
    assert found["cells"][0]["confusion"] == [[45, 5], [0, 50]]
    assert found["comparisons"][0]["p_holm"] == 1.0


def test_a_report_changes_nothing_but_its_folder(out: Path, tmp_path: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in (out / "probes").rglob("*")}
    printed(out, "--to", tmp_path)
    assert {path: path.stat().st_mtime_ns for path in (out / "probes").rglob("*")} == before


def test_an_output_without_probes_is_one_error(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="no scored probes; run embedlib probe sweep first"):
        printed(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_protocol_is_one_error(out: Path) -> None:
    with pytest.raises(ConfigError, match="no probes of protocol 'paper'; choose pooled"):
        printed(out, "--protocol", "paper")
