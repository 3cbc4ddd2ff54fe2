"""The doctor on clocks, tokens and weights."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from embedlib.doctor.clocks import FAULT_S, ClockFacts, ahead_s, judge_clock
from embedlib.doctor.tokens import TokenFacts, judge_token, read_token
from embedlib.doctor.verdict import Verdict
from embedlib.doctor.weights import WeightsFacts, judge_weights, read_weights
from embedlib.models.cache import VerifiedFile
from embedlib.models.registry import model_spec
from embedlib.models.store import weights_name

CLOSED = TokenFacts("token", False, "/home/ann/.ray/auth_token", 0o600, ())


@pytest.mark.parametrize(
    ("told_s", "ahead"), [(99.0, 0.0), (104.0, 0.0), (110.0, 6.0), (90.0, -9.0)]
)
def test_a_clock_is_off_by_what_waiting_cannot_explain(told_s: float, ahead: float) -> None:
    assert ahead_s(ClockFacts("a node", 100.0, told_s, 104.0, step_s=1.0)) == ahead


@pytest.mark.parametrize(
    ("off_s", "verdict"),
    [(3.0, Verdict.OK), (30.0, Verdict.WARNING), (FAULT_S + 1, Verdict.FAULT)],
)
@pytest.mark.parametrize("sign", [1, -1])
def test_clocks_are_judged_in_both_directions(off_s: float, verdict: Verdict, sign: int) -> None:
    check = judge_clock(ClockFacts("a node", 1e9, 1e9 + sign * off_s, 1e9, step_s=0.0))
    assert check.verdict is verdict
    assert check.fix == ("" if verdict is Verdict.OK else "sudo timedatectl set-ntp true")


@pytest.mark.parametrize("joins", [True, False])
def test_a_token_that_only_its_owner_reads_is_right(joins: bool) -> None:
    assert [check.verdict for check in judge_token(CLOSED, joins=joins)] == [Verdict.OK]


@pytest.mark.parametrize(
    ("changes", "fix"),
    [
        ({"mode": "disabled"}, "export RAY_AUTH_MODE=token"),
        ({"permissions": None}, "scp HEAD:.ray/auth_token /home/ann/.ray/auth_token"),
    ],
    ids=str,
)
def test_a_token_that_is_missing_or_not_demanded_is_a_fault(
    changes: dict[str, object], fix: str
) -> None:
    (check,) = judge_token(replace(CLOSED, **changes), joins=True)
    assert (check.verdict, check.fix) == (Verdict.FAULT, fix)


@pytest.mark.parametrize(("joins", "verdict"), [(True, Verdict.FAULT), (False, Verdict.WARNING)])
@pytest.mark.parametrize("permissions", [0o644, 0o640, 0o604])
def test_a_token_file_that_others_read_is_closed_by_the_fix(
    permissions: int, joins: bool, verdict: Verdict
) -> None:
    _, check = judge_token(replace(CLOSED, permissions=permissions), joins=joins)
    assert (check.verdict, check.fix) == (verdict, "chmod 600 /home/ann/.ray/auth_token")


def test_a_run_of_its_own_needs_no_token() -> None:
    (check,) = judge_token(replace(CLOSED, permissions=None), joins=False)
    assert check.verdict is Verdict.OK


def test_a_node_that_demands_no_token_is_a_fault() -> None:
    _, check = judge_token(replace(CLOSED, open_processes=("raylet 17",)), joins=False)
    assert check.verdict is Verdict.FAULT
    assert check.found.startswith("raylet 17: no token")
    assert check.fix == "ray stop && RAY_AUTH_MODE=token ray start --head"


def test_the_token_is_looked_for_where_ray_does(tmp_path: Path) -> None:
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray" / "auth_token").write_text("hush-hush")
    (tmp_path / ".ray" / "auth_token").chmod(0o640)
    facts = read_token({}, home=tmp_path, processes=tmp_path)
    assert (facts.path, facts.permissions) == (str(tmp_path / ".ray" / "auth_token"), 0o640)
    assert "hush" not in repr(facts)
    named = read_token({"RAY_AUTH_TOKEN_PATH": str(tmp_path / "none")}, home=tmp_path)
    assert (named.path, named.permissions) == (str(tmp_path / "none"), None)
    assert read_token({"RAY_AUTH_TOKEN": "hush"}, home=tmp_path).is_in_environment


def test_an_empty_token_file_is_none(tmp_path: Path) -> None:
    (tmp_path / "token").touch()
    facts = read_token({"RAY_AUTH_TOKEN_PATH": str(tmp_path / "token")}, processes=tmp_path)
    assert facts.permissions is None


@pytest.mark.parametrize(
    ("name", "environment", "found"),
    [
        ("raylet", "PATH=/bin\0", ("raylet 17",)),
        ("gcs_server", "RAY_AUTH_MODE=disabled\0", ("gcs_server 17",)),
        ("raylet", "PATH=/bin\0RAY_AUTH_MODE=token\0", ()),
        ("python", "PATH=/bin\0", ()),
    ],
)
def test_nodes_are_told_by_their_environment(
    name: str, environment: str, found: tuple[str, ...], tmp_path: Path
) -> None:
    (tmp_path / "17").mkdir()
    (tmp_path / "18").mkdir()  # of another user: nothing can be read there
    (tmp_path / "17" / "comm").write_text(f"{name}\n")
    (tmp_path / "17" / "environ").write_text(environment)
    assert read_token({}, home=tmp_path, processes=tmp_path).open_processes == found


GOOD = VerifiedFile(Path("/m/a.pb"), "a" * 64, "a" * 64)


def test_a_changed_weight_file_is_removed_and_fetched_by_the_fix() -> None:
    changed = replace(GOOD, expected="b" * 64)
    facts = WeightsFacts("/m", published=(("msd-vgg-1", changed),), others=(changed,))
    first, second, rest = judge_weights(facts)
    assert (first.verdict, second.verdict, rest.verdict) == (
        Verdict.FAULT,
        Verdict.FAULT,
        Verdict.OK,
    )
    assert (first.fix, second.fix) == ("rm /m/a.pb && embedlib models pull msd-vgg-1", "rm /m/a.pb")


def test_a_file_of_which_nothing_is_known_is_a_warning() -> None:
    facts = WeightsFacts("/m", published=(("msd-vgg-1", replace(GOOD, expected=None)),))
    check, _ = judge_weights(facts)
    assert (check.verdict, check.fix) == (
        Verdict.WARNING,
        "embedlib models add /m/a.pb --as msd-vgg-1",
    )


def test_a_cache_that_cannot_be_read_is_moved_away() -> None:
    (check,) = judge_weights(WeightsFacts("/m", problem="the lock cannot be read"))
    assert (check.verdict, check.fix) == (Verdict.FAULT, "mv /m /m.old")


def test_a_machine_without_weights_is_told_what_brings_them() -> None:
    (check,) = judge_weights(WeightsFacts("/m"))
    assert (check.verdict, check.fix) == (Verdict.WARNING, "embedlib models pull msd-musicnn-1")


def test_weights_are_held_against_their_locks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = Path(weights_name(model_spec("msd-vgg-1")))
    monkeypatch.setenv("EMBEDLIB_CACHE", str(tmp_path))
    monkeypatch.setenv("EMBEDLIB_MODELS", "")
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / name).write_bytes(b"not what was published")
    (tmp_path / "models" / "head.pb").write_bytes(b"changed")
    (tmp_path / "models" / "head.lock.json").write_text(json.dumps({"sha256": "b" * 64}))
    facts = read_weights()
    ((model, file),) = facts.published
    (other,) = facts.others
    assert (model, file.path.name) == ("msd-vgg-1", str(name))
    assert (other.path.name, other.is_good) == ("head.pb", False)


def test_a_broken_lock_is_a_problem_and_no_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EMBEDLIB_CACHE", str(tmp_path))
    monkeypatch.setenv("EMBEDLIB_MODELS", "")
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "head.pb").write_bytes(b"changed")
    (tmp_path / "models" / "head.lock.json").write_text("{")
    assert "head.lock.json cannot be read" in read_weights().problem
