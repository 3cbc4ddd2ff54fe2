"""A shard searched for tracks that kill their decoder, on a node of the run."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import ray
from ray import exceptions as rx

from embedlib.records import Crash
from embedlib.run.actors import BisectionActor
from embedlib.run.driver import RunPlan
from embedlib.run.events import Bisected
from embedlib.run.ray_errors import INFRASTRUCTURE, cause, line
from embedlib.run.ray_workers import actor_class
from embedlib.run.slots import Node

_LOG = logging.getLogger("embedlib")


async def search(plan: RunPlan, shard_id: str, *, nodes: Sequence[Node]) -> Bisected:
    """Search a shard, for all models of it at once.

    Parameters
    ----------
    plan : RunPlan
        What the shard belongs to.
    shard_id : str
        The shard.
    nodes : sequence of Node
        Where: on the first of them. The actor there only watches the processes that may die.

    Returns
    -------
    event : Bisected
        It accuses no track when the actor itself was lost, or there is no node.

    Raises
    ------
    Exception
        What the code of the search raised.
    """
    _LOG.warning("shard=%s cost several workers while it was decoded: searching it", shard_id)
    if not nodes:
        return Bisected(shard_id)
    job = plan.decode_job(plan.models[shard_id])
    actor = actor_class(BisectionActor, node_id=nodes[0].node_id, n_cpus=0).remote()
    crashed: tuple[Crash, ...] = ()
    try:
        crashed = await actor.bisect.remote(plan.shards[shard_id], job, plan.worker_memory_bytes)
    except rx.RayTaskError as exc:
        raise cause(exc) from exc
    except INFRASTRUCTURE as exc:
        _LOG.warning("shard=%s was not searched to its end: %s", shard_id, line(exc))
    finally:
        ray.kill(actor)
    return Bisected(shard_id, crashed)
