"""The picture of the documents: the published MusiCNN on real sounds, looked at and searched.

``EMBEDLIB_SCREENSHOTS=docs`` keeps the picture as ``docs/explore.png``.
"""

from __future__ import annotations

import csv
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page

import embedlib
from embedlib.report.explore import explore

MODEL = "msd-musicnn-1"
PICKED = "guit_harmonics.flac"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def out(
    shared_sonic_pi: Path, shared_models: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Tables of all samples, listed by a manifest that carries the prefix of their names."""
    folder = tmp_path_factory.mktemp("sonic-pi")
    samples = sorted(shared_sonic_pi.glob("*.flac"))
    with (folder / "samples.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["track_id", "uri", "family"])
        rows.writerows((path.name, path, path.name.partition("_")[0]) for path in samples)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EMBEDLIB_MODELS", str(shared_models))
        embedlib.extract(
            [str(folder / "samples.csv")],
            models=[MODEL],
            out=folder / "out",
            local=True,
            carry=["family"],
        )
    return folder / "out"


@pytest.fixture
def page(out: Path, open_page: Callable[..., Page]) -> Page:
    opened = open_page(explore(out, colour="family").page)
    opened.locator("#note").wait_for(state="hidden")
    opened.locator("#query").fill(PICKED)
    opened.keyboard.press("Enter")
    opened.locator("#track").get_by_role("heading", name=PICKED, exact=True).wait_for()
    return opened


def test_a_real_catalogue_is_explored_and_its_picture_is_taken(
    page: Page, shared_sonic_pi: Path, tmp_path: Path
) -> None:
    families = Counter(path.name.partition("_")[0] for path in shared_sonic_pi.glob("*.flac"))
    shown = [line.split("\n") for line in page.locator("#legend button").all_inner_texts()]
    assert shown[-1][0] == f"{len(families) - 8} others"
    assert [int(n) for _, n in shown[:-1]] == sorted(families.values(), reverse=True)[:8]
    assert all(families[family] == int(n) for family, n in shown[:-1])
    assert page.locator("#audio").is_visible()
    page.locator("#query").fill("")
    picture = Path(os.environ.get("EMBEDLIB_SCREENSHOTS", tmp_path), "explore.png")
    page.screenshot(path=picture)
    assert picture.stat().st_size > 30_000


def test_neighbours_on_the_page_are_those_of_the_search_command(page: Page, out: Path) -> None:
    pytest.importorskip("lancedb")
    from embedlib.search.build import build
    from embedlib.search.query import query

    build(out, MODEL)
    expected = query(out, MODEL, track=PICKED, k=20)
    lines = page.locator("#neighbours button").all()
    shown = [line.locator("span").all_text_contents() for line in lines]
    assert [name for name, _ in shown] == [each.track_id for each in expected]
    assert [float(d) for _, d in shown] == pytest.approx([e.distance for e in expected], abs=1e-4)
