"""The journal of a run: what it keeps of itself in its folder, and how others read it."""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from embedlib.audio.decode import AudioLimits
from embedlib.catalog.shards import ShardSize
from embedlib.catalog.stores import StorePath
from embedlib.errors import RunError
from embedlib.records import DecodeStats, PartResult, Shard, Track, TrackNote
from embedlib.run import events as ev
from embedlib.run import journal as module
from embedlib.run import lookout, run_log
from embedlib.run.driver import Interruption, RunPlan
from embedlib.run.job import DecodeJob
from embedlib.run.journal import RECORD_FILE, Journal
from embedlib.run.lookout import SILENT_S, Lookout
from embedlib.run.run_log import RunLog, key_values, read_log, values_of
from embedlib.run.scheduler import Scheduler
from embedlib.run.standing import RunRecord, Standing, read_record
from embedlib.run.unfinished import process_start

RUN = "20261123-010203-000000-abcdef"
BAD = TrackNote("bad.mp3", "undecodable", "it is not audio")
DAMAGED = TrackNote("torn.mp3", "damaged", "2 packets are bad")


@pytest.fixture
def plan(tmp_path: Path) -> RunPlan:
    """Two shards of two tracks for two models."""
    shards = {
        name: Shard(name, (Track(f"{name}/a", "", -1, ""), Track("bad.mp3", "", -1, "")), 60.0)
        for name in ("s0", "s1")
    }
    return RunPlan(
        out=tmp_path,
        run_id=RUN,
        shards=shards,
        sizes={shard_id: ShardSize(2, 60.0) for shard_id in shards},
        models=dict.fromkeys(shards, ("m", "n")),
        jobs={name: SimpleNamespace(front_end="musicnn-mel") for name in ("m", "n")},
        graphs={},
        decode=DecodeJob(("musicnn-mel",), "pyav", "soxr-hq", AudioLimits(60.0, 60.0), 1 << 20),
        budget_bytes=1 << 28,
    )


def journal_of(plan: RunPlan, interruption: Interruption | None = None) -> Journal:
    return Journal(plan, out=plan.out, interruption=interruption or Interruption())


def with_workers(plan: RunPlan, journal: Journal) -> Scheduler:
    """Let the first shard begin: decoder d, slots sm and sn, on one node."""
    scheduler = plan.scheduler()
    slots = [ev.SlotAdded(f"s{model}", model, node_id="node-1") for model in ("m", "n")]
    for event in (ev.DecoderAdded("d", "node-1"), *slots):
        feed(event, scheduler, journal)
    return scheduler


def feed(event: ev.Event, scheduler: Scheduler, journal: Journal) -> None:
    scheduler.on(event)
    journal.observe(event, scheduler)


def written(model: str, *, notes: tuple[TrackNote, ...] = (BAD,)) -> ev.Written:
    stage_s = (("embed", 1.5), ("write", 0.25))
    statuses = (("ok", 1), ("undecodable", 1))
    return ev.Written("a0", PartResult(model, "s0", "f", 2, 9, 9, 60.0, statuses, stage_s, notes))


def record_of(plan: RunPlan) -> RunRecord:
    return read_record((plan.out / "runs" / RUN / RECORD_FILE).read_text())


def log_of(plan: RunPlan, *, having: str = "") -> list[str]:
    return [entry for entry in read_log(plan.out, RUN) if having in entry]


def test_a_run_says_at_once_that_it_is_there(plan: RunPlan) -> None:
    with journal_of(plan):
        deadline = time.monotonic() + 5.0
        while not (plan.out / "runs" / RUN / RECORD_FILE).exists():
            assert time.monotonic() < deadline
        record = record_of(plan)
    assert (record.run_id, record.pid, record.host) == (RUN, os.getpid(), socket.gethostname())
    assert (record.ended, record.standing.n_rows, record.models) == ("", 8, ("m", "n"))


def test_the_last_record_says_how_far_it_came_and_that_it_is_done(plan: RunPlan) -> None:
    with journal_of(plan) as journal:
        scheduler = with_workers(plan, journal)
        feed(written("m"), scheduler, journal)
    record = record_of(plan)
    assert record.ended == "done"
    assert (record.standing.n_done, record.standing.n_failed) == (2, 1)
    assert record.standing.statuses == {"ok": 1, "undecodable": 1}
    assert [(pool.model, pool.n_workers) for pool in record.standing.pools] == [("m", 1), ("n", 1)]


def test_what_is_said_of_rows_is_kept_before_they_are_committed(
    plan: RunPlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOCAL_EVERY_S", 60.0)
    with journal_of(plan) as journal:
        scheduler = with_workers(plan, journal)
        feed(written("m"), scheduler, journal)
        journal.keep()
        assert [line for line in log_of(plan) if "model=m" in line and line.endswith("written")]


def test_an_error_is_named_without_credentials(plan: RunPlan) -> None:
    with pytest.raises(RunError), journal_of(plan):
        raise RunError("no answer from s3://key:secret@bucket/a")
    assert record_of(plan).ended == "RunError: no answer from s3://***@bucket/a"
    assert "secret" not in "".join(log_of(plan))


def test_a_signal_is_named(plan: RunPlan) -> None:
    interruption = Interruption()
    with journal_of(plan, interruption):
        interruption.signal_number = signal.SIGTERM
    assert record_of(plan).ended == "SIGTERM"


def test_a_driver_that_is_busy_for_long_still_gives_signs_of_life(
    plan: RunPlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOCAL_EVERY_S", 0.01)
    with journal_of(plan):
        time.sleep(0.2)  # no event
        n_written = record_of(plan).n_written
    assert n_written > 3


def test_a_folder_that_cannot_be_written_ends_no_run_and_is_named_once(
    plan: RunPlan, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "LOCAL_EVERY_S", 0.01)
    (plan.out / "runs").write_text("a file")
    with journal_of(plan):
        time.sleep(0.1)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert f"run={RUN} could not keep its journal: cannot write to" in caplog.text


def test_a_disk_that_ends_the_run_is_not_named_twice(
    plan: RunPlan, caplog: pytest.LogCaptureFixture
) -> None:
    (plan.out / "runs").write_text("a file")
    with pytest.raises(RunError), journal_of(plan):
        raise RunError("its disk is full")
    assert not caplog.records


def test_a_shard_has_one_line_per_model_with_all_ids_and_seconds(plan: RunPlan) -> None:
    with journal_of(plan) as journal:
        scheduler = with_workers(plan, journal)
        feed(ev.DecodeEnded("a0", DecodeStats(decode_s=2.0)), scheduler, journal)
        feed(written("m"), scheduler, journal)
    (line,) = log_of(plan, having=" written")
    values = values_of(line)
    assert " INFO run=" in line
    assert {key: values[key] for key in ("run", "shard", "model", "attempt", "worker", "node")} == {
        "run": RUN, "shard": "s0", "model": "m", "attempt": "a0", "worker": "sm", "node": "node-1",
    }  # fmt: skip
    assert (values["tracks"], values["failed"], values["audio_s"]) == ("2", "1", "60.000")
    assert (values["decode_s"], values["embed_s"], values["write_s"]) == ("2.000", "1.500", "0.250")
    assert float(values["wall_s"]) >= 0.0


def test_a_failed_track_has_one_line_however_many_models_it_failed(plan: RunPlan) -> None:
    with journal_of(plan) as journal:
        scheduler = with_workers(plan, journal)
        for model in ("m", "n"):
            feed(written(model, notes=(BAD, DAMAGED)), scheduler, journal)
    (line,) = log_of(plan, having="track=")
    values = values_of(line)
    assert (values["track"], values["status"], values["error"]) == (
        "bad.mp3", "undecodable", "it is not audio",
    )  # fmt: skip
    assert (values["shard"], values["attempt"]) == ("s0", "a0")


def test_at_debug_every_track_has_a_line(plan: RunPlan, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "embedlib"), journal_of(plan) as journal:
        scheduler = with_workers(plan, journal)
        feed(written("m", notes=(BAD,)), scheduler, journal)
    ended = {values["track"]: values["status"] for values in map(values_of, log_of(plan))
             if "track" in values}  # fmt: skip
    assert ended == {"bad.mp3": "undecodable", "s0/a": "ok"}
    assert log_of(plan, having=" begun models=m,n")
    assert "track=s0/a status=ok" in caplog.text


def test_a_lost_worker_is_a_warning_for_each_shard_it_held(
    plan: RunPlan, caplog: pytest.LogCaptureFixture
) -> None:
    with journal_of(plan) as journal:
        scheduler = with_workers(plan, journal)
        feed(ev.WorkerLost("sn", "killed by the kernel"), scheduler, journal)
    (line,) = log_of(plan, having=" lost")
    values = values_of(line)
    assert " WARNING " in line
    assert (values["shard"], values["worker"]) == ("s0", "sn")
    assert values["reason"] == "killed by the kernel"
    assert "killed by the kernel" in caplog.text


def test_an_attempt_that_failed_is_a_warning(plan: RunPlan) -> None:
    with journal_of(plan) as journal:
        scheduler = with_workers(plan, journal)
        feed(ev.AttemptFailed("a0", "OSError: stale handle"), scheduler, journal)
    (line,) = log_of(plan, having=" failed")
    assert " WARNING " in line
    assert values_of(line)["shard"] == "s0"


def test_what_others_say_meanwhile_is_kept_with_its_traceback(plan: RunPlan) -> None:
    logger = logging.getLogger("embedlib")
    handlers = list(logger.handlers)
    with journal_of(plan):
        assert logger.handlers == handlers  # else Python's own for warnings would fall silent
        try:
            raise OSError("stale")
        except OSError:
            logger.exception("attempt=%s failed", "a0")
    logger.warning("after the run")
    (entry,) = log_of(plan, having="attempt=a0")
    assert f" ERROR run={RUN} attempt=a0 failed\n    Traceback" in entry
    assert entry.endswith("OSError: stale")
    assert not log_of(plan, having="after the run")


# The log


def test_segments_are_cut_and_read_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_log, "SEGMENT_BYTES", 500)
    log = RunLog(tmp_path, RUN)
    for number in range(100):
        log.add(logging.INFO, f"n={number}")
        if number % 7 == 0:
            log.flush()
    log.flush()
    assert [values_of(entry)["n"] for entry in read_log(tmp_path, RUN)] == list(
        map(str, range(100))
    )
    segments = [*(tmp_path / "runs" / RUN).glob("log-*.txt")]
    assert len(segments) > 5
    assert all(path.stat().st_size <= 500 for path in segments)


def test_a_full_log_keeps_what_went_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_log, "KEPT_BYTES", 100)
    log = RunLog(tmp_path, RUN)
    for number in range(5):
        log.add(logging.INFO, f"n={number} {'x' * 80}")
    log.add(logging.DEBUG, "track=bad.mp3", is_needed=True)
    log.add(logging.WARNING, "lost")
    log.flush()
    *good, full, bad, lost = read_log(tmp_path, RUN)
    assert [values_of(entry)["n"] for entry in good] == ["0"]
    assert full.endswith(run_log.FULL)
    assert (bad[-7:], lost[-4:]) == ("bad.mp3", "lost")


def test_lines_that_could_not_be_written_are_written_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = RunLog(tmp_path, RUN)
    log.add(logging.INFO, "n=1")
    with monkeypatch.context() as patch:
        patch.setattr(run_log, "renew_record", _full_disk)
        with pytest.raises(OSError, match="full"):
            log.flush()
    log.flush()
    assert len([*read_log(tmp_path, RUN)]) == 1


def _full_disk(*_: object, **__: object) -> None:
    raise OSError("full")


@pytest.mark.parametrize(
    "text", ["a b.mp3", 'a"b', "a=b", "a\nb", "Ä/ö.mp3", "a\\b", "", "x" * 300, " a"]
)
def test_values_come_back_as_they_were(text: str) -> None:
    line = key_values(run="r", track=text, n=1)
    assert "\n" not in line
    assert values_of(line).get("track", "") == text
    assert values_of(line)["n"] == "1"


def test_credentials_are_masked_and_do_not_break_the_line() -> None:
    line = key_values(error="403 for https://ann:pw@h/a.mp3?sig=ab12", n=1)
    assert values_of(line) == {"error": "403 for https://***@h/a.mp3?***", "n": "1"}


# From afar


def stored_record(out: Path, run_id: str = RUN, **changes: object) -> RunRecord:
    """A record that another process has left."""
    mine = RunRecord(
        run_id=run_id, host="elsewhere", pid=1, process_start="7", models=("m",),
        started_unix_s=time.time() - 60.0, written_unix_s=time.time(), n_written=3, ended="",
        standing=Standing(n_rows=4, n_done=1, bottleneck="decode-bound"),
    )  # fmt: skip
    record = replace(mine, **changes)  # type: ignore[arg-type]
    folder = out / "runs" / run_id
    folder.mkdir(parents=True, exist_ok=True)
    (folder / RECORD_FILE).write_text(record.to_json())
    return record


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    record = stored_record(tmp_path)
    assert read_record(record.to_json()) == record


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"run_id": "x", "standing": {}}', "half {"])
def test_what_is_no_record_is_left_out(text: str, tmp_path: Path) -> None:
    stored_record(tmp_path)
    (tmp_path / "runs" / RUN / RECORD_FILE).write_text(text)
    (tmp_path / "runs" / "index.lock").write_text("{}")
    assert Lookout(tmp_path).look() == []


def test_a_run_elsewhere_that_writes_is_under_way(tmp_path: Path) -> None:
    record = stored_record(tmp_path)
    (sighting,) = Lookout(tmp_path).look()
    assert (sighting.is_under_way, sighting.record) == (True, record)


@pytest.mark.parametrize(
    ("ended", "verdict", "is_well"),
    [
        ("done", "done", True),
        ("SIGTERM", "ended early by SIGTERM", False),
        ("RunError: full", "ended by an error: RunError: full", False),
    ],
)
def test_a_run_that_ended_says_how(ended: str, verdict: str, is_well: bool, tmp_path: Path) -> None:
    stored_record(tmp_path, ended=ended, written_unix_s=1e9)
    (sighting,) = Lookout(tmp_path).look()
    assert (sighting.is_under_way, sighting.verdict, sighting.is_well) == (False, verdict, is_well)


def test_a_run_elsewhere_that_fell_silent_counts_as_killed(tmp_path: Path) -> None:
    stored_record(tmp_path, written_unix_s=time.time() - SILENT_S - 5.0)
    (sighting,) = Lookout(tmp_path).look()
    assert not sighting.is_under_way
    assert sighting.verdict.startswith("no word for 9")
    assert "killed or cut off, last seen 20" in sighting.verdict
    assert sighting.verdict.endswith(" on host elsewhere")


def test_a_clock_that_is_behind_misleads_the_first_look_only(tmp_path: Path) -> None:
    behind = stored_record(tmp_path, written_unix_s=time.time() - 3600.0)
    looking = Lookout(tmp_path)
    assert not looking.look()[0].is_under_way
    stored_record(tmp_path, written_unix_s=behind.written_unix_s + 2.0, n_written=4)
    assert looking.look()[0].is_under_way


def test_a_clock_that_is_ahead_hides_no_death(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored_record(tmp_path, written_unix_s=time.time() + 3600.0)
    looking = Lookout(tmp_path)
    assert looking.look()[0].is_under_way
    later = SimpleNamespace(time=time.time, monotonic=lambda: time.monotonic() + SILENT_S + 1.0)
    monkeypatch.setattr(lookout, "time", later)
    assert not looking.look()[0].is_under_way


@pytest.mark.parametrize(("start", "is_under_way"), [("own", True), ("another", False)])
def test_on_its_own_machine_its_process_is_looked_for(
    start: str, is_under_way: bool, tmp_path: Path
) -> None:
    own = process_start(os.getpid())
    stored_record(
        tmp_path,
        host=socket.gethostname(),
        pid=os.getpid(),
        process_start=own if start == "own" else "1",
        written_unix_s=time.time() - 2 * SILENT_S * (start == "own"),
    )
    assert Lookout(tmp_path).look()[0].is_under_way is is_under_way


def test_several_runs_are_seen_the_oldest_first(tmp_path: Path) -> None:
    for number in range(lookout.N_NEWEST + 5):
        stored_record(tmp_path, f"2026112{number:02}")
    sightings = Lookout(tmp_path).look()
    assert [each.record.run_id for each in sightings] == [
        f"2026112{number:02}" for number in range(5, lookout.N_NEWEST + 5)
    ]


def test_a_run_into_a_store_is_seen_from_afar(plan: RunPlan) -> None:
    out = StorePath(f"memory://{plan.out.name}")
    with Journal(plan, out=out, interruption=Interruption()) as journal:
        scheduler = with_workers(plan, journal)
        feed(written("m"), scheduler, journal)
    (sighting,) = Lookout(out).look()
    assert (sighting.verdict, sighting.record.standing.n_done) == ("done", 2)
    assert [values_of(entry).get("track") for entry in read_log(out, RUN)] == [
        None,
        "bad.mp3",
        None,
    ]


def test_an_output_without_runs_has_none(tmp_path: Path) -> None:
    assert Lookout(tmp_path).look() == []


def test_a_record_is_json_that_others_can_read(tmp_path: Path) -> None:
    values = json.loads(stored_record(tmp_path).to_json())
    assert (values["run_id"], values["standing"]["n_rows"]) == (RUN, 4)
