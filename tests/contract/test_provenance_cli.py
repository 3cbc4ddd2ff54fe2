"""`embedlib provenance` and `embedlib repro` after a real run: sections, one object, exit codes."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

import embedlib
from embedlib.audio.encode import write_audio
from embedlib.audio.synth import synthesise_music
from embedlib.cli.provenance import provenance
from embedlib.cli.repro import repro
from embedlib.errors import ChangedAudioError, OutputError

MODEL = "untrained-msd-musicnn-1"
SR_HZ = 16_000

app = typer.Typer()
app.command()(provenance)
app.command()(repro)


@pytest.fixture(scope="module")
def songs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("songs")
    write_audio(folder / "a.wav", synthesise_music(5.0, sr_hz=SR_HZ), sr_hz=SR_HZ)
    (folder / "z.mp3").write_text("This is not music.")
    return folder


@pytest.fixture(scope="module")
def out(songs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("provenance") / "out"
    options = {"local": True, "outputs": ["activations"], "patch_hop_frames": 31}
    embedlib.extract([str(songs)], models=[MODEL], out=out, **options)
    return out


def printed(*arguments: object, exit_code: int = 0) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == exit_code
    return result.stdout


def sections(text: str) -> dict[str, dict[str, str]]:
    """The facts of each section, by its title."""
    found: dict[str, dict[str, str]] = {}
    for block in text.strip().split("\n\n"):
        title, *lines = block.splitlines()
        pairs = (re.split(r"  +", line.strip(), maxsplit=1) for line in lines)
        found[title] = {pair[0]: pair[-1] for pair in pairs}
    return found


def test_the_provenance_of_a_table_is_told_in_sections(out: Path) -> None:
    found = sections(printed("provenance", out, MODEL))
    assert list(found) == [
        *("table", "graph", "audio", "patches", "further columns", "weights"),
        *("made by, all rows", "rows", "runs"),
    ]
    assert found["graph"]["node"] == "model/dense/BiasAdd"
    assert found["audio"]["parameters"].startswith("sr_hz: 16000, n_channels: 1, n_bands: 96")
    assert found["patches"]["hop"] == "31 frames, 0.496 s"
    assert found["further columns"]["activations"].startswith("50 values of model/Sigmoid")
    assert found["made by, all rows"]["engine"] == "openvino"


def test_the_provenance_of_a_row_is_told_in_sections(out: Path, songs: Path) -> None:
    found = sections(printed("provenance", out, MODEL, "a.wav"))
    assert list(found)[-4:] == ["track", "part", "made by", "run"]
    assert found["track"]["uri"] == str(songs / "a.wav")
    assert found["track"]["content_hash"].startswith("sha256:")
    assert found["track"]["listed"] == "as this version"
    assert found["part"]["table version"] == "1"
    assert "patch_hop_frames: 31" in found["run"]["options"]
    assert "budget_mb" not in found["run"]["options"]


def test_a_failed_row_has_a_provenance_too(out: Path) -> None:
    found = sections(printed("provenance", out, MODEL, "z.mp3"))
    assert found["track"]["status"] == "undecodable"


def test_provenance_is_one_object(out: Path) -> None:
    table = json.loads(printed("provenance", out, MODEL, "--json"))
    assert table["makers"][0]["n_rows"] == 2
    assert table["runs"][0]["config"]["patch_hop_frames"] == 31
    row = json.loads(printed("provenance", out, MODEL, "a.wav", "--json"))
    assert row["maker"]["run_id"] == table["runs"][0]["run_id"] == row["run"]["run_id"]
    assert row["table"]["manifest"]["columns"][0]["name"] == "activations"


def test_a_state_is_named_as_everywhere(out: Path) -> None:
    found = sections(printed("provenance", f"{out}@1", MODEL))
    assert found["table"]["state"] == "1"


def test_a_row_made_again_is_told_in_lines_and_ends_with_0(out: Path, songs: Path) -> None:
    first, second, *columns = printed("repro", out, MODEL, "a.wav").splitlines()
    assert first == f"{MODEL} a.wav: bit-equal"
    assert second == f"made again from {songs / 'a.wav'}"
    assert columns[:2] == [
        "  embedding: 1 vector, bit-equal",
        "  patch_embeddings: 5 vectors, bit-equal",
    ]


def test_a_failure_made_again_ends_with_0(out: Path) -> None:
    assert printed("repro", out, MODEL, "z.mp3").startswith(f"{MODEL} z.mp3: undecodable again\n")


def test_another_engine_is_told_with_its_bound(out: Path) -> None:
    pytest.importorskip("onnxruntime")
    stdout = printed("repro", out, MODEL, "a.wav", "--engine", "onnxruntime")
    bound = r"equal within \d\.?\d*e-\d+ \(bound 1e-5 of openvino and onnxruntime\)"
    assert re.search(bound, stdout.splitlines()[0])
    assert re.search(r"  patch_embeddings: 5 vectors, .*worst in patch \d at \d\.\d+ s", stdout)
    assert "not as then: engine onnxruntime, made with openvino" in stdout


def test_a_different_row_ends_with_1(out: Path, songs: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.wav"
    write_audio(other, synthesise_music(5.0, sr_hz=SR_HZ, seed=3), sr_hz=SR_HZ)
    line = ("repro", out, MODEL, "a.wav", "--source", other)
    with pytest.raises(ChangedAudioError, match="--accept-changed"):
        printed(*line)
    stdout = printed(*line, "--accept-changed", exit_code=1)
    assert re.match(rf"{MODEL} a\.wav: different by .* \(bound 1e-5\)\n", stdout)
    assert re.search(r"  content_hash: sha256:\w+ then, sha256:\w+ now", stdout)


def test_repro_is_one_object(out: Path) -> None:
    found = json.loads(printed("repro", out, MODEL, "a.wav", "--json"))
    assert (found["verdict"], found["is_reproduced"], found["distance"]) == ("bit-equal", True, 0.0)
    assert found["bound"] == {"relative_l2": 1e-5, "is_of_all": False}
    assert [each["column"] for each in found["match"]["vectors"]][-1] == "patch_activations"


@pytest.mark.parametrize("verb", ["provenance", "repro"])
def test_names_that_there_are_not_are_one_error_with_those_near_to_them(
    out: Path, verb: str
) -> None:
    with pytest.raises(OutputError, match=r"no row of the track 'a\.wave'.*'a\.wav'"):
        printed(verb, out, MODEL, "a.wave")
    with pytest.raises(OutputError, match=f"no table of 'musicnn'; it holds {MODEL}"):
        printed(verb, out, "musicnn", "a.wav")


def test_a_row_whose_run_is_gone_says_so(out: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(out, tmp_path / "copy"))
    shutil.rmtree(copy / "runs")
    found = sections(printed("provenance", copy, MODEL, "a.wav"))
    assert (found["run"]["options"], found["run"]["summary"]) == ("-", "-")
