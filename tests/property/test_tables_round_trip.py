"""What is written is what is read, and the order and number of commits leave no trace."""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from embedlib.records import KEPT, DecodedTrack, Float32, PartResult, Status, Track, TrackRow
from embedlib.tables.commit import commit_parts
from embedlib.tables.diff import diff
from embedlib.tables.manifest import Column, ModelManifest, ensure_manifest
from embedlib.tables.parts import write_part
from embedlib.tables.reader import open_output

MANIFEST = ModelManifest(
    model="tiny",
    n_dims=3,
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
columns = st.builds(
    Column,
    name=st.from_regex(r"x[a-z0-9._-]{0,5}", fullmatch=True),  # no fixed column begins so
    n_dims=st.integers(1, 4),
    nodes=st.just(("n",)),
    readout=st.just("vector"),
    readout_version=st.just(1),
)


@st.composite
def manifests(draw: st.DrawFn) -> ModelManifest:
    distinct = st.lists(columns, max_size=3, unique_by=lambda column: column.name)
    return dataclasses.replace(
        MANIFEST, n_vectors=draw(st.integers(1, 3)), columns=tuple(draw(distinct))
    )


@st.composite
def track_rows(draw: st.DrawFn, manifest: ModelManifest = MANIFEST) -> TrackRow:
    status = draw(st.sampled_from(list(Status)))
    track = Track(draw(texts), draw(texts), draw(st.integers(-1, 2**62)), draw(texts))
    decoded = DecodedTrack(0, status, draw(texts), n_samples=draw(st.integers(0, 2**62)))
    if status not in KEPT:
        return TrackRow(track, decoded)
    n_patches = draw(st.integers(1, 4))
    shapes = [
        (n_patches * manifest.n_vectors, manifest.n_dims),
        *((n_patches, column.n_dims) for column in manifest.columns),
    ]
    values, *further = (draw(arrays(np.float32, shape, elements=finite)) for shape in shapes)
    starts = draw(arrays(np.int32, n_patches))
    return TrackRow(track, decoded, draw(st.booleans()), starts, values, tuple(further))


def write(
    out: Path,
    rows: list[TrackRow],
    *,
    shard_id: str,
    attempt_id: str,
    manifest: ModelManifest = MANIFEST,
) -> PartResult:
    ensure_manifest(out, manifest)
    return write_part(
        out / "tiny",
        manifest=manifest,
        shard_id=shard_id,
        attempt_id=attempt_id,
        rows=rows,
        provenance={"engine": "fake"},
    )


def mean_of(vectors: Float32) -> Float32:
    return vectors.mean(axis=0, keepdims=True, dtype=np.float64).astype(np.float32)


def stacked(matrices: list[Float32], *, like: Float32) -> Float32:
    return np.concatenate([np.empty((0, like.shape[1]), np.float32), *matrices])


@settings(max_examples=25, deadline=None)
@given(rows=st.lists(track_rows(), min_size=1, max_size=6))
def test_written_rows_are_read_back_equal(rows: list[TrackRow]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        part = write(Path(folder), rows, shard_id="0a", attempt_id="1")
        commit_parts(folder, "tiny", [part])
        output = open_output(folder)
        read = output.tracks("tiny").to_arrow().to_pylist()
        patches = output.patches("tiny").to_numpy()
    written = [row.patch_embeddings for row in rows if row.patch_embeddings is not None]
    np.testing.assert_array_equal(patches, np.concatenate([np.empty((0, 3)), *written]))
    for row, stored in zip(rows, read, strict=True):
        assert stored["track_id"] == row.track.track_id
        assert (stored["uri"], stored["version"]) == (row.track.uri, row.track.version)
        assert (stored["status"], stored["error"]) == (row.decoded.status, row.decoded.error)
        assert (stored["n_samples"], stored["padded"]) == (row.decoded.n_samples, row.padded)


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_all_vectors_of_any_table_are_read_back_equal(data: st.DataObject) -> None:
    manifest = data.draw(manifests())
    rows = data.draw(st.lists(track_rows(manifest), min_size=1, max_size=5))
    with tempfile.TemporaryDirectory() as folder:
        part = write(Path(folder), rows, shard_id="0a", attempt_id="1", manifest=manifest)
        commit_parts(folder, "tiny", [part])
        tracks = open_output(folder).tracks("tiny")
        patches = open_output(folder).patches("tiny")
        names = ["embedding", *(column.name for column in manifest.columns)]
        read = [(tracks.to_numpy(name), patches.to_numpy(name)) for name in names]
        starts_ms = patches.to_arrow(["t0_ms"])["t0_ms"].to_pylist()
    kept = [row for row in rows if row.decoded.status in KEPT]
    written = [(row.patch_embeddings, *row.columns) for row in kept]
    assert starts_ms == [
        t0 for row in kept for t0 in row.patch_t0_ms for _ in range(manifest.n_vectors)
    ]
    for index, (means, vectors) in enumerate(read):
        expected = [each[index] for each in written]
        np.testing.assert_array_equal(
            means, stacked([mean_of(each) for each in expected], like=means)
        )
        times = 1 if index == 0 else manifest.n_vectors
        repeated = [np.repeat(each, times, axis=0) for each in expected]
        np.testing.assert_array_equal(vectors, stacked(repeated, like=vectors))


@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_any_order_of_commits_and_retries_gives_the_same_rows(data: st.DataObject) -> None:
    manifest = data.draw(manifests())
    shards = {f"{number:02x}": data.draw(track_rows(manifest)) for number in range(4)}
    attempts = data.draw(st.lists(st.sampled_from(sorted(shards)), max_size=6))
    order = data.draw(st.permutations([*shards, *attempts]))
    rows = {
        shard_id: dataclasses.replace(row, track=dataclasses.replace(row.track, track_id=shard_id))
        for shard_id, row in shards.items()
    }
    with tempfile.TemporaryDirectory() as folder:
        once, often = Path(folder) / "once", Path(folder) / "often"
        parts = [
            write(once, [rows[each]], shard_id=each, attempt_id="1", manifest=manifest)
            for each in rows
        ]
        commit_parts(once, "tiny", parts)
        for number, each in enumerate(order):
            part = write(
                often, [rows[each]], shard_id=each, attempt_id=str(number), manifest=manifest
            )
            commit_parts(often, "tiny", [part])
        assert diff(once, often).differences == ()
        assert len(list((often / "tiny").glob("*.parquet"))) == len(shards)
