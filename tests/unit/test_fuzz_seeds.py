"""What the fuzz is made of: recipes, their bytes, and those that found something."""

from __future__ import annotations

import doctest
import importlib
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from types import ModuleType
from typing import Any

import psutil
import pytest

from embedlib.audio.waveform import AudioStream, as_failure
from embedlib.errors import AudioError
from embedlib.records import KEPT, DecodedTrack, Signal, Track

ROOT = Path(__file__).parents[2]
FINDS = json.loads((ROOT / "tests" / "golden" / "fuzz" / "finds.json").read_text())
CONTENTS = {"a.wav": bytes(range(10)), "b.ogg": b"donor"}


@pytest.fixture(scope="module", autouse=True)
def jobs() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "jobs"))
        yield


@pytest.fixture(scope="module")
def files(jobs: None) -> ModuleType:
    return importlib.import_module("fuzz_files")


@pytest.fixture(scope="module")
def sounds(files: ModuleType) -> dict[str, bytes]:
    contents: dict[str, bytes] = files.sound_files()
    return contents


def decode(path: Path) -> DecodedTrack:
    stream = AudioStream(Track("t", str(path), -1, ""), signals=[Signal(16_000), Signal(8_000, 2)])
    try:
        with stream:
            for _ in stream:
                pass
    except AudioError as exc:
        return as_failure(stream.decoded(0), exc)
    return stream.decoded(0)


def test_examples_in_docstrings_hold(files: ModuleType) -> None:
    found = doctest.testmod(files)
    assert (found.failed, found.attempted > 0) == (0, True)


@pytest.mark.parametrize("find", FINDS, ids=[find["found"] for find in FINDS])
def test_what_found_something_ends_as_it_should(
    files: ModuleType, sounds: dict[str, bytes], tmp_path: Path, find: dict[str, Any]
) -> None:
    recipe = files.Recipe(**find["recipe"])
    path = tmp_path / f"damaged.{recipe.format}"
    path.write_bytes(files.mutate(recipe, sounds))
    assert decode(path).status in find["statuses"]


def test_sounds_are_whole_before_they_are_damaged(
    files: ModuleType, sounds: dict[str, bytes], tmp_path: Path
) -> None:
    for name, content in sounds.items():
        (tmp_path / name).write_bytes(content)
        decoded = decode(tmp_path / name)
        assert (name, decoded.status, decoded.error) == (name, "ok", "")
        assert decoded.duration_s == pytest.approx(files.SOUNDS[name].duration_s, abs=0.15)


def test_the_same_sounds_are_the_same_bytes(files: ModuleType, sounds: dict[str, bytes]) -> None:
    assert files.sound_files() == sounds


@pytest.mark.parametrize(
    ("mutation", "numbers", "damaged"),
    [
        ("flip", (0, 15), bytes([1, 0x81, 2, 3, 4, 5, 6, 7, 8, 9])),
        ("head", (80,), bytes([1, 1, 2, 3, 4, 5, 6, 7, 8, 9])),
        ("cut", (3,), bytes([0, 1, 2])),
        ("cut", (10,), b""),
        ("lose", (2, 8), bytes([0, 1, 8, 9])),
        ("lose", (12, 8), bytes([0, 1, 8, 9])),
        ("fill", (8, 99, 255), bytes([0, 1, 2, 3, 4, 5, 6, 7, 255, 255])),
        ("splice", (2, 7), b"do" + bytes([7, 8, 9])),
        ("insert", (1, 6, 4), b"\0ono" + bytes(range(1, 10))),
    ],
)
def test_a_mutation_does_what_its_numbers_say(
    files: ModuleType, mutation: str, numbers: tuple[int, ...], damaged: bytes
) -> None:
    donor = "b.ogg" if mutation in files.FROM_DONORS else ""
    recipe = files.Recipe("a.wav", mutation, numbers, donor)
    assert files.mutate(recipe, CONTENTS) == damaged


def test_a_recipe_depends_on_its_seed_and_number_alone(
    files: ModuleType, sounds: dict[str, bytes]
) -> None:
    drawn = [files.draw_recipe(3, index, contents=sounds) for index in range(50)]
    again = [files.draw_recipe(3, index, contents=sounds) for index in reversed(range(50))]
    assert drawn == again[::-1]
    assert drawn != [files.draw_recipe(4, index, contents=sounds) for index in range(50)]
    assert [files.Recipe(**json.loads(json.dumps(asdict(each)))) for each in drawn] == drawn


def test_every_sound_meets_every_mutation(files: ModuleType, sounds: dict[str, bytes]) -> None:
    drawn = [files.draw_recipe(0, index, contents=sounds) for index in range(2_000)]
    met = Counter((recipe.sound, recipe.mutation) for recipe in drawn)
    assert len(met) == len(files.SOUNDS) * len(files.MUTATIONS)
    assert {recipe.is_mended for recipe in drawn if recipe.format == "opus"} == {True, False}


@pytest.mark.parametrize("name", ["stereo.ogg", "voice.opus"])
def test_checksums_of_whole_pages_are_right_as_they_are(
    files: ModuleType, sounds: dict[str, bytes], name: str
) -> None:
    assert files.mend_pages(sounds[name]) == sounds[name]


def test_a_mended_page_reaches_the_decoder(
    files: ModuleType, sounds: dict[str, bytes], tmp_path: Path
) -> None:
    bits = tuple(range(8 * 2_000, 8 * 9_000, 800))
    for is_mended in (False, True):
        recipe = files.Recipe("voice.opus", "flip", bits, is_mended=is_mended)
        (tmp_path / f"{is_mended}.opus").write_bytes(files.mutate(recipe, sounds))
    assert decode(tmp_path / "True.opus").status in KEPT
    assert (
        decode(tmp_path / "True.opus").duration_s > 2 * decode(tmp_path / "False.opus").duration_s
    )


@pytest.mark.parametrize(
    "content", [b"", b"OggS", b"OggS" * 20, b"\0" * 99 + b"OggS" + b"\xff" * 30]
)
def test_what_only_looks_like_pages_is_mended_as_far_as_it_goes(
    files: ModuleType, content: bytes
) -> None:
    assert len(files.mend_pages(content)) == len(content)


def test_workers_are_killed_one_by_one_as_parts_are_written(jobs: None, tmp_path: Path) -> None:
    run = importlib.import_module("fuzz_run")
    workers = [
        psutil.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) for _ in range(3)
    ]
    killer = run.Killer(tmp_path, seed=0)
    (tmp_path / "model").mkdir()
    killer.look(workers)
    assert killer.n_killed == 0
    for number in range(run.PARTS_BETWEEN_KILLS[1]):
        (tmp_path / "model" / f"part-{number}.parquet").touch()
    for _ in range(5):
        killer.look(workers)
    ended, alive = psutil.wait_procs(workers, timeout=1)
    for worker in workers:
        worker.stdin.close()
        worker.wait()
    assert (killer.n_killed, len(ended), len(alive)) == (1, 1, 2)
