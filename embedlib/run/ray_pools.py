"""The pools of a run under Ray: shared out when a node joins, changed when work runs out.

Where that is wanted, the autoscaler of the cluster is asked for as many cores as the work that is
left can use.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Mapping

from embedlib.run.background import Background
from embedlib.run.cluster import ask_for
from embedlib.run.driver import RunPlan
from embedlib.run.events import Superfluous
from embedlib.run.nodes import Membership
from embedlib.run.pools import Moves, plan_moves, plan_pools, wanted_units, weights
from embedlib.run.ray_workers import Workers
from embedlib.run.slots import Node, plan_decoders

_LOG = logging.getLogger("embedlib")

LOOK_EVERY_S = 10.0
"""Between looks at the backlog: a change takes as long as a worker takes to start."""


class Pools:
    """The pools of one run.

    Parameters
    ----------
    plan : RunPlan
        Which models, how many workers each may have, how far the cluster may grow.
    background : Background
        Told of workers that have no place any more.
    members : Membership
        The nodes that carry workers.
    workers : Workers
        What is started and ended.
    to_embed : callable
        Gives the number of shards that are left for each model.
    """

    def __init__(
        self,
        plan: RunPlan,
        *,
        background: Background,
        members: Membership,
        workers: Workers,
        to_embed: Callable[[], Mapping[str, int]],
    ) -> None:
        self._plan = plan
        self._background = background
        self._members = members
        self._workers = workers
        self._to_embed = to_embed
        self._device = next(iter(plan.jobs.values())).device
        self._shard_s = sum(size.audio_s for size in plan.sizes.values()) / len(plan.sizes)
        self._core_s: dict[str, float] = {}
        self._leaving: set[str] = set()
        self._n_asked = 0

    # Nodes

    def staff(self, node: Node, core_s: Mapping[str, float]) -> str:
        """Start the workers of a node that has joined.

        Parameters
        ----------
        node : Node
            The node.
        core_s : mapping of str to float
            Seconds that each model needs per second of audio.

        Returns
        -------
        staff : str
            How many there are, in words.
        """
        self._core_s = dict(core_s)
        shares = weights(core_s, self._to_embed())
        slots = plan_pools(
            [node],
            weights=shares,
            limits=self._plan.pool,
            device=self._device,
            present=[*self._workers.slots().values()],
            n_nodes=len(self._members.usable),
        )
        for slot in slots:
            self._workers.start(slot)
        if slots:
            self._members.carry(node.node_id)
        n_decoders = self._add_decoders(node, shares)
        return f"{len(slots)} model and {n_decoders} decode workers"

    def _add_decoders(self, node: Node, shares: Mapping[str, float]) -> int:
        """Start the decode workers that a node lacks; one too many costs nothing while idle."""
        if self._plan.is_one_model or not shares:
            return 0
        on_cores = shares if self._device == "cpu" else {}
        n_wanted = len(plan_decoders([node], core_s=on_cores))
        n_missing = max(0, n_wanted - self._workers.n_decoders(node.node_id))
        for _ in range(n_missing):
            self._workers.start(node.node_id)
        return n_missing

    # Backlog

    async def watch(self) -> None:
        """Look at the backlog for as long as the run lasts."""
        while True:
            await self._ask()
            await asyncio.sleep(LOOK_EVERY_S)
            self._resize()

    def _resize(self) -> None:
        if not self._core_s or not self._is_settled():
            return
        to_embed = self._to_embed()
        shares = weights(self._core_s, to_embed)
        nodes = self._members.carrying
        wanted = plan_pools(nodes, weights=shares, limits=self._plan.pool, device=self._device)
        need_s = {name: self._core_s[name] * to_embed[name] * self._shard_s for name in shares}
        moves = plan_moves(self._workers.slots(), wanted, need_s=need_s)
        if moves != Moves():
            self._carry_out(moves)
            for node in nodes:
                self._add_decoders(node, shares)

    def _is_settled(self) -> bool:
        """Whether the last change is through."""
        self._leaving = {worker_id for worker_id in self._leaving if worker_id in self._workers}
        return not self._leaving and self._workers.are_ready

    def _carry_out(self, moves: Moves) -> None:
        before = Counter(slot.model for slot in self._workers.slots().values())
        leaving = Counter(self._workers.slots()[worker_id].model for worker_id in moves.end)
        joining = Counter(slot.model for slot in moves.start)
        for model in sorted(leaving | joining):
            n_workers = before[model] - leaving[model] + joining[model]
            _LOG.info("model=%s has %d workers now, had %d", model, n_workers, before[model])
        for worker_id in moves.end:
            self._leaving.add(worker_id)
            self._background.report(Superfluous(worker_id))
        for slot in moves.start:
            self._workers.start(slot)

    # Growth

    async def _ask(self) -> None:
        if self._plan.grow_to is None:
            return
        n_units = wanted_units(self._to_embed(), limit=self._plan.grow_to)
        if n_units != self._n_asked:
            self._n_asked = n_units
            await asyncio.to_thread(ask_for, n_units, device=self._device)

    def withdraw(self) -> None:
        """Take back what the cluster was asked for: else it would never shrink."""
        if self._n_asked:
            self._n_asked = 0
            ask_for(0, device=self._device)
