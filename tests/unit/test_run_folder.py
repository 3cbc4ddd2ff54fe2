"""The folder of a run: its name, by which the last run is found."""

from __future__ import annotations

from embedlib.run.run_folder import new_run_id


def test_runs_of_one_second_sort_in_the_order_in_which_they_were_started() -> None:
    run_ids = [new_run_id() for _ in range(20)]
    # Two of one microsecond are not told apart; a run takes longer.
    assert [run_id[:22] for run_id in run_ids] == sorted(run_id[:22] for run_id in run_ids)
    assert len(set(run_ids)) == 20
    assert len({run_id[:22] for run_id in run_ids}) > 1
