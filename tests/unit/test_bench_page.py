"""The page of measurements: all results of a folder, sealed, escaped, with limits and bars."""

from __future__ import annotations

import doctest
import importlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from embedlib.errors import OutputError

ROOT = Path(__file__).parents[2]
ALERT = "<script>alert(1)</script>"
BARS = {
    "title": "Stages",
    "unit": "CPU s",
    "series": [
        {"label": "f32", "parts": [["decode", 4.0], ["inference", 6.0]], "limit": 20.0},
        {"label": "bf16", "parts": [["inference", 2.0]], "limit": None},
    ],
}
TABLE = {"title": ALERT, "columns": ["kind", "s"], "rows": [[ALERT, "1.5"]], "notes": [ALERT]}


@pytest.fixture(scope="module")
def page() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "jobs"))
        yield importlib.import_module("bench_page")


@pytest.fixture
def bars(page: ModuleType) -> ModuleType:
    return importlib.import_module("bench_bars")


def result_of(verb: str, **other: Any) -> dict[str, Any]:
    return {
        "benchmark": verb,
        "measured_at": "2026-11-01T00:00:00Z",
        "machine": {"cpu": "X 9", "flags": ["avx2"], "n_cores": 2, "memory_gib": 16.0},
        "load_average": 0.25,
        "versions": {"python": "3.11.7"},
        "config": {"rounds": 3},
        "is_short": True,
        "figures": {},
        "tables": [],
        "broken_floors": [],
        **other,
    }


def page_of(page: ModuleType, folder: Path, *results: dict[str, Any]) -> str:
    for result in results:
        (folder / f"{result['benchmark']}.json").write_text(json.dumps(result))
    return str(page.write_page(folder).read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", ["bench_page", "bench_bars", "bench_show"])
def test_the_examples_run(page: ModuleType, name: str) -> None:
    result = doctest.testmod(importlib.import_module(name))
    assert result.attempted
    assert not result.failed


def test_a_page_asks_for_nothing_and_shows_names_as_text(
    page: ModuleType, tmp_path: Path, assert_sealed: Callable[[str], None]
) -> None:
    bars = {**BARS, "title": ALERT, "unit": ALERT, "series": BARS["series"]}
    result = result_of("speed", tables=[TABLE], bars=[bars], broken_floors=[ALERT])
    text = page_of(page, tmp_path, result)
    assert_sealed(text)
    assert ALERT not in text
    assert text.count("&lt;script&gt;alert(1)") >= 5


def test_results_stand_in_the_order_of_their_measurement(page: ModuleType, tmp_path: Path) -> None:
    late = result_of("a-late", measured_at="2026-11-02T00:00:00Z")
    text = page_of(page, tmp_path, late, result_of("b-early"))
    assert text.index('id="b-early"') < text.index('id="a-late"')
    for fact in ("X 9, 2 cores, avx2", "16.0 GiB", "0.25", "python 3.11.7", "short"):
        assert fact in text


def test_json_of_others_is_left_out(page: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "other.json").write_text('{"nodes": 8}')
    (tmp_path / "list.json").write_text("[1]")
    assert "nodes" not in page_of(page, tmp_path, result_of("speed"))


@pytest.mark.parametrize("text", [None, "{"])
def test_a_folder_without_results_and_damaged_ones_are_refused(
    page: ModuleType, tmp_path: Path, text: str | None
) -> None:
    if text is not None:
        (tmp_path / "half.json").write_text(text)
    with pytest.raises(OutputError, match="holds no result" if text is None else "is damaged"):
        page.write_page(tmp_path)
    assert not (tmp_path / "index.html").exists()


@pytest.mark.parametrize(
    ("limits", "verdict"),
    [
        ({"floors": {"speed": {"at_least": 2.0, "needs": None}}}, "holds"),
        ({"floors": {"speed": {"at_least": 2.1, "needs": "avx2"}}}, "broken"),
        ({"floors": {"speed": {"at_least": 9.0, "needs": "amx_bf16"}}}, "does not count"),
        ({"ceilings": {"speed": 2.0}}, "holds"),
        ({"ceilings": {"speed": 1.9}}, "broken"),
        ({"ceilings": {"memory": 1.0}}, "not measured"),
    ],
)
def test_a_limit_holds_or_not(page: ModuleType, limits: dict[str, Any], verdict: str) -> None:
    (limit,) = page.limits_of(result_of("speed", figures={"speed": 2.0}, config=limits))
    assert limit.verdict.startswith(verdict)


def test_figures_without_a_limit_are_shown_too(page: ModuleType) -> None:
    config = {"ceilings": {"ms": 2.0}}
    section = page.section_of(result_of("x", figures={"s": 12.34, "ms": 1.5}, config=config))
    assert section.figures["rows"] == [["s", "12.3", "", ""], ["ms", "1.500", "≤ 2", "holds"]]
    assert section.standing == "1 of 1"


def test_bars_are_to_scale_and_parts_keep_their_colours(bars: ModuleType) -> None:
    found = bars.drawing(BARS)
    first, second = found.bars
    decode, inference = first.pieces
    assert inference.width == pytest.approx(1.5 * decode.width)
    assert inference.x == pytest.approx(decode.x + decode.width)
    assert first.limit - found.left == pytest.approx(2 * (decode.width + inference.width))
    assert second.pieces[0].colour == inference.colour != decode.colour
    assert second.limit is None


def test_more_parts_than_colours_begin_again(bars: ModuleType) -> None:
    parts = [[f"part {number}", 1.0] for number in range(bars.N_COLOURS + 1)]
    series = [{"label": "all", "parts": parts, "limit": None}]
    pieces = bars.drawing({"title": "t", "unit": "s", "series": series}).bars[0].pieces
    assert [piece.colour for piece in pieces] == [*range(bars.N_COLOURS), 0]


def test_bars_of_nothing_are_an_empty_drawing(bars: ModuleType) -> None:
    assert bars.drawing({"title": "t", "unit": "s", "series": []}).bars == ()


def test_the_style_names_every_colour(page: ModuleType, bars: ModuleType) -> None:
    style = (ROOT / "jobs" / "bench_page.css").read_text()
    assert all(f".part-{number} " in style for number in range(bars.N_COLOURS))


def test_tables_are_printed_with_their_notes(
    page: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    show = importlib.import_module("bench_show")
    show.show_tables(result_of("x", tables=[{**TABLE, "title": "Speed", "notes": ["So."]}]))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "X 9, 2 cores, avx2"
    assert {"Speed", "So."} <= set(lines)
