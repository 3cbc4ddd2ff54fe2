"""The table of probes: rows come back as they went in, and each group counts once."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable

from embedlib.errors import OutputError
from embedlib.probes.commits import FitCommitter
from embedlib.probes.records import Fit, FitKey, Params, Role, Split
from embedlib.probes.table import read_cohort, read_fits, save_cohort, write_fits
from embedlib.tasks.cohort import Cohort

COHORT = Cohort("toy", ("a", "b c"), ("t1", "t2", "t3"), np.array([1, 0, 1]), ("g", "", "g"))


def make_fit(fit_id: str = "f1", group_id: str = "g1", **changes: Any) -> Fit:
    key_names = {field.name for field in dataclasses.fields(FitKey)}
    own = {name: changes.pop(name) for name in tuple(changes) if name in key_names}
    key = FitKey(Role.CV, "toy", "tiny", "pooled", Split.STRATIFIED, Params(l2=1e-7), 5, fold=2)
    fit = Fit(
        fit_id=fit_id,
        group_id=group_id,
        key=dataclasses.replace(key, **own),
        cohort_id="c1",
        test_cohort_id="c1",
        embeddings_id="e1",
        test_embeddings_id="e1",
        fingerprint="p1",
        table_version=3,
        schedule="sync:10,200",
        seed=2**32 - 1,
        n_train=1,
        n_val=1,
        test_index=np.array([2, 0]),
        truth=np.array([1, 1]),
        predicted=np.array([0, 1]),
        n_epochs=7,
        best_epoch=5,
        rung=0,
        is_final=True,
        val_loss=0.1 + 0.2,
        train_curve=(0.5, 1 / 3),
        val_curve=(),
        wall_s=0.25,
    )
    return dataclasses.replace(fit, **changes)


def assert_same(found: Fit, given: Fit) -> None:
    for field in dataclasses.fields(Fit):
        np.testing.assert_array_equal(getattr(found, field.name), getattr(given, field.name))


def commit(out: Path, *fits: Fit) -> None:
    FitCommitter(out).commit([write_fits(out, fits)])


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"val_loss": math.nan, "fold": -1, "role": Role.EXTERNAL, "schedule": "whole:9"},
        {"shuffle": 3, "role": Role.CONTROL, "is_final": False},
        {"test_index": np.array([], dtype=np.int64), "truth": np.array([], dtype=np.int64),
         "predicted": np.array([], dtype=np.int64)},
    ],
)  # fmt: skip
def test_a_fit_reads_back_as_it_was_written(tmp_path: Path, changes: dict[str, Any]) -> None:
    fit = make_fit(**changes)
    commit(tmp_path, make_fit("f0", "g0"), fit)
    assert_same(read_fits(tmp_path)[1], fit)


def test_the_fits_of_some_groups_can_be_read_alone(tmp_path: Path) -> None:
    commit(tmp_path, make_fit("f1", "g1"), make_fit("f2", "g2"))
    assert [fit.fit_id for fit in read_fits(tmp_path, group_ids={"g2"})] == ["f2"]


def test_any_reader_of_delta_tables_sees_key_and_scores(tmp_path: Path) -> None:
    commit(tmp_path, make_fit())
    frame = DeltaTable(tmp_path / "probes").to_pandas()
    assert frame.loc[0, ["task", "split", "fold", "n_epochs"]].tolist() == [
        "toy", "stratified", 2, 7,
    ]  # fmt: skip
    assert frame.loc[0, "params"] == Params(l2=1e-7).text


def test_an_output_without_probes_has_no_fits_and_gets_no_table(tmp_path: Path) -> None:
    assert read_fits(tmp_path) == ()
    assert FitCommitter(tmp_path).group_ids() == frozenset()
    assert not (tmp_path / "probes").exists()


def test_a_part_counts_from_its_commit_on(tmp_path: Path) -> None:
    part = write_fits(tmp_path, [make_fit()])
    assert read_fits(tmp_path) == ()
    committer = FitCommitter(tmp_path)
    assert committer.commit([part]).n_fits == 1
    assert committer.group_ids() == {"g1"}


def test_the_same_commit_again_changes_nothing(tmp_path: Path) -> None:
    first, second = (write_fits(tmp_path, [make_fit()]) for _ in range(2))
    committer = FitCommitter(tmp_path)
    committer.commit([first])
    again = committer.commit([second])
    assert (again.n_fits, again.lost) == (0, ("g1",))
    assert len(read_fits(tmp_path)) == 1
    assert [path.name for path in (tmp_path / "probes").glob("*.parquet")] == [first.file_name]


def test_groups_that_another_driver_has_are_dropped_and_the_others_count(tmp_path: Path) -> None:
    mine, theirs = FitCommitter(tmp_path), FitCommitter(tmp_path)
    mine.commit([write_fits(tmp_path, [make_fit("f0", "g0")])])  # both have the table open
    theirs.group_ids()
    part = write_fits(tmp_path, [make_fit("f1", "g1"), make_fit("f2", "g2")])
    theirs.commit([write_fits(tmp_path, [make_fit("f1", "g1", wall_s=9.0)])])
    done = mine.commit([part])
    assert (done.n_fits, done.lost) == (1, ("g1",))
    fits = read_fits(tmp_path)
    assert sorted(fit.fit_id for fit in fits) == ["f0", "f1", "f2"]
    assert {fit.wall_s for fit in fits if fit.fit_id == "f1"} == {9.0}


class Overtaken(FitCommitter):
    """Another driver commits between the look at the log and the commit, once."""

    def _try_to_append(self, table: Any, parts: Any) -> bool:
        rival, self.rival = self.rival, None
        if rival:
            rival()
        return super()._try_to_append(table, parts)


def test_a_commit_that_was_overtaken_is_settled_by_reading_the_log_again(tmp_path: Path) -> None:
    mine = Overtaken(tmp_path)
    mine.rival = lambda: commit(tmp_path, make_fit("f1", "g1", wall_s=9.0))
    part = write_fits(tmp_path, [make_fit("f1", "g1"), make_fit("f2", "g2")])
    done = mine.commit([part])
    assert (done.n_fits, done.lost) == (1, ("g1",))
    assert sorted(fit.fit_id for fit in read_fits(tmp_path)) == ["f1", "f2"]


def test_a_group_in_two_parts_is_one_transaction(tmp_path: Path) -> None:
    parts = [write_fits(tmp_path, [make_fit(name, "g1")]) for name in ("f1", "f2")]
    FitCommitter(tmp_path).commit(parts)
    assert [fit.fit_id for fit in read_fits(tmp_path)] == ["f1", "f2"]
    assert DeltaTable(tmp_path / "probes").version() == 1


def test_a_part_that_is_not_what_was_reported_is_refused(tmp_path: Path) -> None:
    part = dataclasses.replace(write_fits(tmp_path, [make_fit()]), n_rows=2)
    with pytest.raises(OutputError, match=r"holds 1 fits in .* its writer reported 2"):
        FitCommitter(tmp_path).commit([part])


def test_a_damaged_part_is_one_line_that_names_it(tmp_path: Path) -> None:
    part = write_fits(tmp_path, [make_fit()])
    (tmp_path / "probes" / part.file_name).write_bytes(b"PAR1" * 100)
    with pytest.raises(OutputError, match=f"{part.file_name} is damaged"):
        FitCommitter(tmp_path).commit([part])


@pytest.mark.parametrize(
    "cohort",
    [
        COHORT,
        dataclasses.replace(COHORT, groups=(), folds=(2, 0, 1)),
        dataclasses.replace(COHORT, track_ids=(), y=np.array([], np.int64), groups=()),
    ],
    ids=["groups", "folds", "empty"],
)
def test_a_cohort_reads_back_as_it_was_saved(tmp_path: Path, cohort: Cohort) -> None:
    save_cohort(tmp_path, cohort)
    save_cohort(tmp_path, cohort)
    found = read_cohort(tmp_path, cohort.cohort_id)
    assert found.cohort_id == cohort.cohort_id
    assert (found.task, found.classes) == ("toy", ("a", "b c"))


def test_a_saved_cohort_tells_labels_by_name(tmp_path: Path) -> None:
    save_cohort(tmp_path, COHORT)
    rows = pq.read_table(tmp_path / "probes" / "_cohorts" / f"{COHORT.cohort_id}.parquet")
    assert rows["label"].to_pylist() == ["b c", "a", "b c"]


def test_a_cohort_under_a_wrong_name_is_refused(tmp_path: Path) -> None:
    save_cohort(tmp_path, COHORT)
    folder = tmp_path / "probes" / "_cohorts"
    (folder / f"{COHORT.cohort_id}.parquet").rename(folder / "0123.parquet")
    with pytest.raises(OutputError, match="other tracks than its name says"):
        read_cohort(tmp_path, "0123")


def test_a_cohort_that_is_gone_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"0123\.parquet is missing"):
        read_cohort(tmp_path, "0123")
