"""How many patches a card takes: as many as make it faster, and never more than fit."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedlib.errors import BatchMemoryError, ModelError
from embedlib.run.batches import MOST_PATCHES, best_batch_size


def full_at(n_patches: int, size: int) -> float:
    return 1.0 / min(size, n_patches)


@given(st.integers(1, 10), st.integers(0, 3))
def test_the_size_at_which_a_card_is_full_is_found(log2_full: int, log2_first: int) -> None:
    full, first = 2**log2_full, 2**log2_first
    assert best_batch_size(lambda size: full_at(full, size), first=first) == max(full, first)


def test_what_never_gets_full_ends_somewhere() -> None:
    assert best_batch_size(lambda size: 1.0 / size, first=1) == MOST_PATCHES


@pytest.mark.parametrize("error", [BatchMemoryError("no room"), ModelError("batches of 8")])
def test_what_does_not_fit_is_not_taken(error: Exception) -> None:
    def patch_s(size: int) -> float:
        if size > 8:
            raise error
        return 1.0 / size

    assert best_batch_size(patch_s, first=1) == 8


def test_a_small_gain_is_not_worth_a_larger_batch() -> None:
    assert best_batch_size(lambda size: 1.0 - 0.05 * (size > 4), first=4) == 4


def test_a_first_batch_that_does_not_fit_is_an_error() -> None:
    def patch_s(size: int) -> float:
        raise BatchMemoryError("no room")

    with pytest.raises(BatchMemoryError):
        best_batch_size(patch_s, first=1)
