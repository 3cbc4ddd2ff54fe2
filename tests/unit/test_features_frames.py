"""Framing: counts, positions and the rule of the last frame."""

from __future__ import annotations

import numpy as np
import pytest

from embedlib.errors import ConfigError
from embedlib.features.frames import FrameCutter, Framing

MUSICNN = Framing(frame_samples=512, hop_samples=256)


def cut(y: np.ndarray, framing: Framing = MUSICNN) -> np.ndarray:
    cutter = FrameCutter(framing)
    return np.concatenate([cutter.push(y), cutter.flush()])


def test_an_impulse_at_sample_k_hops_sits_in_the_middle_of_frame_k() -> None:
    y = np.zeros(2560, np.float32)
    y[5 * 256] = 1.0
    frames = cut(y)
    assert frames[5].argmax() == 256
    assert frames[5].sum() == 1.0


@pytest.mark.parametrize(
    ("n_samples", "n_frames"), [(0, 0), (1, 2), (256, 2), (257, 3), (47360, 186), (47361, 187)]
)
def test_a_frame_is_the_last_when_its_centre_reaches_the_end(n_samples: int, n_frames: int) -> None:
    assert MUSICNN.n_frames(n_samples) == n_frames
    assert len(cut(np.ones(n_samples, np.float32))) == n_frames


def test_no_frame_starts_behind_the_end() -> None:
    framing = Framing(frame_samples=6, hop_samples=4)
    assert framing.n_frames(5) == 2
    assert len(cut(np.ones(5, np.float32), framing)) == 2


def test_what_lies_outside_the_signal_is_zero() -> None:
    frames = cut(np.ones(257, np.float32))
    assert frames.sum(axis=1).tolist() == [256.0, 257.0, 1.0]


def test_the_frames_given_early_survive_later_calls() -> None:
    cutter = FrameCutter(MUSICNN)
    early = cutter.push(np.ones(1024, np.float32))
    kept = early.copy()
    cutter.push(np.full(1024, 2.0, np.float32))
    np.testing.assert_array_equal(early, kept)


def test_stereo_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"shape \(2, 100\) are not mono"):
        FrameCutter(MUSICNN).push(np.zeros((2, 100), np.float32))


@pytest.mark.parametrize("hop_samples", [0, -1, 513])
def test_a_hop_that_leaves_samples_out_is_refused(hop_samples: int) -> None:
    with pytest.raises(ConfigError, match=f"hop_samples={hop_samples}"):
        Framing(frame_samples=512, hop_samples=hop_samples)
