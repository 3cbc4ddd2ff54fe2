"""Pages full of hostile names in a real browser: all are text, and the policy is a second wall."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser, Page

from embedlib.probes.records import Split
from embedlib.probes.score_records import Cell, Comparison, Ranks, Scores
from embedlib.report.drift_durations import compare_durations
from embedlib.report.drift_page import write_drift_page
from embedlib.report.drift_records import (
    Counts,
    Drift,
    Groups,
    ModelDrift,
    Shift,
    Side,
    StatusCount,
)
from embedlib.report.explore import write_chart
from embedlib.report.explore_chart import make_chart
from embedlib.report.explore_facts import Fact, audio_url
from embedlib.report.explore_options import LayoutName
from embedlib.report.explore_source import Population
from embedlib.report.facts import Facts
from embedlib.report.write import write_report

OpenPage = Callable[..., Page]

ROOT = Path(__file__).parents[2]
HOSTILE = (
    "<script>window.taken = 1</script>",
    '"><img src=x onerror="window.taken = 1">',
    "</script><script>window.taken = 1</script>",
    "javascript:window.taken=1",
    "\u2028window.taken = 1//",
)
NAME = " ".join(HOSTILE)
PAGES = ("report", "drift", "explore", "bench")

SMUGGLED = (
    "<script>window.taken = 1</script>"
    '<img src="data:," onerror="window.taken = 1">'
    '<iframe srcdoc="<script>parent.taken = 1</script>"></iframe>'
    '<script src="http://127.0.0.1:9/a.js"></script><img src="http://127.0.0.1:9/a.png">'
    '<p id="smuggled" style="position: fixed">a</p><style>#smuggled { color: #010203 }</style>'
    '<a id="lure" href="javascript:window.taken=1">b</a>'
)
"""What the pages would hold if a name had not been escaped."""


def write_scores(folder: Path, make_cell: Callable[..., Cell]) -> Path:
    cell = make_cell(task=NAME, model=NAME, classes=(NAME, "b"), fingerprint=NAME)
    split = Split.STRATIFIED
    scores = Scores(
        (cell,),
        (Comparison(NAME, "pooled", split, NAME, "b", 0.1, 0.3, 0.9),),
        (Ranks("pooled", split, (NAME, "b"), (1.2, 1.8), 4, 0.01, 1.1),),
        (),
        (NAME,),
    )
    return Path(write_report(scores, folder, facts=Facts())[0])


def write_drift(folder: Path) -> Path:
    seconds = np.linspace(1, 300, 50)
    model = ModelDrift(
        NAME,
        Counts(9, 9, 0, 0, 0),
        (StatusCount(NAME, 1, 2),),
        compare_durations(seconds, seconds),
        Shift(9, 9, 0, 0, None, None, None, None, None),
        Groups(1, 1, 1, 1, 1, ((NAME, "b"),), (2,), 9, 9),
    )
    drift = Drift(Side(NAME), Side(NAME), Counts(9, 9, 0, 0, 0), (model,), (NAME,))
    write_drift_page(drift, folder / "drift.html")
    return folder / "drift.html"


def write_map(folder: Path) -> Path:
    rng = np.random.default_rng(440)
    names = (*HOSTILE, NAME)
    population = Population(
        NAME,
        1,
        names,
        rng.standard_normal((len(names), 4), dtype=np.float32),
        (Fact(NAME, names[::-1]), Fact("uri", names), Fact("error", names)),
        tuple(map(audio_url, names)),
    )
    write_chart(make_chart(population, layout=LayoutName.PCA, n_neighbours=2), folder)
    return folder / "index.html"


def write_measurements(folder: Path) -> Path:
    result = {
        "benchmark": NAME,
        "measured_at": NAME,
        "machine": {"cpu": NAME, "flags": [NAME], "n_cores": 2, "memory_gib": 16.0},
        "load_average": 0.25,
        "versions": {NAME: NAME},
        "config": {NAME: NAME},
        "figures": {},
        "tables": [{"title": NAME, "columns": [NAME, "s"], "rows": [[NAME, "1"]], "notes": [NAME]}],
        "bars": [
            {
                "title": NAME,
                "unit": NAME,
                "series": [{"label": NAME, "parts": [[NAME, 1.0]], "limit": 2.0}],
            }
        ],
        "broken_floors": [NAME],
    }
    (folder / "a.json").write_text(json.dumps(result))
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "jobs"))
        return Path(importlib.import_module("bench_page").write_page(folder))


@pytest.fixture(scope="module")
def pages(
    make_cell: Callable[..., Cell], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    """Each page, with every hostile text wherever the data may have a name."""
    folders = {name: tmp_path_factory.mktemp(name) for name in PAGES}
    return {
        "report": write_scores(folders["report"], make_cell),
        "drift": write_drift(folders["drift"]),
        "explore": write_map(folders["explore"]),
        "bench": write_measurements(folders["bench"]),
    }


@pytest.mark.parametrize("name", PAGES)
def test_hostile_names_are_text_and_the_page_has_no_complaint(
    open_page: OpenPage, pages: dict[str, Path], name: str
) -> None:
    page = open_page(str(pages[name]))
    page.wait_for_load_state("networkidle")
    shown = page.locator("body").inner_text()
    assert all(text.strip() in shown for text in HOSTILE)
    assert page.evaluate("window.taken === undefined")
    assert page.locator("img, iframe, a[href^='javascript:']").count() == 0


def test_a_hostile_track_that_is_picked_is_text_in_all_its_facts(
    open_page: OpenPage, pages: dict[str, Path]
) -> None:
    page = open_page(str(pages["explore"]))
    page.locator("#note").wait_for(state="hidden")
    page.locator("#query").fill("taken")
    for index, text in enumerate(HOSTILE):
        page.locator("#found button").nth(index).click()
        page.wait_for_function("text => title.textContent === text", arg=text)
        assert page.locator("#facts-of-track dd").last.text_content() == text
    assert page.evaluate("window.taken === undefined")


@pytest.mark.parametrize("name", PAGES)
def test_markup_that_gets_through_all_the_same_runs_nothing_and_asks_for_nothing(
    browser: Browser, pages: dict[str, Path], name: str, tmp_path: Path
) -> None:
    text = pages[name].read_text()
    before, tag, after = text.partition("<main>")
    pages[name].with_name("smuggled.html").write_text(f"{before}{tag}{SMUGGLED}{after}")
    page = browser.new_page()
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.goto(pages[name].with_name("smuggled.html").as_uri())
    page.locator("#lure").dispatch_event("click")
    style = page.locator("#smuggled").evaluate(
        "e => [getComputedStyle(e).position, getComputedStyle(e).color]"
    )
    assert page.evaluate("window.taken === undefined")
    assert style[0] == "static"
    assert style[1] != "rgb(1, 2, 3)"
    assert sum("Content Security Policy" in text for text in complaints) >= 6
    page.close()
