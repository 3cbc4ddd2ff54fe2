"""What goes wrong is one line on stderr with the way out, an exit code, and nothing on stdout."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from embedlib.audio.encode import write_audio
from embedlib.cli.app import main

MODEL = "untrained-msd-musicnn-1"
TWIN = "msd-musicnn-1:patch_hop_frames=187"
"""Takes the table of `MODEL` where weights are missing and stand-ins are allowed."""
OPENL3 = "untrained-openl3-music-mel128-emb512-3"
SR_HZ = 16_000

Failing = Callable[..., str]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def _environment(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user without weights, in a folder with one audio file."""
    monkeypatch.setenv("EMBEDLIB_CACHE", str(cache))
    monkeypatch.delenv("EMBEDLIB_MODELS", raising=False)
    monkeypatch.chdir(tmp_path)
    write_audio(Path("a.wav"), np.zeros((1, SR_HZ), np.float32), sr_hz=SR_HZ)


@pytest.fixture
def exit_code_of(monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Run the command in this process."""

    def run(*arguments: object) -> int:
        monkeypatch.setattr(sys, "argv", ["embedlib", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        return int(ended.value.code or 0)

    return run


@pytest.fixture
def failing(exit_code_of: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> Failing:
    """Run a command that must fail with an exit code; its one line."""

    def run(*arguments: object, exit_code: int) -> str:
        capsys.readouterr()
        assert exit_code_of(*arguments) == exit_code
        stdout, stderr = capsys.readouterr()
        assert stdout == ""
        (line,) = stderr.splitlines()
        assert line.startswith("error: ")
        assert "; " in line, "the way out is missing"
        return line

    return run


@pytest.fixture
def done(exit_code_of: Callable[..., int]) -> Path:
    """A finished output of the folder."""
    assert exit_code_of("extract", "a.wav", "--models", MODEL, "--out", "out", "--local", "-q") == 0
    return Path("out")


@pytest.mark.parametrize(
    ("arguments", "exit_code", "words"),
    [
        (["gone.csv"], 1, ["gone.csv"]),
        (["gone/"], 1, ["gone"]),
        (["b*.wav"], 1, ["b*.wav"]),
        (["a.wav", "--models", "msd-musicn-1"], 2, ["msd-musicn-1", "msd-musicnn-1"]),
        (["a.wav", "--models", "msd-musicnn-1"], 1, ["models pull", "models build"]),
        (["a.wav", "--weights", "gone.pb", "--models", "msd-musicnn-1"], 1, ["gone.pb"]),
        (["a.wav", "--weights", "a.wav", "--models", "msd-musicnn-1"], 1, ["a.wav"]),
        (["a.wav", "--engine", "torch"], 2, ["engine='torch'", "'openvino'"]),
        (["a.wav", "--precision", "f16"], 2, ["precision='f16'", "'bf16'"]),
        (["a.wav", "--patch-hop-frames", "0"], 2, ["patch_hop_frames=0"]),
        (["a.wav", "--patch-hop-frames", "188"], 2, ["188", "187"]),
        (["a.wav", "--shard-hours", "-1"], 2, ["shard_hours=-1"]),
        (["a.wav", "--node", "model/gone"], 2, ["model/gone", "models nodes"]),
        (["a.wav", "--config", "gone.yaml"], 2, ["gone.yaml"]),
        (["a.wav", "--out", "a.wav"], 1, ["a.wav"]),
        (["a.wav", "--out", "a.wav/out"], 1, ["a.wav"]),
        (["a.wav", "--out", "ftp://host/out"], 2, ["ftp://", "give a folder"]),
        (["a.wav", "--models", MODEL, "msd-vgg-1", "--node", "n"], 2, ["--node", "one model"]),
        (["a.wav", "--models", "all"], 1, ["msd-vgg-1", "models build", "--allow-untrained"]),
        (["a.wav", "--models", f"{MODEL}:hop=93"], 2, ["'hop=93'", "patch_hop_frames"]),
        (["a.wav", "--models", f"{MODEL}:as=../up"], 2, ["../up'", "name a model table"]),
        (["a.wav", "--models", "msd-vgg-1:as=untrained-x"], 2, ["'untrained-x'", "random weights"]),
        (["a.wav", "--models", f"{MODEL}:patch_hop_frames=0"], 2, ["patch_hop_frames=0"]),
        (["a.wav", "--models", MODEL, f"{MODEL}:precision=bf16"], 2, [MODEL, ":as="]),
        (["a.wav", "--models", MODEL, TWIN, "--allow-untrained"], 2, [MODEL, ":as="]),
        (["a.wav", "--models", MODEL, OPENL3, "--patch-hop-frames", "9"], 2, ["mono-48k"]),
        (["a.wav", "--models", OPENL3, "--decoder", "essentia"], 2, ["soxr-hq", "essentia-q0"]),
        (["a.wav", "--models", "discogs-effnet-bs64-1", "--allow-untrained"], 1, ["models pull"]),
        (["a.wav", "--models", TWIN, "--weights", "gone.pb", "--allow-untrained"], 1, ["gone.pb"]),
        (["a.wav", "--outputs", "loudness"], 2, ["'loudness'", "activations"]),
        (["a.wav", "--outputs", "model/Pad"], 2, ["model/Pad", "one vector per patch"]),
        (["a.wav", "--models", OPENL3, "--outputs", "activations"], 2, ["'activations'"]),
        (["a.wav", "--heads", "mood_sad-msd-musicnn-1"], 1, ["models pull mood_sad-msd-musicnn-1"]),
        (["a.wav", "--heads", "mine"], 1, ["mine.json", "EMBEDLIB_MODELS"]),
        (["a.wav", "--heads", "../mine"], 2, ["'../mine'"]),
        (["a.wav", "--preset", "gone"], 2, ["'gone'", "lbd2020"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_wrong_extract_is_one_line_with_the_way_out(
    arguments: list[str], exit_code: int, words: list[str], failing: Failing
) -> None:
    given = ["extract", *arguments, "--local"]
    if "--models" not in arguments:
        given += ["--models", MODEL]
    if "--out" not in arguments:
        given += ["--out", "out"]
    line = failing(*given, exit_code=exit_code)
    assert all(word in line for word in words), line


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("models: [m]\nhop: 93\n", ["unknown key 'hop'", "patch_hop_frames"]),
        ("models: msd-musicnn-1\n", ["models='msd-musicnn-1'", "list"]),
        ("models: [m]\npatch_hop_frames: many\n", ["patch_hop_frames='many'", "integer"]),
        ("- a\n- list\n", ["holds no keys"]),
        ("models: [\n", ["is not YAML"]),
        ("models: !!python/object/apply:os.system ['true']\n", ["is not YAML"]),
    ],
    ids=["unknown key", "text for a list", "text for a number", "a list", "no YAML", "code"],
)
def test_a_wrong_configuration_is_one_line_that_names_the_file(
    text: str, words: list[str], failing: Failing
) -> None:
    Path("run.yaml").write_text(text)
    line = failing("extract", "a.wav", "--config", "run.yaml", "--out", "out", exit_code=2)
    assert all(word in line for word in ["run.yaml", *words]), line


@pytest.mark.parametrize("missing", ["sources", "models", "out"])
def test_what_is_missing_on_the_command_line_is_named(missing: str, failing: Failing) -> None:
    given = {"sources": ["a.wav"], "models": ["--models", MODEL], "out": ["--out", "out"]}
    del given[missing]
    line = failing("extract", *(word for words in given.values() for word in words), exit_code=2)
    assert repr(missing) in line


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--patch-hop-frames", "31"], ["patch_hop_frames=93 (now 31)"]),
        (["--last-patch", "repeat"], ["last_patch='tile-short' (now 'repeat')"]),
        (["--precision", "bf16"], ["precision='f32' (now 'bf16')"]),
    ],
    ids=["hop", "last patch", "precision"],
)
def test_other_parameters_for_an_output_are_refused_by_name(
    options: list[str], words: list[str], done: Path, failing: Failing
) -> None:
    before = sorted(done.rglob("*"))
    given = ["extract", "a.wav", "--models", MODEL, "--out", done, "--local", *options]
    line = failing(*given, exit_code=1)
    assert all(word in line for word in words), line
    assert sorted(done.rglob("*")) == before


def test_other_sources_for_an_output_are_refused(done: Path, failing: Failing) -> None:
    shutil.copy("a.wav", "b.wav")
    line = failing("extract", "b.wav", "--models", MODEL, "--out", done, "--local", exit_code=2)
    assert "b.wav" in line


@pytest.mark.parametrize(
    "verb",
    [f"extract a.wav --models {MODEL} --local --out", "verify", "diff out"],
    ids=["extract", "verify", "diff"],
)
def test_a_damaged_manifest_of_a_table_is_refused(verb: str, done: Path, failing: Failing) -> None:
    (done / MODEL / "model.json").write_text("{")
    assert "model.json is damaged" in failing(*verb.split(), done, exit_code=1)


@pytest.mark.parametrize("folder", ["gone", "empty", "a.wav"])
@pytest.mark.parametrize(
    "verb", ["status {0}", "verify {0}", "failures {0}", "diff {0} {0}", "files {0} m"]
)
def test_what_is_no_output_is_refused_by_every_reading_verb(
    verb: str, folder: str, failing: Failing
) -> None:
    Path("empty").mkdir()
    assert folder in failing(*verb.format(folder).split(), exit_code=1)


def test_a_model_that_an_output_has_not_is_refused(done: Path, failing: Failing) -> None:
    line = failing("failures", done, "--model", "msd-vgg-1", exit_code=1)
    assert "msd-vgg-1" in line
    assert MODEL in line
