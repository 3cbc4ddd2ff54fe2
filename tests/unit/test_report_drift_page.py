"""The page of a drift report: one file, no request, names as text, the numbers as measured."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from embedlib.errors import OutputError
from embedlib.report.drift_durations import compare_durations
from embedlib.report.drift_page import drift_page_text, write_drift_page
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
from embedlib.report.drift_tables import (
    count_table,
    duration_table,
    failure_table,
    group_table,
    new_group_table,
    shift_table,
)

AssertSealed = Callable[[str], None]
ALERT = "<script>alert(1)</script>"


def model_drift(model: str, *, verdict: Verdict | None, scale: float = 1.0) -> ModelDrift:
    has_numbers = verdict is not None
    return ModelDrift(
        model,
        Counts(1000, 1090, 100, 10, 5),
        (StatusCount(ALERT, 1, 2),),
        compare_durations(np.linspace(1, 300, 50), scale * np.linspace(1, 400, 60)),
        Shift(
            999, 1089, 15, 105,
            *((0.99, 0.25, 0.05, 0.002) if has_numbers else (None,) * 4),
            verdict=verdict,
        ),
        Groups(1, 2, 3, 6, 1, ((ALERT, "b"),), (11,), 1104, 1104),
    )  # fmt: skip


@pytest.fixture
def drift() -> Drift:
    """Two models that hear the same durations and one that does not, with scripts for names."""
    return Drift(
        Side(f"{ALERT}@3", "2026-11-01T02:00:00.000001Z"),
        Side(f"{ALERT}@7", "2026-11-02T02:00:00.000001Z"),
        Counts(1001, 1091, 100, 10, 5),
        (
            model_drift("msd-musicnn-1", verdict=Verdict.DRIFT),
            model_drift("msd-vgg-1", verdict=Verdict.CHANCE),
            model_drift(ALERT, verdict=None, scale=2.0),
        ),
        (f"{ALERT} is a note",),
    )


def test_no_name_becomes_an_element(drift: Drift) -> None:
    text = drift_page_text(drift)
    assert text.count("<script>") == 1
    assert ALERT not in text
    assert text.count("&lt;script&gt;alert(1)&lt;/script&gt;") > 10


def test_the_policy_names_the_one_script_and_nothing_outside_is_asked_for(
    assert_sealed: AssertSealed, drift: Drift
) -> None:
    assert_sealed(drift_page_text(drift))


def test_models_with_the_same_durations_share_a_plot(drift: Drift) -> None:
    assert drift_page_text(drift).count("<svg ") == 2
    _, rows = duration_table(drift)
    assert [row[0] for row in rows] == ["msd-musicnn-1, msd-vgg-1"] * 2 + [ALERT] * 2
    assert [row[1] for row in rows] == ["before", "after"] * 2


def test_only_a_drift_is_a_warning(drift: Drift) -> None:
    text = drift_page_text(drift)
    assert text.count("<strong>Warning.</strong>") == 1
    assert "The embeddings of msd-musicnn-1 have drifted" in text


def test_the_tables_hold_what_was_measured(drift: Drift) -> None:
    assert count_table(drift)[1][:2] == [
        ("catalogue", "1,001", "1,091", "100", "10", "5"),
        ("msd-musicnn-1", "1,000", "1,090", "100", "10", "5"),
    ]
    assert failure_table(drift)[1][0] == ("msd-musicnn-1", ALERT, "1", "2")
    numbers = ("999", "1,089", "15", "105", "0.99000", "0.250", "0.050", "0.002", "drift")
    assert shift_table(drift)[1][0][1:] == numbers
    assert shift_table(drift)[1][2][5:] == ("", "", "", "", "nothing to compare")
    assert group_table(drift)[1][0][1:] == ("1", "3", "2", "6", "1", "1,104", "1,104")
    assert new_group_table(drift)[1][0] == ("msd-musicnn-1", "11", f"{ALERT}, b, …")


@pytest.mark.parametrize(
    "table",
    [count_table, failure_table, duration_table, shift_table, group_table, new_group_table],
)
def test_every_row_has_a_cell_for_every_title(drift: Drift, table: object) -> None:
    header, rows = table(drift)  # type: ignore[operator]
    assert {len(row) for row in rows} == {len(header)}


def test_without_failures_models_and_groups_the_page_says_so(assert_sealed: AssertSealed) -> None:
    nothing = Drift(Side("a"), Side("b"), Counts(0, 0, 0, 0, 0), (), ())
    text = drift_page_text(nothing)
    assert_sealed(text)
    assert "Every track has an embedding, before and after." in text
    assert "new groups</h3>" not in text
    assert "<svg " not in text


def test_equal_drifts_give_equal_bytes_and_take_the_place_of_the_page_before(
    drift: Drift, tmp_path: Path
) -> None:
    path = tmp_path / "new" / "drift.html"
    write_drift_page(drift, path)
    first = path.read_bytes()
    write_drift_page(drift, path)
    assert path.read_bytes() == first
    assert [each.name for each in path.parent.iterdir()] == ["drift.html"]


def test_a_name_that_is_no_utf8_does_not_end_the_report(tmp_path: Path) -> None:
    odd = Drift(Side("a\udcff"), Side("b"), Counts(0, 0, 0, 0, 0), (), ())
    write_drift_page(odd, tmp_path / "drift.html")
    assert b"a? as it is" in (tmp_path / "drift.html").read_bytes()


def test_a_place_that_cannot_be_written_is_one_line(drift: Drift, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write to"):
        write_drift_page(drift, tmp_path / "file" / "drift.html")
