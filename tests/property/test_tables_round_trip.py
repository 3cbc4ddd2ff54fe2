"""What is written is what is read, and the order and number of commits leave no trace."""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from embedlib.records import KEPT, DecodedTrack, PartResult, Status, Track, TrackRow
from embedlib.tables.commit import commit_parts
from embedlib.tables.diff import diff
from embedlib.tables.manifest import ModelManifest, ensure_manifest
from embedlib.tables.parts import write_part
from embedlib.tables.reader import open_output

N_DIMS = 3
MANIFEST = ModelManifest(
    model="tiny",
    n_dims=N_DIMS,
    untrained=True,
    builder_version=1,
    seed=0,
    node="n",
    front_end="musicnn-mel",
    front_end_version=1,
    sr_hz=16000,
    resampler="soxr-hq",
    decoder="pyav",
    patch_frames=187,
    patch_hop_frames=93,
    last_patch="tile-short",
    precision="f32",
    patches=True,
)

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
finite = st.floats(-1e6, 1e6, width=32)


@st.composite
def track_rows(draw: st.DrawFn) -> TrackRow:
    status = draw(st.sampled_from(list(Status)))
    track = Track(draw(texts), draw(texts), draw(st.integers(-1, 2**62)), draw(texts))
    decoded = DecodedTrack(0, status, draw(texts), n_samples=draw(st.integers(0, 2**62)))
    if status not in KEPT:
        return TrackRow(track, decoded)
    n_patches = draw(st.integers(1, 4))
    values = draw(arrays(np.float32, (n_patches, N_DIMS), elements=finite))
    starts = draw(arrays(np.int32, n_patches))
    return TrackRow(track, decoded, draw(st.booleans()), starts, values)


def write(out: Path, rows: list[TrackRow], *, shard_id: str, attempt_id: str) -> PartResult:
    ensure_manifest(out, MANIFEST)
    return write_part(
        out / "tiny",
        manifest=MANIFEST,
        shard_id=shard_id,
        attempt_id=attempt_id,
        rows=rows,
        provenance={"engine": "fake"},
    )


@settings(max_examples=40, deadline=None)
@given(rows=st.lists(track_rows(), min_size=1, max_size=6))
def test_written_rows_are_read_back_equal(rows: list[TrackRow]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        part = write(Path(folder), rows, shard_id="0a", attempt_id="1")
        commit_parts(folder, "tiny", [part])
        output = open_output(folder)
        read = output.tracks("tiny").to_arrow().to_pylist()
        patches = output.patches("tiny").to_numpy()
    written = [row.patch_embeddings for row in rows if row.patch_embeddings is not None]
    np.testing.assert_array_equal(patches, np.concatenate([np.empty((0, N_DIMS)), *written]))
    for row, stored in zip(rows, read, strict=True):
        assert stored["track_id"] == row.track.track_id
        assert (stored["uri"], stored["version"]) == (row.track.uri, row.track.version)
        assert (stored["status"], stored["error"]) == (row.decoded.status, row.decoded.error)
        assert (stored["n_samples"], stored["padded"]) == (row.decoded.n_samples, row.padded)


@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_any_order_of_commits_and_retries_gives_the_same_rows(data: st.DataObject) -> None:
    shards = {f"{number:02x}": data.draw(track_rows()) for number in range(4)}
    attempts = data.draw(st.lists(st.sampled_from(sorted(shards)), max_size=6))
    order = data.draw(st.permutations([*shards, *attempts]))
    rows = {
        shard_id: dataclasses.replace(row, track=dataclasses.replace(row.track, track_id=shard_id))
        for shard_id, row in shards.items()
    }
    with tempfile.TemporaryDirectory() as folder:
        once, often = Path(folder) / "once", Path(folder) / "often"
        parts = [write(once, [rows[each]], shard_id=each, attempt_id="1") for each in rows]
        commit_parts(once, "tiny", parts)
        for number, each in enumerate(order):
            part = write(often, [rows[each]], shard_id=each, attempt_id=str(number))
            commit_parts(often, "tiny", [part])
        assert diff(once, often).differences == ()
        assert len(list((often / "tiny").glob("*.parquet"))) == len(shards)
