"""Sweeps over real tables: resumed, killed, raced and in parallel, they end with one table."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
import pytest
import yaml
from deltalake import DeltaTable

from embedlib.errors import CatalogError, ConfigError, FingerprintError, OutputError
from embedlib.probes.choice import choose
from embedlib.probes.fit_rows import fits_table
from embedlib.probes.ledger import SweepWatcher
from embedlib.probes.records import PAPER, PROTOCOLS, Fit, Role
from embedlib.probes.saved import load_probe
from embedlib.probes.settings import sweep_config
from embedlib.probes.sweep import SweepSummary, run_sweep
from embedlib.probes.table import kept_probe_place, read_cohort, read_fits
from embedlib.records import DecodedTrack, Status, Track, TrackRow
from embedlib.tables.catalog import adopt
from embedlib.tables.commit import commit_parts
from embedlib.tables.manifest import ModelManifest, ensure_manifest
from embedlib.tables.parts import write_part

N_TRACKS = 42
N_MANY = 48
CLASSES = ("bell", "drum", "voice")
MODELS = {"large": 6, "small": 4}

SWEEP = """
import json, sys
from dataclasses import asdict
from embedlib.errors import EmbedlibError
from embedlib.probes.settings import sweep_config
from embedlib.probes.sweep import run_sweep
try:
    answer = asdict(run_sweep(sweep_config(json.loads(sys.argv[1]))))
except EmbedlibError as exc:
    answer = {"error": f"{type(exc).__name__}: {exc}"}
print(json.dumps(answer))
"""
"""What the command does, without its words."""

Values = Mapping[str, Any]
Start = Callable[[Values], subprocess.Popen[str]]


def manifest_of(model: str, n_dims: int, **changes: Any) -> ModelManifest:
    values = dict(
        model=model, n_dims=n_dims, untrained=True, builder_version=1, seed=0, node="n",
        front_end="musicnn-mel", front_end_version=1, sr_hz=16000, resampler="soxr-hq",
        decoder="pyav", patch_frames=187, patch_hop_frames=93, last_patch="tile-short",
        precision="f32", patches=True,
    )  # fmt: skip
    return ModelManifest(**values | changes)


def row_of(number: int, x: np.ndarray, *, has_failed: bool) -> TrackRow:
    track = Track(f"t{number:03}", f"/m/t{number:03}.wav", 1, "1")
    status = Status.UNDECODABLE if has_failed else Status.OK
    decoded = DecodedTrack(number, status, "", 10.0, 16000, 1, 160_000)
    if has_failed:
        return TrackRow(track, decoded)
    return TrackRow(track, decoded, False, np.arange(len(x), dtype=np.int32) * 1000, x)


def make_output(out: Path, *, failed: tuple[int, ...] = (), seed: int = 0, **changes: Any) -> Path:
    """Write a catalogue and a table for each model, whose vectors tell the classes well."""
    rng = np.random.default_rng(seed)
    for model, n_dims in MODELS.items():
        manifest = manifest_of(model, n_dims, **changes)
        centres = 2 * rng.standard_normal((len(CLASSES), n_dims))
        vectors = [centres[n % len(CLASSES)] + rng.standard_normal((2, n_dims))
                   for n in range(N_TRACKS)]  # fmt: skip
        rows = [row_of(number, x.astype(np.float32), has_failed=number in failed)
                for number, x in enumerate(vectors)]  # fmt: skip
        adopt(out, [row.track for row in rows], sources=["/m"], shard_hours=1.0)
        ensure_manifest(out, manifest)
        part = write_part(
            out / model, manifest=manifest, shard_id="0a", attempt_id="1", rows=rows, provenance={}
        )
        commit_parts(out, model, [part])
    return out


def write_task(
    folder: Path, name: str, *, n_labels: int = N_TRACKS, n_off: int = 0
) -> dict[str, str]:
    """Write a task and its labels, a few of them off."""
    task, labels = folder / f"{name}.yaml", folder / f"{name}.csv"
    task.write_text(yaml.safe_dump({"name": name, "classes": list(CLASSES)}))
    lines = [f"t{n:03},{CLASSES[(n + (n < n_off)) % len(CLASSES)]}" for n in range(n_labels)]
    labels.write_text("\n".join(["track_id,label", *lines]) + "\n")
    return {"task": str(task), "labels": str(labels)}


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return make_output(tmp_path / "out")


@pytest.fixture
def values(tmp_path: Path, out: Path) -> dict[str, Any]:
    """A sweep of six groups: one task, two models, three folds."""
    return values_of(out, write_task(tmp_path, "toy"))


def values_of(out: Path, *tasks: Values, **changes: Any) -> dict[str, Any]:
    quick = {"folds": 3, "repeats": 1, "controls": 0, "params": {"rate": [0.1]}, "local": True}
    return {"out": str(out), "tasks": list(tasks), **quick, **changes}


def sweep(values: Values, **changes: Any) -> SweepSummary:
    return run_sweep(sweep_config({**values, **changes}))


def table_of(out: Path) -> pa.Table:
    """All fits by their ids, without what may differ."""
    rows = fits_table(read_fits(out)).drop_columns("wall_s")
    return rows.sort_by("fit_id")


def files_of(out: Path) -> set[str]:
    return {path for path in DeltaTable(out / "probes").file_uris()}


def fits_by(out: Path, role: Role) -> list[Fit]:
    return [fit for fit in read_fits(out) if fit.key.role is role]


def test_each_track_is_tested_once_in_each_repeat(values: dict[str, Any], out: Path) -> None:
    sweep(values, repeats=2, models=["small"])
    tested: Counter[tuple[int, int]] = Counter()
    for fit in fits_by(out, Role.CV):
        tested.update((fit.key.repeat, int(index)) for index in fit.test_index)
    assert tested == {(repeat, track): 1 for repeat in range(2) for track in range(N_TRACKS)}


def test_classes_that_lie_apart_are_told_apart_and_shuffled_ones_are_not(
    values: dict[str, Any], out: Path
) -> None:
    sweep(values, models=["large"], controls=3)
    accuracy = {
        role: np.mean(np.concatenate([fit.truth == fit.predicted for fit in fits_by(out, role)]))
        for role in (Role.CV, Role.CONTROL)
    }
    assert accuracy[Role.CV] > 0.9
    assert accuracy[Role.CONTROL] < 0.6


def test_controls_are_fitted_for_the_first_model_alone(values: dict[str, Any], out: Path) -> None:
    sweep(values, controls=2)
    assert {fit.key.model for fit in fits_by(out, Role.CONTROL)} == {"large"}
    assert {fit.key.model for fit in fits_by(out, Role.CV)} == set(MODELS)


def test_fits_name_a_cohort_that_is_kept(values: dict[str, Any], out: Path) -> None:
    sweep(values)
    (cohort_id,) = {fit.cohort_id for fit in read_fits(out)}
    cohort = read_cohort(out, cohort_id)
    for fit in read_fits(out):
        np.testing.assert_array_equal(fit.truth, cohort.y[fit.test_index])


def test_the_same_sweep_again_does_nothing(values: dict[str, Any], out: Path) -> None:
    first, again = sweep(values), sweep(values)
    assert (first.n_fits, first.n_skipped) == (6, 0)
    assert (again.n_fits, again.n_skipped, again.n_commits) == (0, 6, 0)


def test_a_larger_sweep_fits_only_what_is_new(values: dict[str, Any], out: Path) -> None:
    sweep(values)
    more = sweep(values, repeats=2)
    assert (more.n_fits, more.n_skipped) == (6, 6)
    assert len({fit.fit_id for fit in read_fits(out)}) == len(read_fits(out)) == 12


def test_changed_labels_are_fitted_anew(values: dict[str, Any], tmp_path: Path) -> None:
    sweep(values)
    write_task(tmp_path, "toy", n_off=1)
    assert sweep(values).n_fits == 6


def test_changed_embeddings_are_fitted_anew(values: dict[str, Any], tmp_path: Path) -> None:
    sweep(values)
    other = make_output(tmp_path / "other", seed=1)
    (tmp_path / "out" / "probes").rename(other / "probes")
    changed = sweep(values, out=str(other))
    assert (changed.n_fits, changed.n_skipped) == (6, 0)


def test_both_protocols_have_fits_of_their_own(
    values: dict[str, Any], out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(PROTOCOLS, "paper", dataclasses.replace(PAPER, max_epochs=20))
    sweep(values, protocols=["pooled", "paper"], models=["small"])
    by_protocol = Counter(fit.key.protocol for fit in read_fits(out))
    assert by_protocol == {"pooled": 3, "paper": 3}


def test_a_search_drops_parameters_before_the_last_rung(values: dict[str, Any], out: Path) -> None:
    params = {"rate": [0.02, 0.01, 1e-6, 1e-7]}
    sweep(values, models=["small"], params=params, rungs=[2])
    for fold in range(3):
        own = [fit for fit in read_fits(out) if fit.key.fold == fold]
        assert sum(fit.is_final for fit in own) == 2
        assert {fit.schedule for fit in own} == {"sync:2,200"}


def test_the_chosen_probe_of_each_fold_is_kept(values: dict[str, Any], out: Path) -> None:
    params = {"rate": [0.02, 0.01]}
    sweep(values, models=["small"], params=params, repeats=2, keep_probes=True)
    first = [fit for fit in read_fits(out) if fit.key.repeat == 0]
    chosen = [choose(fit for fit in first if fit.key.fold == fold) for fold in range(3)]
    kept = {path.stem for path in (out / "probes" / "_models").glob("*.npz")}
    assert kept == {fit.fit_id for fit in chosen}
    probe, card = load_probe(kept_probe_place(out, chosen[0].fit_id))
    assert (probe.classes, card.params) == (CLASSES, chosen[0].key.params)


def test_an_external_set_is_scored_by_a_probe_of_all_tracks(
    values: dict[str, Any], tmp_path: Path, out: Path
) -> None:
    there = make_output(tmp_path / "there", failed=(0,))
    external = write_task(tmp_path, "theirs", n_labels=12)["labels"]
    task = {**values["tasks"][0], "external": external, "external_out": str(there)}
    done = sweep(values, tasks=[task], models=["large"])
    (fit,) = fits_by(out, Role.EXTERNAL)
    assert (fit.n_train, fit.test_index.tolist()) == (N_TRACKS, list(range(1, 12)))
    assert read_cohort(out, fit.test_cohort_id).track_ids[0] == "t000"
    assert np.mean(fit.truth == fit.predicted) > 0.9
    assert done.notes[0] == "toy: 1 of 12 external tracks have no embedding of large"
    assert sweep(values, tasks=[task], models=["large"]).n_fits == 0


def test_recordings_that_would_be_trained_on_and_tested_are_told_before_the_scores(
    values: dict[str, Any], tmp_path: Path
) -> None:
    there = make_output(tmp_path / "there", failed=(0,))
    external = write_task(tmp_path, "theirs", n_labels=12)["labels"]
    task = {**values["tasks"][0], "external": external, "external_out": str(there)}
    told = "toy: recordings that are both in the training and in the external set: 11; "
    found = [note for note in sweep(values, tasks=[task]).notes if "recordings" in note]
    assert found == [f"{told}`embedlib tasks check` names them"]


def test_an_external_output_that_lacks_a_model_costs_that_model_its_external_score_only(
    values: dict[str, Any], tmp_path: Path, out: Path
) -> None:
    there = make_output(tmp_path / "there")
    shutil.rmtree(there / "large")
    external = write_task(tmp_path, "theirs", n_labels=12)["labels"]
    task = {**values["tasks"][0], "external": external, "external_out": str(there)}
    sweep(values, tasks=[task])
    assert [fit.key.model for fit in fits_by(out, Role.EXTERNAL)] == ["small"]


def test_external_embeddings_of_another_kind_are_refused(
    values: dict[str, Any], tmp_path: Path
) -> None:
    there = make_output(tmp_path / "there", precision="bf16")
    external = write_task(tmp_path, "theirs")["labels"]
    task = {**values["tasks"][0], "external": external, "external_out": str(there)}
    with pytest.raises(FingerprintError, match="made with other parameters"):
        sweep(values, tasks=[task])


def test_what_is_not_as_it_should_be_is_one_line_each(tmp_path: Path) -> None:
    out = make_output(tmp_path / "out", failed=(3, 4))
    external = tmp_path / "theirs.csv"
    external.write_text("track_id,label\nelsewhere,drum\n")
    task = {**write_task(tmp_path, "toy", n_labels=N_TRACKS + 2), "external": str(external)}
    assert sweep(values_of(out, task, models=["small"])).notes == (
        "toy: 2 of 44 labelled tracks are not in the catalogue, such as 't042'",
        f"toy: none of the 1 external labels is of a track of {out}",
        "toy: 2 of 42 tracks have no embedding of small",
    )


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"models": ["none"]}, OutputError, "no table of 'none'"),
        ({"folds": 15}, ConfigError, "class 'bell' has 14 tracks for 15 folds"),
        ({"tasks": [{"task": "unheard-of"}]}, ConfigError, "unheard-of"),
    ],
)
def test_an_impossible_sweep_is_refused_before_anything_is_written(
    values: dict[str, Any], out: Path, changes: Values, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        sweep(values, **changes)
    assert not (out / "probes").exists()


def test_labels_of_no_track_are_refused(values: dict[str, Any], tmp_path: Path) -> None:
    labels = tmp_path / "wrong.csv"
    labels.write_text("track_id,label\nelsewhere,drum\n")
    with pytest.raises(CatalogError, match="elsewhere"):
        sweep(values, tasks=[{**values["tasks"][0], "labels": str(labels)}])


class Counting(SweepWatcher):
    def __init__(self) -> None:
        self.planned = self.skipped = self.ended = 0

    def on_plan(self, n_fits: int, n_skipped: int) -> None:
        self.planned += n_fits
        self.skipped += n_skipped

    def on_fits(self, n_fits: int) -> None:
        self.ended += n_fits


def test_who_looks_on_sees_all_fits_planned_and_ended(values: dict[str, Any]) -> None:
    sweep(values, models=["small"])
    watcher = Counting()
    run_sweep(sweep_config(values), watcher=watcher)
    assert (watcher.planned, watcher.skipped, watcher.ended) == (3, 3, 3)


# Processes


@pytest.fixture
def many(tmp_path: Path, out: Path) -> dict[str, Any]:
    """A sweep of a few seconds of work, in eight parcels."""
    return values_of(out, *many_tasks(tmp_path), repeats=2)


def many_tasks(folder: Path) -> list[dict[str, str]]:
    return [write_task(folder, f"toy{n}", n_off=n) for n in range(N_MANY // 12)]


@pytest.fixture
def start() -> Iterator[Start]:
    """Start sweeps in processes of their own; those that still run at the end are ended."""
    started: list[subprocess.Popen[str]] = []

    def start_one(values: Values) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", SWEEP, json.dumps(values)],
            env={**os.environ, "RAY_AUTH_MODE": "token"},
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        started.append(process)
        return process

    yield start_one
    for process in started:
        with process:
            if process.poll() is None:
                process.kill()


def ended(process: subprocess.Popen[str]) -> dict[str, Any]:
    stdout, _ = process.communicate(timeout=200)
    assert process.returncode == 0
    return dict(json.loads(stdout))


def wait_for_commit(out: Path, process: subprocess.Popen[str]) -> None:
    first = out / "probes" / "_delta_log" / f"{1:020}.json"
    deadline = time.monotonic() + 120
    while not first.exists():
        assert process.poll() is None, "the sweep ended before its first commit"
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> pa.Table:
    """The table that `many` makes in one process."""
    folder = tmp_path_factory.mktemp("clean")
    out = make_output(folder / "out")
    sweep(values_of(out, *many_tasks(folder), repeats=2))
    return table_of(out)


def assert_kill_leaves_no_trace(values: Values, undisturbed: pa.Table, start: Start) -> None:
    out = Path(values["out"])
    process = start(values)
    wait_for_commit(out, process)
    process.send_signal(signal.SIGKILL)
    process.wait()
    files, n_before = files_of(out), len(read_fits(out))
    summary = ended(start(values))
    assert 0 < n_before < N_MANY
    assert (summary["n_skipped"], summary["n_fits"]) == (n_before, N_MANY - n_before)
    assert files <= files_of(out)  # what was committed stays as it is
    assert table_of(out).equals(undisturbed)


def test_a_killed_sweep_ends_as_one_that_was_not_and_repeats_nothing(
    many: dict[str, Any], undisturbed: pa.Table, start: Start
) -> None:
    assert_kill_leaves_no_trace(many, undisturbed, start)


@pytest.mark.slow
def test_a_killed_sweep_of_ray_ends_as_one_that_was_not_and_repeats_nothing(
    many: dict[str, Any], undisturbed: pa.Table, start: Start
) -> None:
    many |= {"local": False, "n_cores": 2}
    assert_kill_leaves_no_trace(many, undisturbed, start)


@pytest.mark.slow
@pytest.mark.parametrize(
    "place", [{"local": True}, {"local": False, "n_cores": 2}], ids=["local", "ray"]
)
def test_a_signal_ends_a_sweep_that_can_be_continued(
    many: dict[str, Any], start: Start, place: Values
) -> None:
    process = start({**many, **place})
    wait_for_commit(Path(many["out"]), process)
    process.send_signal(signal.SIGINT)
    first, second = ended(process), ended(start({**many, **place}))
    assert (first["signal_number"], second["signal_number"]) == (signal.SIGINT, 0)
    assert 0 < first["n_fits"] < N_MANY
    assert second["n_skipped"] == first["n_fits"]
    assert first["n_fits"] + second["n_fits"] == N_MANY


def test_two_sweeps_at_once_commit_each_fit_once(many: dict[str, Any], start: Start) -> None:
    summaries = [ended(each) for each in [start(many), start(many)]]
    names = [fit.fit_id for fit in read_fits(many["out"])]
    assert sum(each["n_fits"] for each in summaries) == N_MANY
    assert len(names) == len(set(names)) == N_MANY


@pytest.mark.parametrize("n_cores", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_workers_make_the_table_that_one_process_makes(
    many: dict[str, Any], undisturbed: pa.Table, start: Start, n_cores: int
) -> None:
    summary = ended(start({**many, "local": False, "n_cores": n_cores}))
    assert summary["n_fits"] == N_MANY
    assert table_of(Path(many["out"])).equals(undisturbed)


@pytest.mark.parametrize(
    "place", [{"local": True}, pytest.param({"local": False}, marks=pytest.mark.slow)]
)
def test_an_error_in_a_fit_ends_the_sweep_with_its_line(
    values: dict[str, Any], tmp_path: Path, start: Start, place: Values
) -> None:
    out = make_output(tmp_path / "poor", failed=tuple(range(0, N_TRACKS, 3)))
    found = ended(start({**values, "out": str(out), **place}))
    assert found["error"].startswith("ConfigError: toy: ")
    assert "'bell'" in found["error"]


@pytest.mark.slow
def test_a_lost_worker_is_replaced_and_its_parcel_done_again(
    many: dict[str, Any],
    undisturbed: pa.Table,
    start: Start,
    actors_of: Callable[[subprocess.Popen[str], str], list[psutil.Process]],
) -> None:
    process = start({**many, "local": False, "n_cores": 2})
    while not (at_work := actors_of(process, "ResourceTrainable.train")):
        assert process.poll() is None
    at_work[0].kill()
    assert ended(process)["n_fits"] == N_MANY
    assert table_of(Path(many["out"])).equals(undisturbed)


@pytest.mark.slow
def test_asha_ends_and_marks_its_rows(values: dict[str, Any], out: Path, start: Start) -> None:
    asha = {"scheduler": "asha", "local": False, "rungs": [4, 12], "models": ["small"]}
    params = {"rate": [0.02, 0.01, 1e-5, 1e-6]}
    summary = ended(start({**values, **asha, "params": params, "controls": 1}))
    assert (summary["n_fits"], summary["is_reproducible"]) == (15, False)
    fits = fits_by(out, Role.CV)
    assert {fit.schedule for fit in fits} == {"asha"}
    assert {fit.schedule for fit in fits_by(out, Role.CONTROL)} == {"sync:200"}
    for fold in range(3):
        own = [fit for fit in fits if fit.key.fold == fold]
        assert any(fit.is_final for fit in own)
        assert sorted(fit.key.params.rate for fit in own) == sorted(params["rate"])
    parts = {path.name for path in (out / "probes").glob("*.parquet")}
    assert parts == {name.rpartition("/")[2] for name in files_of(out)}  # of early rungs none
