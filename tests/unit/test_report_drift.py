"""Drift between two states: what came, went, failed, grew longer, moved, or is there twice."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from embedlib.errors import OutputError
from embedlib.records import Float32, PartResult, Status, TrackRow
from embedlib.report import drift_groups
from embedlib.report.drift import measure_drift
from embedlib.report.drift_durations import N_CLASSES, compare_durations
from embedlib.report.drift_groups import GroupFinder
from embedlib.report.drift_records import (
    Counts,
    Drift,
    Groups,
    Shift,
    Side,
    StatusCount,
    Verdict,
)
from embedlib.report.drift_rows import BLOCK_ROWS, Block
from embedlib.report.drift_shift import ALPHA, N_DEALS, NOTICEABLE_SD, ShiftMeter
from embedlib.report.drift_text import alarms, drift_lines
from embedlib.tables.commit import commit_parts
from embedlib.tables.manifest import ModelManifest
from embedlib.tables.states import record_state

MakeRow = Callable[..., TrackRow]
MakePart = Callable[..., PartResult]
MakeOutput = Callable[..., Path]

N_DIMS = 20


@pytest.fixture
def rows(make_row: MakeRow) -> list[TrackRow]:
    states = [Status.OK, Status.MISSING, Status.OK, Status.DAMAGED, Status.TOO_LONG]
    return [make_row(name, status=state) for name, state in zip("abcde", states, strict=True)]


@pytest.fixture
def out(tmp_path: Path, make_output: MakeOutput, rows: list[TrackRow]) -> Path:
    return make_output(tmp_path / "out", rows)


def of_version(row: TrackRow, version: str, **decoded: object) -> TrackRow:
    return dataclasses.replace(
        row,
        track=dataclasses.replace(row.track, version=version),
        decoded=dataclasses.replace(row.decoded, **decoded),
    )


def noise(rng: np.random.Generator, n_tracks: int, *, mean: float = 0.0) -> Float32:
    return (mean + rng.standard_normal((n_tracks, N_DIMS))).astype(np.float32)


def blocks(gone: Float32, both: Float32, new: Float32, *, n_rows: int = BLOCK_ROWS) -> list[Block]:
    """Embeddings by role; ids say the role and the place."""
    found = []
    for name, x, first, second in (
        ("gone", gone, True, False),
        ("both", both, True, True),
        ("new", new, False, True),
    ):
        for start in range(0, len(x), n_rows):
            piece = x[start : start + n_rows]
            ids = tuple(f"{name}-{start + place}" for place in range(len(piece)))
            sides = (np.full(len(piece), side) for side in (first, second))
            found.append(Block(ids, piece, *sides))
    return found


def shift_of(gone: Float32, both: Float32, new: Float32, *, n_rows: int = BLOCK_ROWS) -> Shift:
    meter = ShiftMeter(n_gone=len(gone), n_both=len(both), n_new=len(new), n_dims=both.shape[1])
    for block in blocks(gone, both, new, n_rows=n_rows):
        meter.add(block)
    return meter.shift()


def groups_of(gone: Float32, both: Float32, new: Float32) -> Groups:
    n_tracks = len(gone) + len(both) + len(new)
    finder = GroupFinder(n_tracks=n_tracks, n_dims=both.shape[1])
    for block in blocks(gone, both, new):
        finder.add(block)
    return finder.groups()


# Two states of one output, and two outputs


def test_a_state_has_not_drifted_from_itself(out: Path) -> None:
    record_state(out, "run-1", "extract")
    found = measure_drift(f"{out}@1", out)
    (model,) = found.models
    assert found.first.name == f"{out}@1"
    assert found.second == Side(str(out))
    assert found.catalogue == model.counts == Counts(5, 5, 0, 0, 0)
    assert model.failures == (StatusCount("missing", 1, 1), StatusCount("too_long", 1, 1))
    assert model.durations.quantiles_first == model.durations.quantiles_second
    assert (model.shift.verdict, model.shift.shift_sd, model.shift.p) == (Verdict.SAME, 0.0, 1.0)
    assert model.shift.cosine == pytest.approx(1.0)
    assert model.groups.n_groups_first == model.groups.n_groups_second == model.groups.n_new == 0
    assert alarms(found) == found.notes == ()


def test_new_gone_changed_and_failed_tracks_are_counted(
    tmp_path: Path, out: Path, make_output: MakeOutput, make_row: MakeRow, rows: list[TrackRow]
) -> None:
    changed = of_version(rows[2], "18", duration_s=20.0)
    mended = make_row("b")
    after = [rows[0], mended, changed, make_row("x", status=Status.CRASHED), make_row("y")]
    found = measure_drift(out, make_output(tmp_path / "after", after))
    (model,) = found.models
    assert found.catalogue == model.counts == Counts(5, 5, n_new=2, n_gone=2, n_changed=1)
    assert model.failures == (
        StatusCount("crashed", 0, 1),
        StatusCount("missing", 1, 0),
        StatusCount("too_long", 1, 0),
    )
    assert model.durations.hours_second == pytest.approx(50 / 3600)
    # a stays; c in its old version and d go; b, c in its new version and y come.
    assert (model.shift.n_first, model.shift.n_second) == (3, 4)
    assert (model.shift.n_gone, model.shift.n_new) == (2, 3)
    assert model.shift.verdict is Verdict.CHANCE


def test_rows_that_lie_in_other_files_are_the_same(
    tmp_path: Path, out: Path, make_output: MakeOutput, rows: list[TrackRow]
) -> None:
    (model,) = measure_drift(out, make_output(tmp_path / "other", rows[::-1])).models
    assert model.shift.verdict is Verdict.SAME
    assert model.counts == Counts(5, 5, 0, 0, 0)


def test_a_copy_under_another_id_is_a_new_group(
    out: Path, make_part: MakePart, rows: list[TrackRow]
) -> None:
    record_state(out, "run-1", "extract")
    copies = [
        dataclasses.replace(
            rows[0],
            track=dataclasses.replace(rows[0].track, track_id=f"copy-{factor}"),
            patch_embeddings=rows[0].patch_embeddings * np.float32(factor),
        )
        for factor in (1, 1.5)
    ]
    commit_parts(out, "tiny", [make_part(out, copies, shard_id="ff")])
    (model,) = measure_drift(f"{out}@1", out).models
    assert (model.groups.n_groups_first, model.groups.n_groups_second) == (0, 1)
    assert model.groups.new == (("a", "copy-1", "copy-1.5"),)


def test_what_only_one_has_or_cannot_be_compared_is_a_note(
    tmp_path: Path,
    out: Path,
    make_output: MakeOutput,
    make_part: MakePart,
    make_row: MakeRow,
    rows: list[TrackRow],
    manifest: ModelManifest,
) -> None:
    wide = dataclasses.replace(manifest, n_dims=5)
    wide_rows = [make_row("a", manifest=wide)]
    other = make_output(tmp_path / "other", wide_rows, manifest=wide)
    vgg = dataclasses.replace(manifest, model="vgg")
    commit_parts(other, "vgg", [make_part(other, rows, manifest=vgg)])
    found = measure_drift(out, other)
    assert found.models == ()
    assert found.notes == (
        f"vgg is in {other} alone",
        "tiny was made with other parameters (n_dims): left out",
    )


def test_other_parameters_are_told_beside_the_shift(
    tmp_path: Path,
    out: Path,
    make_output: MakeOutput,
    rows: list[TrackRow],
    manifest: ModelManifest,
) -> None:
    other = dataclasses.replace(manifest, decoder="essentia")
    found = measure_drift(out, make_output(tmp_path / "other", rows, manifest=other))
    assert found.notes == (
        "tiny was made with other parameters (decoder): the shift tells of them too",
    )
    assert len(found.models) == 1


def test_a_table_of_failures_alone_is_compared_without_numbers(
    tmp_path: Path, out: Path, make_output: MakeOutput, make_row: MakeRow
) -> None:
    failed = make_output(tmp_path / "failed", [make_row("a", status=Status.EMPTY)])
    (model,) = measure_drift(out, failed).models
    assert (model.shift.verdict, model.shift.shift_sd, model.shift.cosine) == (None, None, None)
    assert model.durations.quantiles_second == ()
    (nothing,) = measure_drift(failed, failed).models
    assert nothing.durations.edges_s == ()
    assert "  embeddings: nothing to compare" in list(drift_lines(measure_drift(failed, failed)))


def test_a_state_that_there_is_not_is_one_line(out: Path) -> None:
    with pytest.raises(OutputError, match="no recorded state yet"):
        measure_drift(f"{out}@1", out)


def test_lines_for_a_terminal_tell_each_thing_once(out: Path) -> None:
    record_state(out, "run-1", "extract")
    first, catalogue, model, *rest = drift_lines(measure_drift(f"{out}@1", out))
    assert first.startswith(f"{out}@1 of 2")
    assert first.endswith(f" UTC -> {out} as it is")
    assert catalogue == "catalogue: 5 -> 5 (0 new, 0 gone, 0 changed)"
    assert model == "tiny"
    assert [line.split(":")[0].strip() for line in rest] == [
        "tracks",
        "failures",
        "durations",
        "embeddings",
        "near duplicates",
    ]
    assert "missing 1 -> 1, too_long 1 -> 1" in rest[1]
    assert "median 10 s -> 10 s; middle 90 % 10 s to 10 s -> 10 s to 10 s" in rest[2]
    assert "the same; the mean moved by 0.000 standard deviations" in rest[3]


# The shift of the mean


def test_the_shift_is_that_of_the_formula(rng: np.random.Generator) -> None:
    gone, both, new = noise(rng, 3), noise(rng, 40), noise(rng, 7, mean=1)
    found = shift_of(gone, both, new)
    first, second = (np.concatenate(x).astype(np.float64) for x in ((gone, both), (both, new)))
    sd = np.concatenate((gone, both, new)).astype(np.float64).std(axis=0)
    means = first.mean(axis=0), second.mean(axis=0)
    assert found.shift_sd == pytest.approx(np.sqrt(np.mean(((means[1] - means[0]) / sd) ** 2)))
    lengths = np.linalg.norm(means[0]) * np.linalg.norm(means[1])
    assert found.cosine == pytest.approx(means[0] @ means[1] / lengths)


def test_other_music_is_a_drift(rng: np.random.Generator) -> None:
    both = noise(rng, 100)
    found = shift_of(both[:0], both, noise(rng, 100, mean=0.8))
    assert found.verdict is Verdict.DRIFT
    assert found.p == 1 / (N_DEALS + 1)
    assert found.shift_sd > 2 * found.chance_sd
    assert found.shift_sd > NOTICEABLE_SD


def test_a_certain_but_tiny_shift_is_no_drift(rng: np.random.Generator) -> None:
    both = noise(rng, 5000)
    found = shift_of(both[:0], both, noise(rng, 200, mean=0.8))
    assert found.p == 1 / (N_DEALS + 1)
    assert found.shift_sd < NOTICEABLE_SD
    assert found.verdict is Verdict.SLIGHT


@pytest.mark.parametrize(
    ("n_gone", "n_both", "n_new"), [(1, 1, 1), (1, 0, 1), (0, 3, 1), (2, 5, 0)]
)
def test_a_few_tracks_never_raise_an_alarm(
    rng: np.random.Generator, n_gone: int, n_both: int, n_new: int
) -> None:
    """However far: among so few a random choice would often be the same."""
    found = shift_of(noise(rng, n_gone, mean=9), noise(rng, n_both), noise(rng, n_new, mean=-9))
    assert found.verdict is Verdict.CHANCE


def test_fair_samples_seldom_go_beyond_chance(rng: np.random.Generator) -> None:
    n_beyond = 0
    for _ in range(100):
        x = noise(rng, 40)
        n_beyond += shift_of(x[:5], x[5:35], x[35:]).p <= ALPHA
    assert n_beyond <= 6  # 1 is expected; 7 or more come once in ten thousand


def test_how_rows_are_cut_into_blocks_does_not_matter(rng: np.random.Generator) -> None:
    x = noise(rng, 60)
    whole, pieces = (shift_of(x[:10], x[10:50], x[50:], n_rows=n) for n in (BLOCK_ROWS, 7))
    assert pieces.shift_sd == pytest.approx(whole.shift_sd)
    assert pieces.chance_sd == pytest.approx(whole.chance_sd, rel=0.2)  # other deals


def test_equal_tables_give_equal_numbers_each_time(rng: np.random.Generator) -> None:
    x = noise(rng, 60)
    assert shift_of(x[:10], x[10:50], x[50:]) == shift_of(x[:10], x[10:50], x[50:])


def test_a_dimension_that_is_constant_counts_as_unmoved(rng: np.random.Generator) -> None:
    x = noise(rng, 60)
    x[:, 3] = 0.1
    found = shift_of(x[:10], x[10:50], x[50:])
    assert found.shift_sd is not None
    assert 0 < found.shift_sd < 1


def test_a_large_common_offset_does_not_blur_the_shift(rng: np.random.Generator) -> None:
    x = noise(rng, 80)
    x = np.round(x * 8).astype(np.float32) / 8  # exact in float32, with the offset too
    near, far = (shift_of(*np.split(x + np.float32(offset), (10, 50))) for offset in (0, 4096))
    assert far.shift_sd == pytest.approx(near.shift_sd, rel=1e-9)


# Near duplicates


def test_groups_are_chains_of_near_pairs(rng: np.random.Generator) -> None:
    x = noise(rng, 6)
    step = np.float32(0.012) * np.linalg.norm(x[0])  # cosine 0.99993 each, 0.9997 for two steps
    side = np.float32(np.eye(1, N_DIMS, 1)[0])
    chain = np.stack([x[0], x[0] + step * side, x[0] + 2 * step * side])
    assert (chain[0] @ chain[2]) / np.prod(np.linalg.norm(chain[[0, 2]], axis=1)) < 0.9999
    found = groups_of(x[:0], x[1:], chain)
    assert found.new == (("new-0", "new-1", "new-2"),)
    assert (found.n_groups_first, found.n_tracks_second) == (0, 3)


def test_groups_that_were_there_before_are_not_new(rng: np.random.Generator) -> None:
    x = noise(rng, 9)
    both = np.concatenate((x, x[:2] * np.float32(3)))
    found = groups_of(x[:1], both, x[4:5])
    assert (found.n_groups_first, found.n_tracks_first) == (2, 5)
    assert (found.n_groups_second, found.n_tracks_second) == (3, 6)
    # The group of both-0 has lost a track, which makes it another one.
    assert found.new == (("both-0", "both-9"), ("both-4", "new-0"))


def test_groups_are_those_of_every_pair(rng: np.random.Generator) -> None:
    x = noise(rng, 300)
    copies = x[rng.integers(0, 300, 80)] + noise(rng, 80) * np.float32(1e-3)
    found = groups_of(x[:100], x[100:], copies)
    everything = np.concatenate((x[100:], copies)).astype(np.float64)
    everything /= np.linalg.norm(everything, axis=1, keepdims=True)
    near = np.triu(everything @ everything.T >= 0.9999, 1)
    assert found.n_tracks_second == np.count_nonzero((near | near.T).any(axis=1))


def test_many_equal_ones_are_one_group_and_cost_little(rng: np.random.Generator) -> None:
    silence = np.tile(noise(rng, 1), (20_000, 1))
    found = groups_of(silence[:0], silence[:1], silence)
    assert (found.n_groups_second, found.n_tracks_second) == (1, 20_001)
    assert found.new_sizes == (20_001,)
    assert len(found.new[0]) == drift_groups.MAX_IDS


def test_zeros_and_what_is_not_finite_are_near_to_nothing() -> None:
    x = np.zeros((4, N_DIMS), np.float32)
    x[2:] = np.nan
    assert groups_of(x[:0], x, x).n_groups_second == 0


def test_more_than_fits_is_drawn_by_id_the_same_each_time(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = noise(rng, 400)
    monkeypatch.setattr(drift_groups, "MATRIX_BYTES", 100 * N_DIMS * 4)
    found = groups_of(x[:0], x, x[:0])
    assert 60 < found.n_compared < 140
    assert found.n_tracks == 400
    assert found == groups_of(x[:0], x, x[:0])


# Durations


def test_every_track_is_in_one_class_of_the_histogram(rng: np.random.Generator) -> None:
    first_s, second_s = rng.lognormal(3, 1, 500), rng.lognormal(4, 1, 50)
    found = compare_durations(first_s, second_s)
    assert sum(found.shares_first) == pytest.approx(1)
    assert sum(found.shares_second) == pytest.approx(1)
    assert len(found.edges_s) == len(found.shares_first) + 1 == N_CLASSES + 1
    assert found.quantiles_first[3] == np.median(first_s)


@pytest.mark.parametrize("durations_s", [[30.0], [30.0, 30.0], [0.0], [0.0, 5.0]])
def test_few_and_equal_durations_have_a_class(durations_s: list[float]) -> None:
    found = compare_durations(np.array(durations_s), np.array([]))
    assert sum(found.shares_first) == pytest.approx(1)
    assert sum(found.shares_second) == 0
    assert np.all(np.diff(found.edges_s) > 0)


def test_without_any_track_there_is_no_histogram() -> None:
    assert compare_durations(np.array([]), np.array([])).edges_s == ()


def test_the_record_is_one_that_json_knows(out: Path) -> None:
    found = measure_drift(out, out)
    assert isinstance(found, Drift)
    assert json.loads(json.dumps(dataclasses.asdict(found)))["models"][0]["shift"]["p"] == 1.0
