"""What holds for every exception of embedlib."""

from __future__ import annotations

import inspect
import pickle

import pytest

from embedlib import errors
from embedlib.records import KEPT, Status

CLASSES = [cls for _, cls in inspect.getmembers(errors, inspect.isclass)]


@pytest.mark.parametrize("cls", CLASSES)
def test_an_error_survives_a_pickle_with_class_and_attributes(
    cls: type[errors.EmbedlibError],
) -> None:
    error = cls("what is wrong with 'x'", fix="the way out", track_id="a/b.mp3", n=3)
    error.add_note("a note")
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is cls
    assert str(copy) == "what is wrong with 'x'; the way out"
    assert copy.__dict__ == error.__dict__


@pytest.mark.parametrize("cls", CLASSES)
def test_an_error_has_the_one_root_and_says_whose_fault_it_is(cls: type[Exception]) -> None:
    assert issubclass(cls, errors.EmbedlibError)
    assert cls.__doc__
    assert cls.__doc__.strip().endswith(".") or cls is errors.EmbedlibError


def test_the_tree_in_the_docstring_names_every_class() -> None:
    assert errors.__doc__
    missing = [cls.__name__ for cls in CLASSES if cls.__name__ not in errors.__doc__]
    assert not missing


def test_every_audio_error_has_a_failing_status_of_its_own() -> None:
    statuses = [Status(cls.status) for cls in errors.AudioError.__subclasses__()]
    assert len(set(statuses)) == len(statuses)
    assert not KEPT & set(statuses)
