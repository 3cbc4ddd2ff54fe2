"""One trial of Ray Tune: it writes its rows into a part file and reports only its name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

import ray
from ray import tune

from embedlib.catalog.stores import Place
from embedlib.errors import EmbedlibError
from embedlib.probes.plan import MaterialKey, Parcel
from embedlib.probes.table import write_fits
from embedlib.probes.training import Training
from embedlib.probes.tune_schedulers import EPOCH, VAL_LOSS
from embedlib.probes.work import Material, carry_out, fit_of, training_of

NUMBER: Final = "number"
PART: Final = "part"
FAILURE: Final = "failure"


@dataclass(frozen=True, slots=True, eq=False)
class Unit:
    """What one trial does.

    Attributes
    ----------
    parcel : Parcel
        All of it; under ASHA one group.
    fit : int
        Under ASHA the number of the fit in that group; -1 where all are done.
    """

    parcel: Parcel
    fit: int = -1

    @property
    def is_asha(self) -> bool:
        """Whether Tune decides how far it is trained."""
        return self.fit >= 0

    @property
    def bundle(self) -> str:
        """Name of the units whose rows are committed together."""
        return self.parcel.groups[0].group_id

    @property
    def n_together(self) -> int:
        """How many units that are."""
        return len(self.parcel.groups[0].keys) if self.is_asha else 1


@dataclass(frozen=True, slots=True, eq=False)
class Shared:
    """What all trials find in the object store.

    Attributes
    ----------
    out : Path or StorePath
        The output folder.
    units : tuple of Unit
        By the number that a trial is given.
    materials : mapping of MaterialKey to ray.ObjectRef
        Arrays, which are read where they lie.
    keeps_probes : bool
        Whether the chosen probes of the first split are saved.
    """

    out: Place
    units: tuple[Unit, ...]
    materials: Mapping[MaterialKey, Any]
    keeps_probes: bool


class UnitTrial(tune.Trainable):
    """One unit: a parcel in one step, or a fit in as many steps as ASHA lets it have."""

    def setup(self, config: dict[str, Any], **parameters: Any) -> None:
        """Begin with a unit.

        Parameters
        ----------
        config : dict
            The ``number`` of the unit.
        **parameters : Any
            ``shared``: all units and arrays.
        """
        self._shared: Shared = parameters["shared"]
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take up another unit in the same process.

        Parameters
        ----------
        new_config : dict
            The ``number`` of the unit.

        Returns
        -------
        is_reset : bool
            True.
        """
        self._number = new_config[NUMBER]
        self._training: Training | None = None
        self._rung = 0
        return True

    def step(self) -> dict[str, Any]:
        """Do the unit, or train to the next rung of it.

        Returns
        -------
        result : dict
            The part that was written. Our own errors are told as values: they end the sweep, where
            others are tried again.
        """
        unit = self._shared.units[self._number]
        material = ray.get(self._shared.materials[unit.parcel.subject.material])
        try:
            if unit.is_asha:
                return self._climb(unit, material)
            keep_in = self._shared.out if self._shared.keeps_probes else None
            fits = carry_out(unit.parcel, material, keep_in=keep_in)
            return {PART: asdict(write_fits(self._shared.out, fits)), "done": True}
        except EmbedlibError as exc:
            return {FAILURE: exc, "done": True}

    def _climb(self, unit: Unit, material: Material) -> dict[str, Any]:
        (group,), protocol = unit.parcel.groups, unit.parcel.subject.protocol
        if self._training is None:
            self._training = training_of(group, unit.fit, material, protocol=protocol)
        self._training.advance(group.rungs[self._rung])
        is_over = self._training.is_over or self._rung == len(group.rungs) - 1
        outcome = self._training.outcome(self._rung, is_over)
        part = write_fits(self._shared.out, [fit_of(group, unit.fit, outcome, material)])
        epoch = group.rungs[self._rung]
        self._rung += 1
        return {PART: asdict(part), "done": is_over, EPOCH: epoch, VAL_LOSS: outcome.val_loss}
