"""What a sweep is asked to do: YAML or command line in, one checked record out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, field_validator

from embedlib.config import checked
from embedlib.errors import ConfigError
from embedlib.probes.records import PROTOCOLS, SearchSpace

_STRICT = ConfigDict(extra="forbid", strict=True, frozen=True)

Count: TypeAlias = Annotated[int, Field(gt=0)]
# YAML 1.1 reads 1e-3, without a point, as text.
Rate: TypeAlias = Annotated[float, Field(gt=0, strict=False)]
Decay: TypeAlias = Annotated[float, Field(ge=0, strict=False)]


class SweepTask(BaseModel):
    """One task of a sweep.

    Attributes
    ----------
    task : str
        A name of `embedlib tasks list`, or a YAML file.
    labels : str or None
        Label manifest, or root of the data set; None where the task says where its labels are.
    external : str or None
        Label manifest of the external set, or the folder with the files that label it.
    external_out : str or None
        Output that holds the embeddings of the external set; None for that of the sweep.
    """

    model_config = _STRICT

    task: str
    labels: str | None = None
    external: str | None = None
    external_out: str | None = None


class SweepParams(BaseModel):
    """Values to try of each hyper-parameter; all their combinations are fitted.

    Attributes
    ----------
    n_hidden, batch_size : list of int > 0
        Units of the hidden layer, and tracks per step.
    rate : list of float > 0
        Initial learning rates.
    l2 : list of float >= 0
        Weight decays.
    """

    model_config = _STRICT

    n_hidden: list[Count] = Field(default=[100], min_length=1)
    rate: list[Rate] = Field(default=[1e-3], min_length=1)
    l2: list[Decay] = Field(default=[1e-5], min_length=1)
    batch_size: list[Count] = Field(default=[32], min_length=1)

    @property
    def space(self) -> SearchSpace:
        """The same as a search space."""
        return SearchSpace(
            n_hidden=tuple(dict.fromkeys(self.n_hidden)),
            rate=tuple(dict.fromkeys(self.rate)),
            l2=tuple(dict.fromkeys(self.l2)),
            batch_size=tuple(dict.fromkeys(self.batch_size)),
        )


class SweepConfig(BaseModel):
    """What ``embedlib probe sweep`` is to do.

    Attributes
    ----------
    out : str
        Output that holds the embeddings; the fits go to its folder ``probes``.
    tasks : list of SweepTask
        At least one.
    models : list of str
        Names of model tables, or ``all`` for those of the output.
    protocols : list of str
        ``pooled`` or ``paper``, or both.
    groups : {'auto', 'keep', 'ignore', 'both'}
        Whether tracks of one group stay in one fold, where groups are known; ``auto`` does what
        the protocol does.
    folds : int >= 3 or 'official'
        Number of folds: one tests, one validates, the rest train; or those that the data set
        brings.
    repeats : int > 0
        Splits into folds; the first is reported, the others say how far chance goes.
    controls : int >= 0
        Times that labels are shuffled, for one model of each task.
    params : SweepParams
        What to try.
    rungs : list of int > 0 or None
        Epochs after which the better third goes on, before the last; None for those that fit the
        number of combinations.
    scheduler : {'halving', 'asha'}
        Synchronous rungs, or Ray Tune's asynchronous ones, whose choices depend on the order in
        which trials end.
    keep_probes : bool
        Save the chosen probe of each fold.
    single_writer : bool
        Write to a store that lets two writers create one file; the user sees to it that no other
        run writes there.
    local : bool
        Run in this process, without Ray.
    address : str or None
        A running Ray cluster; None starts one on this machine.
    n_cores : int > 0 or None
        Cores to use on this machine; None for all.
    """

    model_config = _STRICT

    out: str
    tasks: list[SweepTask] = Field(min_length=1)
    models: list[str] = Field(default=["all"], min_length=1)
    protocols: list[str] = Field(default=["pooled"], min_length=1)
    groups: Literal["auto", "keep", "ignore", "both"] = "auto"
    folds: Annotated[int, Field(ge=3)] | Literal["official"] = 5
    repeats: Count = 5
    controls: int = Field(default=20, ge=0)
    params: SweepParams = SweepParams()
    rungs: list[Count] | None = None
    scheduler: Literal["halving", "asha"] = "halving"
    keep_probes: bool = False
    single_writer: bool = False
    local: bool = False
    address: str | None = None
    n_cores: int | None = Field(default=None, ge=1)

    @field_validator("protocols")
    @classmethod
    def _are_protocols(cls, protocols: list[str]) -> list[str]:
        if unknown := [name for name in protocols if name not in PROTOCOLS]:
            raise ValueError(f"{unknown[0]!r} is none of {', '.join(PROTOCOLS)}")
        return protocols

    @field_validator("tasks")
    @classmethod
    def _are_different(cls, tasks: list[SweepTask]) -> list[SweepTask]:
        names = [each.task for each in tasks]
        if twice := [name for name in names if names.count(name) > 1]:
            raise ValueError(f"{twice[0]!r} is named twice")
        return tasks

    @field_validator("rungs")
    @classmethod
    def _grow(cls, rungs: list[int] | None) -> list[int] | None:
        if rungs is not None and rungs != sorted(set(rungs)):
            raise ValueError("each must be greater than the one before")
        return rungs


def sweep_config(values: Mapping[str, Any], *, origin: str = "arguments") -> SweepConfig:
    """Check the values of a sweep.

    Parameters
    ----------
    values : mapping of str to Any
        By field name.
    origin : str
        Where they come from, for the error.

    Returns
    -------
    config : SweepConfig
        All fields, checked.

    Raises
    ------
    ConfigError
        Naming the key that is unknown, missing or wrong, or if ASHA is to run without Ray or to
        keep probes.

    Examples
    --------
    >>> config = sweep_config({"out": "OUT", "tasks": [{"task": "gtzan"}]})
    >>> config.folds, config.repeats, len(list(config.params.space))
    (5, 5, 1)
    """
    config = checked(SweepConfig, values, origin=origin)
    if config.scheduler == "asha" and (config.local or config.keep_probes):
        # A trial of Tune is gone by the time that the last of its group has ended.
        reason = "needs Ray Tune" if config.local else "keeps no probes"
        raise ConfigError(f"{origin}: scheduler='asha' {reason}", fix="take 'halving'")
    return config
