"""docker/Dockerfile, read by a small parser, and the list of requirements that it installs."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from typer.main import get_command

from embedlib.cli.app import app
from embedlib.doctor.card import FIRST_DRIVER
from embedlib.engines.load import ENGINES

ROOT = Path(__file__).parents[2]
DOCKERFILE = ROOT / "docker" / "Dockerfile"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
README = (ROOT / "docker" / "README.md").read_text()
TARGETS = ("cpu", "gpu")

every_target = pytest.mark.parametrize("target", TARGETS)


@dataclass(frozen=True, slots=True)
class Stage:
    """One FROM and what follows it, as pairs of keyword and rest."""

    name: str
    base: str
    steps: tuple[tuple[str, str], ...]

    def all(self, keyword: str) -> list[str]:
        return [rest for name, rest in self.steps if name == keyword]


def instructions(text: str) -> Iterator[tuple[str, str]]:
    """Join continued lines, leave out comments, and split each into keyword and rest."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    for line in "\n".join(lines).replace("\\\n", " ").splitlines():
        if line.strip():
            keyword, _, rest = line.strip().partition(" ")
            yield keyword.upper(), " ".join(rest.split())


def stages_of(text: str) -> dict[str, Stage]:
    """Read the stages of a Dockerfile by name."""
    found: dict[str, Stage] = {}
    for keyword, rest in instructions(text):
        if keyword == "FROM":
            base, _, name = rest.partition(" AS ")
            last = Stage(name or base, base, ())
        elif keyword == "ARG" and not found:
            continue
        else:
            last = Stage(last.name, last.base, (*last.steps, (keyword, rest)))
        found[last.name] = last
    return found


def lineage(stages: dict[str, Stage], target: str) -> list[tuple[str, str]]:
    """Give the steps that make a target, those of the stages that it is based on first."""
    stage = stages[target]
    before = lineage(stages, stage.base) if stage.base in stages else []
    return [*before, *stage.steps]


def last_user(steps: list[tuple[str, str]]) -> str:
    return [rest for keyword, rest in steps if keyword == "USER"][-1]


def copied(stage: Stage) -> list[str]:
    """Name what a stage takes from the checkout."""
    lines = [shlex.split(rest) for rest in stage.all("COPY") if "--from=" not in rest]
    return [source for *sources, _ in lines for source in sources]


STAGES = stages_of(DOCKERFILE.read_text())


def test_the_parser_joins_continued_lines_and_skips_comments() -> None:
    text = "ARG A=1\nFROM x AS y\n# no\nRUN a \\\n# nor this\n    && b\nUSER root\n"
    (stage,) = stages_of(text).values()
    assert (stage.name, stage.base) == ("y", "x")
    assert stage.steps == (("RUN", "a && b"), ("USER", "root"))


def test_hadolint_finds_no_fault() -> None:
    assert hadolint(DOCKERFILE.read_text()) == ""


def test_hadolint_finds_a_fault() -> None:
    assert "DL3066" in hadolint(DOCKERFILE.read_text().replace("USER 1000:1000", "USER embedlib"))
    assert "DL3006" in hadolint("FROM python\n")


def hadolint(text: str) -> str:
    """Give what hadolint has to say about a Dockerfile, hints included."""
    binary = shutil.which("hadolint", path=f"{Path(sys.executable).parent}:/usr/bin")
    if binary is None:
        pytest.skip("needs hadolint")
    done = subprocess.run([binary, "--no-color", "-"], input=text, capture_output=True, text=True)
    return done.stdout + done.stderr


def test_every_stage_has_a_name_and_what_it_takes_from_comes_before_it() -> None:
    names = list(STAGES)
    for number, stage in enumerate(STAGES.values()):
        taken = re.findall(r"\bfrom=([\w-]+)", " ".join(rest for _, rest in stage.steps))
        assert stage.name != stage.base
        assert set(taken) <= set(names[:number])
        assert stage.base in {"${BASE}", *names[:number]}


@every_target
def test_a_target_runs_as_somebody_who_is_not_root(target: str) -> None:
    steps = lineage(STAGES, target)
    keywords = [keyword for keyword, _ in steps]
    assert last_user(steps) == "1000:1000"
    assert keywords.index("USER") < keywords.index("CMD")
    made = " ".join(rest for keyword, rest in steps if keyword == "RUN")
    assert "groupadd --gid 1000 embedlib" in made
    assert "useradd --uid 1000 --gid embedlib" in made


@every_target
def test_nothing_is_installed_once_the_user_has_changed(target: str) -> None:
    keywords = [keyword for keyword, _ in lineage(STAGES, target)]
    assert not {"RUN", "COPY"} & set(keywords[keywords.index("USER") :])


@every_target
def test_a_target_has_a_health_check_that_embedlib_understands(target: str) -> None:
    (check,) = [rest for keyword, rest in lineage(STAGES, target) if keyword == "HEALTHCHECK"]
    first, group, *rest = re.findall(r'"([^"]+)"', check.partition("CMD")[2])
    command = vars(get_command(app))["commands"][group]
    assert first == "embedlib"
    assert command.commands[rest[0]].make_context(rest[0], rest[1:]).params


@every_target
def test_a_target_has_labels_with_the_version_of_the_project(target: str) -> None:
    steps = lineage(STAGES, target)
    labels = dict(re.findall(r'([\w.]+)="([^"]*)"', dict(steps)["LABEL"]))
    prefix = "org.opencontainers.image."
    assert ("ARG", f"VERSION={PROJECT['version']}") in steps
    assert labels[f"{prefix}version"] == "${VERSION}"
    assert labels[f"{prefix}licenses"] == f"{PROJECT['license']} AND AGPL-3.0-only"
    assert labels[f"{prefix}base.name"] == "${BASE}"
    assert ("ARG", "BASE") in steps
    assert labels[f"{prefix}description"] == PROJECT["description"]


@every_target
def test_dependencies_come_before_the_source(target: str) -> None:
    dependencies = STAGES[f"{target}-dependencies"]
    before = copied(STAGES[dependencies.base])
    assert {"requirements.lock", "pyproject.toml"} <= set(before)
    assert "embedlib" not in [*before, *copied(dependencies)]
    assert "--constraint requirements.lock" in dependencies.all("RUN")[0]
    first, second = STAGES[target].all("COPY") + STAGES[target].all("RUN")
    assert first == f"--from={target}-dependencies /opt/venv /opt/venv"
    assert "from=wheel" in second


def test_the_stage_of_the_wheel_has_all_that_a_wheel_is_made_of() -> None:
    before = copied(STAGES[STAGES["wheel"].base])
    named = [PROJECT["readme"], *PROJECT["license-files"]]
    assert {"pyproject.toml", "embedlib", *named} <= {*before, *copied(STAGES["wheel"])}


def test_what_is_copied_is_in_a_checkout_and_docker_may_see_it() -> None:
    ignore = (ROOT / ".dockerignore").read_text().splitlines()
    assert ignore.index("*") < min(ignore.index(line) for line in ignore if line.startswith("!"))
    allowed = tuple(line[1:] for line in ignore if line.startswith("!"))
    for path in (path for stage in STAGES.values() for path in copied(stage)):
        assert (ROOT / path).exists(), path
        assert any(path == name or path.startswith(f"{name}/") for name in allowed), path


@every_target
def test_an_image_holds_no_token_and_wants_one(target: str) -> None:
    steps = lineage(STAGES, target)
    variables = " ".join(rest for keyword, rest in steps if keyword in ("ENV", "ARG"))
    assert "RAY_AUTH_MODE=token" in variables
    assert not re.search(r"TOKEN=|SECRET|PASSWORD|_KEY", variables)


@every_target
def test_the_extras_that_are_installed_exist(target: str) -> None:
    extras = re.search(
        r"requirements\.py ([\w ]+) >", STAGES[f"{target}-dependencies"].all("RUN")[0]
    )
    assert extras
    listed = subprocess.run(
        [sys.executable, "docker/requirements.py", *extras[1].split()],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    assert listed[: len(PROJECT["dependencies"])] == PROJECT["dependencies"]
    runtime = {"cpu": "onnxruntime>", "gpu": "onnxruntime-gpu["}[target]
    assert any(line.startswith(runtime) for line in listed)


def pins(path: str) -> dict[str, str]:
    """Read the versions of a lock."""
    return dict(re.findall(r"^([\w.-]+)==([\w.]+)", (ROOT / path).read_text(), re.MULTILINE))


def test_the_image_for_cards_gets_the_runtime_under_the_number_of_the_lock() -> None:
    cuda, everything = pins("docker/cuda.lock"), pins("requirements.lock")
    assert cuda.pop("onnxruntime-gpu") == everything["onnxruntime"]
    assert not {*cuda} & {*everything}
    assert all(name.startswith("nvidia-") for name in cuda)
    step = STAGES["gpu-dependencies"].all("RUN")[0]
    assert "--constraint requirements.lock --constraint cuda.lock" in step


def test_the_readme_says_for_each_engine_which_cuda_it_needs() -> None:
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in README.splitlines()]
    table = {row[0].strip("`"): row[1:] for row in cells if row and row[0].strip("`") in ENGINES}
    cuda, everything = pins("docker/cuda.lock"), pins("requirements.lock")
    major = cuda["nvidia-cuda-runtime"].partition(".")[0]
    assert table["onnxruntime"][:2] == [f"onnxruntime-gpu {cuda['onnxruntime-gpu']}", major]
    assert f"cuDNN {cuda['nvidia-cudnn-cu13'].partition('.')[0]}," in table["onnxruntime"][2]
    assert f"cuBLAS {cuda['nvidia-cublas'].partition('.')[0]}," in table["onnxruntime"][2]
    assert table["tensorrt"][1] == major
    assert table["openvino"][0] == everything["openvino"]
    assert table["essentia"][0].startswith(everything["essentia-tensorflow"])
    assert {*table} == {*ENGINES} - {"auto"}
    for name in ("onnxruntime", "tensorrt"):
        assert table[name][3] == f"{FIRST_DRIVER[int(major)]} or newer"


def test_a_checkout_has_no_secret_where_docker_looks() -> None:
    allowed = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if "!" in line]
    assert not [line for line in allowed if re.search(r"token|\.env|\.pem|\.ray", line)]
