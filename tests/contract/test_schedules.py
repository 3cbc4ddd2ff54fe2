"""The schedules of cluster/schedules: each file against its format, each command line against us.

The reduced schema of a CronJob is our own, from the field reference of Kubernetes 1.28, batch/v1.
RayJob and RayCronJob have theirs in `kuberay_v1.7.0.json`, which `test_cluster_manifest.py`
applies; here they are held against `cluster/kuberay-rayjob.yaml`.
"""

from __future__ import annotations

import copy
import os
import re
import shlex
import shutil
import subprocess
import threading
from collections.abc import Iterator
from configparser import RawConfigParser
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import ValidationError, validate
from typer.main import get_command

import embedlib
from embedlib.cli.app import app, spread
from embedlib.run.auth import require_tokens

ROOT = Path(__file__).parents[2]
SCHEDULES = ROOT / "cluster" / "schedules"
README = SCHEDULES / "README.md"
SERVICE = SCHEDULES / "embedlib-index.service"
TIMER = SCHEDULES / "embedlib-index.timer"
EXECUTABLE = "/opt/embedlib/bin/embedlib"

STRING, BOOLEAN = {"type": "string"}, {"type": "boolean"}
COUNT = {"type": "integer", "minimum": 0}
CRON_FIELDS = 5


def record(required: str, properties: dict[str, Any], *, others: bool = False) -> dict[str, Any]:
    """Make the schema of an object."""
    return {
        "type": "object",
        "required": required.split(),
        "properties": properties,
        "additionalProperties": others,
    }


CRON_LINE = {"type": "string", "pattern": r"^([\d*/,-]+ ){4}[\d*/,-]+$"}
METADATA = record("name", {"name": STRING}, others=True)
ENV = record("name", {"name": STRING, "value": STRING, "valueFrom": {"type": "object"}})
CONTAINER = record(
    "name image command resources securityContext",
    {
        "name": STRING,
        "image": {"type": "string", "pattern": r"^[\w./-]+:[\w.-]+$"},
        "command": {"type": "array", "items": STRING, "minItems": 1},
        "env": {"type": "array", "items": ENV},
        "resources": record("requests limits", {"requests": {}, "limits": {}}),
        "securityContext": record(
            "allowPrivilegeEscalation capabilities",
            {"allowPrivilegeEscalation": {"const": False}, "capabilities": {}},
        ),
    },
)
POD = record(
    "restartPolicy containers securityContext",
    {
        "restartPolicy": {"enum": ["Never", "OnFailure"]},
        "automountServiceAccountToken": {"const": False},
        "securityContext": record("runAsNonRoot", {"runAsNonRoot": {"const": True}}, others=True),
        "containers": {"type": "array", "items": CONTAINER, "minItems": 1},
    },
)
JOB = record(
    "template",
    {
        "activeDeadlineSeconds": COUNT,
        "backoffLimit": COUNT,
        "template": record("spec", {"metadata": METADATA, "spec": POD}),
        "ttlSecondsAfterFinished": COUNT,
    },
)
CRON_JOB = record(
    "apiVersion kind metadata spec",
    {
        "apiVersion": {"const": "batch/v1"},
        "kind": {"const": "CronJob"},
        "metadata": METADATA,
        "spec": record(
            "schedule jobTemplate concurrencyPolicy",
            {
                "schedule": CRON_LINE,
                "timeZone": STRING,
                "concurrencyPolicy": {"enum": ["Forbid"]},
                "startingDeadlineSeconds": COUNT,
                "successfulJobsHistoryLimit": COUNT,
                "failedJobsHistoryLimit": COUNT,
                "suspend": BOOLEAN,
                "jobTemplate": record("spec", {"metadata": METADATA, "spec": JOB}),
            },
        ),
    },
)


def manifest(name: str, folder: Path = SCHEDULES) -> dict[str, Any]:
    (document,) = yaml.safe_load_all((folder / name).read_text())
    return dict(document)


def submitted() -> list[str]:
    (container,) = manifest("cronjob.yaml")["spec"]["jobTemplate"]["spec"]["template"]["spec"][
        "containers"
    ]
    return [str(part) for part in container["command"]]


def cron_line() -> str:
    lines = (SCHEDULES / "crontab").read_text().splitlines()
    (line,) = (line for line in lines if line[:1].isdigit())
    return line


def unit(path: Path) -> RawConfigParser:
    # The same key may come twice in a unit.
    parsed = RawConfigParser(strict=False, interpolation=None)
    parsed.optionxform = str  # type: ignore[assignment, method-assign]
    parsed.read_string(path.read_text())
    return parsed


# Manifests


def test_the_cronjob_has_the_fields_that_kubernetes_knows() -> None:
    validate(manifest("cronjob.yaml"), CRON_JOB)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("spec.schedule", "every night"),
        ("spec.concurencyPolicy", "Forbid"),
        ("spec.concurrencyPolicy", "Allow"),
        ("spec.jobTemplate.spec.template.spec.restartPolicy", "Always"),
        ("spec.jobTemplate.template", {}),
    ],
)
def test_a_cronjob_with_a_mistake_is_refused(path: str, value: Any) -> None:
    changed = copy.deepcopy(manifest("cronjob.yaml"))
    *folders, last = path.split(".")
    place: Any = changed
    for key in folders:
        place = place[key]
    place[last] = value
    with pytest.raises(ValidationError):
        validate(changed, CRON_JOB)


def test_the_rayjob_is_that_of_an_extraction_but_for_what_it_runs() -> None:
    ours, theirs = manifest("rayjob.yaml"), manifest("kuberay-rayjob.yaml", ROOT / "cluster")
    changed = {"entrypoint": ours["spec"]["entrypoint"]}
    assert ours["spec"] == theirs["spec"] | changed
    assert (ours["kind"], ours["apiVersion"]) == (theirs["kind"], theirs["apiVersion"])


def test_the_raycronjob_makes_the_rayjob() -> None:
    template = manifest("raycronjob.yaml")["spec"]["jobTemplate"]
    assert template == manifest("rayjob.yaml")["spec"]


def test_the_raycronjob_is_marked_as_alpha_in_file_and_readme() -> None:
    assert "ALPHA" in (SCHEDULES / "raycronjob.yaml").read_text()
    assert "**alpha**" in README.read_text()


def test_the_cronjob_has_the_image_of_this_version() -> None:
    assert f"/embedlib:{embedlib.__version__}-cpu\n" in (SCHEDULES / "cronjob.yaml").read_text()


def test_the_cronjob_has_the_token_that_the_readme_of_clusters_makes() -> None:
    pod = manifest("cronjob.yaml")["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    variables = {entry["name"]: entry for entry in pod["containers"][0]["env"]}
    reference = variables["RAY_AUTH_TOKEN"]["valueFrom"]["secretKeyRef"]
    made = f"kubectl create secret generic {reference['name']} --from-file={reference['key']}="
    assert made in (ROOT / "cluster" / "README.md").read_text()
    assert variables["RAY_AUTH_MODE"]["value"] == "token"


# Units of systemd


def test_systemd_finds_no_fault_with_the_units(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("needs systemd-analyze")
    for path in (SERVICE, TIMER):
        text = path.read_text().replace(EXECUTABLE, shutil.which("env") or "")
        (tmp_path / path.name).write_text(text)
    units = [str(tmp_path / path.name) for path in (SERVICE, TIMER)]
    verified = subprocess.run(["systemd-analyze", "verify", *units], capture_output=True, text=True)
    ours = [line for line in verified.stderr.splitlines() if "embedlib" in line]
    assert (verified.returncode, ours) == (0, [])


def test_new_failures_are_a_success_for_systemd_and_signals_reach_the_driver_first() -> None:
    service = unit(SERVICE)["Service"]
    assert service["SuccessExitStatus"] == "3"
    assert service["KillMode"] == "mixed"
    # More than the driver takes to commit what is in flight.
    assert int(service["TimeoutStopSec"]) > 20


def test_the_timer_starts_the_service_beside_it() -> None:
    assert TIMER.stem == SERVICE.stem
    assert unit(TIMER)["Install"]["WantedBy"] == "timers.target"


def test_all_schedules_start_at_the_same_hour() -> None:
    lines = [manifest(name)["spec"]["schedule"] for name in ("cronjob.yaml", "raycronjob.yaml")]
    minute, hour, *_ = cron_line().split()
    assert {*lines, " ".join(cron_line().split()[:CRON_FIELDS])} == {"15 2 * * *"}
    calendar = unit(TIMER)["Timer"]["OnCalendar"]
    assert calendar == f"*-*-* {int(hour):02}:{int(minute):02}:00"


# Command lines


def shell_lines() -> list[str]:
    blocks = re.findall(r"^```bash\n(.*?)^```$", README.read_text(), re.MULTILINE | re.DOTALL)
    joined = [block.replace("\\\n", "") for block in blocks]
    return [line for block in joined for line in block.splitlines() if line]


def index_lines() -> Iterator[list[str]]:
    yield shlex.split(cron_line())[CRON_FIELDS + 1 :]
    yield shlex.split(unit(SERVICE)["Service"]["ExecStart"])[1:]
    yield ["index", *submitted()[submitted().index("jobs/index.py") + 1 :]]
    python, script, *arguments = shlex.split(manifest("rayjob.yaml")["spec"]["entrypoint"])
    assert (python, script) == ("python", "jobs/index.py")
    yield ["index", *arguments]
    yield from (shlex.split(line)[1:] for line in shell_lines() if line.startswith("embedlib "))


@pytest.mark.parametrize("arguments", list(index_lines()), ids=" ".join)
def test_a_command_line_is_one_that_embedlib_understands(arguments: list[str]) -> None:
    verb, *rest = arguments
    command = vars(get_command(app))["commands"][verb]
    context = command.make_context(verb, spread(rest))
    assert verb == "index"
    assert context.params["out"] or context.params["config"]


def test_cron_runs_the_command_that_systemd_runs() -> None:
    of_cron = cron_line().split(maxsplit=CRON_FIELDS)[-1]
    assert of_cron == unit(SERVICE)["Service"]["ExecStart"]
    assert "%" not in of_cron  # a line feed, to cron


def test_what_is_submitted_is_a_line_that_ray_understands() -> None:
    require_tokens(is_local=True)
    from ray.scripts.scripts import cli

    ray, job, submit, *arguments = submitted()
    assert (ray, job, submit) == ("ray", "job", "submit")
    command: Any = cli.commands[job].commands[submit]
    context = command.make_context(submit, arguments)
    assert context.params["entrypoint"][:2] == ("python", "jobs/index.py")
    assert (ROOT / "jobs" / "index.py").is_file()


class _Gateway(BaseHTTPRequestHandler):
    """Takes what is pushed."""

    pushed: list[tuple[str, bytes]]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.pushed.append((self.path, body))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Keep silent."""


def test_the_line_for_the_push_gateway_sends_the_metrics_of_the_last_run(tmp_path: Path) -> None:
    if shutil.which("curl") is None:
        pytest.skip("needs curl")
    for run_id, text in {"20261101-a": "old 1\n", "20261102-b": "new 1\n"}.items():
        (tmp_path / "runs" / run_id).mkdir(parents=True)
        (tmp_path / "runs" / run_id / "metrics.prom").write_text(text)
    handler = type("Handler", (_Gateway,), {"pushed": []})
    with HTTPServer(("127.0.0.1", 0), handler) as gateway:
        threading.Thread(target=gateway.handle_request, daemon=True).start()
        (line,) = (line for line in shell_lines() if line.startswith("curl "))
        line = line.replace("/srv/embedlib/out", str(tmp_path))
        line = line.replace("pushgateway:9091", f"127.0.0.1:{gateway.server_port}")
        environment = {**os.environ, "no_proxy": "127.0.0.1"}
        subprocess.run(["bash", "-c", line], check=True, env=environment, timeout=20)
    assert handler.pushed == [("/metrics/job/embedlib_index", b"new 1\n")]


# The README


def test_the_readme_has_every_file_of_the_folder() -> None:
    rows = re.findall(r"^\| (`.*?) \|", README.read_text(), re.MULTILINE)
    named = {name for row in rows for name in re.findall(r"`([\w.-]+)`", row)}
    assert named == {path.name for path in SCHEDULES.iterdir()} - {"README.md"}


def test_the_readme_says_that_nothing_was_applied_to_a_cluster() -> None:
    assert "was applied to a cluster here" in README.read_text()


def test_files_and_links_of_the_readme_exist() -> None:
    named = re.findall(r"\bcluster/schedules/[\w./-]+", "\n".join(shell_lines()))
    links = re.findall(r"\]\(([^)#\s]+)", README.read_text())
    assert named
    assert not [path for path in named if not (ROOT / path).exists()]
    assert not [link for link in links if not (SCHEDULES / link).exists()]


def test_whatever_is_applied_is_deleted_too() -> None:
    lines = "\n".join(shell_lines())
    for name in ("cronjob.yaml", "rayjob.yaml", "raycronjob.yaml"):
        assert f"kubectl apply -f cluster/schedules/{name}" in lines
        assert f"kubectl delete -f cluster/schedules/{name}" in lines
