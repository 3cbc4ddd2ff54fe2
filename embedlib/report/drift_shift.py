"""How far the mean of embeddings has moved, and how far a random choice of tracks would move it.

The tracks that came and went may be a fair sample of all, and still move the mean; the fewer they
are the more. So the roles that tracks play (gone, new, there all the time) are dealt anew at random
among all tracks of both states, many times: what the mean does then is what chance does. It is a
permutation test, exact however few tracks there are [1]_.

.. [1] P. I. Good, Permutation, Parametric and Bootstrap Tests of Hypotheses, 3rd ed., Springer
   2005, chapter 3; the smallest p is one by the number of deals plus one: B. Phipson, G. K. Smyth,
   Permutation P-values Should Never Be Zero, Stat. Appl. Genet. Mol. Biol. 9(1), 2010.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from embedlib.probes.records import Float64, Int
from embedlib.report.drift_records import Shift, Verdict
from embedlib.report.drift_rows import Block

N_DEALS: Final = 499
"""Random deals of the roles: with them p can be as small as 0.002."""

ALPHA: Final = 0.01
"""A shift is more than chance where no more than this share of the deals goes as far."""

NOTICEABLE_SD: Final = 0.1
"""Half of what counts as a small effect (J. Cohen, Statistical Power Analysis, 2nd ed., 1988)."""

_SEED: Final = 499
_TIE: Final = 1 - 1e-9
"""A deal that is the observed one again may differ from it by rounding."""


class ShiftMeter:
    """Takes embeddings block by block and gives the shift of their mean.

    Parameters
    ----------
    n_gone, n_both, n_new : int >= 0
        Embeddings that only the first state has, both, and only the second: all that will come.
    n_dims : int > 0
        Length of each.
    """

    def __init__(self, *, n_gone: int, n_both: int, n_new: int, n_dims: int) -> None:
        self._n_gone, self._n_new = n_gone, n_new
        self._n = np.array([n_gone + n_both, n_both + n_new])
        self._n_all = n_gone + n_both + n_new
        self._dealer = _Dealer(n_gone=n_gone, n_both=n_both, n_new=n_new)
        self._origin: Float64 = np.full(n_dims, np.nan)
        self._sums = np.zeros((2, n_dims))
        self._all_sums, self._squares = np.zeros((2, n_dims))
        self._dealt = np.zeros((N_DEALS, n_dims))

    def add(self, block: Block) -> None:
        """Take some embeddings.

        Parameters
        ----------
        block : Block
            None of them has come before.
        """
        x = block.x.astype(np.float64)
        if np.isnan(self._origin).any():
            self._origin = x.mean(axis=0)
        x -= self._origin  # near zero sums lose nothing, and the weights of a deal add up to zero
        self._sums += np.stack((block.is_first, block.is_second)).astype(np.float64) @ x
        self._all_sums += x.sum(axis=0)
        self._squares += np.einsum("ij,ij->j", x, x)
        if self._n_gone or self._n_new:
            self._dealt += self._dealer.weights(len(x)) @ x

    def shift(self) -> Shift:
        """Give the shift, when all embeddings have come.

        Returns
        -------
        shift : Shift
            Without numbers where a state has no embedding.
        """
        counts = {
            "n_first": int(self._n[0]),
            "n_second": int(self._n[1]),
            "n_gone": self._n_gone,
            "n_new": self._n_new,
        }
        if not self._n.all():
            return Shift(**counts, cosine=None, shift_sd=None, chance_sd=None, p=None, verdict=None)
        first, second = self._sums / self._n[:, np.newaxis]
        cosine = _cosine(self._origin + first, self._origin + second)
        (shift_sd,) = self._in_sd(second - first)
        chances_sd = self._in_sd(self._dealt)
        p = float(1 + np.count_nonzero(chances_sd >= shift_sd * _TIE)) / (1 + N_DEALS)
        return Shift(
            **counts,
            cosine=cosine,
            shift_sd=float(shift_sd),
            chance_sd=float(np.quantile(chances_sd, 1 - ALPHA)),
            p=p,
            verdict=_verdict(float(shift_sd), p, is_same=not (self._n_gone or self._n_new)),
        )

    def _in_sd(self, moves: Float64) -> Float64:
        """Give the lengths of moves of the mean; dimensions that do not vary count as unmoved."""
        variances = self._squares / self._n_all - (self._all_sums / self._n_all) ** 2
        sd = np.sqrt(np.maximum(variances, 0))
        varies = sd > np.finfo(np.float32).eps * np.abs(self._origin)
        moved = np.divide(moves, sd, out=np.zeros((*moves.shape[:-1], len(sd))), where=varies)
        lengths: Float64 = np.sqrt(np.mean(np.atleast_2d(moved) ** 2, axis=1))
        return lengths


class _Dealer:
    """Deals the roles to tracks that come block by block, so that at the end each is dealt out."""

    def __init__(self, *, n_gone: int, n_both: int, n_new: int) -> None:
        n_first, n_second = max(1, n_gone + n_both), max(1, n_both + n_new)
        self._weights = np.array([-1 / n_first, 1 / n_second - 1 / n_first, 1 / n_second])
        self._left: Int = np.tile(np.array([n_gone, n_both, n_new]), (N_DEALS, 1))
        self._rng = np.random.default_rng(_SEED)

    def weights(self, n_tracks: int) -> Float64:
        """Give what each of some tracks adds to the difference of the means, in each deal."""
        gone, both, new = self._left.T
        n_gone = self._rng.hypergeometric(gone, both + new, n_tracks)
        n_both = self._rng.hypergeometric(both, new, n_tracks - n_gone)
        self._left -= np.stack((n_gone, n_both, n_tracks - n_gone - n_both), axis=1)
        places = np.arange(n_tracks)
        roles = (places >= n_gone[:, np.newaxis]).astype(np.int8)
        roles += places >= (n_gone + n_both)[:, np.newaxis]
        weights: Float64 = self._weights[self._rng.permuted(roles, axis=1)]
        return weights


def _cosine(first: Float64, second: Float64) -> float | None:
    lengths = float(np.linalg.norm(first) * np.linalg.norm(second))
    return min(1.0, float(first @ second) / lengths) if lengths else None


def _verdict(shift_sd: float, p: float, *, is_same: bool) -> Verdict:
    if is_same:
        return Verdict.SAME
    if p > ALPHA:
        return Verdict.CHANCE
    return Verdict.DRIFT if shift_sd >= NOTICEABLE_SD else Verdict.SLIGHT
