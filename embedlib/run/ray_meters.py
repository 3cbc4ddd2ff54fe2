"""The measurements of a run on their way to Prometheus, through Ray.

The driver sends them to the metrics agent of its node every 10 s, and what is left when it leaves
the cluster. The agent serves them, as ``ray_<name>``, at the port that ``--metrics-export-port`` of
``ray start`` names. Told to collect no metrics (``RAY_enable_metrics_collection=0``), Ray drops
them, and the run does not notice.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from ray.util.metrics import Counter, Gauge

from embedlib.run.driver import Observer
from embedlib.run.events import Event
from embedlib.run.meters import METRICS, Kind, Measurement, Meters, Metric
from embedlib.run.scheduler import Scheduler

_MAKERS: Final[dict[Kind, type[Counter | Gauge]]] = {Kind.COUNTER: Counter, Kind.GAUGE: Gauge}


def metered(observe: Observer) -> Observer:
    """Measure a run beside what an observer does; to be called where Ray is initialised.

    Parameters
    ----------
    observe : Observer
        Called first.

    Returns
    -------
    observer : Observer
        To be called with each event of one run.
    """
    meters, exported = Meters(), _exported()

    def observe_and_measure(event: Event, scheduler: Scheduler) -> None:
        observe(event, scheduler)
        _record(meters.measure(event, scheduler), exported)

    return observe_and_measure


def _exported() -> dict[Metric, Counter | Gauge]:
    return {
        metric: _MAKERS[metric.kind](metric.name, metric.help, metric.tag_keys)
        for metric in METRICS
    }


def _record(measurements: Iterable[Measurement], exported: dict[Metric, Counter | Gauge]) -> None:
    for each in measurements:
        metric = exported[each.metric]
        tags = dict(zip(each.metric.tag_keys, each.tags, strict=True))
        if isinstance(metric, Counter):
            metric.inc(each.value, tags)
        else:
            metric.set(each.value, tags)
