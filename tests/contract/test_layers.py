"""The import order of the areas, read from the source."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import embedlib

ORDER = (
    "errors",
    "plugins",
    "records",
    "config",
    "catalog",
    "audio",
    "features",
    "models",
    "engines",
    "tables",
    "run",
    "hear",
    "tasks",
    "probes",
    "report",
    "search",
    "doctor",
    "cli",
)
PACKAGE = Path(embedlib.__file__).parent
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")
RAY_MODULES = {
    "probes/tune_runner.py",
    "probes/tune_schedulers.py",
    "probes/tune_trials.py",
    "run/cluster.py",
    "run/ray_backend.py",
    "run/ray_errors.py",
    "run/ray_jobs.py",
    "run/ray_meters.py",
    "run/ray_nodes.py",
    "run/ray_stalls.py",
    "run/ray_streams.py",
    "run/ray_search.py",
    "run/ray_workers.py",
}


def area(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_imports_only_from_areas_before_its_own(path: Path) -> None:
    ours = [name.split(".") for name in imported(path) if name.startswith("embedlib.")]
    against_the_flow = [parts for parts in ours if ORDER.index(parts[1]) > ORDER.index(area(path))]
    assert not against_the_flow


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_ray_is_imported_at_one_edge_only(path: Path) -> None:
    uses_ray = any(name == "ray" or name.startswith("ray.") for name in imported(path))
    assert not uses_ray or path.relative_to(PACKAGE).as_posix() in RAY_MODULES
