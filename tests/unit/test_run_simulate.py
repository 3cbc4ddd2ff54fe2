"""The simulator: its catalogue, its cluster, and what comes of runs that could be."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embedlib.audio.encode import write_audio
from embedlib.catalog.formats import CD_BYTES_PER_S
from embedlib.catalog.shards import assign_shards, max_shard_tracks, usual_shard_s
from embedlib.config import extract_config
from embedlib.errors import ConfigError, RunError
from embedlib.records import Track
from embedlib.run import simulated_catalogue
from embedlib.run.events import Committed, Event, Tick
from embedlib.run.extract import RunWatcher, run_extract
from embedlib.run.scenario import MODELS, NodeKind, Scenario
from embedlib.run.scheduler import Scheduler
from embedlib.run.simulate import Simulation, simulate
from embedlib.run.simulated_catalogue import SimulatedShards, cut_points, draw_shards
from embedlib.run.simulated_streams import stream_of

MUSICNN, TEMPO, OPENL3 = "msd-musicnn-1", "deepsquare-k16-3", "openl3-music-mel128-emb512-3"

ONE_MODEL = Scenario(20_000, (NodeKind(2, 8), NodeKind(2, 4, speed=1.5)))
SEVERAL = replace(
    ONE_MODEL, n_tracks=500, models={name: MODELS[name] for name in (MUSICNN, TEMPO, OPENL3)}
)

both_ways = pytest.mark.parametrize(
    "scenario", [ONE_MODEL, SEVERAL], ids=["one model", "several models"]
)


# The catalogue


@settings(deadline=None)
@given(st.lists(st.integers(1, 1_000), min_size=1, max_size=200))
def test_shards_are_cut_as_those_of_a_real_catalogue(lengths_s: list[int]) -> None:
    tracks = [
        Track(f"{number:04}", f"/{number:04}.wav", length_s * CD_BYTES_PER_S, "")
        for number, length_s in enumerate(lengths_s)
    ]
    sizes = Counter(track.shard_id for track in assign_shards(tracks))
    total_s = float(sum(lengths_s))
    ends = cut_points(
        np.array(lengths_s, np.float64),
        target_s=usual_shard_s(total_s),
        max_tracks=max_shard_tracks(len(lengths_s), total_s=total_s),
    )
    assert list(np.diff(ends, prepend=0)) == list(sizes.values())


@pytest.mark.parametrize("n_tracks", [0, 1, 31, 4_000])
def test_each_track_is_in_one_shard_however_many_are_drawn_at_a_time(
    n_tracks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(simulated_catalogue, "BLOCK_TRACKS", 1_000)
    shards = draw_shards(n_tracks, poison_share=0.5, rng=np.random.default_rng(0))
    assert shards.n_tracks.sum() == n_tracks
    assert (shards.n_poison <= shards.n_tracks).all()
    assert not len(shards) or shards.n_tracks.min() >= 1


def test_a_track_lasts_four_minutes_in_the_mean(rng: np.random.Generator) -> None:
    shards = draw_shards(100_000, poison_share=0.0, rng=rng)
    assert shards.audio_s.sum() / 100_000 == pytest.approx(240.0, rel=0.02)


def test_shards_start_in_classes_of_falling_length(rng: np.random.Generator) -> None:
    classes = np.frexp(draw_shards(5_000, poison_share=0.0, rng=rng).audio_s)[1]
    assert (np.diff(classes) <= 0).all()


# Streams


@given(st.floats(0.01, 5_000.0), st.sets(st.sampled_from(sorted(MODELS)), min_size=1))
def test_chunks_hold_all_frames_and_come_in_order(audio_s: float, names: set[str]) -> None:
    stream = stream_of([MODELS[name] for name in names], audio_s=audio_s, decoder_id="w")
    rates = {MODELS[name].front_end: MODELS[name].frame_bytes for name in names}
    found = Counter[str]()
    for chunk in stream.chunks:
        found[chunk.front_end] += chunk.n_bytes
    ends_s = [chunk.ends_at_s for chunk in stream.chunks]
    assert ends_s == sorted(ends_s)
    assert found == pytest.approx({name: rate * audio_s for name, rate in rates.items()}, abs=1.0)


def test_a_decoder_dies_where_the_poison_is() -> None:
    stream = stream_of([MODELS[MUSICNN]], audio_s=400.0, decoder_id="w", dies_at=0.5)
    steps = [stream.advance("a") for _ in range(2)]
    assert sum(audio_s for audio_s, _ in steps) == pytest.approx(200.0)
    assert [event is None for _, event in steps] == [False, True]


# Runs


class EventCount(RunWatcher):
    """Count what the scheduler of a real run is told."""

    def __init__(self) -> None:
        self.events: Counter[str] = Counter()

    def on_event(self, event: Event, scheduler: Scheduler) -> None:
        if not isinstance(event, Tick | Committed):
            self.events[type(event).__name__] += 1


def test_a_simulated_run_has_the_events_of_a_real_one(tmp_path: Path) -> None:
    lengths_s = np.array([400.0, 10.0])
    (tmp_path / "clips").mkdir()
    for number, length_s in enumerate(lengths_s):
        silence = np.zeros((1, int(length_s * 16_000)), np.float32)
        write_audio(tmp_path / "clips" / f"{number}.wav", silence, sr_hz=16_000)
    models = {f"untrained-{name}": MODELS[name] for name in (MUSICNN, TEMPO)}
    real = EventCount()
    values = {"sources": [str(tmp_path / "clips")], "models": list(models), "local": True}
    values |= {"out": str(tmp_path / "out"), "shard_hours": 1e-9}  # a shard for each track
    run_extract(extract_config(values), watcher=real)
    shards = SimulatedShards(lengths_s, np.ones(2, np.int64), np.zeros(2, np.int64))
    report = Simulation(Scenario(2, (NodeKind(1, 1),), models), shards).run()
    assert {name: report.n_events[name] for name in real.events} == dict(real.events)
    assert report.n_events["Decoded"] == (3 + 1) + (1 + 1)
    assert report.n_committed == 2 * 2


@both_ways
def test_equal_scenarios_have_equal_ends(scenario: Scenario) -> None:
    wild = replace(scenario, preempted_per_hour=2.0, poison_share=1e-3)
    first, second = simulate(wild), simulate(wild)
    assert replace(first, scheduler_s=0.0) == replace(second, scheduler_s=0.0)


@both_ways
@pytest.mark.parametrize("seed", range(3))
def test_nothing_is_lost_and_nothing_done_twice_whatever_dies(
    scenario: Scenario, seed: int
) -> None:
    report = simulate(replace(scenario, preempted_per_hour=1.0, poison_share=0.005, seed=seed))
    assert report.stop_reason == ""
    assert report.n_committed == report.n_shards * len(scenario.models)
    assert report.n_crashes > 0


@both_ways
def test_a_quiet_run_takes_little_longer_than_its_bound(scenario: Scenario) -> None:
    report = simulate(replace(scenario, straggler_share=0.0))
    assert 1.0 <= report.stretch < 1.2
    assert sum(report.utilisation.values()) == pytest.approx(1 / report.stretch, abs=1e-3)


@settings(max_examples=30, deadline=None)
@given(
    st.builds(
        Scenario,
        n_tracks=st.integers(0, 300),
        nodes=st.lists(
            st.builds(NodeKind, st.integers(1, 2), st.integers(1, 4), st.floats(0.5, 2.0)),
            min_size=1,
            max_size=2,
        ).map(tuple),
        models=st.sampled_from(
            [ONE_MODEL.models, {name: MODELS[name] for name in (MUSICNN, TEMPO)}]
        ),
        preempted_per_hour=st.floats(0.0, 1.0),
        poison_share=st.floats(0.0, 0.01),
        budget_bytes=st.integers(4 << 20, 64 << 20),
        seed=st.integers(0, 1_000),
    )
)
def test_no_run_beats_its_bound_or_passes_its_budget(scenario: Scenario) -> None:
    report = simulate(scenario)
    assert report.makespan_s >= report.bound_s * (1 - 1e-9) or report.stop_reason
    assert report.peak_bytes <= scenario.budget_bytes
    assert sum(report.utilisation.values()) <= 1.0 + 1e-9


def test_what_is_late_at_the_end_is_begun_once_more_and_saves_its_time() -> None:
    slow = replace(ONE_MODEL, straggler_share=0.01, straggler_factor=30.0)
    alone, twins = simulate(replace(slow, has_twins=False)), simulate(slow)
    assert twins.n_actions["Extract"] > twins.n_shards == alone.n_actions["Extract"]
    assert twins.n_committed == twins.n_shards
    assert twins.stretch < 0.9 * alone.stretch


def test_each_poisoned_shard_costs_two_workers_and_one_search() -> None:
    scenario = replace(ONE_MODEL, poison_share=1e-3)
    rng = np.random.default_rng(scenario.seed)
    n_poisoned = (draw_shards(20_000, poison_share=1e-3, rng=rng).n_poison > 0).sum()
    report = simulate(scenario)
    assert report.n_crashes == 2 * n_poisoned
    assert report.n_actions["Bisect"] == n_poisoned


def test_a_shard_that_decodes_is_extracted_once() -> None:
    report = simulate(ONE_MODEL)
    once = {report.n_actions["Extract"], report.n_events["Written"], report.n_committed}
    assert once == {report.n_shards}


def test_small_budgets_slow_down_but_do_not_stop() -> None:
    tight = simulate(replace(SEVERAL, n_tracks=60, budget_bytes=1))
    wide = simulate(replace(SEVERAL, n_tracks=60))
    assert tight.n_committed == wide.n_committed
    assert tight.makespan_s > wide.makespan_s


def test_a_cluster_that_never_comes_back_is_reported_and_not_waited_for() -> None:
    lost = replace(ONE_MODEL, preempted_per_hour=1e3, away_s=float("inf"))
    with pytest.raises(RunError, match="pairs are left and nothing happens"):
        simulate(lost)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"nodes": ()}, "without models or nodes"),
        ({"models": {}}, "without models or nodes"),
        ({"poison_share": 2.0}, "poison_share=2.0 is no part"),
        ({"n_tracks": -1}, "less than nothing"),
    ],
)
def test_a_scenario_that_cannot_be_is_refused(change: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        replace(ONE_MODEL, **change)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_ten_million_tracks_on_two_hundred_nodes_take_the_time_they_must() -> None:
    nodes = (NodeKind(50, 16), NodeKind(50, 8, speed=1.3))
    report = simulate(Scenario(10_000_000, nodes, preempted_per_hour=0.05))
    assert report.n_committed == report.n_shards
    assert report.stretch < 1.05
