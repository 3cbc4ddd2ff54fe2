"""Labelled tracks in a catalogue: found by id, or by the end of a path, and else named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from embedlib.errors import CatalogError, ConfigError, OutputError
from embedlib.records import Track
from embedlib.tables.catalog import adopt
from embedlib.tasks.labels import LabelledTrack, LabelSet
from embedlib.tasks.match import catalogue_tracks, find_names, match
from embedlib.tasks.sources import external, internal
from embedlib.tasks.task import External, Task

PETS = Task(name="pets", classes=["cat", "dog"])


def labelled(*tracks: LabelledTrack) -> LabelSet:
    return LabelSet(tuple(tracks))


def listed(*ids: str, root: str = "/music") -> list[tuple[str, str]]:
    return [(track_id, f"{root}/{track_id}") for track_id in ids]


@pytest.mark.parametrize(
    ("name", "tracks", "found"),
    [
        ("a.wav", listed("a.wav"), "a.wav"),
        ("a.wav", listed("a.wav", "x/a.wav"), "a.wav"),
        ("a.wav", listed("x/a.wav"), "x/a.wav"),
        ("x/a.wav", listed("y/x/a.wav", "z/a.wav"), "y/x/a.wav"),
        ("x/a.wav", [("one", "s3://bucket/x/a.wav")], "one"),
        ("a.wav", listed("ba.wav"), None),
        ("x/a.wav", listed("a.wav", root="/music/yx"), None),
        ("music/a.wav", listed("a.wav"), "a.wav"),
    ],
)
def test_a_name_is_an_id_or_the_end_of_a_path(
    name: str, tracks: list[tuple[str, str]], found: str | None
) -> None:
    assert find_names([name], tracks).get(name) == found


def test_a_name_that_ends_several_paths_is_refused() -> None:
    with pytest.raises(CatalogError, match=r"'a\.wav' stands for 2 .* 'x/a\.wav' and 'y/a\.wav'"):
        find_names(["a.wav"], listed("y/a.wav", "x/a.wav"))


def test_a_cohort_is_in_the_order_of_ids_whatever_the_order_of_the_catalogue() -> None:
    labels = labelled(
        LabelledTrack("1.wav", "dog", "ann", 0), LabelledTrack("2.wav", "cat", "bob", 1)
    )
    for tracks in (listed("z/1.wav", "a/2.wav"), listed("a/2.wav", "z/1.wav")):
        cohort = match(PETS, labels, tracks=tracks).cohort
        assert cohort.track_ids == ("a/2.wav", "z/1.wav")
        assert cohort.y.tolist() == [0, 1]
        assert cohort.groups == ("bob", "ann")
        assert cohort.folds == (1, 0)


def test_labelled_tracks_that_the_catalogue_lacks_are_named() -> None:
    labels = labelled(*(LabelledTrack(name, "dog") for name in ("a", "b", "c")))
    matched = match(PETS, labels, tracks=listed("b", "d"))
    assert (matched.n_labelled, matched.absent) == (3, ("a", "c"))
    assert matched.cohort.track_ids == ("b",)
    assert (matched.cohort.groups, matched.cohort.folds) == ((), ())


def test_one_track_under_two_names_counts_once() -> None:
    labels = labelled(LabelledTrack("a.wav", "dog"), LabelledTrack("x/a.wav", "dog"))
    assert match(PETS, labels, tracks=listed("x/a.wav")).cohort.track_ids == ("x/a.wav",)


def test_one_track_under_two_names_with_two_labels_is_refused() -> None:
    labels = labelled(LabelledTrack("a.wav", "dog"), LabelledTrack("x/a.wav", "cat"))
    with pytest.raises(CatalogError, match=r"'a\.wav' and 'x/a\.wav' are both 'x/a\.wav'"):
        match(PETS, labels, tracks=listed("x/a.wav"))


def test_folds_of_some_tracks_only_are_refused() -> None:
    labels = labelled(LabelledTrack("a", "dog", fold=0), LabelledTrack("b", "cat"))
    with pytest.raises(CatalogError, match="'b' has no fold, others have"):
        match(PETS, labels, tracks=listed("a", "b"))


@pytest.mark.parametrize(
    ("tracks", "there"), [(listed("c.wav"), r"such as 'c\.wav'"), ([], "it is empty")]
)
def test_labels_without_any_track_are_refused_with_an_example_of_either(
    tracks: list[tuple[str, str]], there: str
) -> None:
    with pytest.raises(CatalogError, match=rf"such as 'a\.wav'.* in the catalogue \({there}\)"):
        match(PETS, labelled(LabelledTrack("a.wav", "dog")), tracks=tracks)


@pytest.fixture
def catalogue(tmp_path: Path) -> Callable[..., str]:
    """Write the catalogue of an output."""

    def write(*ids: str, name: str = "out") -> str:
        tracks = [Track(track_id, f"/music/{track_id}", 1, "1") for track_id in ids]
        adopt(tmp_path / name, tracks, sources=["/music"])
        return str(tmp_path / name)

    return write


def test_the_tracks_of_a_catalogue_come_by_id(catalogue: Callable[..., str]) -> None:
    catalogue("b")
    out = catalogue("a", "b")  # what is new is written behind what was there
    assert catalogue_tracks(out) == (("a", "/music/a"), ("b", "/music/b"))


def test_a_folder_without_catalogue_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="holds no catalogue"):
        catalogue_tracks(tmp_path)


def test_labels_in_names_need_no_source(catalogue: Callable[..., str]) -> None:
    named = Task(
        name="pets", classes=["cat", "dog"], adapter="by-name", options={"pattern": "([a-z]+)"}
    )
    matched = internal(named, None, out=catalogue("x/cat1", "x/dog1"))
    assert matched.cohort.y.tolist() == [0, 1]


def test_a_csv_file_is_a_manifest_whatever_the_adapter(
    catalogue: Callable[..., str], tmp_path: Path
) -> None:
    (tmp_path / "mine.csv").write_text("track_id,label\na,dog\na,dog\n")
    named = PETS.model_copy(update={"adapter": "gtzan"})
    matched = internal(named, str(tmp_path / "mine.csv"), out=catalogue("x/a"))
    assert matched.cohort.track_ids == ("x/a",)
    assert matched.counts == (("named again with the same label", 1),)


def test_without_a_source_there_is_no_external_set(catalogue: Callable[..., str]) -> None:
    assert external(PETS, None, out=catalogue("a")) is None


def test_an_external_set_may_be_empty(catalogue: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "jd.csv").write_text("track_id,label\nelsewhere,dog\n")
    matched = external(PETS, str(tmp_path / "jd.csv"), out=catalogue("a"))
    assert matched is not None
    assert len(matched.cohort) == 0
    assert (matched.n_labelled, matched.absent) == (1, ("elsewhere",))


def test_tags_need_a_mapping(catalogue: Callable[..., str], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"pets has no mapping of external tags .*; bring"):
        external(PETS, str(tmp_path), out=catalogue("a"))


def test_a_folder_is_for_the_external_adapter(
    catalogue: Callable[..., str], tmp_path: Path
) -> None:
    (tmp_path / "labels.csv").write_text("track_id,label\na,cat\n")
    mapped = PETS.model_copy(update={"external": External(adapter="manifest")})
    matched = external(mapped, str(tmp_path), out=catalogue("a"))
    assert matched is not None
    assert matched.cohort.track_ids == ("a",)
