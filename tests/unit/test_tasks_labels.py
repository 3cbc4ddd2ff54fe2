"""Labels from manifests and from names: what they become, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from embedlib.errors import CatalogError, ConfigError
from embedlib.tasks.adapters import by_name, manifest
from embedlib.tasks.labelling import class_counts, label_set
from embedlib.tasks.labels import LabelledTrack, LabelRequest, LabelSet
from embedlib.tasks.task import Task

PETS = Task(name="pets", classes=["cat", "dog"], labels={"kitten": "cat"})


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return tmp_path / "labels.csv"


def read(source: Path) -> LabelSet:
    return manifest.read_labels(LabelRequest(PETS, source))


def test_a_manifest_gives_labels_groups_and_folds(source: Path) -> None:
    source.write_text("track_id,label,group,fold\nb.wav,dog,ann,1\na.wav,kitten,,0\n")
    assert read(source).tracks == (
        LabelledTrack("a.wav", "cat", "", 0),
        LabelledTrack("b.wav", "dog", "ann", 1),
    )


@pytest.mark.parametrize(
    "content",
    [
        b"track_id,label\na.wav,dog\n",
        b"\xef\xbb\xbftrack_id,label\r\na.wav,dog\r\n",
        b'label,"track_id",mood\n"dog","a.wav","sad, very"\n',
        b"track_id,label,group,fold\na.wav, dog ,,\n",
    ],
    ids=["plain", "BOM and CRLF", "quotes and another column", "spaces and empty cells"],
)
def test_spreadsheets_write_it_in_their_own_way(content: bytes, source: Path) -> None:
    source.write_bytes(content)
    assert read(source).tracks == (LabelledTrack("a.wav", "dog"),)


def test_a_comma_in_a_name_is_quoted(source: Path) -> None:
    source.write_text('track_id,label\n"a, b.wav",dog\n')
    assert read(source).tracks[0].name == "a, b.wav"


def test_a_folder_stands_for_its_manifest(source: Path) -> None:
    source.write_text("track_id,label\na.wav,dog\n")
    assert read(source.parent) == read(source)


def test_a_manifest_may_be_parquet(tmp_path: Path) -> None:
    table = pa.table({"track_id": ["a.wav"], "label": ["dog"], "fold": [3]})
    pq.write_table(table, tmp_path / "labels.parquet")
    assert read(tmp_path / "labels.parquet").tracks == (LabelledTrack("a.wav", "dog", fold=3),)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "has no column 'track_id', only none"),
        ("track_id,label\n", "holds no rows"),
        ("track_id,genre\na.wav,dog\n", "has no column 'label', only track_id, genre"),
        ("uri,label\na.wav,dog\n", "has no column 'track_id', only uri, label"),
        ("track_id,label\n,dog\n", "line 2: track_id is empty"),
        ("track_id,label\na.wav,\n", "line 2: label is empty"),
        ("track_id,label\na.wav,dog,x\n", "line 2: its number of cells is not that of the header"),
        ("track_id,label,fold\na.wav,dog,one\n", "line 2: fold='one' is no number"),
        ("track_id,label,fold\na.wav,dog,-1\n", "line 2: fold='-1' is no number"),
        ("track_id,label\na.wav,dog\na.wav,cat\n", "'a.wav' is labelled twice, with label 'dog'"),
        ("track_id,label,group\na,dog,x\na,dog,y\n", "twice, with group 'x' and 'y'"),
    ],
)
def test_a_manifest_without_sense_is_refused_in_one_line(
    text: str, problem: str, source: Path
) -> None:
    source.write_text(text)
    with pytest.raises(CatalogError, match=problem) as caught:
        read(source)
    assert "\n" not in str(caught.value)


def test_a_label_without_class_is_named_with_its_track_and_the_classes(source: Path) -> None:
    source.write_text("track_id,label\na.wav,dog\nb.wav,bird\nc.wav,bird\n")
    with pytest.raises(ConfigError, match=r"label 'bird' of 'b\.wav' .* one of cat, dog"):
        read(source)


def test_a_manifest_that_is_not_there_is_refused(source: Path) -> None:
    with pytest.raises(CatalogError, match=r"labels\.csv"):
        read(source)


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text("track_id,label\n")
    with pytest.raises(ConfigError, match=r"is no label manifest; give a \.csv"):
        read(tmp_path / "labels.txt")


def test_a_manifest_must_be_given() -> None:
    with pytest.raises(ConfigError, match="none is given; give a CSV file with the columns"):
        manifest.read_labels(LabelRequest(PETS, None))


def test_a_track_that_is_repeated_counts_once() -> None:
    track = LabelledTrack("a.wav", "dog")
    labels = label_set(PETS, [track, track, track], counts=[("before", 1)])
    assert labels.tracks == (track,)
    assert labels.counts == (("before", 1), ("named again with the same label", 2))


def test_two_labels_of_one_class_do_not_contradict_each_other() -> None:
    found = [LabelledTrack("a.wav", "cat"), LabelledTrack("a.wav", "kitten")]
    assert label_set(PETS, found).tracks == (LabelledTrack("a.wav", "cat"),)


def test_classes_without_tracks_are_counted_too() -> None:
    assert class_counts(PETS, [LabelledTrack("a.wav", "dog")]) == (("cat", 0), ("dog", 1))


def by_names(options: dict[str, object], *ids: str) -> LabelSet:
    named = Task(name="kit", classes=["bd", "hat"], adapter="by-name", options=options)
    return by_name.read_labels(LabelRequest(named, None, tuple(sorted(ids))))


def test_the_last_part_of_the_name_is_the_label() -> None:
    labels = by_names({"pattern": "^([a-z]+)_"}, "hat_x/bd_1.wav", "hat_2.wav", "3.wav")
    assert [(track.name, track.label) for track in labels.tracks] == [
        ("hat_2.wav", "hat"),
        ("hat_x/bd_1.wav", "bd"),
    ]
    assert labels.counts == (("without a label in the name", 1),)


def test_the_folders_of_a_name_can_be_the_label() -> None:
    options = {"pattern": "^([a-z]+)/", "whole_id": True}
    labels = by_names(options, "hat/x/bd_1.wav", "bd/hat_2.wav", "3.wav")
    assert [track.label for track in labels.tracks] == ["bd", "hat"]
    assert labels.counts == (("without a label in the name", 1),)


def test_labels_of_few_tracks_are_left_out_even_if_they_are_no_class() -> None:
    labels = by_names({"pattern": "^([a-z]+)", "min_tracks": 2}, "bd1", "bd2", "hat1", "ride1")
    assert [track.name for track in labels.tracks] == ["bd1", "bd2"]
    assert labels.counts == (("with a label that fewer than 2 tracks have", 2),)


def test_a_frequent_label_that_is_no_class_is_refused() -> None:
    way_out = "is none of its classes; .*, or let `pattern` find only the labels you want"
    with pytest.raises(ConfigError, match=f"label 'ride' of 'ride1' {way_out}"):
        by_names({"pattern": "^([a-z]+)", "min_tracks": 2}, "bd1", "bd2", "ride1", "ride2")


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({}, "options of kit: 'pattern' is missing"),
        ({"pattern": "("}, "no regular expression"),
        ({"pattern": "[a-z]+"}, "must have one group, and has 0"),
        ({"pattern": "(a)(b)"}, "must have one group, and has 2"),
        ({"pattern": "(a)", "min_tracks": 0}, "min_tracks=0 is wrong"),
        ({"pattern": "(a)", "least": 8}, "unknown key 'least'; the keys are min_tracks, pattern"),
    ],
)
def test_wrong_options_are_named(options: dict[str, object], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        by_names(options, "bd1")


def test_a_pattern_that_fits_no_name_is_refused() -> None:
    with pytest.raises(CatalogError, match=r"fits no id, such as 'x/1\.wav'"):
        by_names({"pattern": "^([a-z]+)_"}, "x/1.wav")


def test_names_must_come_from_somewhere() -> None:
    with pytest.raises(CatalogError, match="there is none; give an output"):
        by_names({"pattern": "^([a-z]+)_"})
