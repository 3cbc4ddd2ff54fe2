"""The metrics of real runs, as a node of their cluster serves them to Prometheus."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

import embedlib
from embedlib.records import KEPT
from embedlib.run.meters import METRICS, SHARED

MODELS = ("untrained-msd-musicnn-1", "untrained-msd-vgg-1")
DASHBOARD = Path(__file__).parents[2] / "cluster" / "grafana" / "embedlib.json"
PATIENCE_S = 240.0

# A driver whose workers fail once each: one decoder on a disk, one model worker for good.
DRIVER = """
import os, pathlib, sys
from embedlib.run.auth import require_tokens
require_tokens(is_local=False)
from embedlib.cli.app import main
from embedlib.run import ray_backend

folder = pathlib.Path(sys.argv.pop(1))

def is_first(name):
    try:
        (folder / name).touch(exist_ok=False)
    except FileExistsError:
        return False
    return True

class Faulty(ray_backend.DecodeActor):
    def decode(self, *arguments):
        if is_first("fault"):
            raise OSError("the disk is away")
        yield from super().decode(*arguments)

class Mortal(ray_backend.ModelActor):
    def embed(self, *arguments):
        if is_first("death"):
            os._exit(1)
        super().embed(*arguments)

ray_backend.DecodeActor, ray_backend.ModelActor = Faulty, Mortal
main()
"""

# A cluster that outlives the driver, and looks at its metrics as Prometheus does: without a token.
CLUSTER = """
import json, pathlib, subprocess, sys, time, urllib.request
from embedlib.run.auth import require_tokens
require_tokens(is_local=True)
import ray

pages, *line = sys.argv[1:]
ray.init(
    address="local",
    num_cpus=2,
    include_dashboard=False,
    log_to_driver=False,
    _system_config={"metrics_report_interval_ms": 1000},
)
(node,) = ray.nodes()
url = f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics"
address = ray.get_runtime_context().gcs_address
driver = subprocess.Popen([sys.executable, "-c", *line, "--address", address])

def look():
    with urllib.request.urlopen(url) as answer:
        return answer.read().decode()

seen = []
while driver.poll() is None:
    time.sleep(0.5)
    seen.append(look())
time.sleep(1.0)
seen.append(look())
pathlib.Path(pages).write_text(json.dumps(seen))
ray.shutdown()
sys.exit(driver.returncode)
"""


@dataclass
class Scraped:
    """What a node has served: the newest value of each sample, and the most that it ever was."""

    last: dict[tuple[str, ...], float] = field(default_factory=dict)
    most: dict[tuple[str, ...], float] = field(default_factory=lambda: defaultdict(float))
    kinds: dict[str, str] = field(default_factory=dict)

    def read(self, page: str) -> None:
        parser = pytest.importorskip("prometheus_client.parser")
        keys = {f"ray_{metric.name}": metric.tag_keys for metric in METRICS}
        for family in parser.text_string_to_metric_families(page):
            for sample in family.samples:
                if sample.name in keys:
                    tags = (sample.labels[key] for key in keys[sample.name])
                    name = (sample.name.removeprefix("ray_"), *tags)
                    self.last[name] = sample.value
                    self.most[name] = max(self.most[name], sample.value)
                    self.kinds[sample.name] = family.type


@dataclass(frozen=True)
class Run:
    """A run that has ended, and what was seen of it."""

    summary: dict[str, Any]
    statuses: dict[tuple[str, str], int]
    scraped: Scraped


@pytest.fixture(scope="module")
def run(
    environment: dict[str, str], mixed_clips: Path, tmp_path_factory: pytest.TempPathFactory
) -> Run:
    folder = tmp_path_factory.mktemp("metrics")
    out, pages = folder / "out", folder / "pages.json"
    line = ("extract", mixed_clips, "--models", *MODELS, "--out", out, "--max-failed", 9)
    # One worker per model: the run cannot end before the one that died has been replaced.
    arguments = (pages, DRIVER, folder, *line, "--pool-max", 1, "--quiet", "--json")
    done = subprocess.run(
        [sys.executable, "-c", CLUSTER, *map(str, arguments)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert done.returncode == 0, done.stderr
    scraped = Scraped()
    for page in json.loads(pages.read_text()):
        scraped.read(page)
    return Run(json.loads(done.stdout), rows_by_status(out), scraped)


def rows_by_status(out: Path) -> dict[tuple[str, str], int]:
    counts: dict[tuple[str, str], int] = defaultdict(int)
    for model in MODELS:
        for status in embedlib.open(out).tracks(model).to_arrow(["status"])["status"].to_pylist():
            counts[model, status] += 1
    return dict(counts)


def samples(found: dict[tuple[str, ...], float], name: str) -> dict[tuple[str, ...], float]:
    return {key[1:]: value for key, value in found.items() if key[0] == name}


@pytest.mark.slow
def test_the_node_serves_every_metric_that_the_dashboard_asks_for(run: Run) -> None:
    asked = set(re.findall(r"\bray_embedlib_\w+", DASHBOARD.read_text(encoding="utf-8")))
    assert asked == {f"ray_{metric.name}" for metric in METRICS}
    assert run.scraped.kinds == {f"ray_{metric.name}": metric.kind for metric in METRICS}


@pytest.mark.slow
def test_the_totals_are_the_rows_of_the_tables_after_the_driver_has_left(run: Run) -> None:
    last, failed = run.scraped.last, Counter[tuple[str, str]]()
    failed.update({key: n for key, n in run.statuses.items() if key[1] not in KEPT})
    assert failed
    assert samples(last, "embedlib_tracks_total") == run.statuses
    assert samples(last, "embedlib_failed_tracks_total") == failed
    audio_s = samples(last, "embedlib_audio_seconds_total")
    assert sum(audio_s.values()) == pytest.approx(run.summary["audio_s"])
    assert audio_s.keys() == {(model,) for model in MODELS}


@pytest.mark.slow
def test_what_went_wrong_on_the_way_is_counted(run: Run) -> None:
    last = run.scraped.last
    (((model, cause), n_lost),) = samples(last, "embedlib_lost_workers_total").items()
    assert (model in MODELS, cause, n_lost) == (True, "worker", 1)
    assert samples(last, "embedlib_worker_restarts_total") == {(model,): 1}
    assert samples(last, "embedlib_failed_attempts_total") == {("worker",): 1}


@pytest.mark.slow
def test_each_stage_takes_time_and_each_model_commits(run: Run) -> None:
    stages = samples(run.scraped.last, "embedlib_stage_seconds_total")
    per_model = {(model, stage) for model in MODELS for stage in ("embed", "write")}
    assert stages.keys() == {(SHARED, "decode")} | per_model
    assert sum(stages.values()) < 2 * run.summary["wall_s"] + 1
    assert samples(run.scraped.last, "embedlib_commits_total").keys() == {(one,) for one in MODELS}


@pytest.mark.slow
def test_the_state_of_the_run_was_seen_while_it_ran(run: Run) -> None:
    most = run.scraped.most
    busy = {key: n for key, n in samples(most, "embedlib_workers").items() if key[1] == "busy"}
    assert busy.keys() == {(name, "busy") for name in (*MODELS, SHARED)}
    n_tracks = run.summary["n_tracks"]
    assert all(0 < n <= n_tracks for n in samples(most, "embedlib_pending_shards").values())
    (budget_bytes,) = samples(most, "embedlib_budget_bytes").values()
    (most_bytes,) = samples(most, "embedlib_in_flight_bytes").values()
    assert 0 < most_bytes <= budget_bytes


@pytest.mark.slow
def test_a_run_does_not_notice_that_ray_collects_no_metrics(
    environment: dict[str, str], mixed_clips: Path, tmp_path: Path
) -> None:
    line = ("extract", mixed_clips, "--models", MODELS[0], "--out", tmp_path / "out", "--quiet")
    done = subprocess.run(
        [sys.executable, "-m", "embedlib.cli.app", *map(str, line), "--max-failed", "9"],
        env=environment | {"RAY_enable_metrics_collection": "0"},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert done.returncode == 0, done.stderr
    assert "metric" not in done.stderr
