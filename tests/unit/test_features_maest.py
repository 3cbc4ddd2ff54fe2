"""The patch input of MAEST."""

from __future__ import annotations

import numpy as np
import pytest

from embedlib.features.maest import normalise


def test_the_mean_of_the_training_set_becomes_0_and_a_deviation_above_it_a_half() -> None:
    mean, deviation = 2.06755686098554, 1.268292820667291
    patch = np.array([[mean - deviation, mean, mean + deviation]], np.float32)
    np.testing.assert_allclose(normalise(patch), [[-0.5, 0.0, 0.5]], atol=1e-7)


@pytest.mark.parametrize("n_frames", [316, 626, 1256, 1876])
def test_patches_of_every_model_keep_shape_and_type(n_frames: int) -> None:
    patch = np.broadcast_to(np.float32(1.0), (n_frames, 96))
    normal = normalise(patch)
    assert normal.shape == (n_frames, 96)
    assert normal.dtype == np.float32
    assert normal.flags.c_contiguous


def test_the_patch_itself_is_left_alone(rng: np.random.Generator) -> None:
    patch = rng.random((1876, 96), dtype=np.float32)
    patch.setflags(write=False)
    assert not np.shares_memory(normalise(patch), patch)
