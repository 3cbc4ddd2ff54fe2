"""The page of a drift report in a real browser: sorts, fits a phone, reads at night."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Page

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
    Verdict,
)

OpenPage = Callable[..., Page]
AssertReadable = Callable[..., None]

ALERT = "<script>document.title = 'taken'</script>"
MODELS = ("msd-musicnn-1", "openl3-music-mel128-emb512-3", "audioset-vggish-3")
VERDICTS = (Verdict.DRIFT, Verdict.SLIGHT, Verdict.CHANCE)
PHONE_PX = 390
BOXES = "elements => elements.map(element => element.getBoundingClientRect().toJSON())"


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A page with everything on it, and a script in the name of a model, a track and a folder."""
    rng = np.random.default_rng(440)
    before_s, after_s = rng.lognormal(5, 0.4, 2000), rng.lognormal(4.6, 0.7, 2400)
    durations = compare_durations(before_s, after_s)
    models = tuple(
        ModelDrift(
            name,
            Counts(2012, 2417, 505 + place, 100, 12),
            (StatusCount("missing", 3, 9), StatusCount("too_long", 9, 8)),
            durations,
            Shift(2000, 2400, 112, 512, 0.99 - place / 100, 0.3 / 3**place, 0.05, 0.002, verdict),
            Groups(4, 6, 9, 15, 2, ((ALERT, "b"), ("c", "d")), (2, 2), 2512, 2512),
        )
        for place, (name, verdict) in enumerate(
            zip((*MODELS, ALERT), (*VERDICTS, None), strict=True)
        )
    )
    drift = Drift(
        Side(f"/archive/{'catalogue-' * 9}{ALERT}@3", "2026-11-01T02:00:00.000001Z"),
        Side("/archive/out@7", "2026-11-02T02:00:00.000001Z"),
        Counts(2012, 2417, 505, 100, 12),
        models,
        (f"{ALERT} is a note",),
    )
    path = tmp_path_factory.mktemp("drift") / "drift.html"
    write_drift_page(drift, path)
    return str(path)


def first_column(page: Page, table: str) -> list[str]:
    return page.get_by_role("region", name=table, exact=True).locator("tbody th").all_inner_texts()


def test_a_click_sorts_a_table_by_number_and_the_next_one_turns_it(
    open_page: OpenPage, report: str
) -> None:
    page = open_page(report)
    table = page.get_by_role("region", name="Tracks", exact=True)
    before = first_column(page, "Tracks")
    assert before == ["catalogue", *MODELS, ALERT]
    button = table.get_by_role("button", name="Sort by New")
    button.click()
    assert first_column(page, "Tracks")[0] == ALERT  # 508 are new
    button.click()
    assert first_column(page, "Tracks")[-1] == ALERT
    button.click()
    assert first_column(page, "Tracks") == before


def test_models_sort_by_their_shift(open_page: OpenPage, report: str) -> None:
    page = open_page(report)
    table = page.get_by_role("region", name="Embeddings", exact=True)
    table.get_by_role("button", name="Sort by Shift").click()
    shifts = table.locator("tbody tr td:nth-child(7)").all_inner_texts()
    assert shifts == ["0.300", "0.100", "0.033", "0.011"]


def test_a_drift_is_the_first_thing_to_see(open_page: OpenPage, report: str) -> None:
    page = open_page(report, width=PHONE_PX)
    warning = page.get_by_text("The embeddings of msd-musicnn-1 have drifted").bounding_box()
    assert warning is not None
    assert warning["y"] < 500
    assert page.locator(".cautions p").count() == 1


@pytest.mark.parametrize("width", [320, PHONE_PX, 1280])
def test_the_page_does_not_scroll_sideways(open_page: OpenPage, report: str, width: int) -> None:
    page = open_page(report, width=width)
    assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("width", [PHONE_PX, 1280])
def test_the_plot_of_durations_fits_the_window_and_its_labels_fit_the_plot(
    open_page: OpenPage, report: str, width: int
) -> None:
    page = open_page(report, width=width)
    (plot,) = page.locator("figure svg").evaluate_all(BOXES)
    assert plot["width"] > 200
    assert 0 <= plot["left"] < plot["right"] <= width
    labels = page.locator("figure svg text").evaluate_all(BOXES)
    assert len(labels) > 6
    for label in labels:
        assert plot["left"] - 1 <= label["left"] < label["right"] <= plot["right"] + 1
        assert label["bottom"] <= plot["bottom"] + 1


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_is_readable_by_day_and_by_night(
    open_page: OpenPage, assert_readable: AssertReadable, report: str, scheme: str
) -> None:
    page = open_page(report, scheme=scheme)
    kinds = "h1, h3, p, dt, dd, li, figcaption, td, tbody th, thead th button, .cautions strong"
    assert_readable(page, kinds, at_least=100)


def test_a_script_in_a_name_is_shown_and_does_not_run(open_page: OpenPage, report: str) -> None:
    page = open_page(report)
    assert page.title() == "Drift of a catalogue"
    assert page.get_by_text(f"{ALERT} is a note").is_visible()
    assert page.locator("tbody th", has_text=ALERT).first.is_visible()


def test_everything_is_on_the_page_without_any_other_file(open_page: OpenPage, report: str) -> None:
    page = open_page(report)
    assert [path.name for path in Path(report).parent.iterdir()] == ["drift.html"]
    assert page.locator("h2").all_inner_texts() == [
        "Notes",
        "Tracks",
        "Embeddings",
        "Failures",
        "Durations",
        "Near duplicates",
    ]
