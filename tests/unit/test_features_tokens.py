from __future__ import annotations

import numpy as np
import pytest

from embedlib.errors import EngineError
from embedlib.features.tokens import cls_token


def test_the_class_token_is_the_first(rng: np.random.Generator) -> None:
    tokens = rng.standard_normal((3, 1, 14, 768)).astype(np.float32)
    vectors = cls_token((tokens,))
    assert vectors.shape == (3, 1, 768)
    np.testing.assert_array_equal(vectors[:, 0], tokens[:, 0, 0])


def test_the_class_token_is_the_same_without_the_axis_of_length_one(
    rng: np.random.Generator,
) -> None:
    tokens = rng.standard_normal((3, 1, 14, 768)).astype(np.float32)
    np.testing.assert_array_equal(cls_token((tokens[:, 0],)), cls_token((tokens,)))


@pytest.mark.parametrize("batch", [1, 4])
def test_the_other_tokens_are_not_kept_in_memory(batch: int) -> None:
    tokens = np.zeros((batch, 1, 14, 768), np.float32)
    vectors = cls_token((tokens,))
    assert not np.shares_memory(vectors, tokens)
    assert vectors.flags.c_contiguous


@pytest.mark.parametrize("shape", [(3, 768), (3, 2, 14, 768), (3, 1, 1, 14, 768)])
def test_what_is_not_a_block_of_tokens_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(EngineError, match="not \\(batch, 1, n_tokens, n_dims\\)"):
        cls_token((np.zeros(shape, np.float32),))
