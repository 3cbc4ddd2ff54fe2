"""What a patch's embedding may depend on, which is its own samples and nothing else."""

from __future__ import annotations

import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import embedlib
from embedlib.audio.encode import write_audio
from embedlib.audio.synth import synthesise_music
from embedlib.errors import (
    ConfigError,
    EmptyAudioError,
    MissingAudioError,
    NonfiniteError,
    TooLongAudioError,
    TooShortAudioError,
    UndecodableAudioError,
)

SR_HZ = 44_100

Extract = Callable[..., Path]


@pytest.fixture(scope="module", autouse=True)
def _found_weights(environment: dict[str, str]) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EMBEDLIB_CACHE", environment["EMBEDLIB_CACHE"])
        if "EMBEDLIB_MODELS" in environment:
            patch.setenv("EMBEDLIB_MODELS", environment["EMBEDLIB_MODELS"])
        yield


@pytest.fixture(scope="module")
def songs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nine songs of different lengths, as 32-bit floats so that a file holds what was made."""
    folder = tmp_path_factory.mktemp("songs")
    for number, duration_s in enumerate((1.0, 3.1, 4.0, 5.5, 7.0, 8.0, 9.5, 11.0, 20.0)):
        music = synthesise_music(duration_s, sr_hz=SR_HZ, seed=number, style="chords")
        write_audio(folder / f"{number}.wav", music, sr_hz=SR_HZ, codec="pcm_f32le")
    return folder


@pytest.fixture(scope="module")
def extract(songs: Path, model: str, tmp_path_factory: pytest.TempPathFactory) -> Extract:
    def run(**options: object) -> Path:
        out = tmp_path_factory.mktemp("values") / "out"
        embedlib.extract([str(songs)], models=[model], out=out, local=True, **options)
        return out

    return run


@pytest.fixture(scope="module")
def extracted(extract: Extract) -> Path:
    return extract()


def samples_of(number: int, *, duration_s: float) -> np.ndarray:
    blocks = synthesise_music(duration_s, sr_hz=SR_HZ, seed=number, style="chords")
    return np.concatenate(list(blocks), axis=1)


def table_of(out: Path, model: str) -> dict[str, np.ndarray]:
    rows = embedlib.open(out).tracks(model).to_arrow(["track_id", "patch_embeddings"]).to_pylist()
    return {row["track_id"]: np.array(row["patch_embeddings"], np.float32) for row in rows}


@pytest.mark.parametrize("shard_hours", [0.0001, 10.0], ids=["a track each", "all in one"])
def test_embeddings_do_not_depend_on_the_size_of_shards(
    extract: Extract, extracted: Path, model: str, shard_hours: float
) -> None:
    found = embedlib.diff(extract(shard_hours=shard_hours), extracted)
    columns = {difference.column for difference in found.differences}
    assert columns <= {"shard_id"}
    assert found.exact == (model,)


def test_embeddings_do_not_depend_on_the_byte_budget(extract: Extract, extracted: Path) -> None:
    assert embedlib.diff(extract(budget_mb=4), extracted).differences == ()


@pytest.mark.parametrize("number", [0, 4, 8])
def test_embed_gives_the_bits_of_the_table(
    songs: Path, extracted: Path, model: str, number: int
) -> None:
    y = embedlib.embed(songs / f"{number}.wav", model=model)
    assert y.dtype == np.float32
    assert np.array_equal(y, table_of(extracted, model)[f"{number}.wav"])


def test_an_array_gives_what_a_file_of_its_samples_gives(songs: Path, model: str) -> None:
    array = embedlib.embed(samples_of(7, duration_s=11.0), sr=SR_HZ, model=model)
    assert np.array_equal(array, embedlib.embed(str(songs / "7.wav"), model=model))


def test_mono_samples_may_come_without_an_axis_of_channels(model: str) -> None:
    y = samples_of(1, duration_s=4.0)[0]
    one, two = (embedlib.embed(each, sr=SR_HZ, model=model) for each in (y, y[np.newaxis]))
    assert np.array_equal(one, two)


def test_options_of_a_run_hold_for_one_file_as_well(songs: Path, model: str) -> None:
    dense = embedlib.embed(songs / "8.wav", model=model, patch_hop_frames=31)
    sparse = embedlib.embed(songs / "8.wav", model=model, patch_hop_frames=93)
    assert np.array_equal(dense[::3][: len(sparse)], sparse)


@pytest.mark.parametrize(
    ("samples", "options", "error"),
    [
        (np.zeros((1, 0), np.float32), {}, EmptyAudioError),
        (np.array([0.0, np.nan], np.float32), {}, NonfiniteError),
        (np.zeros(100, np.float32), {"last_patch": "discard"}, TooShortAudioError),
        (np.zeros((44_100, 2), np.float32), {}, ConfigError),
        (np.zeros((2, 2, 2), np.float32), {}, ConfigError),
        (np.zeros(100, np.int16), {}, ConfigError),
    ],
    ids=["empty", "nan", "short", "axes the wrong way round", "three axes", "integers"],
)
def test_samples_that_give_nothing_raise_an_error_that_says_so(
    samples: np.ndarray, options: dict[str, Any], error: type[Exception], model: str
) -> None:
    with pytest.raises(error):
        embedlib.embed(samples, sr=SR_HZ, model=model, **options)


@pytest.fixture(scope="module")
def bad_files(songs: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("bad")
    (folder / "text.mp3").write_text("This is not music.")
    with wave.open(str(folder / "empty.wav"), "wb") as header_only:
        header_only.setparams((1, 2, SR_HZ, 0, "NONE", ""))
    names = ("text.mp3", "empty.wav", "gone.wav")
    return {name: folder / name for name in names} | {path.name: path for path in songs.iterdir()}


@pytest.mark.parametrize(
    ("name", "options", "error"),
    [
        ("text.mp3", {}, UndecodableAudioError),
        ("empty.wav", {}, EmptyAudioError),
        ("gone.wav", {}, MissingAudioError),
        ("0.wav", {"last_patch": "discard"}, TooShortAudioError),
        ("8.wav", {"max_duration_s": 10.0}, TooLongAudioError),
    ],
)
def test_a_file_that_gives_nothing_raises_an_error_that_names_it(
    bad_files: dict[str, Path],
    name: str,
    options: dict[str, Any],
    error: type[Exception],
    model: str,
) -> None:
    with pytest.raises(error, match=name):
        embedlib.embed(bad_files[name], model=model, **options)


def test_a_rate_belongs_to_samples_and_not_to_files(songs: Path, model: str) -> None:
    with pytest.raises(ConfigError, match="sr=None"):
        embedlib.embed(np.zeros(100, np.float32), model=model)
    with pytest.raises(ConfigError, match="sr=44100 is given with a file"):
        embedlib.embed(songs / "0.wav", sr=44_100, model=model)


def test_an_option_of_whole_runs_is_refused_for_one_file(songs: Path, model: str) -> None:
    with pytest.raises(ConfigError, match="unknown option 'shard_hours'; the options are weights,"):
        embedlib.embed(songs / "0.wav", model=model, shard_hours=1.0)


def test_the_same_run_twice_in_one_process_gives_the_same_bits(
    extract: Extract, extracted: Path
) -> None:
    assert embedlib.diff(extract(), extracted).differences == ()


@pytest.mark.parametrize("name", ["sources", "models"])
def test_one_text_where_a_list_belongs_is_refused(
    songs: Path, model: str, tmp_path: Path, name: str
) -> None:
    given: dict[str, Any] = {"sources": [str(songs)], "models": [model]}
    given[name] = given[name][0]
    with pytest.raises(ConfigError, match=f"{name}=.* is wrong; input should be a valid list"):
        embedlib.extract(**given, out=tmp_path / "out", local=True)
