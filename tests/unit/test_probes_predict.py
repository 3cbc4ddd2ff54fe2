"""A saved probe over a table: what it says of each track, and which tables it refuses."""

from __future__ import annotations

import csv
import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from embedlib.catalog.stores import StorePath
from embedlib.errors import ConfigError, FingerprintError, ModelError, OutputError
from embedlib.probes.card import make_card
from embedlib.probes.predict import Predictor, open_predictor
from embedlib.probes.prediction_files import write_predictions
from embedlib.probes.probe import Probe
from embedlib.probes.records import FitKey, Params, Role, Split
from embedlib.probes.saved import save_probe
from embedlib.records import Status
from embedlib.tables.manifest import Column, ModelManifest
from embedlib.tables.reader import open_output
from embedlib.tasks.task import Task

CLASSES = ("sad", "calm", "glad")
IDS = ("a", "b", "c", "d", "e")
BROKEN = "c"


@pytest.fixture
def save(tmp_path: Path, manifest: ModelManifest) -> Callable[..., Path]:
    """Save a random probe that was trained on the table `manifest` describes."""

    def make(*, protocol: str = "pooled", manifest: ModelManifest = manifest) -> Path:
        rng = np.random.default_rng(0)
        d, h, k = manifest.n_dims, 5, len(CLASSES)
        draws = (
            rng.standard_normal(shape, dtype=np.float32)
            for shape in ((d,), (d,), (d, h), (h,), (h, k), (k,))
        )
        shift, scale, *weights = draws
        probe = Probe(CLASSES, shift, np.abs(scale) + 1, *weights)
        task = Task(name="moods", classes=list(CLASSES))
        key = FitKey(Role.EXTERNAL, "moods", "tiny", protocol, Split.STRATIFIED, Params(h), 5)
        save_probe(
            tmp_path / "p.npz", probe, make_card(task, manifest, key=key, n_epochs=1, n_tracks=9)
        )
        return tmp_path / "p.npz"

    return make


@pytest.fixture
def write_table(
    tmp_path: Path, make_row: Callable[..., object], make_output: Callable[..., Path]
) -> Callable[[ModelManifest], Path]:
    """Write an output of five tracks, one of which has no embedding."""

    def make(manifest: ModelManifest) -> Path:
        statuses = {BROKEN: Status.UNDECODABLE}
        rows = [make_row(i, status=statuses.get(i, Status.OK), manifest=manifest) for i in IDS]
        return make_output(tmp_path / "OUT", rows, manifest=manifest)

    return make


@pytest.fixture
def predictor(
    save: Callable[..., Path], write_table: Callable[..., Path], manifest: ModelManifest
) -> Predictor:
    return open_predictor(save(), write_table(manifest))


def rows_of(predictor: Predictor) -> dict[str, dict[str, object]]:
    rows = [row for batch in predictor.batches() for row in batch.to_pylist()]
    return {str(row["track_id"]): row for row in rows}


def probabilities_of(row: dict[str, object]) -> list[object]:
    return [row[f"p_{name}"] for name in CLASSES]


def test_predictions_are_what_the_probe_says_of_to_numpy(predictor: Predictor) -> None:
    expected = predictor.probe.probabilities(predictor.table.to_numpy())
    rows = rows_of(predictor)
    for track_id, values in zip(predictor.table.track_ids, expected, strict=True):
        np.testing.assert_array_equal(probabilities_of(rows[track_id]), values)
        assert rows[track_id]["predicted"] == CLASSES[values.argmax()]


def test_a_track_without_embedding_is_listed_without_a_class(predictor: Predictor) -> None:
    rows = rows_of(predictor)
    assert sorted(rows) == list(IDS)
    assert set(rows[BROKEN].values()) == {BROKEN, None}


@pytest.mark.parametrize("n_vectors", [1, 3])
def test_with_patches_a_track_gets_the_mean_of_their_probabilities(
    save: Callable[..., Path],
    write_table: Callable[..., Path],
    manifest: ModelManifest,
    n_vectors: int,
) -> None:
    banded = dataclasses.replace(manifest, n_vectors=n_vectors)
    predictor = open_predictor(save(protocol="paper", manifest=banded), write_table(banded))
    table = predictor.table.to_arrow(["track_id", "patch_embeddings"])
    rows = rows_of(predictor)
    for track_id, patches in zip(*(each.to_pylist() for each in table.columns), strict=True):
        if patches is not None:
            bands = np.array(patches, np.float32).reshape(-1, n_vectors, manifest.n_dims)
            each = predictor.probe.probabilities(bands.mean(axis=1))
            np.testing.assert_allclose(probabilities_of(rows[track_id]), each.mean(axis=0), 1e-6)
    assert rows[BROKEN]["predicted"] is None


def test_a_patch_probe_refuses_a_table_without_patches(
    save: Callable[..., Path], write_table: Callable[..., Path], manifest: ModelManifest
) -> None:
    pooled = dataclasses.replace(manifest, patches=False)
    with pytest.raises(OutputError, match="was made without patches"):
        open_predictor(save(protocol="paper"), write_table(pooled))


@pytest.mark.parametrize(
    ("field", "value"),
    [("precision", "bf16"), ("patch_hop_frames", 187), ("graph_sha256", "cd" * 32)],
)
def test_other_embeddings_are_refused_with_what_differs(
    save: Callable[..., Path],
    write_table: Callable[..., Path],
    manifest: ModelManifest,
    field: str,
    value: object,
) -> None:
    place, out = save(), write_table(manifest)
    changed = dataclasses.replace(manifest, **{field: value})
    old = getattr(manifest, field)
    with pytest.raises(FingerprintError, match=rf"{field}={old!r} \(now {value!r}\)") as caught:
        open_predictor(place, rewritten(out, changed))
    assert "\n" not in str(caught.value)
    assert rows_of(open_predictor(place, out, any_embeddings=True))[BROKEN]["predicted"] is None


def rewritten(out: Path, manifest: ModelManifest) -> Path:
    (out / "tiny" / "model.json").write_text(json.dumps(dataclasses.asdict(manifest)))
    return out


@pytest.mark.parametrize(
    "changes",
    [
        {"patches": False},
        {"columns": (Column("moods", 3, ("out",), "vector", 1),)},
        {"licence": "x"},
    ],
    ids=str,
)
def test_what_a_table_holds_beside_its_embeddings_does_not_matter(
    save: Callable[..., Path],
    write_table: Callable[..., Path],
    manifest: ModelManifest,
    changes: dict[str, object],
) -> None:
    out = write_table(dataclasses.replace(manifest, **changes))
    assert len(rows_of(open_predictor(save(), out))) == len(IDS)


def test_a_table_of_another_name_is_taken_where_it_is_the_same_model(
    save: Callable[..., Path], write_table: Callable[..., Path], manifest: ModelManifest
) -> None:
    renamed = dataclasses.replace(manifest, model="tiny-again", spec="tiny")
    out = write_table(renamed)
    assert len(rows_of(open_predictor(save(), out, model="tiny-again"))) == len(IDS)
    with pytest.raises(OutputError, match="has no table of 'tiny'; it holds tiny-again"):
        open_predictor(save(), out)


def test_embeddings_of_another_length_are_refused_whatever_is_allowed(
    save: Callable[..., Path], write_table: Callable[..., Path], manifest: ModelManifest
) -> None:
    longer = dataclasses.replace(manifest, n_dims=6)
    with pytest.raises(ConfigError, match="takes embeddings of 4 values, those of tiny have 6"):
        open_predictor(save(), write_table(longer), any_embeddings=True)


def test_an_unknown_protocol_is_refused(save: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="protocol 'later', which is not known here"):
        open_predictor(save(protocol="later"), tmp_path)


def test_all_formats_hold_the_same_rows(predictor: Predictor, tmp_path: Path) -> None:
    for suffix in ("parquet", "csv", "jsonl"):
        write_predictions(predictor, tmp_path / "new" / f"p.{suffix}")
    rows = list(rows_of(predictor).values())
    assert pq.read_table(tmp_path / "new" / "p.parquet").to_pylist() == rows
    lines = (tmp_path / "new" / "p.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == rows
    with (tmp_path / "new" / "p.csv").open(newline="") as file:
        texts = list(csv.DictReader(file))
    assert [row["predicted"] or None for row in texts] == [row["predicted"] for row in rows]
    assert [float(row["p_sad"] or "nan") for row in texts] == pytest.approx(
        [np.nan if row["p_sad"] is None else row["p_sad"] for row in rows], nan_ok=True
    )


def test_predictions_go_to_a_store_too(predictor: Predictor, tmp_path: Path) -> None:
    place = StorePath("memory://bucket/predictions.jsonl")
    write_predictions(predictor, place)
    write_predictions(predictor, tmp_path / "p.jsonl")
    assert place.read_bytes() == (tmp_path / "p.jsonl").read_bytes()
    place.unlink()


def test_the_summary_counts_each_class_and_what_is_missing(
    predictor: Predictor, tmp_path: Path
) -> None:
    summary = write_predictions(predictor, tmp_path / "p.csv")
    found = [row["predicted"] for row in rows_of(predictor).values()]
    assert (summary.task, summary.model, summary.n_tracks) == ("moods", "tiny", 5)
    assert summary.n_without == 1
    assert summary.counts == tuple((name, found.count(name)) for name in CLASSES)


@pytest.mark.parametrize("name", ["p.txt", "p", "parquet"])
def test_an_unknown_format_is_refused_before_anything_is_written(
    predictor: Predictor, tmp_path: Path, name: str
) -> None:
    with pytest.raises(ConfigError, match=r"end its name in \.parquet, \.csv, \.jsonl"):
        write_predictions(predictor, tmp_path / name)
    assert not (tmp_path / name).exists()


def test_a_damaged_table_leaves_no_file(predictor: Predictor, tmp_path: Path) -> None:
    parts = open_output(tmp_path / "OUT").files("tiny")
    Path(str(parts[-1])).write_bytes(b"no parquet")
    with pytest.raises(OutputError, match="is damaged"):
        write_predictions(predictor, tmp_path / "new" / "p.parquet")
    assert list((tmp_path / "new").iterdir()) == []


def test_a_probe_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "p.npz").write_bytes(b"")
    (tmp_path / "p.json").write_text("{}")
    with pytest.raises(ModelError, match="is no card of a probe"):
        open_predictor(tmp_path / "p.npz", tmp_path)
