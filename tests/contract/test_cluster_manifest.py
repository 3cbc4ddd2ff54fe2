"""The KubeRay manifests against a reduced schema of our own, and against the other files.

`kuberay_v1.7.0.json` has the fields of that release and refuses all others; it was written from
its field reference, and nothing here was applied to a cluster.
"""

from __future__ import annotations

import copy
import json
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
CLUSTER = ROOT / "cluster"
SCHEMA_FILE = Path(__file__).with_name("kuberay_v1.7.0.json")
DEFINITIONS = json.loads(SCHEMA_FILE.read_text())["$defs"]
KUBERAY = SCHEMA_FILE.stem.removeprefix("kuberay_")

JOB, STAYING = "kuberay-rayjob.yaml", "kuberay-raycluster.yaml"
MANIFESTS = {
    JOB: "RayJob",
    STAYING: "RayCluster",
    "schedules/rayjob.yaml": "RayJob",
    "schedules/raycronjob.yaml": "RayCronJob",
}

every_manifest = pytest.mark.parametrize("name", MANIFESTS)
both_clusters = pytest.mark.parametrize("name", [JOB, STAYING])


def manifest(name: str) -> dict[str, Any]:
    """Read a manifest, without shared parts, so that a test may change one place of it."""
    (document,) = yaml.safe_load_all((CLUSTER / name).read_text())
    unshared: dict[str, Any] = json.loads(json.dumps(document))
    return unshared


def check(document: dict[str, Any], kind: str) -> None:
    validate(document, {"$ref": f"#/$defs/{kind}", "$defs": DEFINITIONS})


def cluster_spec(document: dict[str, Any]) -> dict[str, Any]:
    spec: dict[str, Any] = document["spec"]
    spec = spec.get("jobTemplate", spec)
    return dict(spec.get("rayClusterSpec", spec))


def ray_pods(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Give the pod of the head, then those of the workers."""
    cluster = cluster_spec(document)
    yield cluster["headGroupSpec"]["template"]["spec"]
    yield from (group["template"]["spec"] for group in cluster["workerGroupSpecs"])


def pods(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if submitter := document["spec"].get("submitterPodTemplate"):
        yield submitter["spec"]
    yield from ray_pods(document)


@every_manifest
def test_a_manifest_has_the_fields_that_kuberay_knows(name: str) -> None:
    check(manifest(name), MANIFESTS[name])


def change(document: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """Put a value in a place such as ``spec.entrypoint``."""
    changed = copy.deepcopy(document)
    *folders, last = path.split(".")
    place: Any = changed
    for key in folders:
        place = place[int(key) if key.isdigit() else key]
    place[last] = value
    return changed


@both_clusters
@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("rayVersoin", "2.60.0"),
        ("authOptions", {}),
        ("authOptions.mode", "disabled"),
        ("headGroupSpec.rayStartParams.num-cpus", 0),
        ("headGroupSpec.template.spec.securityContext.runAsUser", 0),
        ("headGroupSpec.template.spec.volumes.0.persistentVolumeClaims", {}),
        ("workerGroupSpecs.0.minReplica", 0),
        ("workerGroupSpecs.0.template.spec.securityContext", {}),
        ("workerGroupSpecs.0.template.spec.tolerations.0.effect", "NoScheduling"),
        ("workerGroupSpecs.0.template.spec.containers.0.command", ["sh"]),
        ("workerGroupSpecs.0.template.spec.containers.0.resources.limits", {}),
        ("workerGroupSpecs.0.template.spec.containers.0.image", "embedlib"),
    ],
)
def test_a_cluster_with_a_mistake_is_refused(name: str, path: str, value: Any) -> None:
    folder = "spec.rayClusterSpec" if name == JOB else "spec"
    with pytest.raises(ValidationError):
        check(change(manifest(name), f"{folder}.{path}", value), MANIFESTS[name])


@pytest.mark.parametrize(
    ("name", "path", "value"),
    [
        (JOB, "spec.entryPoint", "python jobs/extract.py"),
        (JOB, "spec.submissionMode", "K8SJobMode"),
        (JOB, "spec.shutdownAfterJobFinishes", False),
        (STAYING, "apiVersion", "ray.io/v1alpha1"),
        (STAYING, "spec.autoscalerOptions.version", "v3"),
        (STAYING, "spec.autoscalerOptions.idleTimeoutMinutes", 5),
        (STAYING, "spec.workerGroupSpecs.1.template.spec.automountServiceAccountToken", True),
        ("schedules/raycronjob.yaml", "spec.jobTemplate.entryPoint", "python jobs/index.py"),
        ("schedules/raycronjob.yaml", "spec.schedule", "15 2 * *"),
        ("schedules/raycronjob.yaml", "spec.rayJobTemplate", {}),
        ("schedules/raycronjob.yaml", "spec.concurrencyPolicy", "Forbid"),
    ],
)
def test_a_manifest_with_a_mistake_is_refused(name: str, path: str, value: Any) -> None:
    with pytest.raises(ValidationError):
        check(change(manifest(name), path, value), MANIFESTS[name])


@every_manifest
def test_a_manifest_says_for_which_kuberay_it_is(name: str) -> None:
    first_lines = (CLUSTER / name).read_text().splitlines()[:2]
    assert f"KubeRay {KUBERAY} " in " ".join(first_lines)


@every_manifest
def test_ray_is_the_one_of_the_lock(name: str) -> None:
    lock = (ROOT / "requirements.lock").read_text()
    version = cluster_spec(manifest(name))["rayVersion"]
    assert re.search(rf"^ray=={re.escape(version)}$", lock, re.MULTILINE)


@both_clusters
def test_all_pods_have_the_image_of_this_version_and_cards_that_for_cards(name: str) -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    for pod in pods(manifest(name)):
        (container,) = pod["containers"]
        device = "gpu" if "nvidia.com/gpu" in container["resources"]["limits"] else "cpu"
        assert container["image"].rpartition(":")[2] == f"{version}-{device}"


@both_clusters
def test_every_mounted_volume_is_there(name: str) -> None:
    for pod in pods(manifest(name)):
        volumes = {volume["name"] for volume in pod.get("volumes", ())}
        mounts = pod["containers"][0].get("volumeMounts", ())
        assert {mount["name"] for mount in mounts} == volumes


@both_clusters
def test_head_and_workers_see_the_same_shared_folder(name: str) -> None:
    shared = {"name": "shared", "mountPath": "/srv/embedlib"}
    mounted = [pod["containers"][0]["volumeMounts"] for pod in ray_pods(manifest(name))]
    assert len(mounted) >= 2
    assert all(shared in mounts for mounts in mounted)


@both_clusters
def test_workers_are_spot_may_be_none_and_the_head_is_not_spot(name: str) -> None:
    document = manifest(name)
    head, *workers = ray_pods(document)
    assert not {"nodeSelector", "tolerations"} & head.keys()
    for pod in workers:
        assert pod["nodeSelector"]["cloud.google.com/gke-spot"] == "true"
        assert pod["tolerations"][0]["key"] == "cloud.google.com/gke-spot"
    assert {group["minReplicas"] for group in cluster_spec(document)["workerGroupSpecs"]} == {0}


@both_clusters
def test_no_two_workers_share_a_machine(name: str) -> None:
    for group in cluster_spec(manifest(name))["workerGroupSpecs"]:
        labels = group["template"]["metadata"]["labels"]
        affinity = group["template"]["spec"]["affinity"]["podAntiAffinity"]
        (rule,) = affinity["requiredDuringSchedulingIgnoredDuringExecution"]
        assert rule["labelSelector"]["matchLabels"] == labels
        assert rule["topologyKey"] == "kubernetes.io/hostname"


def exported() -> dict[str, str]:
    lines = (CLUSTER / "environment.sh").read_text()
    return dict(re.findall(r"^export (\w+)=(.*)$", lines, re.MULTILINE))


def variables(pod: dict[str, Any]) -> dict[str, str]:
    return {entry["name"]: entry["value"] for entry in pod["containers"][0].get("env", ())}


@both_clusters
def test_the_health_checks_are_those_of_the_launcher_files(name: str) -> None:
    head, *_ = ray_pods(manifest(name))
    checks = {key: value for key, value in exported().items() if "health_check" in key}
    assert len(checks) == 4
    assert checks.items() <= variables(head).items()


@both_clusters
def test_weights_are_looked_for_where_the_launcher_files_have_them(name: str) -> None:
    head, *_ = ray_pods(manifest(name))
    assert variables(head)[FOLDERS_VARIABLE] in exported()[FOLDERS_VARIABLE]


def test_the_entrypoint_is_one_that_embedlib_understands() -> None:
    job = manifest(JOB)
    python, script, *arguments = shlex.split(job["spec"]["entrypoint"])
    assert (python, (ROOT / script).is_file()) == ("python", True)
    extract = vars(get_command(app))["commands"]["extract"]
    context = extract.make_context("extract", arguments)
    head, *_ = ray_pods(job)
    folders = {mount["mountPath"] for mount in head["containers"][0]["volumeMounts"]}
    assert str(context.params["config"].parent) in folders


# The cluster that stays


def test_pools_of_cores_and_of_cards_are_empty_until_the_autoscaler_fills_them() -> None:
    spec = manifest(STAYING)["spec"]
    cores, cards = spec["workerGroupSpecs"]
    assert spec["enableInTreeAutoscaling"] is True
    assert (cores["replicas"], cards["replicas"]) == (0, 0)
    limits = [
        group["template"]["spec"]["containers"][0]["resources"]["limits"]
        for group in (cores, cards)
    ]
    assert ["nvidia.com/gpu" in each for each in limits] == [False, True]


def test_the_autoscaler_may_ask_kubernetes_and_workers_may_not() -> None:
    head, *workers = ray_pods(manifest(STAYING))
    assert "automountServiceAccountToken" not in head
    assert all(pod["automountServiceAccountToken"] is False for pod in workers)


def test_nights_are_submitted_to_the_cluster_that_stays() -> None:
    night = (CLUSTER / "schedules" / "cronjob.yaml").read_text()
    assert f"http://{manifest(STAYING)['metadata']['name']}-head-svc:8265" in night


def test_a_worker_with_a_card_hides_it_from_actors_that_asked_for_none() -> None:
    _, _, cards = ray_pods(manifest(STAYING))
    name = "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"
    assert variables(cards)[name] == exported()[name]


# The README


@both_clusters
def test_claim_and_secret_are_those_of_the_readme(name: str) -> None:
    readme = (CLUSTER / "README.md").read_text()
    document = manifest(name)
    head, *_ = ray_pods(document)
    secret = cluster_spec(document)["authOptions"]["secretName"]
    assert f"kubectl create secret generic {secret} --from-file=auth_token=" in readme
    assert f"a claim `{head['volumes'][0]['persistentVolumeClaim']['claimName']}`" in readme


def test_the_config_map_is_that_of_the_readme() -> None:
    head, *_ = ray_pods(manifest(JOB))
    run = next(volume["configMap"] for volume in head["volumes"] if "configMap" in volume)
    made = f"kubectl create configmap {run['name']} --from-file="
    assert made in (CLUSTER / "README.md").read_text()
