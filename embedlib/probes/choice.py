"""Choose among fits by what they lost on validation tracks, never by what they scored."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from statistics import fmean, median_low

from embedlib.errors import ConfigError
from embedlib.probes.records import Fit, Params


def choose(fits: Iterable[Fit]) -> Fit:
    """Choose the fit that is reported for one fold.

    Parameters
    ----------
    fits : iterable of Fit
        Of one task, model, protocol, split, repeat, shuffle and fold.

    Returns
    -------
    fit : Fit
        The final one of least validation loss; of equal ones the one of least parameters.

    Raises
    ------
    ConfigError
        When none is final.
    """
    finals = [fit for fit in fits if fit.is_final]
    if not finals:
        raise ConfigError(
            "none of the fits took part in the last rung", fix="run the sweep to its end"
        )
    return min(finals, key=lambda fit: (fit.val_loss, fit.key.params))


def whole_setting(chosen: Sequence[Fit]) -> tuple[Params, int]:
    """Settle how to train on all tracks, where none are left to validate on.

    Parameters
    ----------
    chosen : sequence of Fit
        The chosen fits of all folds of one split, or all that were final in them.

    Returns
    -------
    params : Params
        Of those that are there for each fold, the ones of least mean validation loss. Where there
        are none, those that were chosen for most folds; of equally many the ones of least mean
        loss.
    n_epochs : int
        Median of their best epochs; of an even number the lower one of the middle two.

    Raises
    ------
    ConfigError
        When none is final.
    """
    by_fold: dict[int, list[Fit]] = defaultdict(list)
    by_params: dict[Params, list[Fit]] = defaultdict(list)
    for fit in chosen:
        if fit.is_final:
            by_fold[fit.key.fold].append(fit)
            by_params[fit.key.params].append(fit)
    votes = Counter(choose(fits).key.params for fits in by_fold.values() or [()])

    def rank(params: Params) -> tuple[bool, int, float, Params]:
        fits = by_params[params]
        is_everywhere = len(fits) == len(by_fold)
        loss = fmean(fit.val_loss for fit in fits)
        return (not is_everywhere, 0 if is_everywhere else -votes[params], loss, params)

    params = min(by_params, key=rank)
    return params, median_low(fit.best_epoch for fit in by_params[params])
