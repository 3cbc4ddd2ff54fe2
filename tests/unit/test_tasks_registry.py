"""Tasks and label adapters: how they are found, and who is at fault when they are not."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint, PathDistribution
from pathlib import Path

import pytest

from embedlib.errors import ConfigError
from embedlib.tasks.labels import LabelRequest, LabelSet
from embedlib.tasks.registry import (
    ADAPTER_GROUP,
    TASK_GROUP,
    adapter,
    collect_adapters,
    collect_tasks,
    task,
    task_names,
)

EXAMPLE = Path(__file__).parents[2] / "configs" / "probes" / "sonic-pi-task.yaml"


def test_every_name_gives_the_task_of_that_name() -> None:
    assert len(task_names()) >= 16
    assert [task(name).name for name in task_names()] == list(task_names())


def test_a_task_of_ones_own_is_a_file(tmp_path: Path) -> None:
    path = tmp_path / "pets.yaml"
    path.write_text("name: pets\nclasses: [cat, dog]\n")
    assert task(str(path)).classes == ["cat", "dog"]


def test_a_file_with_the_name_of_another_task_and_other_classes_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("name: gtzan\nclasses: [cat, dog]\n")
    with pytest.raises(ConfigError, match=r"'gtzan' with other classes .*; give it another name"):
        task(str(path))


def test_a_file_may_read_the_labels_of_a_known_task_in_its_own_way(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(f"name: gtzan\nclasses: {task('gtzan').classes}\nadapter: manifest\n")
    assert task(str(path)).adapter == "manifest"


def test_the_classes_of_the_example_are_the_prefixes_of_at_least_eight_files(
    shared_sonic_pi: Path,
) -> None:
    own = task(str(EXAMPLE))
    ids = tuple(sorted(path.name for path in shared_sonic_pi.iterdir()))
    labels = adapter(own.adapter)(LabelRequest(own, None, ids))
    assert sorted({track.label for track in labels.tracks}) == sorted(own.classes)
    assert len(labels.tracks) == 173


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("name: pets\nclasses: [cat, dog]\ncolour: red\n", "unknown key 'colour'; the keys are "),
        ("name: pets\n", "'classes' is missing"),
        ("name: Pets\nclasses: [cat, dog]\n", "name='Pets' is wrong"),
        ("name: pets\nclasses: [cat, dog]\nsize: many\n", "size='many' is wrong"),
        ("name: pets\nclasses: [cat, cat]\n", "a class is named twice"),
        ("name: pets\nclasses: [a, b]\nlabels: {x: c}\n", "'c' is none of its classes"),
        ("- name\n", "holds no keys"),
        ("{", "is not YAML"),
    ],
)
def test_a_file_with_a_wrong_key_is_refused_in_one_line(
    text: str, problem: str, tmp_path: Path
) -> None:
    path = tmp_path / "pets.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=problem) as caught:
        task(str(path))
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_task_without_a_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot read .*none\.yaml"):
        task(str(tmp_path / "none.yaml"))


@pytest.mark.parametrize(("name", "close"), [("gtsan", "gtzan"), ("xyz", "acoustic or ")])
def test_an_unknown_task_is_refused_with_similar_names(name: str, close: str) -> None:
    with pytest.raises(ConfigError, match=f"unknown task '{name}'; did you mean {close}"):
        task(name)


def test_an_unknown_adapter_is_refused_with_similar_names() -> None:
    with pytest.raises(ConfigError, match="unknown label adapter 'by-names'; did you mean by-name"):
        adapter("by-names")


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Give the name of a module that offers tasks and adapters, good and bad."""
    (tmp_path / "pets.yaml").write_text("name: from-file\nclasses: [cat, dog]\n")
    (tmp_path / "embedlib_task_plugin.py").write_text(
        "from pathlib import Path\n"
        "from embedlib.tasks.labels import LabelSet\n"
        "from embedlib.tasks.task import Task\n"
        "FIELDS = {'name': 'from-fields', 'classes': ['cat', 'dog']}\n"
        "TASK = Task(**FIELDS | {'name': 'from-task'})\n"
        "FILE = str(Path(__file__).with_name('pets.yaml'))\n"
        "SEVERAL = [TASK, FIELDS, Path(FILE)]\n"
        "TAKEN = FIELDS | {'name': 'gtzan'}\n"
        "TWICE = [TASK, TASK]\n"
        "NUMBER = 7\n"
        "WRONG = {'name': 'wrong'}\n"
        "def read(request):\n"
        "    return LabelSet(())\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    yield "embedlib_task_plugin"
    sys.modules.pop("embedlib_task_plugin", None)


def task_point(value: str) -> EntryPoint:
    return EntryPoint(name="mine", value=value, group=TASK_GROUP)


def adapter_point(value: str, *, name: str = "mine") -> EntryPoint:
    return EntryPoint(name=name, value=value, group=ADAPTER_GROUP)


@pytest.mark.parametrize(
    ("value", "names"),
    [
        ("TASK", ["from-task"]),
        ("FIELDS", ["from-fields"]),
        ("FILE", ["from-file"]),
        ("SEVERAL", ["from-task", "from-fields", "from-file"]),
    ],
)
def test_an_installed_package_adds_tasks_behind_our_own(
    plugin: str, value: str, names: list[str]
) -> None:
    found = collect_tasks([task_point(f"{plugin}:{value}")])
    assert list(found) == [*collect_tasks([]), *names]


@pytest.mark.parametrize(
    ("value", "what"),
    [
        ("TAKEN", "gives a task 'gtzan', a name that is taken"),
        ("TWICE", "gives a task 'from-task', a name that is taken"),
        ("NUMBER", "gives no task: a int is neither"),
        ("WRONG", "gives no task: its fields: 'classes' is missing"),
        ("MISSING", r"cannot be loaded \(AttributeError: .*MISSING"),
    ],
)
def test_a_package_whose_tasks_cannot_be_taken_is_named(plugin: str, value: str, what: str) -> None:
    with pytest.raises(ConfigError, match=f"the entry point 'mine' = '{plugin}:{value}' .* {what}"):
        collect_tasks([task_point(f"{plugin}:{value}")])


def test_the_distribution_of_a_bad_task_is_named(tmp_path: Path) -> None:
    info = tmp_path / "my_tasks-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my-tasks\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[{TASK_GROUP}]\nmine = embedlib_nowhere:ONE\n")
    with pytest.raises(ConfigError, match=r"of my-tasks cannot be .*; update or uninstall my-task"):
        collect_tasks(PathDistribution(info).entry_points)


def test_an_installed_package_adds_an_adapter(plugin: str, tmp_path: Path) -> None:
    found = collect_adapters([adapter_point(f"{plugin}:read")])
    own = task(str(tmp_path / "pets.yaml"))
    assert found["mine"](LabelRequest(own, None)) == LabelSet(())


@pytest.mark.parametrize(
    ("name", "value", "what"),
    [
        ("mine", "NUMBER", "gives a int, not a function"),
        ("by-name", "read", "has the name of an adapter that is there already"),
    ],
)
def test_a_package_whose_adapter_cannot_be_taken_is_named(
    plugin: str, name: str, value: str, what: str
) -> None:
    with pytest.raises(ConfigError, match=f"entry point '{name}' = '{plugin}:{value}' .* {what}"):
        collect_adapters([adapter_point(f"{plugin}:{value}", name=name)])
