"""What holds for every task that embedlib brings, and for every adapter of a published data set."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from embedlib.errors import CatalogError, ConfigError
from embedlib.tasks import registry
from embedlib.tasks.labels import LabelRequest, LabelSet
from embedlib.tasks.paper import PaperTask, paper_tasks

DATA = Path(registry.__file__).parent / "data"
GOLDEN = Path(__file__).parents[1] / "golden" / "tasks"
PAPER = pytest.mark.parametrize("row", paper_tasks(), ids=lambda row: row.task)
TAGS = frozenset((GOLDEN / "jamendo_tags.txt").read_text().split())
ADAPTERS = {
    "gtzan": "gtzan",
    "dortmund": "dortmund",
    "urbansound8k": "urbansound8k",
    "fs-loop-ds": "fs-loop-ds",
    "jamendo-tags": "rosamerica",
}
PUBLISHED = pytest.mark.parametrize("adapter", ADAPTERS)


def test_there_are_the_tasks_of_the_paper_and_no_others() -> None:
    assert {path.stem for path in DATA.glob("*.yaml")} == {row.task for row in paper_tasks()}


@PAPER
def test_a_task_is_what_the_paper_says(row: PaperTask) -> None:
    task = registry.task(row.task)
    assert (task.name, task.group, tuple(task.classes)) == (row.task, row.group, row.classes)
    assert (task.size, task.unit) == (row.size, row.unit)


@PAPER
def test_a_task_says_where_it_comes_from_and_how_it_is_read(row: PaperTask) -> None:
    task = registry.task(row.task)
    assert task.source
    assert task.licence
    assert task.citation
    assert callable(registry.adapter(task.adapter))


@PAPER
def test_the_file_of_a_task_opens_with_its_purpose_and_a_command(row: PaperTask) -> None:
    text = (DATA / f"{row.task}.yaml").read_text(encoding="utf-8")
    opening, _, _ = text.partition("\nname:")
    assert all(line.startswith("#") for line in opening.splitlines())
    assert f"#   embedlib tasks info {row.task}" in opening.splitlines()
    assert max(map(len, text.splitlines())) <= 100


@PAPER
def test_what_stands_for_a_class_is_a_tag_that_exists_and_stands_for_no_other(
    row: PaperTask,
) -> None:
    external = registry.task(row.task).external
    tags = [tag for tags in external.classes.values() for tag in tags] if external else []
    assert set(tags) <= TAGS
    assert len(tags) == len(set(tags))


@PAPER
def test_external_tags_are_there_for_all_but_the_tasks_without_an_opposite(row: PaperTask) -> None:
    task = registry.task(row.task)
    if row.task in ("gender", "tonal_atonal", "urbansound8k", "fs-loop-ds"):
        assert task.external is None
        return
    assert task.external is not None
    assert "ours" in task.external.note
    missing = set(task.classes) - set(task.external.classes)
    assert missing == ({"speech"} if row.task == "rosamerica" else set())


@PAPER
def test_a_task_of_a_set_that_nobody_can_get_is_unverified(row: PaperTask) -> None:
    task = registry.task(row.task)
    if task.adapter == "manifest":
        assert task.verified == ""


@pytest.mark.parametrize("name", ["gtzan", "urbansound8k"])
def test_the_loader_of_a_task_is_one_of_mirdata_or_soundata(name: str) -> None:
    package, _, loader = registry.task(name).options["loader"].partition(":")
    assert loader in pytest.importorskip(package).list_datasets()


@pytest.fixture
def folder(adapter: str, tmp_path: Path) -> Path:
    """Lay out a few tracks as a data set is published."""
    match adapter:
        case "gtzan":
            files = ["genres/rock/rock.00001.wav", "genres/blues/blues.00002.wav"]
        case "dortmund":
            files = ["rock/B-x.mp3", "blues/A-y.mp3"]
        case "urbansound8k":
            (tmp_path / "metadata").mkdir()
            shutil.copy(GOLDEN / "UrbanSound8K.csv", tmp_path / "metadata")
            files = []
        case "fs-loop-ds":
            ticks = dict.fromkeys(["percussion", "bass", "chords", "melody", "fx"], False)
            answers = {"instrumentation": ticks | {"vocal": True}, "discard": False}
            for sound in (12, 3):
                (tmp_path / "annotations" / "a").mkdir(parents=True, exist_ok=True)
                file = tmp_path / "annotations" / "a" / f"sound-{sound}.json"
                file.write_text(json.dumps(answers))
            files = []
        case _:
            shutil.copy(GOLDEN / "jamendo.tsv", tmp_path / "autotagging.tsv")
            files = []
    for name in files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def read(adapter: str, root: Path | None) -> LabelSet:
    task = registry.task(ADAPTERS[adapter])
    return registry.adapter(adapter)(LabelRequest(task, root))


@PUBLISHED
def test_labels_are_classes_and_stand_by_name_each_once(adapter: str, folder: Path) -> None:
    labels = read(adapter, folder)
    names = [track.name for track in labels.tracks]
    assert len(names) >= 2
    assert names == sorted(set(names))
    assert {track.label for track in labels.tracks} <= set(registry.task(ADAPTERS[adapter]).classes)


@PUBLISHED
def test_what_happened_on_the_way_is_counted(adapter: str, folder: Path) -> None:
    counts = read(adapter, folder).counts
    assert counts
    assert all(n >= 0 for _, n in counts)
    assert len(dict(counts)) == len(counts)


@PUBLISHED
@pytest.mark.parametrize("what", ["empty", "missing", "other", "none"])
def test_a_folder_without_the_data_set_gives_one_line(
    adapter: str, what: str, tmp_path: Path
) -> None:
    root = {"missing": tmp_path / "nowhere", "none": None}.get(what, tmp_path)
    if what == "other":
        (tmp_path / "metadata").mkdir()
        for name in ("autotagging.tsv", "metadata/UrbanSound8K.csv", "song.wav"):
            (tmp_path / name).write_text("x,y\n1,2\n")
    with pytest.raises((CatalogError, ConfigError)) as caught:
        read(adapter, root)
    assert "\n" not in str(caught.value)
    assert caught.value.fix
