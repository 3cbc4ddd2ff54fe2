"""What an hour of a core or a card costs, as the user says."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from pathlib import Path

from embedlib.config import read_config
from embedlib.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Prices:
    """What an hour costs, in any currency.

    Attributes
    ----------
    core_hour, gpu_hour : float >= 0
        Of one core, and of one card.

    Raises
    ------
    ConfigError
        If a price is negative or no number.
    """

    core_hour: float = 0.0
    gpu_hour: float = 0.0

    def __post_init__(self) -> None:
        for name, price in (("core_hour", self.core_hour), ("gpu_hour", self.gpu_hour)):
            if not isinstance(price, int | float) or not 0 <= price < math.inf:
                raise ConfigError(f"{name}={price!r} is no price", fix="give a number, 0 or more")

    def of(self, *, core_hours: float, gpu_hours: float) -> float:
        """Say what some hours cost.

        Parameters
        ----------
        core_hours, gpu_hours : float
            Of cores and cards.

        Returns
        -------
        cost : float
            In the currency of the prices.

        Examples
        --------
        >>> Prices(core_hour=0.5).of(core_hours=3.0, gpu_hours=1.0)
        1.5
        """
        return core_hours * self.core_hour + gpu_hours * self.gpu_hour


def read_prices(path: Path) -> Prices:
    """Read prices from a file.

    Parameters
    ----------
    path : Path
        YAML with ``core_hour`` and ``gpu_hour``, or one of them.

    Returns
    -------
    prices : Prices
        What it says.

    Raises
    ------
    ConfigError
        If there is no such file, or it says something else.
    """
    values = read_config(path)
    known = [field.name for field in fields(Prices)]
    if unknown := [name for name in values if name not in known]:
        raise ConfigError(
            f"{path}: unknown key {unknown[0]!r}", fix=f"the keys are {', '.join(known)}"
        )
    return Prices(**values)
