"""The frozen records of scores: what a report shows. All values are fractions, none is percent."""

from __future__ import annotations

from dataclasses import dataclass

from embedlib.probes.records import Params, Split


@dataclass(frozen=True, slots=True)
class Interval:
    """Where a value lies with a stated confidence, 95 % where nothing else is said.

    Attributes
    ----------
    low, high : float
        Its ends.
    """

    low: float
    high: float

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high


@dataclass(frozen=True, slots=True)
class Cell:
    """One model on one task.

    Attributes
    ----------
    task, model, protocol : str
        Names.
    split : Split
        How folds were made.
    classes : tuple of str
        Of the task.
    n_tracks : int
        Labelled tracks that the catalogue holds.
    n_scored : int
        Those among them with an embedding.
    five_fold : float
        Balanced accuracy of the test predictions of all folds of the first split together.
    interval : Interval
        Of `five_fold`, by a bootstrap over groups, else tracks. It does not cover what another draw
        of training tracks would change.
    fold_std : float
        Standard deviation (divisor: number of folds, as in the paper's code) of the balanced
        accuracies of the folds.
    n_repeats : int
        Splits that are complete.
    repeat_std : float or None
        Standard deviation (divisor: number of splits - 1) of `five_fold` over the splits; None
        where there is one.
    external : float or None
        Balanced accuracy on the external set, over the classes that it holds; None without one.
    external_interval : Interval or None
        Of `external`.
    n_external : int
        External tracks with an embedding.
    drop : float or None
        ``five_fold - external``.
    drop_interval : Interval or None
        Of `drop`, both sets resampled independently.
    confusion : tuple of tuple of int
        Tracks by class (rows) and prediction (columns), all folds together.
    external_confusion : tuple of tuple of int or None
        The same of the external set.
    chosen : tuple of Params
        Hyper-parameters chosen in each fold.
    curves, train_curves : tuple of tuple of float
        Validation and training loss after each epoch of the chosen fit of each fold.
    is_reproducible : bool
        Whether another run of the same sweep gives the same numbers.
    fingerprint : str
        Hash of the manifest of the model table.
    table_versions : tuple of int
        Versions of that table that were read, sorted.
    has_other_labels : bool
        Whether its tracks or labels are not those of most models of the task, protocol and split:
        nothing compares it to them.
    """

    task: str
    model: str
    protocol: str
    split: Split
    classes: tuple[str, ...]
    n_tracks: int
    n_scored: int
    five_fold: float
    interval: Interval
    fold_std: float
    n_repeats: int
    repeat_std: float | None
    external: float | None
    external_interval: Interval | None
    n_external: int
    drop: float | None
    drop_interval: Interval | None
    confusion: tuple[tuple[int, ...], ...]
    external_confusion: tuple[tuple[int, ...], ...] | None
    chosen: tuple[Params, ...]
    curves: tuple[tuple[float, ...], ...]
    train_curves: tuple[tuple[float, ...], ...]
    is_reproducible: bool
    fingerprint: str
    table_versions: tuple[int, ...]
    has_other_labels: bool = False


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two models of one task, on the tracks that have an embedding of both.

    Attributes
    ----------
    task, protocol : str
        Names.
    split : Split
        How folds were made.
    model_a, model_b : str
        Names, in alphabetical order.
    difference : float
        Balanced accuracy of `model_a` less that of `model_b`.
    p : float
        Of a paired permutation test with the hypothesis that both are equally good.
    p_holm : float
        After Holm's correction over all pairs and tasks of the protocol and split.
    """

    task: str
    protocol: str
    split: Split
    model_a: str
    model_b: str
    difference: float
    p: float
    p_holm: float


@dataclass(frozen=True, slots=True)
class Ranks:
    """Models over the tasks that all of them were scored on.

    Attributes
    ----------
    protocol : str
        Its name.
    split : Split
        How folds were made.
    models : tuple of str
        Best mean rank first.
    mean_ranks : tuple of float
        From 1, the best; ties share their mean.
    n_tasks : int
        Tasks that were ranked.
    friedman_p : float
        Of Friedman's test with the hypothesis that all models are equally good.
    critical_difference : float
        Mean ranks closer than this do not differ at 5 % (Nemenyi).
    """

    protocol: str
    split: Split
    models: tuple[str, ...]
    mean_ranks: tuple[float, ...]
    n_tasks: int
    friedman_p: float
    critical_difference: float


@dataclass(frozen=True, slots=True)
class Control:
    """A task with shuffled labels: what a probe reads off nothing.

    Attributes
    ----------
    task, model, protocol : str
        Names.
    split : Split
        How folds were made.
    chance : float
        1 / number of classes.
    mean : float
        Balanced accuracy, mean over the shuffles.
    band : Interval
        Around `chance`: 99 % of all means lie inside if nothing leaks.
    n_shuffles : int
        Shuffles that are complete.
    is_suspicious : bool
        Whether `mean` lies outside of `band`.
    """

    task: str
    model: str
    protocol: str
    split: Split
    chance: float
    mean: float
    band: Interval
    n_shuffles: int
    is_suspicious: bool


@dataclass(frozen=True, slots=True)
class Scores:
    """Everything that a report says of the probes of one output.

    Attributes
    ----------
    cells : tuple of Cell
        By protocol, split, task and model.
    comparisons : tuple of Comparison
        By protocol, split, task and models.
    ranks : tuple of Ranks
        One for each protocol and split with at least two tasks and two models.
    controls : tuple of Control
        By protocol, split, task and model.
    notes : tuple of str
        What a reader must know beside the numbers, one line each.
    """

    cells: tuple[Cell, ...] = ()
    comparisons: tuple[Comparison, ...] = ()
    ranks: tuple[Ranks, ...] = ()
    controls: tuple[Control, ...] = ()
    notes: tuple[str, ...] = ()
