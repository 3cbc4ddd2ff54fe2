"""The pages of the site as a reader follows them: each block in order, in an empty folder."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import embedlib
from embedlib.models.model_files import FILES_VARIABLE
from embedlib.probes.scores import read_scores
from embedlib.records import Float32
from embedlib.tasks.labels import LabelRequest
from embedlib.tasks.registry import adapter
from embedlib.tasks.registry import task as find_task

DOCS = Path(__file__).parents[2] / "docs"
PAGES = {path.relative_to(DOCS).as_posix(): path for path in sorted(DOCS.rglob("*.md"))}
MODEL, TASK = PAGES["how-to/add-a-model.md"], PAGES["how-to/add-a-task.md"]

BLOCK = re.compile(
    r"(?P<comment>^<!-- not run: [^>]+ -->\n)?^```(?P<language>\w+)\n(?P<code>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
FILE_NAME = re.compile(r"# (\w+\.(?:py|yaml))\n")
"""The first line of a block that a reader saves as a file."""

TOLD_TO_WRITE = ("demo", "part.npz", "part.json", "parts.csv")
"""What commands of the two pages write, beside the files of the reader."""

RUN = ("bash", "python", "yaml")
TIMEOUT_S = 200


@dataclass(frozen=True, slots=True)
class Block:
    """A block of code that is meant to be run.

    Attributes
    ----------
    language : str
        Of `RUN`.
    code : str
        As it stands there.
    n_lines_before : int
        So that a traceback points to the line of the page.
    """

    language: str
    code: str
    n_lines_before: int

    @property
    def file_name(self) -> str:
        """The name under which a reader saves it; empty where it is to be run."""
        found = FILE_NAME.match(self.code)
        return found[1] if found else ""


def blocks(page: Path) -> Iterator[Block]:
    text = page.read_text(encoding="utf-8")
    for found in BLOCK.finditer(text):
        if found["language"] in RUN and not found["comment"]:
            yield Block(found["language"], found["code"], text[: found.start("code")].count("\n"))


FOLLOWED = [name for name, page in PAGES.items() if any(blocks(page)) and page != TASK]


class Reader:
    """Who follows pages: a folder, what a shell remembers, and what Python remembers."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.folder, self._patch = folder, patch
        self.names: dict[str, Any] = {}
        self.touched: list[str] = []
        patch.chdir(folder)
        patch.setenv(
            "PATH", os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        )
        patch.delenv("EMBEDLIB_MODELS", raising=False)

    def save(self, page: Path) -> None:
        """Write the files that a page shows, and nothing else."""
        for block in filter(lambda block: block.file_name, blocks(page)):
            self._write(block)

    def follow(self, page: Path) -> None:
        """Do all that a page says."""
        for block in blocks(page):
            if block.file_name:
                self._write(block)
            elif block.language == "bash":
                self._shell(block.code)
            elif block.language == "python":
                exec(
                    compile("\n" * block.n_lines_before + block.code, str(page), "exec"), self.names
                )

    def export(self, name: str, value: str) -> None:
        self._patch.setenv(name, value)

    def _write(self, block: Block) -> None:
        (self.folder / block.file_name).write_text(block.code)
        self.touched.append(block.file_name)

    def _shell(self, code: str) -> None:
        """Run a block, and remember what it exports."""
        after = self.folder.parent / "environment"
        script = f"set -euo pipefail\n{code}\nenv -0 > {after}"
        done = subprocess.run(["bash", "-c", script], capture_output=True, timeout=TIMEOUT_S)
        assert done.returncode == 0, f"{code}\n{done.stderr.decode()}"
        for pair in filter(None, after.read_text().split("\0")):
            name, _, value = pair.partition("=")
            if name.startswith("EMBEDLIB_"):
                self.export(name, value)


@pytest.fixture
def reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Reader:
    folder = tmp_path / "folder"
    folder.mkdir()
    return Reader(folder, monkeypatch)


def test_the_file_of_the_toy_model_is_all_that_it_needs(reader: Reader) -> None:
    reader.save(MODEL)
    reader.export(FILES_VARIABLE, "mel_range.py")
    noise = np.random.default_rng(0).uniform(-1, 1, 5 * 16_000).astype(np.float32)
    y = embedlib.embed(noise, sr=16_000, model="untrained-mel-range-1")
    assert y.shape == (2, 192)
    assert np.all(y[:, :96] < y[:, 96:])  # a mean is below a maximum
    assert reader.touched == ["mel_range.py"]


def test_the_file_of_the_toy_task_is_all_that_it_needs(reader: Reader) -> None:
    reader.save(TASK)
    task = find_task("part.yaml")
    ids = ("bass/a.wav", "chords/b.mp3", "damaged/c.wav", "drums/d.wav")
    labels = adapter(task.adapter)(LabelRequest(task, None, ids))
    assert [track.label for track in labels.tracks] == ["bass", "chords", "drums"]
    assert reader.touched == ["part.yaml"]


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in FOLLOWED if PAGES[name] != MODEL])
def test_a_page_does_what_it_says(reader: Reader, name: str) -> None:
    reader.follow(PAGES[name])
    if name == "how-to/from-essentia.md":
        assert reader.names["ours"].shape == reader.names["theirs"].shape
        assert relative_l2(reader.names["same"], reader.names["theirs"]) <= 1e-5


@pytest.mark.slow
def test_a_toy_model_and_a_toy_task_touch_two_files(reader: Reader) -> None:
    reader.follow(MODEL)
    reader.follow(TASK)
    assert reader.touched == ["mel_range.py", "part.yaml"]
    tracks = embedlib.open("demo/tables").tracks("untrained-mel-range-1")
    (cell,) = read_scores("demo/tables").cells
    assert (cell.task, cell.model, cell.n_tracks) == ("part", "untrained-mel-range-1", 18)
    assert tracks.to_numpy().shape[1] == 192
    assert cell.five_fold > 1 / 3
    there = {path.name for path in reader.folder.iterdir()} - {"__pycache__"}
    assert there == {*reader.touched, *TOLD_TO_WRITE}


def relative_l2(ours: Float32, theirs: Float32) -> float:
    return float(np.linalg.norm(ours - theirs) / np.linalg.norm(theirs))
