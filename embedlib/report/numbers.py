"""How numbers are written: fractions as points of percent, one decimal, everywhere the same."""

from __future__ import annotations

from embedlib.probes.score_records import Interval

NOTHING = ""
"""What stands where there is no number."""


def percent(fraction: float | None) -> float | None:
    """Give a fraction in percent, as a number for other programs.

    Parameters
    ----------
    fraction : float or None
        0..1, or a difference of such.

    Returns
    -------
    percent : float or None
        Rounded to four decimals.

    Examples
    --------
    >>> percent(0.86124567)
    86.1246
    """
    return None if fraction is None else round(100 * fraction, 4)


def points(fraction: float | None) -> str:
    """Write a fraction in percent.

    Parameters
    ----------
    fraction : float or None
        0..1, or a difference of such.

    Returns
    -------
    text : str
        One decimal; empty without a number.

    Examples
    --------
    >>> points(0.8614), points(-0.0201), points(None)
    ('86.1', '-2.0', '')
    """
    return NOTHING if fraction is None else f"{_rounded(fraction):.1f}"


def signed(fraction: float | None) -> str:
    """Write a difference of fractions in points, with its sign.

    Parameters
    ----------
    fraction : float or None
        A difference.

    Returns
    -------
    text : str
        One decimal; empty without a number.

    Examples
    --------
    >>> signed(0.0214), signed(-0.0001), signed(None)
    ('+2.1', '0.0', '')
    """
    if fraction is None:
        return NOTHING
    value = _rounded(fraction)
    return f"{value:+.1f}" if value else "0.0"


def span(interval: Interval | None) -> str:
    """Write an interval of fractions in percent.

    Parameters
    ----------
    interval : Interval or None
        Its ends.

    Returns
    -------
    text : str
        Empty without an interval.

    Examples
    --------
    >>> span(Interval(0.841, 0.88))
    '[84.1, 88.0]'
    """
    return NOTHING if interval is None else f"[{points(interval.low)}, {points(interval.high)}]"


def probability(p: float) -> str:
    """Write a probability of a test.

    Parameters
    ----------
    p : float
        0..1.

    Returns
    -------
    text : str
        Three decimals, and no zero that is none.

    Examples
    --------
    >>> probability(0.04), probability(0.00001)
    ('0.040', '< 0.001')
    """
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def _rounded(fraction: float) -> float:
    return round(100 * fraction, 1) + 0.0  # no negative zero
