"""What comes out of one training, before it becomes a row."""

from __future__ import annotations

from dataclasses import dataclass

from embedlib.probes.probe import Probe
from embedlib.probes.records import FitKey, Int


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """A probe that was trained, and what it makes of the tested tracks.

    Attributes
    ----------
    key : FitKey
        What was fitted.
    probe : Probe
        With the weights of the best epoch, or of the last where nothing validates.
    n_epochs : int
        Epochs that were run.
    best_epoch : int
        From 1; the one whose weights are kept.
    rung : int
        Last rung of successive halving that it took part in, from 0.
    is_final : bool
        Whether that was the last of all.
    n_train, n_val : int
        Tracks.
    val_loss : float
        At `best_epoch`; NaN where nothing validates.
    train_curve, val_curve : tuple of float
        Loss after each epoch; `val_curve` is empty where nothing validates.
    test_index, predicted : np.ndarray [shape=(n_test,), int64]
        Tested tracks, and their classes as the probe has it.
    wall_s : float
        Seconds of training.
    """

    key: FitKey
    probe: Probe
    n_epochs: int
    best_epoch: int
    rung: int
    is_final: bool
    n_train: int
    n_val: int
    val_loss: float
    train_curve: tuple[float, ...]
    val_curve: tuple[float, ...]
    test_index: Int
    predicted: Int
    wall_s: float
