"""The names that users build on, and what loading them costs."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import embedlib
from embedlib import hear

PUBLIC = [
    "AudioError",
    "CatalogError",
    "ConfigError",
    "EmbedlibError",
    "EngineError",
    "FingerprintError",
    "ModelError",
    "Output",
    "OutputError",
    "RunError",
    "RunSummary",
    "__version__",
    "diff",
    "embed",
    "extract",
    "open",
    "verify",
]

# What a program pays for when it embeds or extracts, and not before.
HEAVY = ("av", "deltalake", "numpy", "openvino", "pandas", "pyarrow", "pydantic", "ray", "soxr")


def loaded_after(code: str) -> set[str]:
    """Name the heavy libraries that a fresh interpreter has loaded after some lines of code."""
    report = f"{code}\nimport sys\nprint(*(sys.modules.keys() & set({HEAVY!r})))"
    done = subprocess.run(
        [sys.executable, "-c", report], capture_output=True, text=True, check=True
    )
    return set(done.stdout.splitlines()[-1].split())


def test_the_public_names_are_these() -> None:
    assert sorted(embedlib.__all__) == sorted(PUBLIC)
    assert sorted(dir(embedlib)) == sorted(PUBLIC)


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_name_can_be_loaded(name: str) -> None:
    value = getattr(embedlib, name)
    assert isinstance(value, str) or inspect.getdoc(value)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'extrakt'"):
        embedlib.extrakt  # noqa: B018


def test_import_embedlib_loads_nothing_heavy() -> None:
    assert loaded_after("import embedlib") == set()


def test_the_class_of_an_error_costs_nothing_heavy() -> None:
    assert loaded_after("import embedlib; embedlib.AudioError") == set()


def test_the_api_of_hear_loads_neither_ray_nor_an_engine() -> None:
    assert loaded_after("import embedlib.hear").isdisjoint({"ray", "openvino"})


def test_embedding_one_file_does_not_load_ray() -> None:
    assert "ray" not in loaded_after("import embedlib; embedlib.embed; embedlib.extract")


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("extract", ["sources", "models", "out", "options"]),
        ("embed", ["audio", "model", "sr", "options"]),
        ("open", ["out", "at"]),
        ("diff", ["out1", "out2"]),
        ("verify", ["out"]),
    ],
)
def test_the_parameters_of_a_public_function_keep_their_names(
    name: str, parameters: list[str]
) -> None:
    assert list(inspect.signature(getattr(embedlib, name)).parameters) == parameters


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("load_model", ["model_file_path"]),
        ("get_scene_embeddings", ["audio", "model"]),
        ("get_timestamp_embeddings", ["audio", "model"]),
    ],
)
def test_the_functions_of_hear_take_by_position_what_its_api_gives(
    name: str, parameters: list[str]
) -> None:
    found = inspect.signature(getattr(hear, name)).parameters.values()
    assert [each.name for each in found if each.kind is each.POSITIONAL_OR_KEYWORD] == parameters


def test_the_folder_of_a_clone_is_not_taken_for_the_package(tmp_path: Path) -> None:
    (tmp_path / "embedlib").mkdir()
    line = [sys.executable, "-c", "import embedlib; print(embedlib.__file__)"]
    found = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert found.strip() == embedlib.__file__
