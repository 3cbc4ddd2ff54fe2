"""The parts of a page to explore: places, neighbours, colours, facts, files."""

from __future__ import annotations

import base64
import itertools
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from embedlib.errors import ConfigError
from embedlib.records import Float32
from embedlib.report.explore import write_chart
from embedlib.report.explore_chart import Chart, make_chart
from embedlib.report.explore_colours import (
    MAX_CLASSES,
    NO_CLASS,
    OTHERS,
    PALETTES,
    SCALES,
    Classes,
    Numbers,
    colour_column,
)
from embedlib.report.explore_facts import Fact, audio_url
from embedlib.report.explore_files import data_files
from embedlib.report.explore_layout import lay_out, pca, unit_vectors
from embedlib.report.explore_neighbours import nearest
from embedlib.report.explore_options import LayoutName
from embedlib.report.explore_source import Population

ALERT = "</script><script>document.title = 'taken'</script>"
GROUNDS = {"light": "#ffffff", "dark": "#12171d"}
GREYS = {"light": "#8a94a0", "dark": "#6f7b88"}
VISIBLE = 3.0
"""Contrast of what is no text, WCAG 2.2, success criterion 1.4.11."""

FAR_APART = 20.0
"""In CIELAB; a difference of about 2 is just seen, of 10 at a glance."""

# G. Machado, M. Oliveira, L. Fernandes: A Physiologically-based Model for Simulation of Color
# Vision Deficiency. IEEE TVCG 15(6), 2009, severity 1.0.
EYES = {
    "all colours": np.eye(3),
    "no red": np.array(
        [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ]
    ),
    "no green": np.array(
        [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.011820, 0.042940, 0.968881],
        ]
    ),
    "no blue": np.array(
        [
            [1.255528, -0.076749, -0.178779],
            [-0.078411, 0.930809, 0.147602],
            [0.004733, 0.691367, 0.303900],
        ]
    ),
}
XYZ = np.array(
    [
        [0.4124564, 0.3575761, 0.1804375],
        [0.2126729, 0.7151522, 0.0721750],
        [0.0193339, 0.1191920, 0.9503041],
    ]
)
"""Of linear sRGB under D65, IEC 61966-2-1."""


def linear(colour: str) -> np.ndarray:
    values = np.array([int(colour[start : start + 2], 16) for start in (1, 3, 5)]) / 255
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def contrast(colour: str, ground: str) -> float:
    dark, light = sorted((XYZ @ linear(each))[1] for each in (colour, ground))
    return (light + 0.05) / (dark + 0.05)


def lab(rgb: np.ndarray) -> np.ndarray:
    f = np.cbrt(XYZ @ np.clip(rgb, 0, 1) / XYZ.sum(axis=1))
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def brute_force(vectors: Float32, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The definition of the cosine distance, all at once, sorted."""
    exact = vectors.astype(np.float64)
    norms = np.linalg.norm(exact, axis=1)
    distances = 1 - exact @ exact.T / np.outer(norms, norms)
    np.fill_diagonal(distances, np.inf)
    index = np.argsort(distances, axis=1, kind="stable")[:, :k]
    return index, np.take_along_axis(distances, index, axis=1)


def population(vectors: Float32, **changes: object) -> Population:
    n_tracks = len(vectors)
    values = {
        "model": "tiny",
        "version": 3,
        "ids": tuple(f"{number:04}.wav" for number in range(n_tracks)),
        "vectors": vectors,
        "facts": (Fact("uri", tuple(f"/music/{number}.wav" for number in range(n_tracks))),),
        "audio": ("",) * n_tracks,
    }
    return Population(**(values | changes))  # type: ignore[arg-type]


def chart_of(tracks: Population, *, k: int = 3, colour: str | None = None) -> Chart:
    return make_chart(tracks, layout=LayoutName.PCA, n_neighbours=k, colour=colour)


def test_principal_axes_are_those_of_a_singular_value_decomposition(
    rng: np.random.Generator,
) -> None:
    vectors = rng.standard_normal((300, 12)) * np.linspace(3, 0.1, 12)
    layout = pca(vectors)
    centred = vectors - vectors.mean(axis=0)
    _, singular, axes = np.linalg.svd(centred, full_matrices=False)
    for found, expected in zip(layout.positions.T, (centred @ axes[:2].T).T, strict=True):
        assert abs(np.corrcoef(found, expected)[0, 1]) == pytest.approx(1, abs=1e-6)
    assert layout.shares == pytest.approx(singular[:2] ** 2 / (singular**2).sum())


def test_the_map_does_not_depend_on_the_signs_of_a_library(rng: np.random.Generator) -> None:
    vectors = rng.standard_normal((50, 6))
    turned = pca(vectors[::-1])
    np.testing.assert_allclose(pca(vectors).positions, turned.positions[::-1], atol=1e-6)


def test_places_fill_the_square_from_minus_one_to_one(rng: np.random.Generator) -> None:
    positions = pca(rng.standard_normal((80, 5))).positions
    assert positions.dtype == np.float32
    assert np.abs(positions).max() == pytest.approx(1)
    np.testing.assert_allclose(positions.max(axis=0) + positions.min(axis=0), 0, atol=1e-6)


@pytest.mark.parametrize("shape", [(1, 4), (2, 4), (5, 1), (5, 4)])
def test_equal_few_or_flat_vectors_have_finite_places(shape: tuple[int, int]) -> None:
    positions = lay_out(np.ones(shape), name=LayoutName.PCA).positions
    np.testing.assert_array_equal(positions, np.zeros((shape[0], 2)))


def test_umap_that_is_not_installed_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises(ConfigError, match="umap needs a package"):
        lay_out(np.eye(9), name=LayoutName.UMAP)


@pytest.mark.slow
def test_umap_keeps_groups_together_and_gives_the_same_map_twice(rng: np.random.Generator) -> None:
    pytest.importorskip("umap")
    groups = np.repeat(np.arange(3), 40)
    vectors = 5 * np.eye(3, 8)[groups] + 0.1 * rng.standard_normal((120, 8))
    units = unit_vectors(vectors.astype(np.float32))
    positions = lay_out(units, name=LayoutName.UMAP).positions
    np.testing.assert_array_equal(positions, lay_out(units, name=LayoutName.UMAP).positions)
    centres = np.array([positions[groups == group].mean(axis=0) for group in range(3)])
    nearest_centre = ((positions[:, None] - centres) ** 2).sum(axis=2).argmin(axis=1)
    np.testing.assert_array_equal(nearest_centre, groups)


@pytest.mark.parametrize(("n_tracks", "n_dims", "k"), [(700, 20, 20), (2, 3, 1), (40, 200, 39)])
def test_neighbours_are_those_of_brute_force(
    rng: np.random.Generator, n_tracks: int, n_dims: int, k: int
) -> None:
    vectors = rng.standard_normal((n_tracks, n_dims), dtype=np.float32) + 0.5
    found = nearest(unit_vectors(vectors), k=k)
    index, distances = brute_force(vectors, k)
    np.testing.assert_array_equal(found.index, index)
    np.testing.assert_allclose(found.distance, distances, atol=1e-7)


def test_there_are_no_more_neighbours_than_other_tracks(rng: np.random.Generator) -> None:
    units = unit_vectors(rng.standard_normal((4, 5), dtype=np.float32))
    assert nearest(units, k=20).index.shape == (4, 3)
    assert nearest(units[:1], k=20).index.shape == (1, 0)
    assert nearest(units, k=0).index.shape == (4, 0)


def test_a_track_with_more_twins_than_neighbours_is_not_its_own(rng: np.random.Generator) -> None:
    vectors = np.repeat(rng.standard_normal((1, 6), dtype=np.float32), 30, axis=0)
    found = nearest(unit_vectors(vectors), k=5)
    assert not (found.index == np.arange(30)[:, None]).any()
    np.testing.assert_allclose(found.distance, 0, atol=1e-12)


def test_a_vector_of_zeros_is_at_right_angles_to_all_others() -> None:
    vectors = np.float32([[0, 0], [1, 0], [0, 0], [-1, 0.1]])
    found = nearest(unit_vectors(vectors), k=3)
    assert found.index[0].tolist() == [2, 1, 3]
    np.testing.assert_allclose(found.distance[0], [0, 1, 1], atol=1e-7)
    assert found.index[1].tolist() == [0, 2, 3]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_colour_stands_out_from_the_ground(theme: str) -> None:
    colours = (*PALETTES[theme], *SCALES[theme], GREYS[theme])
    assert min(contrast(colour, GROUNDS[theme]) for colour in colours) >= VISIBLE


@pytest.mark.parametrize("eyes", EYES)
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_classes_are_told_apart_whatever_the_eyes(theme: str, eyes: str) -> None:
    colours = [lab(EYES[eyes] @ linear(colour)) for colour in (*PALETTES[theme], GREYS[theme])]
    distances = [np.linalg.norm(a - b) for a, b in itertools.combinations(colours, 2)]
    assert min(distances) >= FAR_APART


@pytest.mark.parametrize("eyes", EYES)
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_scale_grows_lighter_whatever_the_eyes(theme: str, eyes: str) -> None:
    lightness = [lab(EYES[eyes] @ linear(colour))[0] for colour in SCALES[theme]]
    assert np.diff(lightness).min() > 0


def test_the_greys_of_the_style_are_those_that_were_measured() -> None:
    style = Path(sys.modules["embedlib.report"].__path__[0], "templates", "explore.css").read_text()
    for theme in GREYS:
        assert f"--others: {GREYS[theme]};" in style
        assert f"--ground: {GROUNDS[theme]};" in style
    assert len(PALETTES["light"]) == len(PALETTES["dark"]) == MAX_CLASSES


def test_the_largest_classes_have_colours_and_the_rest_shares_one() -> None:
    names = [f"g{number}" for number in range(10) for _ in range(20 - number)]
    column = colour_column(Fact("genre", (*names, "", None)))
    assert isinstance(column, Classes)
    assert column.labels == tuple(f"g{number}" for number in range(MAX_CLASSES))
    assert column.counts == (20, 19, 18, 17, 16, 15, 14, 13, 12 + 11, 2)
    assert column.n_others == 2
    assert column.codes[-3:].tolist() == [OTHERS, NO_CLASS, NO_CLASS]


def test_few_numbers_are_classes_in_their_own_order() -> None:
    column = colour_column(Fact("sr_hz", (48000, 8000, 44100, 44100)))
    assert isinstance(column, Classes)
    assert column.labels == ("8000", "44100", "48000")


def test_truth_values_are_classes() -> None:
    column = colour_column(Fact("padded", (True, False, False)))
    assert isinstance(column, Classes)
    assert column.labels == ("no", "yes")


def test_many_numbers_are_a_scale_also_when_they_are_texts_with_gaps() -> None:
    column = colour_column(Fact("year", (*(str(1900 + n) for n in range(100)), "", None)))
    assert isinstance(column, Numbers)
    assert (column.least, column.greatest) == (1900, 1999)
    assert column.least < column.low < column.high < column.greatest
    assert np.isnan(column.values).sum() == 2


@pytest.mark.parametrize(
    "values", [tuple(f"/music/{n}.wav" for n in range(20)), ("", None, ""), ()]
)
def test_names_of_files_and_empty_columns_give_no_colours(values: tuple[str, ...]) -> None:
    assert colour_column(Fact("uri", values)) is None


def test_a_column_without_colours_is_refused_by_name(rng: np.random.Generator) -> None:
    tracks = population(rng.standard_normal((20, 4), dtype=np.float32))
    with pytest.raises(ConfigError, match="'uri' gives no colours"):
        chart_of(tracks, colour="uri")


def test_the_first_colours_are_those_that_tell_tracks_apart(rng: np.random.Generator) -> None:
    facts = (Fact("status", ("ok",) * 4), Fact("genre", ("rock", "jazz", "jazz", "rock")))
    vectors = rng.standard_normal((4, 4), dtype=np.float32)
    assert chart_of(population(vectors, facts=facts)).colour == "genre"
    assert chart_of(population(vectors, facts=facts), colour="status").colour == "status"


@pytest.mark.parametrize(
    ("uri", "url"),
    [
        ("/music/é #1?.wav", "file:///music/%C3%A9%20%231%3F.wav"),
        ("https://host/a.mp3", "https://host/a.mp3"),
        ("https://host/a.mp3?***", ""),
        ("s3://bucket/a.wav", ""),
        ("zip://a.wav::https://host/b.zip", ""),
    ],
)
def test_a_browser_is_asked_only_for_what_it_can_open(uri: str, url: str) -> None:
    assert audio_url(uri) == url


@pytest.mark.parametrize(
    ("clip", "fragment"), [((2.5, None), "#t=2.5"), ((None, 4), "#t=0,4"), ((1, 2), "#t=1,2")]
)
def test_of_a_clip_its_stretch_is_played(
    clip: tuple[float | None, float | None], fragment: str
) -> None:
    url = audio_url("/a.wav", start_s=clip[0], end_s=clip[1])
    assert url == f"file:///a.wav{fragment}"


def read_data(content: bytes) -> tuple[str, object]:
    name, _, data = content.decode().removeprefix("explore(").removesuffix(");\n").partition(",")
    return json.loads(name), json.loads(data)


def test_data_files_hold_every_track_once_and_read_back(rng: np.random.Generator) -> None:
    chart = chart_of(population(rng.standard_normal((1201, 4), dtype=np.float32)))
    data = dict(read_data(file.content) for file in data_files(chart))
    assert [name for name in data if name != "points"] == [
        "ids-0",
        *(f"tracks-{n}" for n in range(3)),
    ]
    points = np.frombuffer(base64.b64decode(data["points"]), "<f4").reshape(-1, 2)
    np.testing.assert_array_equal(points, chart.layout.positions)
    near = b"".join(base64.b64decode(data[f"tracks-{n}"]["index"]) for n in range(3))
    np.testing.assert_array_equal(np.frombuffer(near, "<i4").reshape(-1, 3), chart.neighbours.index)
    assert [len(data[f"tracks-{n}"]["facts"][0]) for n in range(3)] == [500, 500, 201]


@pytest.fixture
def alarming(rng: np.random.Generator) -> Chart:
    """A script wherever the data may have a name."""
    return chart_of(
        population(
            rng.standard_normal((4, 4), dtype=np.float32),
            model=ALERT,
            ids=(ALERT, "b", "c", "\u2028\udce9"),
            facts=(Fact(ALERT, (ALERT, "x", "x", "x")),),
        )
    )


def test_names_cannot_leave_their_place_in_page_or_data(alarming: Chart, tmp_path: Path) -> None:
    write_chart(alarming, tmp_path)
    page = (tmp_path / "index.html").read_text()
    assert "<script>document" not in page
    assert page.count("</script>") == 2
    for path in (tmp_path / "data").iterdir():
        assert path.read_bytes().isascii()


def test_the_policy_of_the_page_names_its_script_its_style_and_where_audio_is(
    rng: np.random.Generator, tmp_path: Path
) -> None:
    vectors = rng.standard_normal((2, 4), dtype=np.float32)
    write_chart(chart_of(population(vectors, audio=("file:///a", "https://b"))), tmp_path)
    page = (tmp_path / "index.html").read_text()
    policy = page.partition('Content-Security-Policy" content="')[2].partition('"')[0]
    kinds = dict(part.strip().split(" ", 1) for part in policy.split(";"))
    assert kinds["default-src"] == "'none'"
    assert kinds["media-src"] == "file: https:"
    assert kinds["script-src"].endswith("'strict-dynamic'")
    assert "unsafe" not in policy


def test_equal_tracks_give_equal_files_and_new_ones_leave_no_old_data(
    rng: np.random.Generator, tmp_path: Path
) -> None:
    small, large = (
        chart_of(population(rng.standard_normal((n, 4), dtype=np.float32))) for n in (5, 600)
    )
    write_chart(large, tmp_path)
    foreign = tmp_path / "data" / "mine.js"
    foreign.write_text("kept")
    write_chart(small, tmp_path)
    first = {path.name: path.read_bytes() for path in tmp_path.rglob("*.*")}
    write_chart(small, tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.rglob("*.*")} == first
    assert foreign.exists()
    assert len(first) == 1 + 4 + 1  # page; points, ids, a column, tracks; what is not ours


def test_the_page_names_the_data_that_lies_beside_it(
    rng: np.random.Generator, tmp_path: Path
) -> None:
    sizes = write_chart(
        chart_of(population(rng.standard_normal((9, 4), dtype=np.float32))), tmp_path
    )
    page = (tmp_path / "index.html").read_text()
    facts = json.loads(page.partition('id="facts">')[2].partition("</script>")[0])
    paths = [tmp_path / path for _, path in facts["paths"]]
    assert all(path.is_file() for path in paths)
    assert sum(sizes) == sum(path.stat().st_size for path in (*paths, tmp_path / "index.html"))
