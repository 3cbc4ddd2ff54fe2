"""Tracks whose id was taken get one that tells them apart, and no other track has it by chance."""

from __future__ import annotations

from dataclasses import replace

import pytest

from embedlib.catalog.duplicates import duplicate_id, is_duplicate
from embedlib.catalog.uris import stored
from embedlib.records import Track

TRACK = Track("a.wav", "s3://b/y/a.wav", 1, "v", start_s=1.5)


def test_a_track_that_was_renamed_is_told_from_one_that_was_not() -> None:
    assert is_duplicate(replace(TRACK, track_id=duplicate_id(TRACK)))
    assert not is_duplicate(TRACK)


@pytest.mark.parametrize("other", [{"uri": "s3://b/z/a.wav"}, {"start_s": None}, {"end_s": 2.0}])
def test_each_further_track_of_one_id_has_an_id_of_its_own(other: dict[str, object]) -> None:
    assert duplicate_id(replace(TRACK, **other)) != duplicate_id(TRACK)


def test_the_name_of_a_duplicate_on_another_file_does_not_make_it_one() -> None:
    assert not is_duplicate(replace(TRACK, track_id=duplicate_id(TRACK), uri="s3://b/other.wav"))


def test_neither_a_new_version_nor_a_new_signature_changes_the_id() -> None:
    signed = replace(TRACK, uri="https://h/a.wav?sig=one")
    again = replace(signed, uri="https://h/a.wav?sig=two", version="w", size=2)
    assert duplicate_id(signed) == duplicate_id(again)
    assert is_duplicate(replace(signed, track_id=duplicate_id(again), uri=stored(signed.uri)))
