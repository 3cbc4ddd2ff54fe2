"""The metrics of a run: what its events tell, and the dashboard that shows it."""

from __future__ import annotations

import json
import re
from collections import Counter, deque
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from embedlib.records import DecodeStats, PartResult, Status
from embedlib.run import events as ev
from embedlib.run import meters as mt
from embedlib.run.auth import require_tokens
from embedlib.run.backlog import Work
from embedlib.run.meters import METRICS, SHARED, Kind, Measurement, Meters, Metric
from embedlib.run.scheduler import Scheduler

GRAFANA = Path(__file__).parents[2] / "cluster" / "grafana"
CHUNKS_PER_SHARD = 2
STATUSES = (("ok", 2), ("undecodable", 1))


def scheduler_of(*models: str, n_shards: int = 1, budget_bytes: int = 1000) -> Scheduler:
    return Scheduler(
        [Work(f"s{number}", models) for number in range(n_shards)],
        front_ends=dict.fromkeys(models, "fe"),
        budget_bytes=budget_bytes,
        chunk_bytes=10,
    )


def part(model: str, shard_id: str = "s0", **changes: Any) -> PartResult:
    values = {"statuses": STATUSES, "audio_s": 90.0, "stage_s": (("embed", 1.5), ("write", 0.25))}
    return PartResult(model, shard_id, "f", 3, 100, 40, **(values | changes))


def totals(measurements: Iterable[Measurement], metric: Metric) -> dict[tuple[str, ...], float]:
    counts: Counter[tuple[str, ...]] = Counter()
    for each in measurements:
        if each.metric is metric:
            counts[each.tags] += each.value
    return dict(counts)


def state(measurements: Iterable[Measurement], metric: Metric) -> dict[tuple[str, ...], float]:
    return {each.tags: each.value for each in measurements if each.metric is metric}


def measured(*events: ev.Event, scheduler: Scheduler | None = None) -> list[Measurement]:
    """What the events tell where the run is as it was before them."""
    meters, scheduler = Meters(), scheduler or scheduler_of("m")
    return [each for event in events for each in meters.measure(event, scheduler)]


def play(scheduler: Scheduler, *events: ev.Event) -> list[Measurement]:
    """Carry out all that a scheduler wants, in order, and measure it."""
    meters, queue, n_pulled = Meters(), deque(events), Counter[str]()
    measurements = []
    while queue:
        event = queue.popleft()
        for action in scheduler.on(event):
            match action:
                case ev.Pull(attempt_id) if n_pulled[attempt_id] < CHUNKS_PER_SHARD:
                    queue.append(ev.Decoded(attempt_id, n_pulled[attempt_id], 10, "fe"))
                    n_pulled[attempt_id] += 1
                case ev.Pull(attempt_id):
                    queue.append(ev.DecodeEnded(attempt_id, DecodeStats(3, decode_s=0.5)))
                case ev.Embed(attempt_id, seq, model):
                    queue.append(ev.Embedded(attempt_id, seq, model))
                case ev.Write(attempt_id, shard_id, model):
                    queue.append(ev.Written(attempt_id, part(model, shard_id)))
                case ev.Commit(model, parts):
                    queue.append(ev.Committed(model, tuple(one.shard_id for one in parts)))
        measurements += meters.measure(event, scheduler)
    return measurements


# What events count


def test_rows_count_by_how_they_ended_and_failed_ones_by_the_reason() -> None:
    found = measured(ev.Written("a0", part("m")), ev.Written("a1", part("n")))
    assert totals(found, mt.TRACKS) == {
        (model, status): n for model in ("m", "n") for status, n in STATUSES
    }
    assert totals(found, mt.FAILED_TRACKS) == {("m", "undecodable"): 1, ("n", "undecodable"): 1}
    assert totals(found, mt.AUDIO) == {("m",): 90.0, ("n",): 90.0}


@pytest.mark.parametrize("status", [Status.DAMAGED, Status.TRUNCATED])
def test_a_row_with_an_embedding_is_no_failure(status: Status) -> None:
    found = measured(ev.Written("a0", part("m", statuses=((status, 1),))))
    assert totals(found, mt.TRACKS) == {("m", status.value): 1}
    assert totals(found, mt.FAILED_TRACKS) == {}


def test_decoding_for_all_models_counts_once_and_that_of_a_model_worker_is_its_own() -> None:
    stats = DecodeStats(3, decode_s=4.0)
    shared = measured(ev.DecodeEnded("a0", stats), ev.Written("a0", part("m")))
    stages = (("decode", 4.0), ("embed", 1.0))
    alone = measured(ev.Written("a0", part("m", stage_s=stages), stats))
    assert totals(shared, mt.STAGES) == {
        (SHARED, "decode"): 4.0,
        ("m", "embed"): 1.5,
        ("m", "write"): 0.25,
    }
    assert totals(alone, mt.STAGES) == {("m", "decode"): 4.0, ("m", "embed"): 1.0}


@pytest.mark.parametrize(
    ("event", "metric", "tags"),
    [
        (ev.Committed("m", ("s0", "s1")), mt.COMMITS, ("m",)),
        (ev.AttemptFailed("a0", "disk"), mt.FAILED_ATTEMPTS, ("worker",)),
        (ev.AttemptFailed("a0", "gone", is_accident=True), mt.FAILED_ATTEMPTS, ("node",)),
    ],
)
def test_an_event_counts_as_one(event: ev.Event, metric: Metric, tags: tuple[str, ...]) -> None:
    assert measured(event) == [Measurement(metric, 1, tags)]


@pytest.mark.parametrize("is_accident", [False, True])
def test_a_worker_that_died_counts_once_for_its_model(is_accident: bool) -> None:
    loss = ev.WorkerLost("w1", "segfault", is_accident)
    found = measured(ev.SlotAdded("w1", "m"), loss, loss)
    assert totals(found, mt.LOST_WORKERS) == {("m", "node" if is_accident else "worker"): 1}


def test_a_worker_that_nobody_knew_is_not_lost() -> None:
    assert measured(ev.WorkerLost("w1", "segfault")) == []


@pytest.mark.parametrize("left", [ev.WorkerLost("w1", "segfault"), ev.Outgrown("w1")])
@pytest.mark.parametrize("kind", [ev.SlotAdded, ev.DecoderAdded])
def test_who_comes_in_the_place_of_one_that_is_gone_is_restarted(
    kind: type, left: ev.Event
) -> None:
    is_slot = kind is ev.SlotAdded
    joined = [kind(f"w{number}", *("m",) * is_slot) for number in range(4)]
    found = measured(joined[0], joined[1], left, joined[2], joined[3])
    assert totals(found, mt.RESTARTS) == {("m" if is_slot else SHARED,): 1}


def test_a_pool_that_shrinks_and_grows_restarts_nobody() -> None:
    found = measured(ev.SlotAdded("w1", "m"), ev.Superfluous("w1"), ev.SlotAdded("w2", "m"))
    assert found == []


def test_chunks_on_their_way_are_not_measured() -> None:
    assert measured(ev.Decoded("a0", 0, 10, "fe"), ev.Embedded("a0", 0, "m"), ev.Drain()) == []


def test_what_took_no_time_and_held_no_audio_is_left_out_because_ray_refuses_it() -> None:
    empty = part("m", statuses=(("missing", 3), ("ok", 0)), audio_s=0.0, stage_s=(("embed", 0.0),))
    found = measured(ev.Written("a0", empty), ev.DecodeEnded("a0"))
    assert {each.metric for each in found} == {mt.TRACKS, mt.FAILED_TRACKS}
    assert all(each.value > 0 for each in found)


# What a tick tells


def test_a_tick_tells_who_is_busy_what_waits_and_what_is_left() -> None:
    scheduler = scheduler_of("m", "n", n_shards=3)
    for event in (
        *(ev.DecoderAdded("d0"), ev.DecoderAdded("d1")),
        *(ev.SlotAdded("m0", "m"), ev.SlotAdded("m1", "m"), ev.SlotAdded("n0", "n")),
        *(ev.Decoded("a0", seq, 10, "fe") for seq in range(2)),
        ev.Embedded("a0", 0, "n"),
    ):
        scheduler.on(event)
    found = measured(ev.Tick(), scheduler=scheduler)
    assert state(found, mt.CHUNKS) == {("m",): 2, ("n",): 1}
    assert state(found, mt.SHARDS) == {("m",): 3, ("n",): 3}
    assert state(found, mt.WORKERS) == {
        ("m", "busy"): 1,
        ("m", "idle"): 1,
        ("n", "busy"): 1,
        ("n", "idle"): 0,
        (SHARED, "busy"): 2,
        (SHARED, "idle"): 0,
    }
    assert state(found, mt.IN_FLIGHT) == {(): scheduler.in_flight_bytes}
    assert scheduler.in_flight_bytes == 4 * 10  # two chunks, and two that are asked for
    assert state(found, mt.BUDGET) == {(): 1000}


def test_a_worker_that_decodes_for_itself_is_busy_while_it_has_a_shard() -> None:
    scheduler = scheduler_of("m")
    scheduler.on(ev.SlotAdded("m0", "m", is_decoder=True))
    scheduler.on(ev.SlotAdded("m1", "m", is_decoder=True))
    found = measured(ev.Tick(), scheduler=scheduler)
    assert state(found, mt.WORKERS) == {
        ("m", "busy"): 1,
        ("m", "idle"): 1,
        (SHARED, "busy"): 0,
        (SHARED, "idle"): 0,
    }


def test_a_decoder_that_may_not_go_on_is_idle() -> None:
    scheduler = scheduler_of("m", "n", budget_bytes=10)
    for event in (ev.SlotAdded("m0", "m"), ev.SlotAdded("n0", "n"), ev.DecoderAdded("d0")):
        scheduler.on(event)
    asked = scheduler.decoder_load
    scheduler.on(ev.Decoded("a0", 0, 10, "fe"))  # which is all that may be in flight
    assert (asked.n_busy, scheduler.decoder_load.n_busy) == (1, 0)


def test_models_that_have_no_worker_yet_are_there_from_the_first_tick() -> None:
    found = measured(ev.Tick(), scheduler=scheduler_of("m", "n"))
    assert {tags for tags, value in state(found, mt.WORKERS).items() if value == 0} == {
        (model, at) for model in ("m", "n", SHARED) for at in ("busy", "idle")
    }


# A whole run


@pytest.fixture
def whole() -> list[Measurement]:
    models = ("m", "n")
    slots = [ev.SlotAdded(f"{model}/0", model) for model in models]
    scheduler = scheduler_of(*models, n_shards=5)
    found = play(scheduler, ev.DecoderAdded("d0"), *slots)
    assert scheduler.is_done
    return found


def test_the_totals_of_a_run_are_its_rows(whole: list[Measurement]) -> None:
    assert totals(whole, mt.TRACKS) == {
        (model, status): 5 * n for model in "mn" for status, n in STATUSES
    }
    assert totals(whole, mt.STAGES)[SHARED, "decode"] == 5 * 0.5


def test_at_the_end_of_a_run_nothing_waits_and_nobody_is_busy(whole: list[Measurement]) -> None:
    assert set(state(whole, mt.CHUNKS).values()) == {0}
    assert set(state(whole, mt.SHARDS).values()) == {0}
    assert state(whole, mt.IN_FLIGHT) == {(): 0}
    assert {n for (_, at), n in state(whole, mt.WORKERS).items() if at == "busy"} == {0}


def test_no_tag_tells_a_shard_an_attempt_or_a_worker(whole: list[Measurement]) -> None:
    values = {value for each in whole for value in each.tags}
    stages = {"decode", "embed", "write", "busy", "idle"}
    assert values == {"m", "n", SHARED, *dict(STATUSES), *stages}
    assert all(len(each.tags) == len(each.metric.tag_keys) for each in whole)


# Ray


def test_ray_takes_every_measurement_and_the_observer_hears_of_every_event() -> None:
    require_tokens(is_local=True)
    from embedlib.run.ray_meters import metered

    told: list[ev.Event] = []
    events = [
        ev.SlotAdded("m0", "m"),
        ev.WorkerLost("m0", "segfault"),
        ev.SlotAdded("m1", "m"),
        ev.AttemptFailed("a0", "disk"),
        ev.DecodeEnded("a1", DecodeStats(3, decode_s=1.0)),
        ev.Written("a1", part("m")),
        ev.Committed("m", ("s0",)),
        ev.Tick(),
    ]
    observe = metered(lambda event, _: told.append(event))
    for event in events:
        observe(event, scheduler_of("m"))
    assert told == events
    assert {each.metric for each in measured(*events)} == set(METRICS)


# Names


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_a_name_keeps_to_the_conventions_of_prometheus(metric: Metric) -> None:
    assert re.fullmatch(r"embedlib(_[a-z]+)+", metric.name)
    assert metric.name.endswith("_total") == (metric.kind is Kind.COUNTER)
    assert not re.search(r"_(ms|mib|hours|minutes|count)\b", metric.name)
    assert metric.help.endswith(".")


def test_no_name_stands_twice_and_none_is_forgotten() -> None:
    named = [value for value in vars(mt).values() if isinstance(value, Metric)]
    assert len({metric.name for metric in METRICS}) == len(METRICS)
    assert tuple(named) == METRICS


def test_the_readme_has_the_table_of_the_metrics() -> None:
    text = (GRAFANA / "README.md").read_text(encoding="utf-8")
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in text.splitlines()
        if line.startswith("| `embedlib_")
    ]
    assert rows == [
        [f"`{one.name}`", one.kind, ", ".join(f"`{key}`" for key in one.tag_keys), one.help]
        for one in METRICS
    ]


# The dashboard


@pytest.fixture(scope="module")
def dashboard() -> dict[str, Any]:
    made: dict[str, Any] = json.loads((GRAFANA / "embedlib.json").read_text(encoding="utf-8"))
    return made


@pytest.fixture(scope="module")
def targets(dashboard: dict[str, Any]) -> list[dict[str, Any]]:
    return [target for panel in dashboard["panels"] for target in panel.get("targets", ())]


def metrics_in(query: str) -> list[Metric]:
    by_name = {f"ray_{metric.name}": metric for metric in METRICS}
    return [by_name[name] for name in re.findall(r"\bray_\w+", query)]


def labels_in(target: dict[str, Any]) -> set[str]:
    query, legend = target["expr"], target["legendFormat"]
    groups = ", ".join(re.findall(r"by \((.*?)\)", query)).split(", ")
    grouped = {name for name in groups if name}
    return grouped | {*re.findall(r"(\w+)=~?\"", query)} | {*re.findall(r"{{(\w+)}}", legend)}


def test_the_queries_of_the_dashboard_name_every_metric_and_no_other(
    targets: list[dict[str, Any]],
) -> None:
    assert {metric for target in targets for metric in metrics_in(target["expr"])} == set(METRICS)


def test_the_queries_of_the_dashboard_name_tags_that_their_metrics_have(
    targets: list[dict[str, Any]],
) -> None:
    wrong = {
        target["expr"]: metric.name
        for target in targets
        for metric in metrics_in(target["expr"])
        if not labels_in(target) <= set(metric.tag_keys)
    }
    assert wrong == {}


def test_rates_are_taken_of_counters_alone(targets: list[dict[str, Any]]) -> None:
    rated = [one for each in targets for one in re.findall(r"rate\((\w+)", each["expr"])]
    assert rated
    assert {metrics_in(name)[0].kind for name in rated} == {Kind.COUNTER}


def test_the_dashboard_takes_its_data_source_and_models_from_variables(
    dashboard: dict[str, Any], targets: list[dict[str, Any]]
) -> None:
    chosen = {"type": "prometheus", "uid": "${datasource}"}
    variables = {one["name"]: one for one in dashboard["templating"]["list"]}
    panels = [panel for panel in dashboard["panels"] if panel["type"] != "row"]
    assert variables["datasource"]["type"] == "datasource"
    assert metrics_in(variables["model"]["query"]["query"]) == [mt.SHARDS]
    assert all(one["datasource"] == chosen for one in (*panels, *targets, variables["model"]))


def test_the_dashboard_is_one_that_grafana_11_takes(dashboard: dict[str, Any]) -> None:
    panels = dashboard["panels"]
    rows = [panel["title"] for panel in panels if panel["type"] == "row"]
    assert dashboard["schemaVersion"] == 39  # of Grafana 11.0; later ones migrate it
    assert dashboard["id"] is None  # else it would replace another one
    assert 8 <= len(dashboard["uid"]) <= 40
    assert rows == ["Throughput", "Failures", "Bottleneck", "Memory", "Workers"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    assert {panel["type"] for panel in panels} == {"row", "timeseries"}


def test_no_panel_of_the_dashboard_covers_another(dashboard: dict[str, Any]) -> None:
    places = [panel["gridPos"] for panel in dashboard["panels"]]
    cells = Counter(
        (x, y)
        for place in places
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    )
    assert set(cells.values()) == {1}
    assert max(x for x, _ in cells) < 24
