"""The launcher files of cluster/ against Ray's own schema, and the READMEs against the commands.

What a cloud is asked for is held against its API where the model of that is at hand (botocore's),
else against a list of our own. Nothing is started, and no network is asked.
"""

from __future__ import annotations

import copy
import json
import re
import shlex
import shutil
import subprocess
import sys
import zipfile
from functools import partial
from pathlib import Path
from typing import Any

import botocore.session
import pytest
import yaml
from botocore.validate import ParamValidator
from jsonschema import ValidationError, validate
from typer.main import get_command

import embedlib
from embedlib.cli.app import app, spread
from embedlib.config import extract_config, read_config
from embedlib.run.auth import require_tokens

ROOT = Path(__file__).parents[2]
CLUSTER = ROOT / "cluster"
LAUNCHERS = ("own.yaml", "aws.yaml", "gcp.yaml")
CLOUDS = ("aws.yaml", "gcp.yaml")
SETUP = (CLUSTER / "setup.sh").read_text()
READMES = (CLUSTER / "README.md", ROOT / "docker" / "README.md")

MAX_NOTICE_S = 15.0
"""A lost node costs seconds: Ray's defaults take 65 s over one that froze."""

MAX_SENT_BYTES = 10 * 2**20
"""Ray keeps what a job takes along in memory of the head."""

every_launcher = pytest.mark.parametrize("name", LAUNCHERS)
every_cloud = pytest.mark.parametrize("name", CLOUDS)


def launcher(name: str) -> dict[str, Any]:
    config: dict[str, Any] = yaml.safe_load((CLUSTER / name).read_text())
    return config


def prepared(config: dict[str, Any]) -> dict[str, Any]:
    """Do what `ray up` does before it asks a provider for anything."""
    require_tokens(is_local=True)
    from ray.autoscaler._private.util import prepare_config, validate_config

    ready: dict[str, Any] = prepare_config(copy.deepcopy(config))
    validate_config(ready)
    return ready


def environment_of(script: str) -> dict[str, str]:
    """Source a script in a shell that has nothing but a home, and read what it exports."""
    shell = ["env", "-i", "HOME=/home/someone", "PATH=/usr/bin:/bin", "bash", "-c"]
    printed = subprocess.run(
        [*shell, f". {shlex.quote(script)} && env"], capture_output=True, text=True, check=True
    )
    return dict(line.split("=", 1) for line in printed.stdout.splitlines())


@pytest.fixture(scope="module")
def environment() -> dict[str, str]:
    return environment_of(str(CLUSTER / "environment.sh"))


# The launcher files


@every_launcher
def test_ray_accepts_a_launcher_file(name: str) -> None:
    assert prepared(launcher(name))["cluster_name"] == f"embedlib-{Path(name).stem}"


@every_launcher
@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"setup_comands": []}, "setup_comands"),
        ({"auth": {"user": "embedlib"}}, "'user' was unexpected"),
        ({"cluster_name": 1}, "1 is not of type 'string'"),
    ],
)
def test_ray_refuses_a_launcher_file_with_a_mistake(
    name: str, wrong: dict[str, Any], named: str
) -> None:
    with pytest.raises(ValidationError, match=named):
        prepared(launcher(name) | wrong)


@every_launcher
def test_what_a_launcher_file_copies_is_in_a_checkout(name: str) -> None:
    made_by_the_user = {"~/.ray/auth_token", "dist"}
    sources = set(launcher(name)["file_mounts"].values()) - made_by_the_user
    assert sources
    assert not [source for source in sources if not (ROOT / source).exists()]


@every_launcher
def test_every_node_starts_ray_with_the_token_that_was_copied_to_it(
    name: str, environment: dict[str, str]
) -> None:
    config = launcher(name)
    commands = [*config["head_start_ray_commands"], *config["worker_start_ray_commands"]]
    assert all(line.startswith(". ~/embedlib-node/environment.sh && ") for line in commands)
    assert sum("ray start" in line for line in commands) == 2
    assert environment["RAY_AUTH_MODE"] == "token"
    copied = environment["RAY_AUTH_TOKEN_PATH"].replace("/home/someone", "~")
    assert config["file_mounts"][copied] == "~/.ray/auth_token"


@every_launcher
def test_no_launcher_file_holds_a_token_or_switches_authentication_off(name: str) -> None:
    text = (CLUSTER / name).read_text() + (CLUSTER / "environment.sh").read_text()
    assert "RAY_AUTH_TOKEN=" not in text
    assert "disabled" not in text


@every_launcher
def test_every_node_has_metrics_where_the_readme_lets_prometheus_look(name: str) -> None:
    config = launcher(name)
    commands = [*config["head_start_ray_commands"], *config["worker_start_ray_commands"]]
    ports = [re.findall(r"--metrics-export-port=(\d+)", line) for line in commands]
    (scraped,) = re.findall(r"targets: .*:(\d+)", (CLUSTER / "grafana" / "README.md").read_text())
    assert ports == [[], [scraped], [], [scraped]]


def test_a_lost_node_is_noticed_within_seconds(environment: dict[str, str]) -> None:
    prefix = "RAY_health_check_"
    value = {
        key.removeprefix(prefix): int(environment[key])
        for key in environment
        if key.startswith(prefix)
    }
    per_round_ms = value["period_ms"] + value["timeout_ms"]
    notice_ms = value["initial_delay_ms"] + value["failure_threshold"] * per_round_ms
    assert notice_ms / 1000 <= MAX_NOTICE_S


def test_health_checks_are_settings_that_ray_has(environment: dict[str, str]) -> None:
    import ray._raylet

    binary = Path(ray._raylet.__file__).parent.joinpath("core/src/ray/gcs/gcs_server").read_bytes()
    names = [key.removeprefix("RAY_") for key in environment if "health_check" in key]
    assert len(names) == 4
    assert not [name for name in names if name.encode() not in binary]


def test_all_launcher_files_set_a_node_up_in_the_same_way() -> None:
    own, *clouds = map(launcher, LAUNCHERS)
    same = ("file_mounts", "head_start_ray_commands", "worker_start_ray_commands")
    for cloud in clouds:
        assert {key: own[key] for key in same} == {key: cloud[key] for key in same}


@every_launcher
def test_no_launcher_rebuilds_environments(name: str) -> None:
    config = launcher(name)
    (line,) = config["setup_commands"]
    assert re.fullmatch(r"bash ~/embedlib-node/setup\.sh (s3|gcs)", line)
    assert config["file_mounts"]["~/embedlib-node/setup.sh"] == "cluster/setup.sh"
    assert "--constraint constraints.txt" in SETUP
    assert not re.search(r"\buv\b|\bconda\b|runtime_env", SETUP)


# The clouds


@every_cloud
def test_the_head_is_on_demand_and_computes_nothing(name: str) -> None:
    head = prepared(launcher(name))["available_node_types"]["head"]
    assert head["resources"] == {"CPU": 0}
    assert not {"InstanceMarketOptions", "scheduling"} & head["node_config"].keys()


@every_cloud
def test_workers_of_both_pools_are_spot_and_none_at_first(name: str) -> None:
    types = prepared(launcher(name))["available_node_types"]
    pools = {key: kind for key, kind in types.items() if key != "head"}
    assert [*pools] == ["spot-cpu", "spot-gpu"]
    for pool in pools.values():
        node = pool["node_config"]
        spot = node.get("InstanceMarketOptions") or node["scheduling"]
        assert {"spot", "SPOT"} & set(spot.values())
        assert pool["min_workers"] == 0 < pool["max_workers"]


@every_cloud
@pytest.mark.parametrize(
    ("asked", "started"),
    [
        ([{"CPU": 1}] * 40, {"spot-cpu"}),
        ([{"CPU": 1, "GPU": 1}] * 2, {"spot-gpu"}),
        ([{"CPU": 1}] * 40 + [{"CPU": 1, "GPU": 1}], {"spot-cpu", "spot-gpu"}),
        ([], set()),
    ],
    ids=["cores", "cards", "both", "none"],
)
def test_ray_starts_cards_for_those_who_ask_for_cards_only(
    name: str, asked: list[dict[str, int]], started: set[str]
) -> None:
    config = prepared(launcher(name))
    from ray.autoscaler._private import resource_demand_scheduler as scheduler

    nodes, missing = scheduler.get_nodes_for(
        config["available_node_types"],
        existing_nodes={"head": 1},
        head_node_type="head",
        max_to_add=config["max_workers"],
        resources=asked,
        utilization_scorer=partial(
            scheduler._default_utilization_scorer,
            node_availability_summary=scheduler.NodeAvailabilitySummary({}),
        ),
    )
    assert missing == []
    assert {*nodes} == started


@every_cloud
def test_the_user_of_the_nodes_may_write_where_the_run_reads_and_writes(
    name: str, environment: dict[str, str]
) -> None:
    config = launcher(name)
    *_, mount, made = config["initialization_commands"]
    user = config["auth"]["ssh_user"]
    assert "sudo mount " in mount
    assert made.startswith(f"sudo install -d -o {user} -g {user} ")
    run = read_config(ROOT / "configs" / "runs" / "cluster.yaml")
    assert {*run["sources"], run["out"], environment["EMBEDLIB_MODELS"]} == {
        word for word in made.split() if word.startswith("/")
    }


def test_aws_knows_every_field_of_a_node() -> None:
    model = botocore.session.get_session().get_service_model("ec2")
    shape = model.operation_model("RunInstances").input_shape
    for kind in launcher("aws.yaml")["available_node_types"].values():
        request = {**kind["node_config"], "MinCount": 1, "MaxCount": 1}
        report = ParamValidator().validate(request, shape)
        assert not report.has_errors(), report.generate_report()


@pytest.mark.parametrize("name", ["spot-cpu", "spot-gpu"])
def test_a_field_that_aws_does_not_know_is_found(name: str) -> None:
    model = botocore.session.get_session().get_service_model("ec2")
    shape = model.operation_model("RunInstances").input_shape
    node = launcher("aws.yaml")["available_node_types"][name]["node_config"]
    request = {**node, "InstanceMarketOption": {}, "MinCount": 1, "MaxCount": 1}
    assert ParamValidator().validate(request, shape).has_errors()


# From the reference of instances.insert, Compute Engine API v1, as far as our nodes have them. Held
# once against Google's own description of that API, revision 20261106, which is not at hand here.
GCP_NODE = {
    "type": "object",
    "required": ["machineType", "disks"],
    "properties": {
        "machineType": {"type": "string"},
        "disks": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "boot": {"const": True},
                    "autoDelete": {"const": True},
                    "type": {"const": "PERSISTENT"},
                    "initializeParams": {
                        "type": "object",
                        "properties": {
                            "diskSizeGb": {"type": "integer"},
                            "diskType": {"type": "string", "pattern": "^zones/.*/diskTypes/"},
                            "sourceImage": {"type": "string", "pattern": "^projects/"},
                        },
                        "additionalProperties": False,
                    },
                },
                "additionalProperties": False,
            },
        },
        "scheduling": {
            "type": "object",
            "properties": {
                "provisioningModel": {"enum": ["SPOT", "STANDARD"]},
                "instanceTerminationAction": {"enum": ["DELETE", "STOP"]},
            },
            "additionalProperties": False,
        },
        "serviceAccounts": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["email", "scopes"],
                "properties": {
                    "email": {"type": "string"},
                    "scopes": {"type": "array", "items": {"type": "string"}},
                },
                "additionalProperties": False,
            },
        },
    },
    "additionalProperties": False,
}


def gcp_nodes() -> dict[str, dict[str, Any]]:
    types = launcher("gcp.yaml")["available_node_types"]
    return {name: kind["node_config"] for name, kind in types.items()}


@pytest.mark.parametrize("name", ["head", "spot-cpu", "spot-gpu"])
def test_google_knows_every_field_of_a_node(name: str) -> None:
    node = gcp_nodes()[name]
    validate(node, GCP_NODE)
    with pytest.raises(ValidationError, match="was unexpected"):
        validate(node | {"preemptible": True}, GCP_NODE)


def test_disks_on_google_are_in_the_zone_of_the_nodes_and_go_with_them() -> None:
    zone = launcher("gcp.yaml")["provider"]["availability_zone"]
    for node in gcp_nodes().values():
        (disk,) = node["disks"]
        assert disk["initializeParams"]["diskType"].startswith(f"zones/{zone}/")
        assert disk["autoDelete"] is True


@every_cloud
def test_ray_knows_every_setting_of_the_provider(name: str) -> None:
    require_tokens(is_local=True)
    import ray.autoscaler

    schema = json.loads(Path(ray.autoscaler.__file__).with_name("ray-schema.json").read_text())
    known = schema["properties"]["provider"]["properties"]
    assert launcher(name)["provider"].keys() <= known.keys()


def test_the_run_of_a_cluster_joins_the_cluster_that_is_there() -> None:
    path = ROOT / "configs" / "runs" / "cluster.yaml"
    assert extract_config(read_config(path), origin=str(path)).address == "auto"


# What pods share

STRING = {"type": "string"}


def record(required: str, **properties: Any) -> dict[str, Any]:
    """Make the schema of an object that has no other fields."""
    return {
        "type": "object",
        "required": required.split(),
        "properties": properties,
        "additionalProperties": False,
    }


# From the field reference of Kubernetes 1.28, as far as our claim has them.
CLAIM = record(
    "apiVersion kind metadata spec",
    apiVersion={"const": "v1"},
    kind={"const": "PersistentVolumeClaim"},
    metadata=record("name", name=STRING),
    spec=record(
        "accessModes resources",
        accessModes={"const": ["ReadWriteMany"]},
        storageClassName=STRING,
        resources=record(
            "requests",
            requests=record("storage", storage={"type": "string", "pattern": r"^\d+[GT]i$"}),
        ),
    ),
)


def shared_files() -> tuple[dict[str, Any], dict[str, Any]]:
    claim, pod = yaml.safe_load_all((CLUSTER / "claim.yaml").read_text())
    return claim, pod


@pytest.mark.parametrize(
    "wrong", [{}, {"accessMode": []}, {"accessModes": ["ReadWriteOnce"]}, {"storageClass": "a"}]
)
def test_the_claim_has_the_fields_that_kubernetes_knows(wrong: dict[str, Any]) -> None:
    claim, _ = shared_files()
    validate(claim, CLAIM)
    if wrong:
        with pytest.raises(ValidationError):
            validate(claim | {"spec": claim["spec"] | wrong}, CLAIM)


def test_files_are_copied_as_the_user_and_to_the_claim_of_the_pods_of_ray() -> None:
    claim, pod = shared_files()
    ray = yaml.safe_load((CLUSTER / "kuberay-raycluster.yaml").read_text())["spec"]
    head = ray["headGroupSpec"]["template"]["spec"]
    (files,), (container,) = pod["spec"]["containers"], head["containers"]
    assert pod["spec"]["securityContext"] == head["securityContext"]
    assert files["securityContext"] == container["securityContext"]
    assert files["image"] == container["image"]
    assert pod["spec"]["volumes"] == head["volumes"][:1]
    assert files["volumeMounts"] == container["volumeMounts"][:1]
    assert head["volumes"][0]["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]


# The READMEs


def shell_lines(readme: Path) -> list[str]:
    blocks = re.findall(r"^```bash\n(.*?)^```$", readme.read_text(), re.MULTILINE | re.DOTALL)
    joined = [block.replace("\\\n", "") for block in blocks]
    return [line for block in joined for line in block.splitlines() if line]


LINES = [line for readme in READMES for line in shell_lines(readme)]
RAY_LINES = [line for line in LINES if line.startswith("ray ")]
EXTRACTION = re.compile(
    r"jobs/extract\.py | embedlib extract |embedlib\.cli\.app extract |slurm\.sbatch "
)
EXTRACTIONS = [line for line in LINES if EXTRACTION.search(line)]


def in_checkout(path: str) -> str:
    """Say where that lies here what the launcher files copied to a node."""
    for there, here in launcher("own.yaml")["file_mounts"].items():
        path = path.replace(there.removeprefix("~/"), here, 1)
    return path


def extract_arguments(line: str) -> list[str]:
    tokens = shlex.split(line, comments=True)
    commands = ("jobs/extract.py", "cluster/slurm.sbatch", "extract")
    start = next(tokens.index(each) for each in commands if each in tokens)
    return [token for token in tokens[start + 1 :] if token != "--"]


@pytest.mark.parametrize("line", LINES)
def test_a_command_line_refers_to_files_that_exist(line: str) -> None:
    folders = "cluster|configs|docker|jobs"
    tokens = [in_checkout(token) for token in re.split(r"[\s=]", line)]
    named = [token for token in tokens if re.match(rf"(?:{folders})/", token)]
    assert not [path for path in named if not (ROOT / path).exists()]


@pytest.mark.parametrize("line", EXTRACTIONS)
def test_an_extraction_has_options_that_embedlib_knows(line: str) -> None:
    (command,) = (
        child
        for name, child in getattr(get_command(app), "commands", {}).items()
        if name == "extract"
    )
    context = command.make_context("extract", spread(extract_arguments(line)))
    assert not context.args
    if path := context.params["config"]:
        extract_config(read_config(ROOT / in_checkout(str(path))))


@pytest.mark.parametrize("line", RAY_LINES)
def test_a_line_of_ray_is_one_that_ray_understands(line: str) -> None:
    require_tokens(is_local=True)
    from ray.scripts.scripts import cli

    command: Any = cli
    _, *arguments = shlex.split(line.partition(">")[0], comments=True)
    while commands := getattr(command, "commands", None):
        name, *arguments = arguments
        command = commands[name]
    assert command.make_context(name, arguments).params


def test_the_readme_of_clusters_takes_every_file_up_and_down() -> None:
    lines = "\n".join(shell_lines(CLUSTER / "README.md"))
    for name in LAUNCHERS:
        assert f"ray up cluster/{name}" in lines
        assert f"ray down cluster/{name}" in lines
    for path in CLUSTER.glob("kuberay-*.yaml"):
        assert f"kubectl apply -f cluster/{path.name}" in lines
        assert f"kubectl delete -f cluster/{path.name}" in lines
    assert "sbatch " in lines
    assert "scancel --batch --signal=TERM " in lines


def test_the_readme_of_clusters_has_every_file_of_the_folder() -> None:
    table = re.findall(r"^\| `([\w.-]+)` \|", (CLUSTER / "README.md").read_text(), re.MULTILINE)
    files = {path.name for path in CLUSTER.iterdir() if path.is_file()}
    assert set(table) == files - {"README.md"}


every_readme = pytest.mark.parametrize("readme", READMES, ids=lambda path: path.parent.name)


@every_readme
def test_a_link_leads_to_a_file(readme: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)", readme.read_text())
    assert links
    assert not [link for link in links if not (readme.parent / link).is_file()]


@every_readme
def test_the_versions_of_a_readme_are_those_of_this_checkout(readme: Path) -> None:
    lock = (ROOT / "requirements.lock").read_text().splitlines()
    rays = re.findall(r"ray(?:\[default\])?==([\d.]+)", readme.read_text())
    images = re.findall(r"\bembedlib:([\d.]+)-[cg]pu", readme.read_text())
    assert all(f"ray=={version}" in lock for version in rays)
    assert set(images) <= {embedlib.__version__}


@every_readme
def test_a_readme_says_that_its_files_were_not_tried(readme: Path) -> None:
    text = " ".join(readme.read_text().replace("*", "").split())
    assert "was applied to a cluster here" in text or "Not built here" in text


def test_a_wrong_number_is_refused_before_a_cluster_is_asked() -> None:
    line = [sys.executable, str(CLUSTER / "scale.py"), "--cores", "0", "--cards", "-1"]
    asked = subprocess.run(line, capture_output=True, text=True)
    assert asked.returncode == 2
    assert "--cards -1 must not be negative" in asked.stderr


# What a job takes along


def test_a_job_from_a_checkout_takes_code_and_configurations_along_and_nothing_else(
    tmp_path: Path,
) -> None:
    require_tokens(is_local=True)
    from ray._private.runtime_env.packaging import create_package

    archive = tmp_path / "sent.zip"
    create_package(str(ROOT), archive, include_gitignore=True)
    with zipfile.ZipFile(archive) as sent:
        names = sent.namelist()
    assert {"embedlib/__init__.py", "jobs/extract.py", "configs/runs/cluster.yaml"} <= {*names}
    assert {name.split("/")[0] for name in names} == {"configs", "embedlib", "jobs"}
    assert not [name for name in names if "__pycache__" in name]
    assert archive.stat().st_size < MAX_SENT_BYTES


# Shell


SHELL_FILES = [*sorted(CLUSTER.glob("*.sh")), CLUSTER / "slurm.sbatch", ROOT / ".ci" / "run"]


@pytest.mark.parametrize("path", SHELL_FILES, ids=lambda path: path.name)
def test_shellcheck_finds_no_fault(path: Path) -> None:
    assert_clean(path.read_text())


@every_launcher
def test_shellcheck_finds_no_fault_in_the_commands_of_a_launcher_file(name: str) -> None:
    keys = [key for key in launcher(name) if key.endswith("_commands")]
    lines = [line for key in keys for line in launcher(name)[key]]
    # Ray gives this one to each worker; the scripts that are sourced are checked themselves.
    declared = ["#!/usr/bin/env bash", "# shellcheck disable=SC1090", "RAY_HEAD_IP=192.0.2.10"]
    assert lines
    assert_clean("\n".join([*declared, *lines, ""]))


def test_shellcheck_finds_a_fault() -> None:
    with pytest.raises(AssertionError, match="SC2086"):
        assert_clean("#!/usr/bin/env bash\nrm $1\n")


def assert_clean(script: str) -> None:
    binary = shutil.which("shellcheck", path=f"{Path(sys.executable).parent}:/usr/bin")
    if binary is None:
        pytest.skip("needs shellcheck")
    line = [binary, "--external-sources", "--format=gcc", "-"]
    found = subprocess.run(line, input=script, capture_output=True, text=True, cwd=ROOT)
    assert not found.stdout, found.stdout
