"""Figures of `bench.py scale`: pure functions from runs and costs to efficiency and money."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Protocol

from bench_memory import DRIVER, RAY
from bench_show import figure_text, table_of

from embedlib.run.estimate import DECODE
from embedlib.run.prices import Prices

ONE_MODEL, ALL_MODELS = "MusiCNN", "all models"
NODES = (8, 32, 100, 300, 1000)
"""Of clusters whose efficiency may have a limit."""

EFFICIENCY = f"{ONE_MODEL}, all cores / as many times one worker"
SHARED_CPU = f"{ALL_MODELS}, part of the cores' time that is used"
SHARED_BOUND = f"{ALL_MODELS}, speed / what their costs alone would allow"
PREEMPTED = "nodes, some preempted"


def cluster_name(n_models: int, n_nodes: int, *, is_preempted: bool = False) -> str:
    """Name the efficiency of a simulated cluster.

    Examples
    --------
    >>> cluster_name(1, 8), cluster_name(8, 100, is_preempted=True)
    ('efficiency, MusiCNN, 8 nodes', 'efficiency, all models, 100 nodes, some preempted')
    """
    models = ONE_MODEL if n_models == 1 else ALL_MODELS
    return f"efficiency, {models}, {n_nodes} {PREEMPTED if is_preempted else 'nodes'}"


FIGURES = (
    *(EFFICIENCY, SHARED_CPU, SHARED_BOUND),
    *(
        cluster_name(n_models, n_nodes, is_preempted=is_preempted)
        for n_models in (1, 8)
        for n_nodes in NODES
        for is_preempted in (False, True)
    ),
)


class HasPrice(Protocol):
    """What an hour of a core costs."""

    @property
    def core_hour(self) -> float:
        """Price, in any currency."""

    @property
    def source(self) -> str:
        """Who says so, and when."""

    @property
    def is_preemptible(self) -> bool:
        """Whether the core may be taken away."""


@dataclass(frozen=True, slots=True)
class Costs:
    """What each step costs alone, on one core.

    Attributes
    ----------
    decode : float
        Core seconds per second of audio: decode, resampling, front ends.
    models : mapping of str to mapping of str to Any
        By name, the fields of `SimulatedModel`.
    commit_s, commit_part_s : float
        Seconds of a commit, and of each part in it.
    """

    decode: float
    models: Mapping[str, Mapping[str, Any]]
    commit_s: float = 0.0
    commit_part_s: float = 0.0

    @property
    def steps(self) -> dict[str, float]:
        """Core seconds per second of audio, of all steps but the commit."""
        return {DECODE: self.decode, **{name: m["core_s"] for name, m in self.models.items()}}


@dataclass(frozen=True, slots=True)
class Streamed:
    """A run through Ray on some cores.

    Attributes
    ----------
    name : str
        What people call it.
    n_cores : int
        Cores that all of its processes were bound to.
    n_models : int
        That were run.
    audio_s : float
        Seconds of audio.
    n_files, n_patches : int
        That were embedded and saved.
    load_s : float
        Start of Ray and of the workers.
    stream_s : float
        From the moment when all workers were ready to the last commit.
    early : mapping of str to float
        Part of each step, ``decode`` and models, that was done before.
    cpu_s : mapping of str to float
        CPU seconds in `stream_s`, by kind of process.
    wall_s : float
        The whole life of the process.
    """

    name: str
    n_cores: int
    n_models: int
    audio_s: float
    n_files: int
    n_patches: int
    load_s: float
    stream_s: float
    early: Mapping[str, float]
    cpu_s: Mapping[str, float]
    wall_s: float

    def speed(self, costs: Costs) -> float:
        """Tell how many times real time; what was done before counts by the costs of its steps."""
        core_s = costs.steps
        late = sum(each * (1 - self.early[step]) for step, each in core_s.items())
        return self.audio_s / self.stream_s * late / sum(core_s.values())

    @property
    def used(self) -> float:
        """Part of the cores' time that workers used; that of the driver and of Ray is not in it."""
        own_s = sum(cpu_s for kind, cpu_s in self.cpu_s.items() if kind not in (DRIVER, RAY))
        return own_s / (self.n_cores * self.stream_s)

    @property
    def spent_else(self) -> float:
        """Part of the cores' time that the driver and Ray used."""
        other_s = sum(self.cpu_s.get(kind, 0.0) for kind in (DRIVER, RAY))
        return other_s / (self.n_cores * self.stream_s)

    def part_of_bound(self, costs: Costs) -> float:
        """Hold the speed against cores that do nothing but what costs were measured of."""
        return self.speed(costs) * sum(costs.steps.values()) / self.n_cores


@dataclass(frozen=True, slots=True)
class Simulated:
    """A run on a cluster that does not exist.

    Attributes
    ----------
    n_models, n_nodes : int
        Of the scenario.
    preempted_per_hour : float
        Part of the nodes that was taken away in an hour.
    efficiency : float
        The least possible time, with the cores that were there, over the time it took.
    makespan_s : float
        Virtual seconds.
    driver_load : float
        Real seconds in the scheduler per virtual second.
    events_per_s : float
        That the scheduler could take per real second.
    run_events_per_s : float
        That came per virtual second.
    """

    n_models: int
    n_nodes: int
    preempted_per_hour: float
    efficiency: float
    makespan_s: float
    driver_load: float
    events_per_s: float
    run_events_per_s: float

    @property
    def name(self) -> str:
        """The name of its efficiency."""
        return cluster_name(self.n_models, self.n_nodes, is_preempted=self.preempted_per_hour > 0)


def efficiency(runs: Sequence[Streamed], costs: Costs, *, n_cores: int) -> float:
    """Hold all cores against as many times one worker, round by round.

    Parameters
    ----------
    runs : sequence of Streamed
        Of all rounds and numbers of workers.
    costs : Costs
        Of the model.
    n_cores : int
        The largest number.

    Returns
    -------
    efficiency : float
        1 where nothing is lost.
    """
    many = [run.speed(costs) for run in runs if run.n_cores == n_cores]
    one = [run.speed(costs) for run in runs if run.n_cores == 1]
    return median(a / (n_cores * b) for a, b in zip(many, one, strict=True))


def core_hours(runs: Sequence[Streamed], costs: Costs, *, n_cores: int) -> float:
    """Give the core hours per 1,000 hours of audio where all cores are at work."""
    return 1000 * n_cores / median(run.speed(costs) for run in runs if run.n_cores == n_cores)


def commit_costs(seconds: Mapping[int, Sequence[float]]) -> tuple[float, float]:
    """Divide commits into what each takes and what each part in it adds.

    Parameters
    ----------
    seconds : mapping of int to sequence of float
        Of commits, by their number of parts: of two numbers.

    Returns
    -------
    commit_s, commit_part_s : float
        From medians.

    Examples
    --------
    >>> commit_costs({1: [0.5, 0.5, 9.0], 11: [1.5]})
    (0.4, 0.1)
    """
    (few, few_s), (many, many_s) = sorted((n, median(each)) for n, each in seconds.items())
    part_s = max(0.0, (many_s - few_s) / (many - few))
    return few_s - few * part_s, part_s


def worker_table(
    one: Sequence[Streamed], shared: Sequence[Streamed], costs: Mapping[str, Costs]
) -> dict[str, Any]:
    """Make the table of runs on this machine.

    Parameters
    ----------
    one, shared : sequence of Streamed
        Runs of one model, and of all models.
    costs : mapping of str to Costs
        Of `ONE_MODEL` and `ALL_MODELS`.

    Returns
    -------
    table : dict of str to Any
        As `table_of` makes it.
    """
    names = dict.fromkeys(run.name for run in [*one, *shared])
    groups = [[run for run in [*one, *shared] if run.name == name] for name in names]
    columns = ("run", "cores", "x real time", "per core, of one worker", "workers busy")
    return table_of(
        "Workers on this machine, through Ray",
        (*columns, "driver and Ray busy", "speed / costs alone", "load s"),
        [_worker_row(group, one, costs) for group in groups],
        notes=[
            "Busy: part of the cores' time. Costs alone: cores that do nothing but these steps.",
            f"Parity: {shared[0].n_patches:,} patches in each run of all models, "
            f"{one[0].n_patches:,} in each of {ONE_MODEL}, whatever the number of workers.",
        ],
    )


def _worker_row(
    runs: Sequence[Streamed], one: Sequence[Streamed], costs: Mapping[str, Costs]
) -> tuple[str, ...]:
    is_one = runs[0].n_models == 1
    own, n_cores = costs[ONE_MODEL if is_one else ALL_MODELS], runs[0].n_cores
    per_core = median(run.speed(own) for run in runs) / n_cores
    alone = median(run.speed(costs[ONE_MODEL]) for run in one if run.n_cores == 1)
    return (
        runs[0].name,
        str(n_cores),
        figure_text(n_cores * per_core),
        f"{per_core / alone:.1%}" if is_one else "",
        f"{median(run.used for run in runs):.1%}",
        f"{median(run.spent_else for run in runs):.1%}",
        f"{median(run.part_of_bound(own) for run in runs):.1%}",
        f"{median(run.load_s for run in runs):.1f}",
    )


def step_table(costs: Costs) -> dict[str, Any]:
    """Make the table of what each step costs alone."""
    return table_of(
        "What each step costs alone, one core",
        ("step", "ms per second of audio"),
        [(step, f"{1e3 * core_s:.2f}") for step, core_s in costs.steps.items()],
        notes=[
            "Decode: with resampling and front ends. "
            f"A commit takes {1e3 * costs.commit_s:.1f} ms, and {1e3 * costs.commit_part_s:.2f} ms "
            "more for each part in it."
        ],
    )


def simulated_table(runs: Sequence[Simulated]) -> dict[str, Any]:
    """Make the table of clusters that do not exist."""
    rows = [
        (
            ONE_MODEL if run.n_models == 1 else ALL_MODELS,
            f"{run.n_nodes:,}",
            f"{run.preempted_per_hour:.0%}" if run.preempted_per_hour else "",
            f"{run.efficiency:.1%}",
            f"{run.makespan_s / 3600:.2f}",
            figure_text(run.run_events_per_s),
            f"{run.events_per_s:,.0f}",
            f"{run.driver_load:.2%}",
        )
        for run in runs
    ]
    columns = (
        "models",
        "nodes",
        "preempted per hour",
        "efficiency",
        "hours",
        "events/s of the run",
    )
    return table_of(
        "Clusters in the simulator, with the costs above",
        (*columns, "events/s possible", "scheduler's part of a core"),
        rows,
        notes=[
            "Efficiency: the least possible time over the makespan, start of workers and the last "
            "shard included. Each shard was committed exactly once."
        ],
    )


def cost_table(
    hours: Mapping[str, float], prices: Mapping[str, HasPrice], *, kept_when_preempted: float
) -> dict[str, Any]:
    """Make the table of money.

    Parameters
    ----------
    hours : mapping of str to float
        Core hours per 1,000 hours of audio, as measured.
    prices : mapping of str to HasPrice
        By name.
    kept_when_preempted : float
        Efficiency where nodes are taken away: what is lost then is paid too.

    Returns
    -------
    table : dict of str to Any
        As `table_of` makes it.
    """

    def cost(core_hours: float, price: HasPrice) -> str:
        paid_hours = core_hours / (kept_when_preempted if price.is_preemptible else 1.0)
        money = Prices(core_hour=price.core_hour).of(core_hours=paid_hours, gpu_hours=0.0)
        return f"{money:.3f}"

    return table_of(
        "Cost of 1,000 hours of audio",
        ("models", "core hours", *prices),
        [
            (name, f"{own:.2f}", *(cost(own, price) for price in prices.values()))
            for name, own in hours.items()
        ],
        notes=[
            f"{name}: {price.core_hour} a core hour; {price.source}"
            for name, price in prices.items()
        ],
    )
