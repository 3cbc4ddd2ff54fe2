"""The wheel: it holds the package and nothing else, and an environment that has it runs the demo.

It is built from what docker/Dockerfile copies, in a folder of its own: a checkout may hold `build`,
whose stale files would get into it.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from email import message_from_bytes
from importlib.metadata import version
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
DIST_INFO = f"embedlib-{PROJECT['project']['version']}.dist-info"
COPIED = ("pyproject.toml", "README.md", "LICENSE", "embedlib")

N_TRACKS, N_FAILED, N_MODELS = 28, 2, 2

# Says where the package comes from, and what else Python sees and has loaded.
WHERE = """
import json, sys, embedlib
print(json.dumps({"package": [*embedlib.__path__], "path": sys.path, "modules": [*sys.modules]}))
"""


def pip(*arguments: object) -> None:
    line = [sys.executable, "-m", "pip", "--disable-pip-version-check", *map(str, arguments)]
    done = subprocess.run(line, capture_output=True, text=True, cwd=os.sep)
    assert done.returncode == 0, done.stdout + done.stderr


def copy_sources(folder: Path) -> None:
    for name in COPIED:
        if (ROOT / name).is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / name, folder / name, ignore=ignored)
        else:
            shutil.copy(ROOT / name, folder)


def new_environment(folder: Path) -> Path:
    """Make an environment without a single package, and name its interpreter."""
    venv.create(folder, symlinks=True, with_pip=False)
    return folder / "bin" / "python"


def site_packages(python: Path) -> Path:
    (found,) = python.parents[1].glob("lib/python*/site-packages")
    return found


def show_dependencies(python: Path) -> None:
    """Let an environment see the packages of this one.

    Of a folder that a .pth file names, Python reads no .pth files: the checkout, which is installed
    here by one, stays out.
    """
    here = dict.fromkeys(sysconfig.get_path(name) for name in ("purelib", "platlib"))
    (site_packages(python) / "dependencies.pth").write_text("\n".join(here))


def run_in(python: Path, *line: object, cache: Path, cwd: Path) -> str:
    """Run a program of an environment, which is told nothing of this checkout."""
    told = ("PYTHONPATH", "VIRTUAL_ENV", "EMBEDLIB_MODELS")
    values = {name: value for name, value in os.environ.items() if name not in told}
    done = subprocess.run(
        [str(python.with_name(str(line[0]))), *map(str, line[1:])],
        env=values | {"EMBEDLIB_CACHE": str(cache)},
        cwd=cwd,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def assert_demo_runs(python: Path, *options: str, cache: Path, cwd: Path) -> None:
    demo = json.loads(run_in(python, "embedlib", "demo", "--json", *options, cache=cache, cwd=cwd))
    assert demo["n_rows"] == N_MODELS * N_TRACKS
    listed = run_in(python, "embedlib", "failures", "demo/tables", "--json", cache=cache, cwd=cwd)
    assert len(json.loads(listed)["failures"]) == N_MODELS * N_FAILED


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    (backend,) = PROJECT["build-system"]["requires"]
    oldest = int(backend.removeprefix("setuptools>="))
    if int(version("setuptools").partition(".")[0]) < oldest:
        pytest.skip(f"needs {backend}")
    sources, built = tmp_path_factory.mktemp("sources"), tmp_path_factory.mktemp("built")
    copy_sources(sources)
    pip("wheel", "--no-deps", "--no-build-isolation", "--no-index", "-w", built, sources)
    (found,) = built.iterdir()
    return found


@pytest.fixture(scope="module")
def contents(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment with the wheel."""
    interpreter = new_environment(tmp_path_factory.mktemp("environment"))
    pip("--python", interpreter, "install", "--no-deps", "--no-index", wheel)
    show_dependencies(interpreter)
    return interpreter


def test_a_wheel_holds_each_file_of_the_package_and_nothing_else(
    contents: dict[str, bytes],
) -> None:
    files = [path for path in (ROOT / "embedlib").rglob("*") if path.is_file()]
    package = {str(path.relative_to(ROOT)) for path in files if "__pycache__" not in path.parts}
    assert {name for name in contents if not name.startswith(DIST_INFO)} == package


def test_a_wheel_is_for_any_platform_and_tells_what_the_project_tells(
    wheel: Path, contents: dict[str, bytes]
) -> None:
    told = message_from_bytes(contents[f"{DIST_INFO}/METADATA"])
    needed = [line for line in told.get_all("Requires-Dist", []) if "extra ==" not in line]
    project = PROJECT["project"]
    assert wheel.name.endswith("-py3-none-any.whl")
    assert (told["Version"], told["License-Expression"]) == (project["version"], project["license"])
    assert len(needed) == len(project["dependencies"])
    assert set(told.get_all("Provides-Extra", [])) == set(project["optional-dependencies"])
    assert f"{DIST_INFO}/licenses/LICENSE" in contents


def test_a_wheel_names_nothing_of_the_machine_that_built_it(contents: dict[str, bytes]) -> None:
    here = re.compile(re.escape(str(ROOT)).encode())
    assert not [name for name, content in contents.items() if here.search(content)]


def test_the_package_comes_from_the_environment_and_no_checkout(
    python: Path, tmp_path: Path
) -> None:
    found = json.loads(run_in(python, "python", "-c", WHERE, cache=tmp_path, cwd=tmp_path))
    assert found["package"] == [str(site_packages(python) / "embedlib")]
    assert str(ROOT) not in found["path"]
    assert not [name for name in found["modules"] if name.startswith("__editable__")]


def test_an_environment_with_the_wheel_runs_the_demonstration(
    python: Path, cache: Path, tmp_path: Path
) -> None:
    assert_demo_runs(python, "--local", cache=cache, cwd=tmp_path)


@pytest.mark.slow
def test_an_environment_with_the_wheel_runs_the_demonstration_with_ray(
    python: Path, cache: Path, tmp_path: Path
) -> None:
    assert_demo_runs(python, cache=cache, cwd=tmp_path)


@pytest.mark.slow
@pytest.mark.network
@pytest.mark.timeout(1_800)
def test_a_bare_environment_gets_all_that_the_demonstration_needs_with_the_wheel(
    wheel: Path, cache: Path, tmp_path: Path
) -> None:
    bare = new_environment(tmp_path / "bare")
    lock = ROOT / "requirements.lock"
    pip("--python", bare, "install", "--quiet", "--constraint", lock, wheel)
    assert "embedlib" in {path.name for path in site_packages(bare).iterdir()}
    assert_demo_runs(bare, cache=cache, cwd=tmp_path)
