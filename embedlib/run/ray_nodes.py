"""The nodes of a run under Ray: each proves itself, gets its share of workers, and may leave.

The cluster is looked at every few seconds. What joins while a run is on is used; what leaves takes
its workers along, and the scheduler hears of each.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import ray
from ray import exceptions as rx

from embedlib.errors import RunError
from embedlib.records import Shard
from embedlib.run.actors import CalibrationActor
from embedlib.run.background import Background
from embedlib.run.calibrate import keep_cost, known_costs
from embedlib.run.cluster import alive_nodes, is_gone
from embedlib.run.driver import RunPlan
from embedlib.run.nodes import NODE_WAIT_S, Membership
from embedlib.run.proof import Proof, Witness, make_proof, shard_proof, unseen
from embedlib.run.ray_errors import INFRASTRUCTURE, LOOK, cause, line
from embedlib.run.ray_pools import Pools
from embedlib.run.ray_workers import Workers, actor_class
from embedlib.run.slots import Node, require_device

_LOG = logging.getLogger("embedlib")
_Answer = TypeVar("_Answer")

LOOK_EVERY_S = 2.0
"""Between looks at the cluster: a node that joined waits no longer than it took to start."""

ANSWER_S = 60.0
"""How long a node may take to look at a few files: a mount that hangs never answers."""


class Nodes:
    """The nodes of one run.

    Parameters
    ----------
    plan : RunPlan
        What they work for.
    background : Background
        Where what runs beside the loop runs.
    members : Membership
        The record of them.
    workers : Workers
        What runs on them.
    pools : Pools
        Starts it.
    is_ours : bool
        Whether the cluster was started on this machine for this run.
    """

    def __init__(
        self,
        plan: RunPlan,
        *,
        background: Background,
        members: Membership,
        workers: Workers,
        pools: Pools,
        is_ours: bool,
    ) -> None:
        self._plan = plan
        self._background = background
        self._members = members
        self._workers = workers
        self._pools = pools
        self._is_ours = is_ours
        self._device = next(iter(plan.jobs.values())).device
        self._measuring = asyncio.Lock()
        self._staff_of: dict[str, str] = {}
        self._proof = make_proof(
            plan.out,
            plan.run_id,
            shards=plan.shards.values(),
            with_sources=not plan.accept_missing,
            allowed=plan.decode.allowed,
        )

    async def watch(self) -> None:
        """Look at the cluster for as long as the run lasts.

        Raises
        ------
        ConfigError
            If no node of the first look has the wanted device.
        RunError
            If all nodes are refused, or none has been there for too long.
        """
        nodes = await asyncio.to_thread(alive_nodes)
        require_device(nodes, device=self._device)
        level = logging.INFO
        while True:
            self._take(nodes, level)
            self._stop_if_hopeless()
            await asyncio.sleep(LOOK_EVERY_S)
            nodes = await asyncio.to_thread(alive_nodes)
            level = logging.WARNING  # seen without any configuration: the run is not what it was

    def _take(self, nodes: list[Node], level: int) -> None:
        change = self._members.look(nodes)
        for node in change.left:
            self._workers.drop_node(node.node_id, f"node {node} left")
            staff = self._staff_of.pop(node.node_id, "no workers")
            _LOG.warning("node=%s left the run, with %s", node, staff)
        if change.left and not self._members.carrying:
            _LOG.warning("no node is left: waiting up to %.0f s for one", NODE_WAIT_S)
        for node in change.joined:
            self._background.start(self._admit(node, level))

    def _stop_if_hopeless(self) -> None:
        if refusal := self._members.refusal():
            raise RunError(
                f"all nodes are refused: {refusal}",
                fix="let OUT and the sources mean the same on every node, as on a shared disk; "
                "--accept-missing if the files are meant to be gone",
            )
        if self._members.waiting_s(time.monotonic()) > NODE_WAIT_S:
            raise RunError(
                f"no node that could work for {NODE_WAIT_S:.0f} s",
                fix="start one; what is committed stays, the same command continues",
            )

    # Proof

    async def _admit(self, node: Node, level: int) -> None:
        # A cluster that was started for this run is this machine, which sees what the driver sees.
        if not self._is_ours and (reason := await self._fault(node, self._proof)):
            await self._refuse(node, reason)
        elif costs := await self._costs(node):
            self._staff(node, costs, level)

    async def _fault(self, node: Node, proof: Proof) -> str:
        """Say why a node may not work; empty when it may."""
        try:
            found = await asyncio.wait_for(ask(node.node_id, unseen, proof), ANSWER_S)
        except TimeoutError:
            return f"it did not answer within {ANSWER_S:.0f} s"
        except rx.RayTaskError as exc:
            return f"it cannot look at files: {line(cause(exc))}"
        except INFRASTRUCTURE as exc:
            return f"it carries no process: {line(exc)}"
        return f"it does not see {found}" if found else ""

    async def _refuse(self, node: Node, reason: str) -> None:
        if await is_gone(node.node_id, patience_s=0.0):
            return
        self._members.refuse(node.node_id, f"node {node}: {reason}")
        _LOG.warning("node=%s is refused: %s", node, reason)
        self._workers.drop_node(node.node_id, f"node {node} is refused: {reason}")

    async def doubt(self, shard: Shard) -> str:
        """Let all nodes look at a shard most of whose files one of them could not open.

        Where some see them, those that do not are refused.

        Parameters
        ----------
        shard : Shard
            The shard.

        Returns
        -------
        reason : str
            Why no node can open them; empty when some node can.
        """
        proof = shard_proof(self._proof, shard)
        nodes = self._members.usable
        faults = await asyncio.gather(*(self._fault(node, proof) for node in nodes))
        if faults and all(faults):
            return f"node {nodes[0]}: {faults[0]}"
        for node, fault in zip(nodes, faults, strict=True):
            if fault:
                await self._refuse(node, fault)
        return ""

    # Staff

    def _staff(self, node: Node, costs: Mapping[str, float], level: int) -> None:
        if not self._members.is_usable(node.node_id):  # it left, or was refused, meanwhile
            return
        staff = self._pools.staff(node, costs)
        self._staff_of[node.node_id] = staff
        _LOG.log(level, "node=%s joined the run, with %s", node, staff)

    async def _costs(self, node: Node) -> dict[str, float]:
        """Give what each model costs: as known, else measured now; none where the node is lost."""
        jobs = self._plan.jobs
        if self._plan.is_one_model:
            return dict.fromkeys(jobs, 1.0)
        async with self._measuring:
            costs = known_costs(jobs)
            try:
                costs |= await self._measured(node, [name for name in jobs if name not in costs])
            except INFRASTRUCTURE as exc:
                if await is_gone(node.node_id, patience_s=0.0):
                    return {}
                raise RunError(
                    f"the worker that measures models died: {line(exc)}", fix=LOOK
                ) from exc
        return {name: costs[name] for name in jobs}

    async def _measured(self, node: Node, models: list[str]) -> dict[str, float]:
        if not models:
            return {}
        n_gpus = float(self._device == "cuda")
        actor = actor_class(CalibrationActor, node_id=node.node_id, n_cpus=1, n_gpus=n_gpus)
        measurer = actor.remote()
        costs: dict[str, float] = {}
        try:
            for name in models:
                job = self._plan.jobs[name]
                graph = self._workers.graph(name, node.node_id)
                found = await measurer.measure.remote(job, graph)
                costs[name] = found.cost_s
                keep_cost(job, found.cost_s, batch_size=found.batch_size)
        except rx.RayTaskError as exc:
            raise cause(exc) from exc
        finally:
            ray.kill(measurer)
        return costs


async def ask(node_id: str, question: Callable[..., _Answer], *arguments: Any) -> _Answer:
    """Have a function called on a node, in a process of its own.

    Parameters
    ----------
    node_id : str
        The node.
    question : callable
        A function of this package.
    *arguments : Any
        What it is called with.

    Returns
    -------
    answer : Any
        What it returns.
    """
    witness = actor_class(Witness, node_id=node_id, n_cpus=0).remote()
    try:
        answer: _Answer = await witness.answer.remote(question, *arguments)
        return answer
    finally:
        ray.kill(witness)
