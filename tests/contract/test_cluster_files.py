"""The launcher files of cluster/ against Ray's own schema, and the READMEs against the commands.

Nothing is started, and no network is asked.
"""

from __future__ import annotations

import copy
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import ValidationError
from typer.main import get_command

import embedlib
from embedlib.cli.app import app, spread
from embedlib.config import extract_config, read_config
from embedlib.run.auth import require_tokens

ROOT = Path(__file__).parents[2]
CLUSTER = ROOT / "cluster"
LAUNCHERS = ("own.yaml", "aws.yaml")
READMES = (CLUSTER / "README.md", ROOT / "docker" / "README.md")

MAX_NOTICE_S = 15.0
"""A lost node costs seconds: Ray's defaults take 65 s over one that froze."""

every_launcher = pytest.mark.parametrize("name", LAUNCHERS)


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


def test_both_launcher_files_set_a_node_up_in_the_same_way() -> None:
    own, aws = map(launcher, LAUNCHERS)
    same = ("file_mounts", "setup_commands", "head_start_ray_commands", "worker_start_ray_commands")
    assert {key: own[key] for key in same} == {key: aws[key] for key in same}


@every_launcher
def test_no_launcher_rebuilds_environments(name: str) -> None:
    lines = "\n".join(launcher(name)["setup_commands"])
    assert "--constraint ~/embedlib-node/requirements.lock" in lines
    assert not re.search(r"\buv\b|\bconda\b|runtime_env", lines)


def test_on_aws_the_head_is_on_demand_and_workers_are_spot_and_none_at_first() -> None:
    types = prepared(launcher("aws.yaml"))["available_node_types"]
    assert "InstanceMarketOptions" not in types["head"]["node_config"]
    worker = types["spot-worker"]
    assert worker["node_config"]["InstanceMarketOptions"]["MarketType"] == "spot"
    assert (worker["min_workers"], worker["max_workers"]) == (0, 8)


def test_on_aws_only_workers_compute() -> None:
    types = launcher("aws.yaml")["available_node_types"]
    assert types["head"]["resources"] == {"CPU": 0}
    assert types["spot-worker"]["resources"]["CPU"] > 0


def test_the_run_of_a_cluster_joins_the_cluster_that_is_there() -> None:
    path = ROOT / "configs" / "runs" / "cluster.yaml"
    assert extract_config(read_config(path), origin=str(path)).address == "auto"


# The READMEs


def shell_lines(readme: Path) -> list[str]:
    blocks = re.findall(r"^```bash\n(.*?)^```$", readme.read_text(), re.MULTILINE | re.DOTALL)
    joined = [block.replace("\\\n", "") for block in blocks]
    return [line for block in joined for line in block.splitlines() if line]


LINES = [line for readme in READMES for line in shell_lines(readme)]
RAY_LINES = [line for line in LINES if line.startswith("ray ")]
EXTRACTIONS = [line for line in LINES if "jobs/extract.py" in line or " embedlib extract" in line]


def in_checkout(path: str) -> str:
    """Say where that lies here what the launcher files copied to a node."""
    for there, here in launcher("own.yaml")["file_mounts"].items():
        path = path.replace(there.removeprefix("~/"), here, 1)
    return path


def extract_arguments(line: str) -> list[str]:
    tokens = shlex.split(line, comments=True)
    script = tokens.index("jobs/extract.py") if "jobs/extract.py" in tokens else None
    start = tokens.index("extract") if script is None else script
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
    assert "kubectl apply -f cluster/kuberay-rayjob.yaml" in lines
    assert "kubectl delete -f cluster/kuberay-rayjob.yaml" in lines


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


def test_a_wrong_number_of_cores_is_refused_before_a_cluster_is_asked() -> None:
    asked = subprocess.run(
        [sys.executable, str(CLUSTER / "scale.py"), "--cores", "-1"], capture_output=True, text=True
    )
    assert asked.returncode == 2
    assert "--cores -1 must not be negative" in asked.stderr
