"""A check of a task: every fault is found, said in a line, and no fault is made up."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from embedlib.errors import ConfigError, OutputError
from embedlib.records import PartResult, Status, TrackRow
from embedlib.tables.catalog import adopt
from embedlib.tables.commit import commit_parts
from embedlib.tasks.check import TaskCheck, check
from embedlib.tasks.findings import notes, problems
from embedlib.tasks.loaders import validate
from embedlib.tasks.task import External, Task

PETS = Task(name="pets", classes=["cat", "dog"], external=External(adapter="manifest"))
NAMES = ("x/a.wav", "x/b.wav", "x/c.wav", "x/d.wav")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A data set of two cats and two dogs."""
    folder = tmp_path / "pets"
    (folder / "x").mkdir(parents=True)
    for name in NAMES:
        (folder / name).touch()
    rows = zip(NAMES, ("cat", "cat", "dog", "dog"), strict=True)
    write_labels(folder / "labels.csv", dict(rows))
    return folder


def write_labels(path: Path, label_of: dict[str, str]) -> str:
    lines = [f"{name},{label}" for name, label in label_of.items()]
    path.write_text("\n".join(["track_id,label", *lines]) + "\n")
    return str(path)


@pytest.fixture
def make_out(tmp_path: Path, make_part: Callable[..., PartResult]) -> Callable[..., str]:
    """Write an output: a catalogue, and a table of embeddings."""

    def make(rows: list[TrackRow], name: str = "out") -> str:
        adopt(tmp_path / name, [row.track for row in rows], sources=["/music"])
        commit_parts(tmp_path / name, "tiny", [make_part(tmp_path / name, rows)])
        return str(tmp_path / name)

    return make


@pytest.fixture
def rows(make_row: Callable[..., TrackRow]) -> list[TrackRow]:
    return [make_row(name) for name in NAMES]


def with_content(row: TrackRow, content_hash: str) -> TrackRow:
    return replace(row, decoded=replace(row.decoded, content_hash=content_hash))


def said(found: TaskCheck) -> tuple[tuple[str, ...], tuple[str, ...]]:
    return problems(found), notes(found)


def test_a_sound_data_set_is_clean(
    root: Path, make_out: Callable[..., str], rows: list[TrackRow]
) -> None:
    found = check(PETS, root=str(root), out=make_out(rows))
    assert said(found) == ((), ())
    assert found.training.classes == (("cat", 2), ("dog", 2))
    assert found.model == "tiny"


def test_labels_alone_can_be_checked(root: Path) -> None:
    found = check(PETS, root=str(root / "labels.csv"))
    assert said(found) == ((), ())
    assert (found.model, found.training.n_labelled, found.duplicates) == ("", 4, ())


def test_there_must_be_something_to_check() -> None:
    with pytest.raises(ConfigError, match="nothing to check; give a folder, an output"):
        check(PETS, root=None)


def test_files_that_labels_name_are_missed(root: Path) -> None:
    (root / "x/b.wav").unlink()
    found = check(PETS, root=str(root))
    assert problems(found) == ("no audio file for x/b.wav",)


def test_files_may_lie_below_another_folder(root: Path) -> None:
    (root / "data").mkdir()
    (root / "x").rename(root / "data/x")
    assert problems(check(PETS, root=str(root))) == ()


def test_a_file_that_is_there_twice_is_not_missed(root: Path) -> None:
    for folder in ("one", "two"):
        (root / folder / "x").mkdir(parents=True)
        (root / folder / "x/b.wav").touch()
    (root / "x/b.wav").unlink()
    assert problems(check(PETS, root=str(root))) == ()


def test_labels_without_any_audio_miss_no_file(tmp_path: Path) -> None:
    write_labels(tmp_path / "labels.csv", {"a": "cat", "b": "dog"})
    assert problems(check(PETS, root=str(tmp_path))) == ()


def test_what_lies_beside_a_manifest_is_not_looked_at(root: Path) -> None:
    (root / "x/b.wav").unlink()
    (root / "loop").symlink_to(root / "loop")
    assert problems(check(PETS, root=str(root / "labels.csv"))) == ()


def test_a_class_without_track_is_named(root: Path) -> None:
    write_labels(root / "labels.csv", dict.fromkeys(NAMES, "cat"))
    assert problems(check(PETS, root=str(root))) == ("no track has the class dog",)


def test_tracks_that_the_catalogue_lacks_are_counted_and_a_few_named(
    root: Path, make_out: Callable[..., str], make_row: Callable[..., TrackRow]
) -> None:
    found = check(PETS, root=str(root), out=make_out([make_row("elsewhere.wav")]))
    assert problems(found) == ("not in the catalogue: x/a.wav, x/b.wav, x/c.wav and 1 more",)


def test_tracks_without_embedding_are_noted(
    root: Path, make_out: Callable[..., str], make_row: Callable[..., TrackRow]
) -> None:
    states = (Status.OK, Status.MISSING, Status.DAMAGED, Status.OK)
    rows = [make_row(name, status=state) for name, state in zip(NAMES, states, strict=True)]
    found = check(PETS, root=str(root), out=make_out(rows))
    assert said(found) == ((), ("no embedding of tiny for x/b.wav",))


@pytest.mark.parametrize(
    ("changes", "note"),
    [
        ({"size": 5}, "4 labelled tracks, the paper counts 5 excerpts"),
        ({"groups": "artist"}, "tracks of one artist may be in two folds: the labels have no gr"),
    ],
)
def test_what_may_be_as_it_should_is_a_note(
    changes: dict[str, object], note: str, root: Path
) -> None:
    found = check(PETS.model_copy(update=changes), root=str(root))
    assert problems(found) == ()
    assert notes(found)[0].startswith(note)


def test_a_recording_in_two_groups_is_found_by_content(
    root: Path, make_out: Callable[..., str], rows: list[TrackRow]
) -> None:
    rows[1], rows[3] = (with_content(rows[n], "ab") for n in (1, 3))
    found = check(PETS, root=str(root), out=make_out(rows))
    assert problems(found) == ("recordings that are there twice, and may be in two folds: 1",)
    assert [(pair.first, pair.second) for pair in found.duplicates] == [("x/b.wav", "x/d.wav")]


def test_a_recording_in_one_group_is_no_problem(
    root: Path, make_out: Callable[..., str], rows: list[TrackRow]
) -> None:
    rows[3] = replace(rows[3], patch_embeddings=rows[1].patch_embeddings)
    lines = [
        f"{name},{label},{'rex' if 'x/a' not in name else ''}"
        for name, label in zip(NAMES, ("cat", "cat", "dog", "dog"), strict=True)
    ]
    (root / "labels.csv").write_text("\n".join(["track_id,label,group", *lines]))
    assert problems(check(PETS, root=str(root), out=make_out(rows))) == ()


def test_a_recording_in_the_external_set_too_is_found_by_its_embedding(
    root: Path,
    make_out: Callable[..., str],
    make_row: Callable[..., TrackRow],
    rows: list[TrackRow],
    tmp_path: Path,
) -> None:
    twin = replace(make_row("jd.mp3"), patch_embeddings=rows[2].patch_embeddings)
    found = check(
        PETS,
        root=str(root),
        out=make_out(rows),
        external=write_labels(tmp_path / "jd.csv", {"jd.mp3": "dog"}),
        external_out=make_out([twin], name="jd"),
    )
    assert problems(found) == (
        "recordings that are both in the training and in the external set: 1",
    )
    assert notes(found) == ("external: no track has the class cat",)
    assert found.duplicates[0].is_external


def test_how_near_is_near_can_be_said(
    root: Path, make_out: Callable[..., str], rows: list[TrackRow]
) -> None:
    out = make_out(rows)
    assert check(PETS, root=str(root), out=out, near=0.01).n_duplicates > 0
    assert check(PETS, root=str(root), out=out).n_duplicates == 0


def test_an_external_set_that_no_catalogue_holds_is_noted(
    root: Path, make_out: Callable[..., str], rows: list[TrackRow], tmp_path: Path
) -> None:
    labels = write_labels(tmp_path / "jd.csv", {"jd1": "dog", "jd2": "cat"})
    found = check(PETS, root=str(root), out=make_out(rows), external=labels)
    assert problems(found) == ("external: not in the catalogue: jd1, jd2",)
    assert notes(found) == ("the external set is empty: there will be no external score",)


def test_a_model_that_is_not_there_is_refused(
    root: Path, make_out: Callable[..., str], rows: list[TrackRow]
) -> None:
    with pytest.raises(OutputError, match="has no table of 'other'; it holds tiny"):
        check(PETS, root=str(root), out=make_out(rows), model="other")


def test_an_output_without_model_table_is_refused(root: Path, tmp_path: Path) -> None:
    adopt(tmp_path / "out", [], sources=["/music"])
    with pytest.raises(OutputError, match="has no model table; run `embedlib extract`"):
        check(PETS, root=str(root), out=str(tmp_path / "out"))


def with_loader(loader: str) -> Task:
    return PETS.model_copy(update={"options": {"loader": loader}})


def test_a_task_without_loader_asks_none(tmp_path: Path) -> None:
    assert validate(PETS, tmp_path) is None


@pytest.mark.parametrize(
    ("loader", "problem"),
    [
        ("gtzan_genre", "loader='gtzan_genre' is no loader; write mirdata:NAME or soundata:NAME"),
        ("os:path", "loader='os:path' is no loader"),
        ("mirdata:gtzan_gender", "mirdata has no loader 'gtzan_gender'; update mirdata"),
    ],
)
def test_a_wrong_loader_is_refused(loader: str, problem: str, tmp_path: Path) -> None:
    pytest.importorskip("mirdata")
    with pytest.raises(ConfigError, match=problem):
        validate(with_loader(loader), tmp_path)


# smart_open, which mirdata loads, warns of a package that Google's client would like to have.
loads_mirdata = pytest.mark.filterwarnings("ignore::ImportWarning")


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[str, Any]], None]:
    """Put an index where mirdata looks for the one that comes apart from it."""
    core = pytest.importorskip("mirdata.core")
    path = tmp_path / "index.json"
    monkeypatch.setattr(core.Index, "get_path", lambda self: str(path))
    return lambda tracks: path.write_text(json.dumps({"version": "1.0", "tracks": tracks}))


@loads_mirdata
def test_without_its_index_a_loader_is_not_asked_and_no_network_is_tried(
    index: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("socket.socket.connect", None)
    validation = validate(with_loader("mirdata:gtzan_genre"), tmp_path)
    assert validation is not None
    assert "its index is not here" in validation.obstacle
    assert "mirdata.initialize('gtzan_genre').download(['index'])" in validation.obstacle


@loads_mirdata
def test_a_loader_finds_files_that_are_not_as_published(
    index: Callable[[dict[str, Any]], None], root: Path
) -> None:
    empty = "d41d8cd98f00b204e9800998ecf8427e"  # MD5 of nothing
    index(
        {
            "a": {"audio": ["x/a.wav", empty]},
            "b": {"audio": ["x/b.wav", "0" * 32]},
            "z": {"audio": ["x/z.wav", empty]},
        }
    )
    found = check(with_loader("mirdata:gtzan_genre"), root=str(root))
    assert problems(found) == (f"not as published, says mirdata:gtzan_genre: {root}/x/b.wav",)
    assert notes(found) == (f"of the index of mirdata:gtzan_genre, not there: {root}/x/z.wav",)


def test_without_the_package_the_way_to_it_is_told(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "soundata", None)
    found = check(with_loader("soundata:urbansound8k"), root=str(root))
    assert notes(found) == (
        "soundata:urbansound8k was not asked: soundata is not installed; "
        "pip install 'embedlib[datasets]'",
    )
