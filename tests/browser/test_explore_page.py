"""The page to explore in a real browser: shows, selects, plays, searches, moves, fits a phone."""

from __future__ import annotations

import shutil
import wave
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser, Page

from embedlib.records import Float32
from embedlib.report.explore import write_chart
from embedlib.report.explore_chart import Chart, make_chart
from embedlib.report.explore_colours import PALETTES
from embedlib.report.explore_facts import Fact, audio_url
from embedlib.report.explore_options import LayoutName
from embedlib.report.explore_source import Population

OpenPage = Callable[..., Page]
AssertReadable = Callable[..., None]

ALERT = "<img src=x onerror=\"document.title='taken'\"><script>document.title='taken'</script>"
PHONE_PX = 390
SLOWEST_FRAME_MS = 100
"""Far above what 20,000 points need (17 ms on two cores without GPU), for a machine at work."""

N_CROWD = 20_000

PIXEL = """([left, top]) => {
  const { width, data } = page.map.painter.image;
  const start = 4 * (Math.round(top) * width + Math.round(left));
  return [...data.slice(start, start + 3)];
}"""

DURATION = """async audio => {
  while (audio.readyState < HTMLMediaElement.HAVE_METADATA) {
    await new Promise(requestAnimationFrame);
  }
  return audio.duration;
}"""

FRAMES = """async frames => {
  const times = [];
  let last = await new Promise(requestAnimationFrame);
  for (let i = 0; i < frames; i++) {
    page.map.moveBy(i % 20 < 10 ? 9 : -9, 4);
    const now = await new Promise(requestAnimationFrame);
    times.push(now - last);
    last = now;
  }
  return times;
}"""


@pytest.fixture(scope="module")
def chart(tmp_path_factory: pytest.TempPathFactory) -> Chart:
    """Twelve tracks apart from each other: one can be heard, one cannot, one has a wild name."""
    sound = tmp_path_factory.mktemp("music") / "a #1.wav"
    with wave.open(str(sound), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(bytes(8000))
    angles = np.arange(12) * 0.5
    vectors = np.stack([np.cos(angles), np.sin(angles), 0.1 * np.sin(3 * angles)], axis=1)
    ids = (*(f"Song {letter}.wav" for letter in "ABCDEFGHIJ"), ALERT, "Zulu.wav")
    uris = (str(sound), "/nowhere/b.wav", "s3://bucket/c.wav", *(str(sound),) * 9)
    genres = ("rock",) * 6 + ("jazz",) * 4 + (ALERT,) * 2
    facts = (
        Fact("genre", genres),
        Fact("duration_s", tuple(1.23456 * n for n in range(12))),
        Fact("uri", uris),
        Fact("error", ("",) * 12),
    )
    audio = tuple(map(audio_url, uris))
    population = Population("tiny", 7, ids, vectors.astype(np.float32), facts, audio, 2)
    return make_chart(population, layout=LayoutName.PCA, n_neighbours=5)


@pytest.fixture(scope="module")
def written(chart: Chart, tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("explore")
    write_chart(chart, folder)
    return str(folder / "index.html")


@pytest.fixture
def open_map(open_page: OpenPage, written: str) -> OpenPage:
    def open_it(path: str = written, **options: object) -> Page:
        return ready(open_page(path, **options))

    return open_it


def ready(page: Page) -> Page:
    page.locator("#note").wait_for(state="hidden")
    return page


def place_of(page: Page, index: int) -> tuple[float, float]:
    left, top = page.evaluate("index => page.map.toWindow(index)", index)
    return left, top


def click_on(page: Page, index: int) -> None:
    left, top = place_of(page, index)
    page.locator("#map").click(position={"x": left, "y": top})


def wait_for_track(page: Page, name: str) -> None:
    page.locator("#track").get_by_role("heading", name=name, exact=True).wait_for()


def neighbours_of(page: Page) -> list[tuple[str, float]]:
    lines = page.locator("#neighbours button").all()
    texts = [line.locator("span").all_text_contents() for line in lines]
    return [(name, float(distance)) for name, distance in texts]


def brute_force(vectors: Float32, index: int, k: int) -> list[tuple[int, float]]:
    exact = vectors.astype(np.float64)
    cosines = exact @ exact[index] / np.linalg.norm(exact, axis=1) / np.linalg.norm(exact[index])
    order = [row for row in np.argsort(1 - cosines, kind="stable") if row != index]
    return [(int(row), float(1 - cosines[row])) for row in order[:k]]


def test_a_page_says_what_it_shows(open_map: OpenPage) -> None:
    page = open_map()
    assert page.title() == "tiny: a map of tracks"
    lead = page.locator("header p").inner_text()
    assert lead.startswith("12 tracks on two principal axes, which show ")
    assert lead.endswith("version 7 of the table. 2 without embedding are left out.")


@pytest.mark.parametrize("index", [0, 4, 11])
@pytest.mark.parametrize("width", [1280, PHONE_PX])
def test_a_click_selects_the_track_under_it(
    open_map: OpenPage, chart: Chart, index: int, width: int
) -> None:
    page = open_map(width=width)
    click_on(page, index)
    wait_for_track(page, chart.population.ids[index])
    assert page.evaluate("page.map.selected") == index


def test_a_tap_selects_on_a_touch_screen(browser: Browser, written: str, chart: Chart) -> None:
    context = browser.new_context(
        viewport={"width": PHONE_PX, "height": 844}, has_touch=True, device_scale_factor=3
    )
    page = context.new_page()
    page.goto(f"file://{written}")
    ready(page)
    box = page.locator("#map").bounding_box()
    assert box is not None
    left, top = place_of(page, 3)
    page.touchscreen.tap(box["x"] + left + 12, box["y"] + top)
    wait_for_track(page, chart.population.ids[3])
    context.close()


def test_a_click_beside_all_points_selects_nothing(open_map: OpenPage) -> None:
    page = open_map()
    page.locator("#map").click(position={"x": 3, "y": 3})
    page.wait_for_timeout(100)
    assert not page.locator("#track").is_visible()


def test_a_drag_moves_the_map_and_selects_nothing(open_map: OpenPage) -> None:
    page = open_map()
    box = page.locator("#map").bounding_box()
    assert box is not None
    left, top = place_of(page, 5)
    page.mouse.move(box["x"] + left, box["y"] + top)
    page.mouse.down()
    page.mouse.move(box["x"] + left + 80, box["y"] + top - 30, steps=5)
    page.mouse.up()
    assert place_of(page, 5) == pytest.approx((left + 80, top - 30), abs=1)
    assert not page.locator("#track").is_visible()


def test_the_wheel_zooms_around_the_pointer(open_map: OpenPage) -> None:
    page = open_map()
    box = page.locator("#map").bounding_box()
    assert box is not None
    before, scale = place_of(page, 2), page.evaluate("page.map.scale")
    page.mouse.move(box["x"] + before[0], box["y"] + before[1])
    page.mouse.wheel(0, -300)
    page.wait_for_timeout(200)
    assert page.evaluate("page.map.scale") > 2 * scale
    assert place_of(page, 2) == pytest.approx(before, abs=1)


def test_neighbours_are_those_of_brute_force_and_lead_on(open_map: OpenPage, chart: Chart) -> None:
    page = open_map()
    ids = chart.population.ids
    for index in (3, 11):
        click_on(page, index)
        wait_for_track(page, ids[index])
        expected = brute_force(chart.population.vectors, index, 5)
        assert [name for name, _ in neighbours_of(page)] == [ids[row] for row, _ in expected]
        assert [d for _, d in neighbours_of(page)] == pytest.approx(
            [d for _, d in expected], abs=5e-5
        )
    following = neighbours_of(page)[0][0]
    page.locator("#neighbours button").first.click()
    wait_for_track(page, following)
    assert page.evaluate("document.activeElement.id") == "title"


def test_search_filters_the_list_and_the_map(open_map: OpenPage) -> None:
    page = open_map()
    page.locator("#query").fill("WAV  song")
    assert page.locator("#count").inner_text() == "10 of 12"
    assert page.locator("#found button").count() == 10
    page.locator("#query").fill("zul")
    assert page.locator("#found button").all_inner_texts() == ["Zulu.wav"]
    assert page.evaluate("[...page.map.shown]") == [0] * 11 + [1]
    click_on(page, 0)  # it is dim now, and no longer there for the mouse
    page.wait_for_timeout(100)
    assert not page.locator("#track").is_visible()
    page.locator("#query").fill("nothing like it")
    assert page.locator("#count").inner_text() == "0 of 12"
    page.locator("#query").fill("")
    assert not page.locator("#results").is_visible()
    assert page.evaluate("page.map.shown") is None


def test_the_keyboard_alone_searches_selects_moves_and_lets_go(
    open_map: OpenPage, chart: Chart
) -> None:
    page = open_map()
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.id") == "query"
    page.keyboard.type("song c")
    page.keyboard.press("Enter")
    wait_for_track(page, chart.population.ids[2])
    page.locator("#map").focus()
    before, scale = place_of(page, 0), page.evaluate("page.map.scale")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    assert place_of(page, 0) == pytest.approx((before[0] - 60, before[1] - 60), abs=1)
    page.keyboard.press("+")
    assert page.evaluate("page.map.scale") == pytest.approx(1.4 * scale)
    page.keyboard.press("-")
    page.keyboard.press("0")
    assert place_of(page, 0) == pytest.approx(before, abs=1)
    page.keyboard.press("Escape")
    assert not page.locator("#track").is_visible()


def test_enter_on_the_map_takes_the_track_in_the_middle(open_map: OpenPage, chart: Chart) -> None:
    page = open_map()
    page.evaluate("[page.map.x, page.map.y] = page.map.places.slice(14, 16)")
    page.locator("#map").focus()
    page.keyboard.press("Enter")
    wait_for_track(page, chart.population.ids[7])


def test_tab_goes_through_the_tools_to_the_map_and_focus_is_seen(open_map: OpenPage) -> None:
    page = open_map()
    order = []
    for _ in range(6):
        page.keyboard.press("Tab")
        order.append(page.evaluate("document.activeElement.id"))
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineWidth")
        assert float(outline.removesuffix("px")) >= 2
    assert order == ["query", "colour", "closer", "farther", "whole", "map"]


def test_a_file_that_is_there_can_be_played(open_map: OpenPage, chart: Chart) -> None:
    page = open_map()
    click_on(page, 0)
    audio = page.locator("#audio")
    audio.wait_for()
    assert audio.get_attribute("src") == chart.population.audio[0]
    assert audio.evaluate(DURATION) == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("index", "says"),
    [
        (1, "Not reachable from here: /nowhere/b.wav"),
        (2, "A browser cannot open s3://bucket/c.wav"),
    ],
)
def test_what_cannot_be_played_says_so(
    browser: Browser, written: str, index: int, says: str
) -> None:
    page = browser.new_page()  # not by `open_page`: the browser complains of the missing file too
    page.goto(f"file://{written}")
    click_on(ready(page), index)
    page.get_by_text(says, exact=True).wait_for()
    assert not page.locator("#audio").is_visible()
    page.close()


def test_facts_are_shown_and_empty_ones_are_left_out(open_map: OpenPage) -> None:
    page = open_map()
    click_on(page, 2)
    wait_for_track(page, "Song C.wav")
    assert page.locator("dt").all_inner_texts() == ["genre", "duration_s", "uri"]
    assert page.locator("dd").all_inner_texts() == ["rock", "2.469", "s3://bucket/c.wav"]


def test_names_from_data_are_text_wherever_they_stand(open_map: OpenPage) -> None:
    page = open_map()
    page.locator("#query").fill("<img")
    page.keyboard.press("Enter")
    wait_for_track(page, ALERT)
    left, top = place_of(page, 10)
    page.locator("#map").hover(position={"x": left, "y": top})
    page.locator("#tip").get_by_text(ALERT, exact=True).wait_for()
    assert page.locator("#legend button", has_text=ALERT).is_visible()
    assert page.locator("#found button", has_text=ALERT).is_visible()
    assert page.locator("main img, main script").count() == 0
    assert page.title() == "tiny: a map of tracks"


def near_colour(found: list[int], colour: str) -> bool:
    """Whether a pixel is of a colour that lets 15 % of the ground through."""
    wanted = [int(colour[start : start + 2], 16) for start in (1, 3, 5)]
    return max(abs(a - b) for a, b in zip(found, wanted, strict=True)) <= 0.15 * 255 + 2


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_points_have_the_colour_that_the_legend_gives(open_map: OpenPage, scheme: str) -> None:
    page = open_map(scheme=scheme)
    names = page.locator("#legend button").all_inner_texts()
    assert [name.split("\n")[0] for name in names[:2]] == ["rock", "jazz"]
    for index, code in ((0, 0), (7, 1)):
        assert near_colour(page.evaluate(PIXEL, place_of(page, index)), PALETTES[scheme][code])


def test_a_class_of_the_legend_can_stand_alone(open_map: OpenPage) -> None:
    page = open_map()
    page.locator("#legend button", has_text="jazz").click()
    assert page.evaluate("[...page.map.shown]") == [0] * 6 + [1] * 4 + [0] * 2
    assert page.locator("#legend [aria-pressed=true]").count() == 1
    page.locator("#legend button", has_text="jazz").click()
    assert page.evaluate("page.map.shown") is None


def test_another_column_is_another_legend(open_map: OpenPage) -> None:
    page = open_map()
    before = page.evaluate(PIXEL, place_of(page, 0))
    page.locator("#colour").select_option("duration_s")
    page.locator("#legend .ends").wait_for()
    assert page.locator("#legend .name").inner_text() == "duration_s"
    assert page.locator("#legend .ends span").count() == 2
    page.wait_for_timeout(100)
    assert page.evaluate(PIXEL, place_of(page, 0)) != before


def test_night_falls_while_the_page_is_open(open_map: OpenPage) -> None:
    page = open_map()
    page.emulate_media(color_scheme="dark")
    page.wait_for_timeout(200)
    assert max(page.evaluate(PIXEL, [2, 2])) < 40
    assert near_colour(page.evaluate(PIXEL, place_of(page, 0)), PALETTES["dark"][0])


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_is_readable_by_day_and_by_night(
    open_map: OpenPage, assert_readable: AssertReadable, scheme: str
) -> None:
    page = open_map(scheme=scheme)
    page.locator("#query").fill("song")
    click_on(page, 2)
    wait_for_track(page, "Song C.wav")
    kinds = "h1, h2, h3, p, label span, kbd, button, button span, dt, dd, select, .legend span"
    assert_readable(page, kinds, at_least=50)


@pytest.mark.parametrize("width", [320, PHONE_PX, 1280])
def test_the_page_does_not_scroll_sideways(open_map: OpenPage, width: int) -> None:
    page = open_map(width=width)
    page.locator("#query").fill("<img")
    page.keyboard.press("Enter")
    wait_for_track(page, ALERT)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    box = page.locator("#map").bounding_box()
    assert box is not None
    assert box["width"] > 0.6 * width
    assert box["height"] > 300


def test_a_page_without_its_data_says_what_is_missing(
    browser: Browser, chart: Chart, tmp_path: Path
) -> None:
    write_chart(chart, tmp_path)
    shutil.rmtree(tmp_path / "data")
    page = browser.new_page()
    page.goto(f"file://{tmp_path}/index.html")
    page.get_by_text("is not there: the page and its folder belong together").wait_for()
    page.close()


def test_a_crowd_of_twenty_thousand_moves_at_a_sane_rate(
    open_map: OpenPage, tmp_path: Path, rng: np.random.Generator
) -> None:
    vectors = rng.standard_normal((N_CROWD, 8), dtype=np.float32)
    ids = tuple(f"{number:05}.wav" for number in range(N_CROWD))
    population = Population("crowd", 0, ids, vectors, (), ("",) * N_CROWD)
    write_chart(make_chart(population, layout=LayoutName.PCA, n_neighbours=0), tmp_path)
    page = open_map(str(tmp_path / "index.html"))
    assert np.median(page.evaluate(FRAMES, 40)) < SLOWEST_FRAME_MS
    click_on(page, 12_345)
    page.locator("#title").wait_for()
    assert page.locator("#title").inner_text() == ids[page.evaluate("page.map.selected")]
