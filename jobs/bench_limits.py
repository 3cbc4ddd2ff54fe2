"""Limits of a verb of the benchmark: floors and ceilings, checked before anything is measured."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from bench_costs import broken_ceilings
from bench_figures import Floor, broken_floors, facts_of, floors_that_count
from bench_setting import machine
from pydantic import BaseModel, ConfigDict

from embedlib.errors import ConfigError


class LimitedConfig(BaseModel):
    """Configuration of a verb whose figures have limits on both sides.

    Attributes
    ----------
    floors : mapping of str to Floor
        What figures should be at least, on machines that have what that needs.
    ceilings : mapping of str to float
        What figures should be at most.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    floors: dict[str, Floor]
    ceilings: dict[str, float]


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits that count on a machine.

    Attributes
    ----------
    floors, ceilings : mapping of str to float
        By name of the figure.
    """

    floors: Mapping[str, float]
    ceilings: Mapping[str, float]

    def broken(self, figures: Mapping[str, float]) -> list[str]:
        """Say which limits are not kept, a line each.

        Parameters
        ----------
        figures : mapping of str to float
            What was measured; the limit of a figure that was not does not count.

        Returns
        -------
        lines : list of str
            One per broken limit.

        Examples
        --------
        >>> Limits({"speed": 2.0, "other": 1.0}, {"cost": 1.0}).broken({"speed": 3.0, "cost": 4.0})
        ['cost is 4.00, above its ceiling of 1.0']
        """
        floors = {name: floor for name, floor in self.floors.items() if name in figures}
        return [*broken_floors(figures, floors), *broken_ceilings(figures, self.ceilings)]


def limits_of(config: LimitedConfig, *, names: Collection[str], cores: Sequence[int]) -> Limits:
    """Choose the limits of this machine, before anything is measured.

    Parameters
    ----------
    config : LimitedConfig
        With all limits.
    names : collection of str
        Figures that can be measured.
    cores : sequence of int
        That may be used.

    Returns
    -------
    limits : Limits
        Those that count here.

    Raises
    ------
    ConfigError
        If one of them is for a figure that cannot be measured.
    """
    facts = facts_of(machine(cores)["flags"], n_cores=len(cores))
    floors = floors_that_count(config.floors, names=names, facts=facts)
    if unknown := config.ceilings.keys() - names:
        raise ConfigError(
            f"no figure is called {min(unknown)!r}", fix=f"there are {', '.join(sorted(names))}"
        )
    return Limits(floors, config.ceilings)
