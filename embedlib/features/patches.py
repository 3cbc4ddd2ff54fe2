"""Cut frames into the patches that models take, and the arithmetic of frames, patches and time.

A patch starts every `hop_frames` frames. Times are those of the centre of a patch's first frame,
in whole milliseconds; the first patch of a track starts at 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from embedlib.errors import ConfigError
from embedlib.features.front_end import FrontEnd
from embedlib.records import Float32, Int32

LastPatch = Literal["tile-short", "discard", "repeat"]
"""What becomes of frames that do not fill a patch, see `PatchRule`."""


@dataclass(frozen=True, slots=True)
class PatchRule:
    """How frames become patches.

    Parameters
    ----------
    patch_frames : int > 0
        Frames of one patch.
    hop_frames : int > 0
        Frames between the starts of neighbouring patches, at most `patch_frames`; the same for
        no overlap.
    last : {'tile-short', 'discard', 'repeat'}
        What becomes of frames that do not fill a patch. ``discard`` and ``repeat`` are Essentia's
        ``lastPatchMode``: drop them, or tile all frames behind the last start to one more patch
        (which, wherever patches overlap, every track gets). ``tile-short`` drops them too, but
        audio shorter than one patch is tiled to one.

    Raises
    ------
    ConfigError
        If a length is impossible or the rule unknown.

    References
    ----------
    .. [1] Essentia, ``src/algorithms/standard/vectorrealtotensor.cpp`` at commit b9fa6cb; the
       defaults are those of ``tensorflowpredictmusicnn.h`` (``patchSize``, ``patchHopSize``).

    Examples
    --------
    >>> [PatchRule(last=last).n_patches(279) for last in ("discard", "repeat", "tile-short")]
    [1, 2, 1]
    >>> [PatchRule(last=last).n_patches(50) for last in ("discard", "repeat", "tile-short")]
    [0, 1, 1]
    """

    patch_frames: int = 187
    hop_frames: int = 93
    last: LastPatch = "tile-short"

    def __post_init__(self) -> None:
        if self.patch_frames < 1:
            raise ConfigError(
                f"patch_frames={self.patch_frames} must be positive (frames)",
                fix="use the length the model was trained with",
            )
        if not 1 <= self.hop_frames <= self.patch_frames:
            raise ConfigError(
                f"hop_frames={self.hop_frames} is not between 1 and the patch length "
                f"{self.patch_frames} (frames)",
                fix=f"use {self.patch_frames} for patches without overlap",
            )
        if self.last not in get_args(LastPatch):
            raise ConfigError(
                f"unknown patch rule {self.last!r}",
                fix=f"choose one of {', '.join(get_args(LastPatch))}",
            )

    def n_full(self, n_frames: int) -> int:
        """Count the patches that hold their own frames only.

        Parameters
        ----------
        n_frames : int >= 0
            Frames of a track.

        Returns
        -------
        n_patches : int
            ``1 + (n_frames - patch_frames) // hop_frames``, or zero.
        """
        return max(0, 1 + (n_frames - self.patch_frames) // self.hop_frames)

    def n_patches(self, n_frames: int) -> int:
        """Count the patches of a track.

        Parameters
        ----------
        n_frames : int >= 0
            Frames of the track.

        Returns
        -------
        n_patches : int
            What a `PatchCutter` gives in all.
        """
        n_full = self.n_full(n_frames)
        n_left = n_frames - n_full * self.hop_frames
        return n_full + int(_tiles_rest(self.last, n_full=n_full, n_left=n_left))


class PatchCutter:
    """Cut the frames of one track, which arrive piece by piece; the pieces do not matter.

    Parameters
    ----------
    rule : PatchRule
        Lengths, and what becomes of the rest.

    Examples
    --------
    >>> cutter = PatchCutter(PatchRule(patch_frames=3, hop_frames=2, last="repeat"))
    >>> cutter.push(np.arange(4, dtype=np.float32)[:, None])[..., 0]
    array([[0., 1., 2.]], dtype=float32)
    >>> patches, padded = cutter.finish()
    >>> patches[..., 0], padded
    (array([[2., 3., 2.]], dtype=float32), False)
    """

    def __init__(self, rule: PatchRule) -> None:
        self._rule = rule
        self._pending: Float32 | None = None
        self._n_full = 0

    def push(self, frames: Float32) -> Float32:
        """Take the next frames and give the patches that are now complete.

        Parameters
        ----------
        frames : np.ndarray [shape=(n_frames, n_bands), float32]
            Frames that follow those of the last call.

        Returns
        -------
        patches : np.ndarray [shape=(n_patches, patch_frames, n_bands), float32]
            Read-only view of one copy of the frames, in which overlapping patches share memory.
        """
        pending = frames[:0] if self._pending is None else self._pending
        frames = np.concatenate([pending, frames])
        n_full = self._rule.n_full(len(frames))
        # A copy, because a view would keep all frames alive.
        self._pending = frames[n_full * self._rule.hop_frames :].copy()
        self._n_full += n_full
        return self._windows(frames, n_full)

    def finish(self) -> tuple[Float32, bool]:
        """Give the patch that the rule makes of the frames that are left.

        Returns
        -------
        patches : np.ndarray [shape=(n_patches, patch_frames, n_bands), float32]
            One or none; the cutter is used up.
        padded : bool
            Whether the whole track was shorter than one patch and was tiled to one.
        """
        rest = np.empty((0, 0), np.float32) if self._pending is None else self._pending
        if not _tiles_rest(self._rule.last, n_full=self._n_full, n_left=len(rest)):
            return self._windows(rest, 0), False
        tiled = rest[np.arange(self._rule.patch_frames) % len(rest)]
        return tiled[None], self._n_full == 0

    def _windows(self, frames: Float32, n_patches: int) -> Float32:
        if n_patches == 0:
            return np.empty((0, self._rule.patch_frames, frames.shape[1]), np.float32)
        windows = np.lib.stride_tricks.sliding_window_view(frames, self._rule.patch_frames, axis=0)
        return windows[:: self._rule.hop_frames].transpose(0, 2, 1)


def n_patches_of_samples(n_samples: int, *, rule: PatchRule, front_end: FrontEnd) -> int:
    """Count the patches of a track from its samples.

    Parameters
    ----------
    n_samples : int >= 0
        Mono samples at the rate of the front end.
    rule : PatchRule
        How frames become patches.
    front_end : FrontEnd
        How samples become frames.

    Returns
    -------
    n_patches : int
        Exactly what a run gives for a track of that length.

    Examples
    --------
    >>> from embedlib.features.front_end import front_end
    >>> musicnn = front_end("musicnn-mel")
    >>> [n_patches_of_samples(16000 * s, rule=PatchRule(), front_end=musicnn) for s in (3, 10, 30)]
    [1, 5, 19]
    """
    return rule.n_patches(front_end.n_frames(n_samples))


def frames_to_ms(n_frames: int, *, hop_samples: int, sr_hz: int) -> int:
    """Convert a number of frames to time.

    Parameters
    ----------
    n_frames : int
        Distance in frames.
    hop_samples : int > 0
        Samples between neighbouring frames.
    sr_hz : int > 0
        Sampling rate.

    Returns
    -------
    time_ms : int
        Milliseconds, rounded to the nearest, halves up.

    See Also
    --------
    ms_to_frames : The inverse, exact for hops of a millisecond or more.

    Examples
    --------
    >>> frames_to_ms(93, hop_samples=256, sr_hz=16000)
    1488
    """
    return _round_div(n_frames * hop_samples * 1000, sr_hz)


def ms_to_frames(time_ms: int, *, hop_samples: int, sr_hz: int) -> int:
    """Convert a time to the nearest number of frames.

    Parameters
    ----------
    time_ms : int
        Milliseconds.
    hop_samples : int > 0
        Samples between neighbouring frames.
    sr_hz : int > 0
        Sampling rate.

    Returns
    -------
    n_frames : int
        Distance in frames, rounded to the nearest, halves up.

    See Also
    --------
    frames_to_ms : The inverse.

    Examples
    --------
    >>> ms_to_frames(1488, hop_samples=256, sr_hz=16000)
    93
    """
    return _round_div(time_ms * sr_hz, hop_samples * 1000)


def patch_starts_ms(n_patches: int, *, hop_frames: int, hop_samples: int, sr_hz: int) -> Int32:
    """Give the start of each patch of a track.

    Parameters
    ----------
    n_patches : int >= 0
        Patches of the track.
    hop_frames : int > 0
        Frames between the starts of neighbouring patches.
    hop_samples : int > 0
        Samples between neighbouring frames.
    sr_hz : int > 0
        Sampling rate.

    Returns
    -------
    starts_ms : np.ndarray [shape=(n_patches,), int32]
        Milliseconds from the start of the track; room for 24 days.

    Examples
    --------
    >>> patch_starts_ms(3, hop_frames=93, hop_samples=256, sr_hz=16000)
    array([   0, 1488, 2976], dtype=int32)
    """
    starts_ms = (
        frames_to_ms(patch * hop_frames, hop_samples=hop_samples, sr_hz=sr_hz)
        for patch in range(n_patches)
    )
    return np.fromiter(starts_ms, np.int32, count=n_patches)


def _tiles_rest(last: LastPatch, *, n_full: int, n_left: int) -> bool:
    if n_left == 0 or last == "discard":
        return False
    return last == "repeat" or n_full == 0


def _round_div(numerator: int, denominator: int) -> int:
    return (2 * numerator + denominator) // (2 * denominator)
