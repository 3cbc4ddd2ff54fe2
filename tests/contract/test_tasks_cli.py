"""The verbs of `embedlib tasks`: an answer on stdout, a code that says whether all is well."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

import embedlib
from embedlib.audio.encode import write_audio
from embedlib.audio.synth import synthesise_music
from embedlib.cli.tasks import app
from embedlib.errors import ConfigError, EmbedlibError
from embedlib.tasks.duplicates import NEAR
from embedlib.tasks.registry import task_names

MODEL = "untrained-msd-musicnn-1"
SR_HZ = 16_000

Answer = tuple[int, str, str]
Ask = Callable[..., Answer]


@pytest.fixture
def ask() -> Ask:
    """Run a verb; its exit code, stdout and stderr."""

    def run(*arguments: object) -> Answer:
        done: Result = CliRunner().invoke(app, [str(argument) for argument in arguments])
        if isinstance(done.exception, EmbedlibError):
            raise done.exception
        return done.exit_code, done.stdout, done.stderr

    return run


@pytest.fixture(scope="module")
def songs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two songs a label, told by their names; one of the slow ones is a copy of a fast one."""
    folder = tmp_path_factory.mktemp("tasks") / "songs"
    folder.mkdir()
    for seed, name in enumerate(["fast_1", "fast_2", "slow_1"]):
        samples = synthesise_music(4.0, sr_hz=SR_HZ, seed=seed)
        write_audio(folder / f"{name}.wav", samples, sr_hz=SR_HZ)
    (folder / "slow_2.wav").write_bytes((folder / "fast_1.wav").read_bytes())
    return folder


@pytest.fixture(scope="module")
def out(songs: Path) -> Path:
    out = songs.parent / "out"
    embedlib.extract([str(songs)], models=[MODEL], out=out, local=True)
    return out


@pytest.fixture(scope="module")
def own(songs: Path) -> Path:
    """The file of a task of one's own."""
    path = songs.parent / "tempo.yaml"
    path.write_text(
        "name: tempo\nclasses: [fast, slow]\nadapter: by-name\nsize: 5\ngroups: artist\n"
        "options: {pattern: '^([a-z]+)_'}\n"
    )
    return path


def test_the_list_names_every_task(ask: Ask) -> None:
    code, stdout, stderr = ask("list")
    assert (code, stderr) == (0, "")
    header, *lines = stdout.splitlines()
    assert header.split() == ["task", "group", "classes", "size", "adapter", "layout", "JD"]
    assert [line.split()[0] for line in lines] == list(task_names())
    assert all(("verified" in line) and line.split()[-1] in {"yes", "no"} for line in lines)


def test_the_list_as_one_object(ask: Ask) -> None:
    code, stdout, _ = ask("list", "--json")
    tasks: list[dict[str, Any]] = json.loads(stdout)["tasks"]
    (gtzan,) = (one for one in tasks if one["name"] == "gtzan")
    assert code == 0
    assert (gtzan["group"], gtzan["size"], len(gtzan["classes"])) == ("genre", 1000, 10)
    assert gtzan.keys() >= {"unit", "adapter", "is_verified", "has_external"}


@pytest.mark.parametrize("name", task_names())
def test_what_is_known_of_a_task_can_be_shown(name: str, ask: Ask) -> None:
    code, stdout, stderr = ask("info", name)
    assert (code, stderr) == (0, "")
    facts = {line.split(maxsplit=1)[0] for line in stdout.splitlines()}
    assert facts >= {"name", "classes", "source", "licence", "citation", "filters", "external"}


def test_the_mapping_of_external_tags_is_shown_class_by_class(ask: Ask) -> None:
    lines = [line.strip() for line in ask("info", "gtzan")[1].splitlines()]
    assert "metal = genre---metal | genre---heavymetal" in lines


def test_a_task_of_ones_own_as_one_object(own: Path, ask: Ask) -> None:
    code, stdout, _ = ask("info", own, "--json")
    found = json.loads(stdout)
    assert code == 0
    assert (found["name"], found["classes"], found["external"]) == ("tempo", ["fast", "slow"], None)


def test_a_copy_in_another_class_is_a_problem(own: Path, songs: Path, out: Path, ask: Ask) -> None:
    code, stdout, stderr = ask("check", own, "--root", songs, "--out", out)
    assert code == 1
    assert stdout.splitlines() == [
        "tempo: 4 labelled tracks, no groups",
        "  fast 2, slow 2",
        "twice (training, same content): fast_1.wav = slow_2.wav",
        "problem: recordings that are there twice, and may be in two folds: 1",
        "1 problem",
    ]
    assert stderr.splitlines() == [
        "note: 4 labelled tracks, the paper counts 5 excerpts",
        "note: tracks of one artist may be in two folds: the labels have no groups",
    ]


def test_a_check_as_one_object(own: Path, out: Path, ask: Ask) -> None:
    code, stdout, stderr = ask("check", own, "--out", out, "--json")
    found = json.loads(stdout)
    assert (code, stderr) == (1, "")
    assert (found["task"], found["model"], found["n_duplicates"]) == ("tempo", MODEL, 1)
    assert found["training"]["classes"] == [["fast", 2], ["slow", 2]]
    assert found["duplicates"][0]["found_by"] == "content"
    assert (len(found["problems"]), len(found["notes"])) == (1, 2)


def test_a_copy_in_the_external_set_is_a_problem(
    own: Path, out: Path, ask: Ask, tmp_path: Path
) -> None:
    labels = tmp_path / "jd.csv"
    labels.write_text("track_id,label\nslow_2.wav,slow\n")
    code, stdout, stderr = ask("check", own, "--out", out, "--external", labels)
    assert code == 1
    assert "external tempo: 1 labelled tracks, no groups" in stdout
    assert "twice (training and external, same content): fast_1.wav = slow_2.wav" in stdout
    assert "external: no track has the class fast" in stderr


def test_only_some_pairs_are_printed(own: Path, out: Path, ask: Ask, monkeypatch: Any) -> None:
    monkeypatch.setattr("embedlib.cli.tasks.SHOWN", 1)
    code, stdout, _ = ask("check", own, "--out", out, "--near", "0.001")
    assert code == 1
    assert stdout.count("twice (") == 1
    assert "more pairs; --json has them" in stdout


def test_labels_without_fault_end_with_0(own: Path, songs: Path, ask: Ask) -> None:
    code, stdout, _ = ask("check", own, "--root", songs)
    assert (code, stdout.splitlines()[-1]) == (0, "clean")


def test_the_help_names_the_cosine_that_is_taken() -> None:
    assert f"({NEAR})" in " ".join(CliRunner().invoke(app, ["check", "--help"]).stdout.split())


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("info", "gtsan"), "unknown task 'gtsan'; did you mean gtzan"),
        (("info", "none.yaml"), "cannot read none.yaml"),
        (("check", "gtzan"), "nothing to check; give a folder"),
        (("check", "happy", "--root", "nowhere"), "nowhere is no label manifest"),
    ],
)
def test_wrong_usage_is_refused_in_one_line(
    arguments: tuple[str, ...], problem: str, ask: Ask
) -> None:
    with pytest.raises(ConfigError, match=problem) as caught:
        ask(*arguments)
    assert "\n" not in str(caught.value)
