"""Who made a row, when it came, and what two rows of one track differ in."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from embedlib.config import extract_config
from embedlib.engines.bounds import MAX_RELATIVE_L2, Bound, engine_bound
from embedlib.engines.processor import processor_name
from embedlib.errors import OutputError
from embedlib.records import PartResult, Status, TrackRow
from embedlib.run.provenance import row_provenance, table_provenance
from embedlib.run.remake import table_config
from embedlib.run.repro import Verdict, judge
from embedlib.run.run_folder import config_text, write_record
from embedlib.tables.catalog import adopt
from embedlib.tables.commit import commit_parts
from embedlib.tables.distances import cosines, relative_l2
from embedlib.tables.lookup import find_row, near_names
from embedlib.tables.makers import Maker, commit_of, read_maker
from embedlib.tables.manifest import Column, ModelManifest
from embedlib.tables.reader import open_output
from embedlib.tables.row_match import RowMatch, match_rows
from embedlib.tables.rows import rows_table
from embedlib.tables.states import record_state
from embedlib.tables.upkeep import compact

MakeRow = Callable[..., TrackRow]
MakePart = Callable[..., PartResult]

FIRST_RUN = "20261101-020000-000000-1a2b3c"
SECOND_RUN = "20261102-020000-000000-4d5e6f"
MUSICNN = "untrained-msd-musicnn-1"
BOUND = Bound(1e-5)


@pytest.fixture
def out(tmp_path: Path, make_row: MakeRow, make_part: MakePart) -> Path:
    """Two runs with other versions of an engine: two songs, then one and a failure."""
    out = tmp_path / "out"
    for run_id, names, version in ((FIRST_RUN, "ab", "1.0"), (SECOND_RUN, "cd", "2.0")):
        states = [Status.MISSING if name == "d" else Status.OK for name in names]
        rows = [make_row(name, status=state) for name, state in zip(names, states, strict=True)]
        commit_run(out, run_id, rows, make_part, version=version)
    return out


def commit_run(
    out: Path, run_id: str, rows: Sequence[TrackRow], make_part: MakePart, *, version: str
) -> None:
    listed = [row.track for row in rows]
    tracks = adopt(out, listed, sources=["/music"], shard_hours=1e-6).tracks  # a shard each
    shard_ids = {track.track_id: track.shard_id for track in tracks}
    parts = [
        make_part(
            out,
            [row],
            shard_id=shard_ids[row.track.track_id],
            attempt_id=f"{run_id}-a{number}",
            provenance={"engine": "fake", "version.fake": version},
        )
        for number, row in enumerate(rows)
    ]
    commit_parts(out, "tiny", parts)
    write_record(out, run_id, name="summary.json", text=json.dumps({"n_rows": len(rows)}))
    record_state(out, run_id, "extract")


# Tables


def test_rows_are_counted_by_who_made_them(out: Path) -> None:
    found = table_provenance(out, "tiny")
    counted = [
        (each.maker.facts["version.fake"], each.maker.run_id, each.n_rows, each.n_files)
        for each in found.makers
    ]
    assert counted == [("1.0", FIRST_RUN, 2, 2), ("2.0", SECOND_RUN, 2, 2)]


def test_what_all_makers_share_is_told_once(out: Path) -> None:
    common = table_provenance(out, "tiny").common
    assert common["engine"] == "fake"
    assert common["processor"] == processor_name()
    assert "version.fake" not in common


def test_runs_are_told_with_their_states_and_what_they_did(out: Path) -> None:
    runs = table_provenance(out, "tiny").runs
    assert [(run.run_id, run.kind, run.state) for run in runs] == [
        (FIRST_RUN, "extract", 1),
        (SECOND_RUN, "extract", 2),
    ]
    assert [run.summary for run in runs] == [{"n_rows": 2}, {"n_rows": 2}]


def test_a_state_tells_of_its_own_rows_alone(out: Path) -> None:
    found = table_provenance(f"{out}@1", "tiny")
    assert (found.table.state, found.table.n_rows) == (1, 2)
    assert [each.maker.run_id for each in found.makers] == [FIRST_RUN]


def test_a_run_whose_folder_is_gone_is_still_named(out: Path) -> None:
    shutil.rmtree(out / "runs")
    first, _ = table_provenance(out, "tiny").runs
    assert (first.run_id, first.config, first.summary, first.kind) == (FIRST_RUN, None, None, "")


def test_a_damaged_summary_is_named(out: Path) -> None:
    (out / "runs" / FIRST_RUN / "summary.json").write_text("{")
    with pytest.raises(OutputError, match=rf"{FIRST_RUN}/summary\.json is damaged"):
        table_provenance(out, "tiny")


def test_another_version_of_the_front_end_tells_no_parameters(out: Path) -> None:
    assert table_provenance(out, "tiny").table.front_end["n_bands"] == 96
    path = out / "tiny" / "model.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"front_end_version": 99}))
    assert table_provenance(out, "tiny").table.front_end == {}


# Rows


def test_a_row_tells_its_file_its_commit_and_its_run(out: Path) -> None:
    found = row_provenance(out, "tiny", "c")
    assert (found.row["uri"], found.row["status"]) == ("/music/c", "ok")
    assert found.file.startswith(f"part-{found.row['shard_id']}-{SECOND_RUN}-")
    assert found.commit is not None
    assert found.commit.version == open_output(out).snapshot("tiny").version
    assert found.run is not None
    assert found.run.run_id == SECOND_RUN


def test_the_commit_is_the_one_that_named_the_file_first(out: Path) -> None:
    snapshot = open_output(out).snapshot("tiny")
    commits = [commit_of(snapshot, file) for file in snapshot.files]
    assert sorted(commit.version for commit in commits if commit) == [1, 1, 2, 2]


def test_a_commit_that_the_log_no_longer_has_is_not_guessed(out: Path) -> None:
    snapshot = open_output(out).snapshot("tiny")
    file = next(file for file in snapshot.files if FIRST_RUN in file.path.name)
    (out / "tiny" / "_delta_log" / f"{1:020d}.json").unlink()
    assert commit_of(snapshot, file) is None


def test_a_copied_row_keeps_its_maker_and_says_that_its_run_is_not_known(out: Path) -> None:
    before = row_provenance(out, "tiny", "a")
    compact(out)
    after = row_provenance(out, "tiny", "a")
    assert after.maker.facts == before.maker.facts
    assert (after.maker.run_id, after.maker.copied_by, after.run) == ("", "compacted", None)
    assert (after.row, after.planned) == (before.row, before.planned)


def test_a_clip_is_told_with_its_bounds(out: Path, make_row: MakeRow, make_part: MakePart) -> None:
    row = make_row("x")
    clip = dataclasses.replace(row.track, start_s=0.5, end_s=2.0)
    commit_run(out, FIRST_RUN, [dataclasses.replace(row, track=clip)], make_part, version="1.0")
    planned = row_provenance(out, "tiny", "x").planned
    assert planned is not None
    assert (planned.start_s, planned.end_s) == (0.5, 2.0)


def test_of_two_versions_of_a_track_the_planned_one_is_found(
    out: Path, make_row: MakeRow, make_part: MakePart
) -> None:
    row = make_row("a")
    old = dataclasses.replace(row, track=dataclasses.replace(row.track, version="16"))
    commit_parts(out, "tiny", [make_part(out, [old], shard_id="00", attempt_id="old-1")])
    found = find_row(open_output(out), "tiny", "a")
    assert (found.facts["version"], found.planned is None) == ("17", False)


def test_a_row_that_is_no_longer_planned_is_found_and_said_so(
    out: Path, make_row: MakeRow, make_part: MakePart
) -> None:
    commit_parts(out, "tiny", [make_part(out, [make_row("z")], shard_id="00")])
    found = find_row(open_output(out), "tiny", "z")
    assert (found.facts["track_id"], found.planned) == ("z", None)


def test_an_unknown_track_is_refused_with_those_near_to_it(
    out: Path, make_row: MakeRow, make_part: MakePart
) -> None:
    commit_parts(out, "tiny", [make_part(out, [make_row("rock/first.mp3")], shard_id="00")])
    with pytest.raises(OutputError, match=r"no row of the track 'first\.mp3'.*'rock/first\.mp3'"):
        row_provenance(out, "tiny", "first.mp3")


def test_an_unknown_model_is_refused_with_those_that_there_are(out: Path) -> None:
    with pytest.raises(OutputError, match="no table of 'tini'; it holds tiny"):
        table_provenance(out, "tini")


@pytest.mark.parametrize(
    ("name", "near"),
    [("B.MP3", ["x/b.mp3"]), ("x/c.mp3", ["x/b.mp3"]), ("zzzz", [])],
    ids=["a part of it", "similar letters", "nothing like it"],
)
def test_near_names_hold_what_was_written_or_are_written_alike(name: str, near: list[str]) -> None:
    assert near_names(name, ["x/b.mp3", "drums 17"]) == near


# What a row is made again with


def options_of(out: Path, manifest: ModelManifest, **options: Any) -> Any:
    maker = Maker({"engine": "openvino", "device": "cpu"}, FIRST_RUN, "")
    return table_config(out, manifest, maker=maker, options=options)


def tell_run(out: Path, run_id: str, *models: str, **options: Any) -> None:
    config = extract_config({"sources": ["/music"], "models": [*models], "out": "o", **options})
    write_record(out, run_id, name="config.yaml", text=config_text(config))


@pytest.fixture
def table(manifest: ModelManifest) -> ModelManifest:
    activations = Column("activations", 50, ("model/Sigmoid",), "vector", 1)
    return dataclasses.replace(
        manifest,
        model=MUSICNN,
        spec=MUSICNN,
        untrained=True,
        graph_sha256="",
        columns=(activations,),
    )


def test_options_are_those_of_the_run_that_made_the_row(
    tmp_path: Path, table: ModelManifest
) -> None:
    tell_run(tmp_path, FIRST_RUN, MUSICNN, max_duration_s=5.0)
    tell_run(tmp_path, SECOND_RUN, MUSICNN, max_duration_s=9.0)
    assert options_of(tmp_path, table).max_duration_s == 5.0


def test_where_that_is_gone_they_are_those_of_the_last_run_for_the_table(
    tmp_path: Path, table: ModelManifest
) -> None:
    tell_run(tmp_path, "20261101-030000-000000-000000", MUSICNN, max_duration_s=7.0)
    tell_run(tmp_path, SECOND_RUN, "msd-vgg-1", max_duration_s=9.0)
    assert options_of(tmp_path, table).max_duration_s == 7.0


@pytest.mark.parametrize(
    ("told", "wanted"),
    [
        (["all"], MUSICNN),
        (["msd-vgg-1", "msd-musicnn-1"], MUSICNN),
        ([f"{MUSICNN}:patch_hop_frames=31"], f"{MUSICNN}:patch_hop_frames=31"),
        (["msd-musicnn-1:last_patch=discard"], f"{MUSICNN}:last_patch=discard"),
    ],
    ids=["all", "a stand-in", "its options", "a stand-in with options"],
)
def test_only_the_model_of_the_table_is_asked_for(
    tmp_path: Path, table: ModelManifest, told: list[str], wanted: str
) -> None:
    tell_run(tmp_path, FIRST_RUN, *told, allow_untrained=True)
    config = options_of(tmp_path, table)
    assert (config.models, config.allow_untrained) == ([wanted], False)


def test_only_the_columns_of_the_table_are_asked_for(tmp_path: Path, table: ModelManifest) -> None:
    outputs, heads = ["activations", "model/of_another/Relu"], ["moods-of-another"]
    tell_run(tmp_path, FIRST_RUN, "all", outputs=outputs, heads=heads)
    config = options_of(tmp_path, table)
    assert (config.outputs, config.heads) == (["activations"], [])


def test_the_engine_is_the_one_that_made_the_row(tmp_path: Path, table: ModelManifest) -> None:
    tell_run(tmp_path, FIRST_RUN, MUSICNN)
    assert options_of(tmp_path, table).engine == "openvino"
    assert options_of(tmp_path, table, engine="essentia").engine == "essentia"


def test_weights_that_are_given_replace_those_of_the_run(
    tmp_path: Path, table: ModelManifest
) -> None:
    table = dataclasses.replace(table, model="own", spec="msd-musicnn-1", untrained=False)
    tell_run(tmp_path, FIRST_RUN, "msd-musicnn-1:weights=/old/a.pb,as=own")
    assert options_of(tmp_path, table).models == ["msd-musicnn-1:weights=/old/a.pb,as=own"]
    config = options_of(tmp_path, table, weights="/new/a.pb")
    assert (config.models, config.weights) == (["msd-musicnn-1:as=own"], "/new/a.pb")


def test_a_table_of_which_no_run_tells_is_named(tmp_path: Path, table: ModelManifest) -> None:
    tell_run(tmp_path, FIRST_RUN, "untrained-msd-vgg-1")
    with pytest.raises(OutputError, match=f"tells how {MUSICNN} was made"):
        options_of(tmp_path, table)


# How far rows are apart


def pair_of(row: TrackRow, other: TrackRow, manifest: ModelManifest) -> RowMatch:
    then, now = (rows_table([each], manifest=manifest, shard_id="0") for each in (row, other))
    return match_rows(then, now, manifest=manifest)


def moved(row: TrackRow, *, patch: int, by: float) -> TrackRow:
    vectors = np.array(row.patch_embeddings)
    vectors[patch] *= np.float32(1 + by)
    return dataclasses.replace(row, patch_embeddings=vectors)


def test_equal_rows_are_equal_to_the_bit(make_row: MakeRow, banded: ModelManifest) -> None:
    row = make_row("a", manifest=banded)
    found = pair_of(row, row, banded)
    assert (found.facts, found.is_bit_equal) == ((), True)
    assert found.distance(is_of_all=False) == found.distance(is_of_all=True) == 0.0
    assert [each.n_vectors for each in found.vectors] == [1, 15, 1, 5, 1, 5]


def test_the_worst_patch_is_named_also_where_a_patch_has_several_vectors(
    make_row: MakeRow, banded: ModelManifest
) -> None:
    row = make_row("a", manifest=banded)
    _, patches, *others = pair_of(row, moved(row, patch=7, by=1e-3), banded).vectors
    assert (patches.worst_patch, patches.worst_t0_ms) == (2, 2 * 1488)
    assert patches.relative_l2 == pytest.approx(1e-3, rel=1e-3)
    assert patches.cosine == pytest.approx(1.0)
    assert all(each.is_bit_equal for each in others)


def test_without_patches_the_means_are_compared(make_row: MakeRow, manifest: ModelManifest) -> None:
    bare = dataclasses.replace(manifest, patches=False)
    row = make_row("a")
    (mean,) = pair_of(row, moved(row, patch=0, by=0.1), bare).vectors
    assert (mean.column, mean.worst_patch, mean.is_bit_equal) == ("embedding", None, False)


@pytest.mark.parametrize("swapped", [False, True])
def test_vectors_that_only_one_row_has_are_a_difference(
    make_row: MakeRow, manifest: ModelManifest, swapped: bool
) -> None:
    kept, failed = make_row("a"), make_row("a", status=Status.EMPTY)
    found = pair_of(failed, kept, manifest) if swapped else pair_of(kept, failed, manifest)
    names = {each.name for each in found.facts}
    assert names >= {"status", "n_patches", "patch_t0_ms", "embedding", "patch_embeddings"}
    assert found.vectors == ()


@pytest.mark.parametrize(
    ("by", "verdict"),
    [(0.0, Verdict.BIT_EQUAL), (5e-6, Verdict.WITHIN_BOUND), (2e-5, Verdict.DIFFERENT)],
)
def test_the_verdict_follows_the_bound(
    make_row: MakeRow, manifest: ModelManifest, by: float, verdict: Verdict
) -> None:
    row, other = make_row("a"), moved(make_row("a"), patch=1, by=by)
    found = pair_of(row, other, manifest)
    assert judge(found, other, bound=BOUND, accept_changed=False) is verdict


def test_of_logarithms_all_vectors_count_as_one(make_row: MakeRow, manifest: ModelManifest) -> None:
    row, other = make_row("a"), moved(make_row("a"), patch=1, by=0.05)
    found = pair_of(row, other, manifest)
    bound = engine_bound("f32", readout="spleeter-sum")
    assert found.distance(is_of_all=False) == pytest.approx(0.05, rel=1e-3)
    assert found.distance(is_of_all=True) < 0.05
    assert judge(found, other, bound=bound, accept_changed=False) is Verdict.WITHIN_BOUND


def test_a_number_that_is_none_is_different(make_row: MakeRow, manifest: ModelManifest) -> None:
    row = make_row("a")
    found = pair_of(moved(row, patch=1, by=float("nan")), row, manifest)
    assert judge(found, row, bound=BOUND, accept_changed=False) is Verdict.DIFFERENT


@pytest.mark.parametrize(
    ("changes", "accept_changed", "verdict"),
    [
        ({"content_hash": "sha256:1"}, False, Verdict.DIFFERENT),
        ({"content_hash": "sha256:1", "size": 7}, True, Verdict.BIT_EQUAL),
        ({"n_samples": 159_999}, True, Verdict.DIFFERENT),
    ],
)
def test_another_file_may_have_other_bytes_where_that_is_accepted_and_nothing_else(
    make_row: MakeRow,
    manifest: ModelManifest,
    changes: dict[str, Any],
    accept_changed: bool,
    verdict: Verdict,
) -> None:
    row = make_row("a")
    other = dataclasses.replace(row, decoded=dataclasses.replace(row.decoded, **changes))
    found = pair_of(row, other, manifest)
    assert judge(found, other, bound=BOUND, accept_changed=accept_changed) is verdict


@pytest.mark.parametrize(
    ("status", "verdict"),
    [(Status.TIMEOUT, Verdict.SAME_STATUS), (Status.TOO_LONG, Verdict.DIFFERENT)],
)
def test_of_failed_rows_the_status_counts_and_not_how_far_they_came(
    make_row: MakeRow, manifest: ModelManifest, status: Status, verdict: Verdict
) -> None:
    row, other = make_row("a", status=Status.TIMEOUT), make_row("a", status=status)
    other = dataclasses.replace(other, decoded=dataclasses.replace(other.decoded, n_samples=3))
    found = pair_of(row, other, manifest)
    assert judge(found, other, bound=BOUND, accept_changed=False) is verdict


def test_distances_of_nothing_are_nothing() -> None:
    zero, one = np.zeros((1, 3), np.float32), np.ones((1, 3), np.float32)
    assert relative_l2(zero, zero) == [0.0]
    assert cosines(zero, zero) == [1.0]
    assert cosines(zero, one) == [0.0]
    assert cosines(one, -one) == pytest.approx([-1.0])


def test_distances_do_not_overflow_float32() -> None:
    large = np.full((1, 4), 3e38, np.float32)
    assert relative_l2(large, -large) == pytest.approx([2.0])


def test_the_bounds_are_those_that_the_page_on_fidelity_claims() -> None:
    page = Path(__file__).parents[2] / "docs" / "fidelity.md"
    (line,) = re.findall(r"engines give the numbers of Essentia's.*", page.read_text())
    assert "relative l2 1e-5, 3e-2" in line
    assert MAX_RELATIVE_L2 == {"f32": 1e-5, "bf16": 3e-2}


# Footers


def test_the_footer_names_the_processor(out: Path) -> None:
    file = open_output(out).snapshot("tiny").files[0]
    facts = read_maker(file).facts
    assert facts["processor"] == processor_name() != ""
    assert "n_dims" not in facts


def test_a_file_of_another_writer_has_a_maker_without_facts(tmp_path: Path) -> None:
    path = tmp_path / "part-00001-c000.snappy.parquet"
    pa.parquet.write_table(pa.table({"track_id": ["a"]}), path)
    found = read_maker(SimpleNamespace(path=path))  # type: ignore[arg-type]
    assert found.facts == {}
