"""Cut frames into the patches that models take, and the arithmetic of frames, patches and time.

A patch starts every `hop_frames` frames. Times are those of the centre of a patch's first frame,
in whole milliseconds. The first patch of a track starts at 0, or before where zeros were put in
front of the audio. For models that take the waveform, a frame is one sample.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from embedlib.errors import ConfigError
from embedlib.features.frames import Framing
from embedlib.features.front_end import FrontEnd
from embedlib.records import Float32, Int32

LastPatch = Literal["tile-short", "pad-short", "discard", "repeat", "pad", "centred"]
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
    last : {'tile-short', 'pad-short', 'discard', 'repeat', 'pad', 'centred'}
        What becomes of frames that do not fill a patch. ``discard`` and ``repeat`` are Essentia's
        ``lastPatchMode``: drop them, or tile all frames behind the last start to one more patch
        (which, wherever patches overlap, every track gets). ``tile-short`` and ``pad-short`` drop
        them too, but audio shorter than one patch is tiled, or filled up with zeros, to one.
        ``pad`` fills up with zeros every patch that starts before the end. ``centred`` is
        Essentia's FrameCutter: the first patch has its centre at the start of the audio, the
        last one at its end or behind, and zeros fill both.

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
    >>> [PatchRule(4, 4, last=last).n_patches(9) for last in ("discard", "pad", "centred")]
    [2, 3, 3]
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
        match self.last:
            case "centred":
                return Framing(self.patch_frames, self.hop_frames).n_frames(n_frames)
            case "pad":
                return -(-n_frames // self.hop_frames)
        n_full = self.n_full(n_frames)
        has_rest = n_frames > n_full * self.hop_frames
        return n_full + int(has_rest and self._fills_rest(n_full))

    @property
    def lead_frames(self) -> int:
        """Zeros in front of the first frame, in the first patch."""
        is_centred = self.last == "centred"
        return Framing(self.patch_frames, self.hop_frames).lead_samples if is_centred else 0

    def _fills_rest(self, n_full: int) -> bool:
        """Whether frames that are left after `n_full` patches become one more."""
        return self.last == "repeat" or (self.last.endswith("-short") and n_full == 0)


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
        self._n_frames = 0
        self._n_patches = 0

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
        if not len(frames):
            return self._windows(frames, 0)
        self._n_frames += len(frames)
        pending = _zeros(self._rule.lead_frames, frames) if self._pending is None else self._pending
        return self._cut(np.concatenate([pending, frames]))

    def finish(self) -> tuple[Float32, bool]:
        """Give the patches that the rule makes of the frames that are left.

        Returns
        -------
        patches : np.ndarray [shape=(n_patches, patch_frames, n_bands), float32]
            Perhaps none; the cutter is used up.
        padded : bool
            Whether the whole track was shorter than one patch and was tiled or filled up to one.
        """
        padded = 0 < self._n_frames < self._rule.patch_frames
        n_left = self._rule.n_patches(self._n_frames) - self._n_patches
        if self._pending is None or n_left == 0:
            rest = np.empty((0, 0), np.float32) if self._pending is None else self._pending
            return self._windows(rest, 0), False
        return self._cut(self._filled(self._pending, n_left)), padded

    def _filled(self, rest: Float32, n_patches: int) -> Float32:
        """Lengthen what is left to whole patches."""
        n_frames = (n_patches - 1) * self._rule.hop_frames + self._rule.patch_frames
        if self._rule.last in ("tile-short", "repeat"):
            return rest[np.arange(n_frames) % len(rest)]
        return np.concatenate([rest, _zeros(n_frames - len(rest), rest)])

    def _cut(self, frames: Float32) -> Float32:
        n_full = self._rule.n_full(len(frames))
        # A copy, because a view would keep all frames alive.
        self._pending = frames[n_full * self._rule.hop_frames :].copy()
        self._n_patches += n_full
        return self._windows(frames, n_full)

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


def patch_starts_ms(
    n_patches: int, *, rule: PatchRule, front_end: FrontEnd, n_samples: int
) -> Int32:
    """Give the start of each patch of a track.

    Parameters
    ----------
    n_patches : int >= 0
        Patches of the track.
    rule : PatchRule
        How frames become patches.
    front_end : FrontEnd
        How samples become frames.
    n_samples : int >= 0
        Samples of the track at the rate of the front end.

    Returns
    -------
    starts_ms : np.ndarray [shape=(n_patches,), int32]
        Milliseconds from the start of the audio; room for 24 days. Negative where a patch begins
        with zeros that were put in front.

    Examples
    --------
    >>> from embedlib.features.front_end import front_end
    >>> mel = front_end("musicnn-mel")
    >>> patch_starts_ms(3, rule=PatchRule(), front_end=mel, n_samples=96000)
    array([   0, 1488, 2976], dtype=int32)
    """
    hop_samples = front_end.hop_samples
    lead_samples = rule.lead_frames * hop_samples + front_end.lead_samples(n_samples)
    starts_ms = (
        _round_div((patch * rule.hop_frames * hop_samples - lead_samples) * 1000, front_end.sr_hz)
        for patch in range(n_patches)
    )
    return np.fromiter(starts_ms, np.int32, count=n_patches)


def _zeros(n_frames: int, like: Float32) -> Float32:
    return np.zeros((n_frames, like.shape[1]), np.float32)


def _round_div(numerator: int, denominator: int) -> int:
    return (2 * numerator + denominator) // (2 * denominator)
