"""Fixtures for all tests: one seeded generator, and the shared data where it is present."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from embedlib.probes.records import Params, Split
from embedlib.probes.score_records import Cell, Interval

SHARED_DATA = Path(
    os.environ.get("EMBEDLIB_TEST_DATA", Path(__file__).parents[2] / "shared" / "data")
)


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """One fresh cache for all tests: large graphs are built once, the user's own is left alone."""
    folder = tmp_path_factory.mktemp("embedlib-cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EMBEDLIB_CACHE", str(folder))
        yield folder
    shutil.rmtree(folder, ignore_errors=True)  # half a gigabyte


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(seed=440)


def shared_folder(name: str) -> Path:
    folder = SHARED_DATA / name
    if not folder.is_dir():
        pytest.skip(f"needs the data folder {name}; set EMBEDLIB_TEST_DATA to where it lies")
    return folder


@pytest.fixture(scope="session")
def shared_audio() -> Path:
    """Real music and voice in five formats."""
    return shared_folder("audio")


@pytest.fixture(scope="session")
def shared_edge() -> Path:
    """Damaged, empty and odd files."""
    return shared_folder("edge")


@pytest.fixture(scope="session")
def shared_sonic_pi() -> Path:
    """195 short FLAC samples."""
    return shared_folder("sonic-pi")


@pytest.fixture(scope="session")
def shared_models() -> Path:
    """Real weight files."""
    return shared_folder("models")


@pytest.fixture(scope="session")
def make_cell() -> Callable[..., Cell]:
    """One model on one task with round numbers; keywords replace them."""

    def make(**changes: Any) -> Cell:
        values: dict[str, Any] = {
            "task": "gtzan",
            "model": "msd-musicnn-1",
            "protocol": "pooled",
            "split": Split.STRATIFIED,
            "classes": ("rock", "jazz"),
            "n_tracks": 930,
            "n_scored": 930,
            "five_fold": 0.875,
            "interval": Interval(0.85, 0.9),
            "fold_std": 0.014,
            "n_repeats": 5,
            "repeat_std": 0.004,
            "external": None,
            "external_interval": None,
            "n_external": 0,
            "drop": None,
            "drop_interval": None,
            "confusion": ((400, 65), (50, 415)),
            "external_confusion": None,
            "chosen": (Params(),) * 5,
            "curves": ((0.7, 0.5, 0.4),) * 5,
            "train_curves": ((0.6, 0.4, 0.2),) * 5,
            "is_reproducible": True,
            "fingerprint": "f1a9",
            "table_versions": (3,),
        }
        return Cell(**(values | changes))

    return make
