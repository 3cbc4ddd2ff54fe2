"""Models from single Python files that a user names."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from embedlib.errors import ConfigError
from embedlib.models.model_files import FILES_VARIABLE, named_files, specs_of_file
from embedlib.models.registry import collect_specs, model_spec, model_specs

GOOD = """
from dataclasses import dataclass, replace
from embedlib.models.families.vgg import MSD_VGG


@dataclass(frozen=True)
class Width:
    n: int = 7


SPECS = (replace(MSD_VGG, name="mine-1"), replace(MSD_VGG, name=f"mine-{Width().n}"))
"""


@pytest.fixture
def good(tmp_path: Path) -> Path:
    return written(tmp_path / "mine.py", GOOD)


def written(path: Path, code: str) -> Path:
    path.write_text(code)
    return path


def test_a_file_that_is_named_adds_its_models_behind_all_others(good: Path) -> None:
    specs = collect_specs([], files=[good])
    assert list(specs) == [*collect_specs([]), "mine-1", "mine-7"]


def test_the_variable_names_files_for_as_long_as_it_is_set(
    good: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = model_specs()
    monkeypatch.setenv(FILES_VARIABLE, str(good))
    assert model_spec("untrained-mine-1").untrained
    monkeypatch.delenv(FILES_VARIABLE)
    assert model_specs() == before


def test_a_file_that_was_edited_is_read_again(good: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FILES_VARIABLE, str(good))
    assert model_spec("mine-7").base_name == "mine-7"
    written(good, GOOD.replace("int = 7", "int = 75"))
    assert model_spec("mine-75").base_name == "mine-75"


def test_several_files_are_named_as_in_path(tmp_path: Path) -> None:
    value = os.pathsep.join([str(tmp_path / "a.py"), "", "~/b.py"])
    assert named_files(value) == (tmp_path / "a.py", Path("~/b.py").expanduser())


def test_two_files_of_one_name_are_two_files(good: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = written(tmp_path / "other" / "mine.py", GOOD.replace("mine-", "other-"))
    assert len(specs_of_file(good) + specs_of_file(other)) == 4


def test_a_file_leaves_no_module_behind(good: Path) -> None:
    before = set(sys.modules)
    specs_of_file(good)
    assert not {name for name in set(sys.modules) - before if "embedlib_model_" in name}


@pytest.mark.parametrize(
    ("code", "problem"),
    [
        ("", "has no SPECS; let SPECS be a tuple of ModelSpec"),
        ("SPECS = [7]", "has no SPECS"),
        ("SPECS = (7,)", "has no SPECS"),
        ("import embedlib_nowhere", r"cannot be run \(ModuleNotFoundError: .*; correct it, or"),
        ("SPECS = (ModelSpec(),)", r"cannot be run \(NameError: name 'ModelSpec'"),
        ("SPECS = (", r"cannot be run \(SyntaxError"),
        (GOOD.replace('"mine-1"', '"msd-vgg-1"'), "a name that is taken; give it another name"),
    ],
)
def test_a_file_that_cannot_be_taken_is_one_line_that_names_it(
    tmp_path: Path, code: str, problem: str
) -> None:
    path = written(tmp_path / "mine.py", code)
    with pytest.raises(ConfigError, match=f"the model file {path} .*{problem}") as caught:
        collect_specs([], files=[path])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["nowhere.py", "folder.py", "mine.txt"])
def test_what_is_no_python_file_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder.py").mkdir()
    written(tmp_path / "mine.txt", GOOD)
    with pytest.raises(ConfigError, match=f"there is no model file .*{name}; let {FILES_VARIABLE}"):
        specs_of_file(tmp_path / name)


def test_a_file_that_asks_for_models_while_it_is_read_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = "from embedlib.models.registry import model_spec\nSPECS = (model_spec('msd-vgg-1'),)"
    monkeypatch.setenv(FILES_VARIABLE, str(written(tmp_path / "mine.py", code)))
    with pytest.raises(ConfigError, match=r"asks for models while it is read; import what it"):
        model_specs()
