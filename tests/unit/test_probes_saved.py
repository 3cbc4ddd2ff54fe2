"""Saved probes: a round trip to the bit, and one line for whatever is not a pair of ours."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import pickle
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from embedlib.catalog.stores import Place, StorePath
from embedlib.errors import (
    ConfigError,
    EmbedlibError,
    HashMismatchError,
    ModelError,
    OutputError,
    WeightsMissingError,
)
from embedlib.probes.card import Card, CardScore, make_card
from embedlib.probes.probe import Probe
from embedlib.probes.records import FitKey, Params, Role, Split
from embedlib.probes.saved import load_probe, save_probe
from embedlib.tables.manifest import ModelManifest
from embedlib.tasks.task import Task

N_HIDDEN = 3
WEIGHTS = ("shift", "scale", "w1", "b1", "w2", "b2")

Pair = tuple[Probe, Card]


def random_probe(classes: tuple[str, ...], *, n_dims: int, seed: int = 0) -> Probe:
    n_outputs = 1 if len(classes) == 2 else len(classes)
    shapes = (n_dims,), (n_dims,), (n_dims, N_HIDDEN), (N_HIDDEN,), (N_HIDDEN, n_outputs)
    rng = np.random.default_rng(seed)
    draws = [rng.standard_normal(shape, dtype=np.float32) for shape in (*shapes, (n_outputs,))]
    draws[1] = np.abs(draws[1]) + 1
    return Probe(classes, *draws)


@pytest.fixture
def make_pair(manifest: ModelManifest) -> Callable[..., Pair]:
    """Make a probe of some classes, and its card."""

    def make(*classes: str, seed: int = 0) -> Pair:
        task = Task(name="moods", classes=list(classes), citation="Someone: Moods.")
        key = FitKey(
            Role.EXTERNAL, task.name, "tiny", "pooled", Split.STRATIFIED, Params(N_HIDDEN), 5
        )
        score = CardScore(0.8, 0.7, 0.9, 40, Split.STRATIFIED)
        card = make_card(task, manifest, key=key, n_epochs=7, n_tracks=40, score=score)
        return random_probe(classes, n_dims=manifest.n_dims, seed=seed), card

    return make


@pytest.fixture
def saved(make_pair: Callable[..., Pair], tmp_path: Path) -> Path:
    """A probe of three classes."""
    place = tmp_path / "moods.npz"
    save_probe(place, *make_pair("sad", "calm", "glad"))
    return place


def change_arrays(place: Path, **changes: Any) -> None:
    """Write other arrays, with a card that names their hash."""
    with np.load(place) as archive:
        arrays = {**archive, **changes}
    np.savez(place, **{name: each for name, each in arrays.items() if each is not None})
    sign(place)


def sign(place: Path) -> None:
    change_card(place, npz_sha256=hashlib.sha256(place.read_bytes()).hexdigest())


def change_card(place: Path, **changes: Any) -> None:
    beside = place.with_suffix(".json")
    beside.write_text(json.dumps(json.loads(beside.read_text()) | changes))


@pytest.fixture(params=["disk", "store"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """A folder on disk, or one of a store that lives in this process."""
    yield tmp_path if request.param == "disk" else StorePath("memory://bucket/probes")
    MemoryFileSystem.store.clear()
    MemoryFileSystem.pseudo_dirs[:] = [""]


@pytest.mark.parametrize("classes", [("voice", "instrumental"), ("sad", "calm", "glad")], ids=len)
def test_a_probe_comes_back_bit_by_bit(
    make_pair: Callable[..., Pair], folder: Place, classes: tuple[str, ...]
) -> None:
    probe, card = make_pair(*classes)
    written = save_probe(folder / "p.npz", probe, card)
    found, found_card = load_probe(folder / "p.npz")
    assert found.classes == classes
    assert [getattr(found, name).tobytes() for name in WEIGHTS] == [
        getattr(probe, name).tobytes() for name in WEIGHTS
    ]
    assert found_card == written == dataclasses.replace(card, npz_sha256=written.npz_sha256)


def test_equal_probes_give_equal_bytes(make_pair: Callable[..., Pair], tmp_path: Path) -> None:
    for name in ("a.npz", "b.npz"):
        save_probe(tmp_path / name, *make_pair("a", "b"))
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    with zipfile.ZipFile(tmp_path / "a.npz") as archive:
        assert {each.date_time[0] for each in archive.infolist()} == {1980}


def test_the_card_says_what_the_embeddings_were(saved: Path, manifest: ModelManifest) -> None:
    card = json.loads(saved.with_suffix(".json").read_text())
    assert card["embeddings"]["graph_sha256"] == manifest.graph_sha256
    assert card["embeddings"]["front_end"] == "musicnn-mel"
    assert card["task_citation"] == "Someone: Moods."
    assert card["score"]["balanced_accuracy"] == 0.8
    assert card["created"].endswith("+00:00")


def test_saving_again_takes_the_place_of_both_files(
    saved: Path, make_pair: Callable[..., Pair]
) -> None:
    probe, card = make_pair("a", "b", seed=1)
    save_probe(saved, probe, card)
    assert load_probe(saved)[0].w1.tobytes() == probe.w1.tobytes()
    assert sorted(path.name for path in saved.parent.iterdir()) == ["moods.json", "moods.npz"]


def test_folders_are_made_on_the_way(make_pair: Callable[..., Pair], tmp_path: Path) -> None:
    save_probe(tmp_path / "a" / "b" / "p.npz", *make_pair("a", "b"))
    assert load_probe(tmp_path / "a" / "b" / "p.npz")[1].task == "moods"


def test_a_folder_that_cannot_be_made_is_one_line(
    make_pair: Callable[..., Pair], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write to"):
        save_probe(tmp_path / "file" / "p.npz", *make_pair("a", "b"))


@pytest.mark.parametrize("name", ["probe", "probe.npy", ".npz"])
def test_a_name_that_is_not_npz_is_refused(
    make_pair: Callable[..., Pair], tmp_path: Path, name: str
) -> None:
    with pytest.raises(ConfigError, match=r"ends in \.npz"):
        save_probe(tmp_path / name, *make_pair("a", "b"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("gone", ["p.npz", "p.json"])
def test_half_a_pair_names_the_file_that_is_not_there(
    make_pair: Callable[..., Pair], folder: Place, gone: str
) -> None:
    save_probe(folder / "p.npz", *make_pair("a", "b"))
    (folder / gone).unlink()
    with pytest.raises(WeightsMissingError, match=rf"{folder / gone} is not there"):
        load_probe(folder / "p.npz")


class Bomb:
    """Leaves a trace if it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.trace,)


def test_a_pickle_among_the_arrays_is_refused_and_not_run(saved: Path, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    change_arrays(saved, w1=np.array([Bomb(trace)], dtype=object))
    with pytest.raises(ModelError, match="is no probe: Object arrays cannot be loaded"):
        load_probe(saved)
    assert not trace.exists()


def test_a_pickle_under_the_name_of_a_probe_is_refused_and_not_run(
    saved: Path, tmp_path: Path
) -> None:
    trace = tmp_path / "trace"
    saved.write_bytes(pickle.dumps(Bomb(trace)))
    sign(saved)
    with pytest.raises(ModelError, match="is no probe"):
        load_probe(saved)
    assert not trace.exists()


def test_a_compressed_archive_is_refused_before_it_grows(saved: Path) -> None:
    np.savez_compressed(saved, w1=np.zeros(10_000_000, dtype=np.float32))
    sign(saved)
    with pytest.raises(ModelError, match="it is compressed"):
        load_probe(saved)


NOT_FINITE = np.array([1, np.nan, 1, 1], dtype=np.float32)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"w1": None}, "lacks array 'w1'"),
        ({"more": np.zeros(1)}, "holds an unknown array 'more'"),
        ({"b1": np.zeros(N_HIDDEN)}, r"has b1 float64 \(3,\), its card says float32 \(3,\)"),
        ({"b2": np.zeros(2, np.float32)}, r"has b2 float32 \(2,\), its card says float32 \(3,\)"),
        ({"shift": NOT_FINITE}, "has shift with NaN"),
        ({"scale": np.zeros(4, np.float32)}, "has scale that is not positive"),
        ({"classes": np.array(["calm", "sad", "glad"])}, "has other classes than its card"),
        ({"classes": np.arange(3)}, "has other classes than its card"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_arrays_that_are_no_probe_are_one_line(
    saved: Path, changes: dict[str, Any], problem: str
) -> None:
    change_arrays(saved, **changes)
    with pytest.raises(ModelError, match=problem):
        load_probe(saved)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"classes": ["sad", "calm", "angry"]}, "has other classes than its card"),
        ({"params": {**dataclasses.asdict(Params()), "n_hidden": 9}}, "has w1 float32"),
        ({"npz_sha256": "00"}, "holds other weights than"),
        ({"card_version": 99}, "was written by a newer embedlib"),
        ({"card_version": None}, "it holds no card_version"),
        ({"n_tracks": "many"}, "n_tracks Input should be"),
        ({"unheard": 1}, "unheard Unexpected keyword"),
        ({"embeddings": {}}, "embeddings.model"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_card_that_contradicts_its_probe_is_one_line(
    saved: Path, changes: dict[str, Any], problem: str
) -> None:
    change_card(saved, **changes)
    with pytest.raises(ModelError, match=problem) as caught:
        load_probe(saved)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "[]", "{", "\x00", "[" * 100_000], ids=lambda text: text[:2])
def test_a_card_that_is_no_json_is_one_line(saved: Path, text: str) -> None:
    saved.with_suffix(".json").write_text(text)
    with pytest.raises(ModelError, match="is no card of a probe"):
        load_probe(saved)


def test_the_card_of_another_probe_is_refused(saved: Path, make_pair: Callable[..., Pair]) -> None:
    other = saved.with_name("other.npz")
    save_probe(other, *make_pair("sad", "calm", "glad", seed=1))
    other.replace(saved)
    with pytest.raises(HashMismatchError, match="holds other weights"):
        load_probe(saved)


def test_a_card_of_other_classes_is_not_written(
    make_pair: Callable[..., Pair], tmp_path: Path
) -> None:
    probe, _ = make_pair("a", "b")
    with pytest.raises(ModelError, match="has other classes than its card, c, d"):
        save_probe(tmp_path / "p.npz", probe, make_pair("c", "d")[1])
    assert list(tmp_path.iterdir()) == []


def test_damage_anywhere_is_one_line_of_ours_or_other_weights(saved: Path) -> None:
    whole = saved.read_bytes()
    rng = np.random.default_rng(0)
    lines = []
    for position in rng.integers(len(whole), size=300):
        damaged = bytearray(whole)
        damaged[position] ^= 1 << rng.integers(8)
        saved.write_bytes(damaged)
        sign(saved)
        with suppress(EmbedlibError):
            load_probe(saved)
            continue
        lines.append(str(refusal_of(saved)))
    assert len(lines) > 100
    assert not any("\n" in line for line in lines)


def refusal_of(place: Path) -> EmbedlibError:
    with pytest.raises(EmbedlibError) as caught:
        load_probe(place)
    return caught.value
