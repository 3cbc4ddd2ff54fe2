"""The page of a report in a real browser: sorts, shows its plots, fits a phone, reads at night."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable

import pytest
from playwright.sync_api import Locator, Page

from embedlib.probes.records import Split
from embedlib.probes.score_records import Cell, Comparison, Control, Interval, Ranks, Scores
from embedlib.report.facts import shipped_facts
from embedlib.report.write import write_report

OpenPage = Callable[..., Page]
AssertReadable = Callable[..., None]

ALERT = "<script>document.title = 'taken'</script>"
TASKS = ("dortmund", "gtzan", "sad", "gender")
MODELS = ("msd-musicnn-1", "openl3-music-mel128-emb512-3", "msd-vgg-1")
FIVE_FOLD = {"dortmund": 0.61, "gtzan": 0.9, "sad": 1.0, "gender": 0.087}
EXTERNAL = {"dortmund": 0.4, "sad": 0.07, "gender": 0.12}  # none for gtzan
PHONE_PX = 390
BOXES = "elements => elements.map(element => element.getBoundingClientRect().toJSON())"


@pytest.fixture(scope="module")
def report(make_cell: Callable[..., Cell], tmp_path_factory: pytest.TempPathFactory) -> str:
    """A page with everything on it, and a script in the name of a class, a task and a note."""
    folder = tmp_path_factory.mktemp("report")
    cells = tuple(_cell(make_cell, task, model) for task in TASKS for model in MODELS)
    split = Split.STRATIFIED
    scores = Scores(
        (*cells, make_cell(task=ALERT, model=MODELS[0], classes=(ALERT, "b"), five_fold=0.5)),
        (Comparison("gtzan", "pooled", split, *sorted(MODELS[:2]), 0.1, 0.3, 0.9),),
        (Ranks("pooled", split, MODELS, (1.2, 1.8, 3.0), 4, 0.01, 1.1),),
        (Control("sad", MODELS[0], "pooled", split, 0.5, 0.8, Interval(0.4, 0.6), 20, True),),
        (f"{ALERT} is a note",),
    )
    return write_report(scores, folder, facts=shipped_facts())[0]


def _cell(make_cell: Callable[..., Cell], task: str, model: str) -> Cell:
    external = EXTERNAL.get(task)
    return make_cell(
        task=task,
        model=model,
        five_fold=FIVE_FOLD[task] - 0.01 * MODELS.index(model),
        external=external,
        external_interval=Interval(0.0, 0.5) if external else None,
        external_confusion=((1, 2), (3, 4)) if external else None,
        classes=tuple(f"class number {n}" for n in range(9)),
        confusion=tuple(tuple(10 * (i == j) + 1 for i in range(9)) for j in range(9)),
    )


def tasks_of(page: Page) -> list[str]:
    return page.locator("table.paper tbody th a").all_inner_texts()


def sorter(page: Page, name: str) -> Locator:
    return page.get_by_role("button", name=f"Sort by {name}", exact=True)


@pytest.mark.slow
def test_a_browser_is_here() -> None:
    assert shutil.which("chromium") or shutil.which("chromium-browser"), (
        "the other tests of this folder skip without chromium"
    )


def test_a_click_sorts_by_number_best_first_then_worst_first_then_as_the_paper(
    open_page: OpenPage, report: str
) -> None:
    page = open_page(report)
    before = tasks_of(page)
    assert before == ["dortmund", "gtzan", "sad", "gender", ALERT]
    button = sorter(page, "5F of msd-musicnn-1")
    button.click()
    assert tasks_of(page) == ["sad", "gtzan", "dortmund", ALERT, "gender"]
    button.click()
    assert tasks_of(page) == ["gender", ALERT, "dortmund", "gtzan", "sad"]
    button.click()
    assert tasks_of(page) == before


def test_rows_without_a_number_come_last_both_ways(open_page: OpenPage, report: str) -> None:
    page = open_page(report)
    button = sorter(page, "JD of msd-vgg-1")
    button.click()
    assert tasks_of(page) == ["dortmund", "gender", "sad", "gtzan", ALERT]
    button.click()
    assert tasks_of(page) == ["sad", "gender", "dortmund", "gtzan", ALERT]


def test_the_keyboard_sorts_and_the_title_tells_the_direction(
    open_page: OpenPage, report: str
) -> None:
    page = open_page(report)
    sorter(page, "Tracks").first.focus()
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Enter")
    header = page.locator("table.paper th[aria-sort]")
    assert header.get_attribute("aria-sort") == "ascending"
    assert header.inner_text().startswith("Task")
    assert tasks_of(page) == sorted(tasks_of(page))
    page.keyboard.press("Space")
    assert header.get_attribute("aria-sort") == "descending"


def test_sorting_by_another_column_moves_the_mark(open_page: OpenPage, report: str) -> None:
    page = open_page(report)
    for name in ("5F of msd-musicnn-1", "5F of msd-vgg-1"):
        sorter(page, name).click()
    assert page.locator("table.paper th[aria-sort]").count() == 1


def test_other_tables_sort_too_and_intervals_by_their_lower_end(
    open_page: OpenPage, report: str
) -> None:
    page = open_page(report)
    table = page.get_by_role("region", name="All numbers")
    table.get_by_role("button", name="Sort by JD interval").click()
    assert table.locator("tbody tr").count() == 13
    assert table.locator("tbody tr").first.locator("td").nth(9).inner_text() == "[0.0, 50.0]"
    assert table.locator("tbody tr").last.locator("td").nth(9).inner_text() == ""


@pytest.mark.parametrize("width", [1280, PHONE_PX])
def test_every_plot_is_visible_and_fits_the_window(
    open_page: OpenPage, report: str, width: int
) -> None:
    page = open_page(report, width=width)
    boxes = page.locator("figure svg").evaluate_all(BOXES)
    assert len(boxes) == 1 + 13 + 9 + 13  # ranks, matrices of 5F and JD, curves
    for box in boxes:
        assert box["width"] > 50
        assert box["height"] > 40
        assert 0 <= box["left"] < box["right"] <= width


def test_labels_of_a_matrix_stay_inside_its_plot(open_page: OpenPage, report: str) -> None:
    page = open_page(report)
    plot = page.locator("figure svg").nth(2)
    frame = plot.bounding_box()
    assert frame is not None
    boxes = plot.locator("text").evaluate_all(BOXES)
    assert len(boxes) == 2 * 9 + 81
    for box in boxes:
        assert box["left"] >= frame["x"] - 1
        assert box["bottom"] <= frame["y"] + frame["height"] + 1


@pytest.mark.parametrize("width", [320, PHONE_PX, 1280])
def test_the_page_does_not_scroll_sideways(open_page: OpenPage, report: str, width: int) -> None:
    page = open_page(report, width=width)
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_on_a_phone_a_table_scrolls_and_its_first_column_stays(
    open_page: OpenPage, report: str
) -> None:
    page = open_page(report, width=PHONE_PX)
    scroller = page.get_by_role("region", name="The table of the paper")
    task = scroller.locator("tbody th").first
    before = task.bounding_box()
    scroller.evaluate("element => { element.scrollLeft = 300; }")
    assert scroller.evaluate("element => element.scrollLeft") == 300
    assert task.bounding_box() == before


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_is_readable_by_day_and_by_night(
    open_page: OpenPage, assert_readable: AssertReadable, report: str, scheme: str
) -> None:
    page = open_page(report, scheme=scheme)
    kinds = "h1, h3, p, small, summary, figcaption, td, thead th button, a, .cautions strong"
    assert_readable(page, kinds, at_least=100)


def test_the_night_is_dark_and_plots_stay_on_light_ground(open_page: OpenPage, report: str) -> None:
    page = open_page(report, scheme="dark")

    def ground(selector: str) -> int:
        colour = page.locator(selector).first.evaluate("e => getComputedStyle(e).backgroundColor")
        return sum(int(part) for part in re.findall(r"\d+", colour)[:3])

    assert ground("body") < 3 * 40
    assert ground("figure") > 3 * 230


def test_a_script_in_a_name_is_shown_and_does_not_run(open_page: OpenPage, report: str) -> None:
    page = open_page(report)
    assert page.title() == "Probes of embeddings"
    assert page.get_by_text(f"{ALERT} is a note").is_visible()
    assert page.locator("table.paper tbody th a", has_text=ALERT).is_visible()


def test_a_failed_control_is_the_first_thing_to_see(open_page: OpenPage, report: str) -> None:
    page = open_page(report, width=PHONE_PX)
    warning = page.get_by_text("Control failed: msd-musicnn-1 on sad").bounding_box()
    table = page.locator("table.paper").bounding_box()
    assert warning is not None
    assert table is not None
    assert warning["y"] < min(table["y"], 844)


def test_a_task_leads_to_its_plots(open_page: OpenPage, report: str) -> None:
    page = open_page(report)
    page.locator("table.paper tbody th a", has_text="sad").first.click()
    box = page.locator("details.task", has_text="sad").first.bounding_box()
    assert box is not None
    assert abs(box["y"]) < 100
