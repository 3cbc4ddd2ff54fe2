"""Plots: well formed, the same bytes every time, names as they are."""

from __future__ import annotations

import re
from collections.abc import Callable
from xml.etree import ElementTree

import matplotlib as mpl
import numpy as np
import pytest

from embedlib.probes.records import Split
from embedlib.probes.score_records import Cell, Ranks
from embedlib.report.figures import MAX_POINTS, confusion_svg, curves_svg, thinned
from embedlib.report.panels import LETTER_IN
from embedlib.report.rank_figure import BAR_COLOUR, DOT_COLOUR, joined, ranks_svg
from embedlib.report.svg import styled

MakeCell = Callable[..., Cell]
NAMES = ("a$x$", '<b>&"\'--> d="1.23456"', "中文", "rock\x00\n")


def drawn(draw: Callable[..., str], *arguments: object, **options: object) -> str:
    with styled():
        return str(draw(*arguments, label='it\'s <x> & "y"', **options))


def matrix(n_classes: int = 4, classes: tuple[str, ...] = NAMES) -> str:
    confusion = np.arange(n_classes**2).reshape(n_classes, n_classes).tolist()
    return drawn(confusion_svg, confusion, classes=classes)


def ranks(n_models: int) -> Ranks:
    models = tuple(f"model-{number}" for number in range(n_models))
    values = tuple(1 + 0.8 * number for number in range(n_models))
    return Ranks("pooled", Split.STRATIFIED, models, values, 16, 1e-9, 1.0)


def texts(svg: str) -> list[str]:
    return [element.text or "" for element in ElementTree.fromstring(svg).iter() if element.text]


def test_names_are_shown_as_they_are() -> None:
    shown = texts(matrix())
    assert shown.count("a$x$") == shown.count("中文") == 2
    assert shown.count('<b>&"\'--> d="1.23…') == 2  # eighteen letters


def test_a_matrix_shows_every_count_but_zero() -> None:
    shown = texts(matrix())
    assert [text for text in shown if text.isdigit()] == [str(n) for n in range(1, 16)]


def test_a_matrix_of_many_classes_has_shades_only() -> None:
    names = tuple(f"class {n}" for n in range(40))
    assert not [text for text in texts(matrix(40, names)) if text.isdigit()]


def test_a_class_without_tracks_is_a_row_without_shade() -> None:
    svg = drawn(confusion_svg, ((0, 0), (1, 3)), classes=("a", "b"))
    assert [text for text in texts(svg) if text.isdigit()] == ["1", "3"]


def test_the_label_says_what_the_plot_shows() -> None:
    root = ElementTree.fromstring(matrix())
    assert root.get("role") == "img"
    assert root.get("aria-label") == 'it\'s <x> & "y"'


def test_plots_are_the_same_bytes_whatever_the_users_settings(make_cell: MakeCell) -> None:
    def all_of_them() -> list[str]:
        cell = make_cell()
        return [matrix(), drawn(curves_svg, cell), drawn(ranks_svg, ranks(4))]

    plain = all_of_them()
    with mpl.rc_context({"font.size": 30, "axes.grid": True}):
        assert all_of_them() == plain
        assert mpl.rcParams["font.size"] == 30


def test_plots_hold_no_id_that_could_meet_one_of_another_plot(make_cell: MakeCell) -> None:
    for svg in (matrix(), drawn(curves_svg, make_cell()), drawn(ranks_svg, ranks(5))):
        elements = list(ElementTree.fromstring(svg).iter())
        assert not [element for element in elements if element.get("id")]
        assert "url(#" not in svg
        assert "xlink:href=" not in svg


def test_a_thousand_epochs_are_thinned_and_keep_their_ends() -> None:
    epochs = thinned(1000)
    assert len(epochs) == MAX_POINTS
    assert (epochs[0], epochs[-1]) == (0, 999)
    assert np.all(np.diff(epochs) > 0)


@pytest.mark.parametrize("n_epochs", [0, 1, 2, 99, 100])
def test_a_short_curve_is_whole(n_epochs: int) -> None:
    np.testing.assert_array_equal(thinned(n_epochs), np.arange(n_epochs))


def test_curves_of_a_thousand_epochs_stay_small(make_cell: MakeCell) -> None:
    noise = np.random.default_rng(seed=1).random(1000).tolist()
    cell = make_cell(curves=(noise,) * 5, train_curves=(noise,) * 5)
    assert len(drawn(curves_svg, cell)) < 25_000  # 128 of them: three megabytes


def test_a_fold_without_a_curve_draws_the_others(make_cell: MakeCell) -> None:
    cell = make_cell(curves=((), (0.5, 0.4)), train_curves=((), ()))
    assert "#2166ac" in drawn(curves_svg, cell)


@pytest.mark.parametrize(
    ("mean_ranks", "groups"),
    [
        ((1.0, 1.5, 2.4, 4.0), ((0, 1), (1, 2))),
        ((1.0, 1.1, 1.2), ((0, 2),)),
        ((1.0, 2.0, 3.0), ()),  # a difference as large as the critical one is one
        ((1.5, 1.5), ((0, 1),)),
    ],
)
def test_bars_join_models_that_do_not_differ(
    mean_ranks: tuple[float, ...], groups: tuple[tuple[int, int], ...]
) -> None:
    assert joined(mean_ranks, critical_difference=1.0) == groups


def three_ranks() -> Ranks:
    models, values = ("a", "b", "untrained-beat-shape-1"), (1.0, 2.0, 3.0)
    return Ranks("pooled", Split.STRATIFIED, models, values, 2, 0.1, 2.34)


def paths(svg: str) -> list[ElementTree.Element]:
    return [each for each in ElementTree.fromstring(svg).iter() if each.tag.endswith("path")]


def test_every_path_of_every_figure_is_drawn(make_cell: MakeCell) -> None:
    cell = make_cell(curves=((0.4,),), train_curves=((0.5,),))
    svgs = [drawn(ranks_svg, ranks(n)) for n in (2, 3, 8, 20)] + [drawn(ranks_svg, three_ranks())]
    for svg in (*svgs, matrix(), drawn(curves_svg, make_cell()), drawn(curves_svg, cell)):
        assert paths(svg)
        assert all(path.get("d") for path in paths(svg))


def test_the_bar_spans_the_models_that_it_joins_beside_their_ranks() -> None:
    svg = drawn(ranks_svg, three_ranks())
    dots = [numbers(path) for path in paths(svg) if path.get("stroke") == DOT_COLOUR]
    (bar,) = [numbers(path) for path in paths(svg) if path.get("stroke") == BAR_COLOUR]
    heights = [y for _, y, *_ in dots]
    assert min(bar[1::2]) < min(heights) < max(heights) < max(bar[1::2])
    assert bar[0] == bar[2] > max(x for x, *_ in dots)


def test_the_last_rank_ends_before_the_bar() -> None:
    svg = drawn(ranks_svg, three_ranks())
    (bar,) = [numbers(path) for path in paths(svg) if path.get("stroke") == BAR_COLOUR]
    last = max(numbers(path)[0] for path in paths(svg) if path.get("stroke") == DOT_COLOUR)
    assert last + 6 + len("3.00") * LETTER_IN * 72 <= bar[0]


def numbers(path: ElementTree.Element) -> list[float]:
    return [float(number) for number in re.findall(r"[\d.]+", path.get("d", ""))]


def test_ranks_show_every_model_with_its_rank() -> None:
    shown = texts(drawn(ranks_svg, ranks(8)))
    assert {f"model-{number}" for number in range(8)} <= set(shown)
    assert "6.60" in shown
