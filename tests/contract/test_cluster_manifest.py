"""The KubeRay manifest against a reduced schema of our own: the fields that it may have.

From the field reference of KubeRay v1.7.0, docs/reference/api.md of ray-project/kuberay; pods
from that of Kubernetes 1.28, as far as a pod of ours must have them.
"""

from __future__ import annotations

import copy
import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import ValidationError, validate
from typer.main import get_command

from embedlib.cli.app import app
from embedlib.models.store import FOLDERS_VARIABLE

ROOT = Path(__file__).parents[2]
MANIFEST = ROOT / "cluster" / "kuberay-rayjob.yaml"
KUBERAY = "v1.7.0"

STRING, BOOLEAN = {"type": "string"}, {"type": "boolean"}
COUNT = {"type": "integer", "minimum": 0}
STRINGS = {"type": "object", "additionalProperties": STRING}
OPEN = {"type": "object"}


def record(required: str, properties: dict[str, Any]) -> dict[str, Any]:
    """Make the schema of an object that has no other fields."""
    return {
        "type": "object",
        "required": required.split(),
        "properties": properties,
        "additionalProperties": False,
    }


def having(required: str, properties: dict[str, Any]) -> dict[str, Any]:
    """Make the schema of an object that may have other fields too."""
    return record(required, properties) | {"additionalProperties": True}


def list_of(item: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": item, "minItems": 1}


RESOURCES = record(
    "requests limits",
    {key: having("cpu memory", {"memory": STRING}) for key in ("requests", "limits")},
)
POD_USER = having(
    "runAsNonRoot runAsUser runAsGroup fsGroup seccompProfile",
    {"runAsNonRoot": {"const": True}, "runAsUser": {"type": "integer", "minimum": 1}},
)
UNPRIVILEGED = having(
    "allowPrivilegeEscalation capabilities",
    {"allowPrivilegeEscalation": {"const": False}, "capabilities": {"const": {"drop": ["ALL"]}}},
)
CONTAINER = having(
    "name image resources securityContext",
    {
        "image": {"type": "string", "pattern": r"^[\w./-]+:[\w.-]+$"},
        "resources": RESOURCES,
        "securityContext": UNPRIVILEGED,
        "env": list_of(record("name value", {"name": STRING, "value": STRING})),
        "volumeMounts": list_of(
            record("name mountPath", {"name": STRING, "mountPath": STRING, "readOnly": BOOLEAN})
        ),
    },
)
POD = having(
    "spec",
    {
        "spec": having(
            "containers securityContext",
            {"containers": list_of(CONTAINER), "securityContext": POD_USER},
        )
    },
)
AUTH = record("mode secretName", {"mode": {"const": "token"}, "secretName": STRING})
HEAD = record(
    "template rayStartParams",
    {
        "template": POD,
        "rayStartParams": STRINGS,
        "resources": STRINGS,
        "labels": STRINGS,
        "serviceType": STRING,
        "headService": OPEN,
        "enableIngress": BOOLEAN,
        "ingressOptions": OPEN,
    },
)
WORKERS = record(
    "groupName template rayStartParams replicas minReplicas maxReplicas",
    {
        "groupName": STRING,
        "template": POD,
        "rayStartParams": STRINGS,
        "replicas": COUNT,
        "minReplicas": COUNT,
        "maxReplicas": COUNT,
        "numOfHosts": COUNT,
        "idleTimeoutSeconds": COUNT,
        "priority": {"type": "integer"},
        "resources": STRINGS,
        "labels": STRINGS,
        "scaleStrategy": OPEN,
        "suspend": BOOLEAN,
    },
)
RAY_CLUSTER = record(
    "authOptions headGroupSpec rayVersion workerGroupSpecs",
    {
        "authOptions": AUTH,
        "headGroupSpec": HEAD,
        "rayVersion": STRING,
        "workerGroupSpecs": list_of(WORKERS),
        "autoscalerOptions": OPEN,
        "enableInTreeAutoscaling": BOOLEAN,
        "gcsFaultToleranceOptions": OPEN,
        "headServiceAnnotations": STRINGS,
        "historyServerOptions": OPEN,
        "managedBy": STRING,
        "networkPolicy": OPEN,
        "suspend": BOOLEAN,
        "tlsOptions": OPEN,
        "upgradeStrategy": OPEN,
    },
)
RAY_JOB = record(
    "entrypoint rayClusterSpec shutdownAfterJobFinishes activeDeadlineSeconds",
    {
        "activeDeadlineSeconds": {"type": "integer", "minimum": 1},
        "backoffLimit": COUNT,
        "clusterSelector": STRINGS,
        "deletionStrategy": OPEN,
        "entrypoint": STRING,
        "entrypointNumCpus": {"type": "number"},
        "entrypointNumGpus": {"type": "number"},
        "entrypointResources": STRING,
        "jobId": STRING,
        "managedBy": STRING,
        "metadata": STRINGS,
        "preRunningDeadlineSeconds": {"type": "integer", "minimum": 1},
        "rayClusterSpec": RAY_CLUSTER,
        "runtimeEnvYAML": STRING,
        "shutdownAfterJobFinishes": {"const": True},
        "submissionMode": {"enum": ["K8sJobMode", "HTTPMode", "InteractiveMode", "SidecarMode"]},
        "submitterConfig": OPEN,
        "submitterPodTemplate": POD,
        "suspend": BOOLEAN,
        "ttlSecondsAfterFinished": COUNT,
    },
)
SCHEMA = record(
    "apiVersion kind metadata spec",
    {
        "apiVersion": {"const": "ray.io/v1"},
        "kind": {"const": "RayJob"},
        "metadata": having("name", {"name": STRING}),
        "spec": RAY_JOB,
    },
)


@pytest.fixture
def job() -> dict[str, Any]:
    """The manifest, without shared parts, so that a test may change one place of it."""
    (document,) = yaml.safe_load_all(MANIFEST.read_text())
    unshared: dict[str, Any] = yaml.safe_load(yaml_without_anchors(document))
    return unshared


def yaml_without_anchors(document: Any) -> str:
    class Dumper(yaml.SafeDumper):
        def ignore_aliases(self, data: Any) -> bool:
            return True

    return yaml.dump(document, Dumper=Dumper)


def pods(job: dict[str, Any]) -> Iterator[dict[str, Any]]:
    cluster = job["spec"]["rayClusterSpec"]
    yield job["spec"]["submitterPodTemplate"]["spec"]
    yield cluster["headGroupSpec"]["template"]["spec"]
    yield from (group["template"]["spec"] for group in cluster["workerGroupSpecs"])


def test_the_manifest_has_the_fields_that_kuberay_knows(job: dict[str, Any]) -> None:
    validate(job, SCHEMA)


def change(job: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """Put a value in a place such as ``spec.entrypoint``."""
    changed = copy.deepcopy(job)
    *folders, last = path.split(".")
    place: Any = changed
    for key in folders:
        place = place[int(key) if key.isdigit() else key]
    place[last] = value
    return changed


CLUSTER_SPEC = "spec.rayClusterSpec"
HEAD_POD = f"{CLUSTER_SPEC}.headGroupSpec.template.spec"
WORKER_POD = f"{CLUSTER_SPEC}.workerGroupSpecs.0.template.spec"


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("spec.entryPoint", "python jobs/extract.py"),
        ("spec.submissionMode", "K8SJobMode"),
        ("spec.shutdownAfterJobFinishes", False),
        (f"{CLUSTER_SPEC}.authOptions", {}),
        (f"{CLUSTER_SPEC}.authOptions.mode", "disabled"),
        (f"{CLUSTER_SPEC}.headGroupSpec.rayStartParams.num-cpus", 0),
        (f"{HEAD_POD}.securityContext.runAsUser", 0),
        (f"{WORKER_POD}.securityContext", {}),
        (f"{WORKER_POD}.containers.0.resources.limits", {}),
        (f"{WORKER_POD}.containers.0.image", "embedlib"),
    ],
)
def test_a_manifest_with_a_mistake_is_refused(job: dict[str, Any], path: str, value: Any) -> None:
    with pytest.raises(ValidationError):
        validate(change(job, path, value), SCHEMA)


def test_the_manifest_says_for_which_kuberay_it_is() -> None:
    first_line, *_ = MANIFEST.read_text().splitlines()
    assert f"KubeRay {KUBERAY} " in first_line


def test_ray_is_the_one_of_the_lock(job: dict[str, Any]) -> None:
    lock = (ROOT / "requirements.lock").read_text()
    version = job["spec"]["rayClusterSpec"]["rayVersion"]
    assert re.search(rf"^ray=={re.escape(version)}$", lock, re.MULTILINE)


def test_all_pods_have_the_image_of_this_version(job: dict[str, Any]) -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    images = {container["image"] for pod in pods(job) for container in pod["containers"]}
    assert [image.rpartition(":")[2] for image in images] == [f"{version}-cpu"]


def test_every_mounted_volume_is_there(job: dict[str, Any]) -> None:
    for pod in pods(job):
        volumes = {volume["name"] for volume in pod.get("volumes", ())}
        mounted = {
            mount["name"]
            for container in pod["containers"]
            for mount in container.get("volumeMounts", ())
        }
        assert mounted == volumes


def test_head_and_workers_see_the_same_shared_folder(job: dict[str, Any]) -> None:
    _, *ray_pods = pods(job)
    shared = {"name": "shared", "mountPath": "/srv/embedlib"}
    assert len(ray_pods) == 2
    assert all(shared in pod["containers"][0]["volumeMounts"] for pod in ray_pods)


def test_workers_are_spot_and_the_head_is_not(job: dict[str, Any]) -> None:
    submitter, head, workers = pods(job)
    assert workers["nodeSelector"] == {"cloud.google.com/gke-spot": "true"}
    assert workers["tolerations"][0]["key"] in workers["nodeSelector"]
    assert not any({"nodeSelector", "tolerations"} & pod.keys() for pod in (submitter, head))


def test_the_health_checks_are_those_of_the_launcher_files(job: dict[str, Any]) -> None:
    _, head, _ = pods(job)
    exported = (ROOT / "cluster" / "environment.sh").read_text()
    checks = {
        entry["name"]: entry["value"]
        for entry in head["containers"][0]["env"]
        if "health_check" in entry["name"]
    }
    assert checks == dict(re.findall(r"^export (RAY_health_check_\w+)=(\d+)$", exported, re.M))


def test_weights_are_looked_for_where_the_launcher_files_have_them(job: dict[str, Any]) -> None:
    _, head, _ = pods(job)
    exported = (ROOT / "cluster" / "environment.sh").read_text()
    variables = {entry["name"]: entry["value"] for entry in head["containers"][0]["env"]}
    assert f"export {FOLDERS_VARIABLE}={variables[FOLDERS_VARIABLE]}\n" in exported


def test_the_entrypoint_is_one_that_embedlib_understands(job: dict[str, Any]) -> None:
    python, script, *arguments = shlex.split(job["spec"]["entrypoint"])
    assert (python, (ROOT / script).is_file()) == ("python", True)
    extract = vars(get_command(app))["commands"]["extract"]
    context = extract.make_context("extract", arguments)
    _, head, _ = pods(job)
    folders = {mount["mountPath"] for mount in head["containers"][0]["volumeMounts"]}
    assert str(context.params["config"].parent) in folders


def test_claim_secret_and_config_map_are_those_of_the_readme(job: dict[str, Any]) -> None:
    readme = (ROOT / "cluster" / "README.md").read_text()
    _, head, _ = pods(job)
    shared, run, _ = head["volumes"]
    secret = job["spec"]["rayClusterSpec"]["authOptions"]["secretName"]
    assert f"kubectl create secret generic {secret} --from-file=auth_token=" in readme
    assert f"kubectl create configmap {run['configMap']['name']} --from-file=" in readme
    assert f"a claim `{shared['persistentVolumeClaim']['claimName']}`" in readme
