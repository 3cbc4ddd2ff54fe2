"""What the cells of one store share: audio, a cluster, the command line, a clean output."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from kill_cells import Store
from kill_cluster import SETTINGS, Cluster
from kill_log import ORDER_VARIABLE
from kill_store import BUCKET, exported, s3_server

from embedlib.audio.encode import write_audio
from embedlib.audio.synth import synthesise_music
from embedlib.catalog.stores import Place, StorePath
from embedlib.errors import RunError

JOBS = Path(__file__).resolve().parent

PAIR = ("untrained-msd-musicnn-1", "untrained-deepsquare-k16-3")
"""Two front ends, so that each shard is decoded into two chunks at least."""

HOPS = {"untrained-msd-musicnn-1": 46, "untrained-deepsquare-k16-3": 128}
"""Frames between patches: so many that a run has work left when its first shard is committed."""

N_CLIPS, LONG_S, SR_HZ = 8, 180.0, 16_000
"""One clip is longer than a chunk of MusiCNN's frames, which hold 175 s."""

SHARD_HOURS = "1e-9"
"""A shard for each clip, short as they are: a run is killed between two of them."""

CLIPS, CLEAN = "clips", "clean"
PATIENCE_S = 180.0


class Stage:
    """A folder or bucket with all that cells need; a context manager that ends what it began.

    Parameters
    ----------
    store : Store
        Where the audio and the outputs lie.
    folder : Path
        Made here; the caller deletes it.

    Attributes
    ----------
    folder : Path
        For what is no output.
    order : Path
        Which point is meant now.
    cluster : Cluster
        Its nodes start when they are first needed.
    """

    def __init__(self, store: Store, folder: Path) -> None:
        self._store = store
        self._root: Place = folder if store is Store.FILE else StorePath(BUCKET)
        self._has_clean = False
        self.folder = folder
        self.order = folder / "order.json"

    def __enter__(self) -> Self:
        with ExitStack() as opened:
            clips = write_clips(self.folder / CLIPS)
            if self._store is Store.S3:
                opened.enter_context(exported(opened.enter_context(s3_server())))
                for clip in clips:
                    (StorePath(BUCKET) / CLIPS / clip.name).upload(clip)
            self._environment = self._variables()
            self.cluster = opened.enter_context(Cluster(self._environment))
            self._open = opened.pop_all()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._open.close()

    def out(self, name: str) -> Place:
        """Give the place of an output.

        Parameters
        ----------
        name : str
            No other output has it.

        Returns
        -------
        out : Path or StorePath
            A folder that need not exist.
        """
        return self._root / name

    def start(self, models: Sequence[str], name: str, *options: str) -> subprocess.Popen[str]:
        """Start ``embedlib extract`` in a session of its own.

        Parameters
        ----------
        models : sequence of str
            Of `PAIR`.
        name : str
            Of the output; what the command says on stderr goes to a file of that name.
        *options : str
            Further ones.

        Returns
        -------
        driver : subprocess.Popen
            Its stdout will hold one JSON object.
        """
        named = [f"{model}:patch_hop_frames={HOPS[model]}" for model in models]
        places = str(self._root / CLIPS), "--out", str(self.out(name))
        line = ["extract", *places, "--models", *named, "--shard-hours", SHARD_HOURS]
        line += ["--quiet", "--json", *options]
        with self._conversation(name).open("a") as conversation:
            driver = subprocess.Popen(
                [sys.executable, "-m", "embedlib.cli.app", *line],
                env=self._environment,
                stdout=subprocess.PIPE,
                stderr=conversation,
                text=True,
                start_new_session=True,
            )
        self._open.callback(end, driver)
        return driver

    def last_words(self, name: str) -> str:
        """Give the last line that the runs into an output said.

        Parameters
        ----------
        name : str
            Of the output.

        Returns
        -------
        line : str
            Of their stderr.
        """
        lines = self._conversation(name).read_text().strip().splitlines()
        return lines[-1] if lines else "not a word"

    def clean(self) -> Place:
        """Give the output of a run of both models that nobody disturbed; it is made once.

        Returns
        -------
        out : Path or StorePath
            The output.

        Raises
        ------
        RunError
            If that run fails.
        """
        if not self._has_clean:
            driver = self.start(PAIR, CLEAN, "--local")
            driver.communicate(timeout=PATIENCE_S)
            if driver.returncode:
                raise RunError(
                    f"a clean run ended with {driver.returncode}", fix=self.last_words(CLEAN)
                )
            self._has_clean = True
        return self.out(CLEAN)

    def _variables(self) -> dict[str, str]:
        """Give the environment of all processes: with the hook on their path, and a token."""
        inherited = os.environ.get("PYTHONPATH", "").split(os.pathsep)
        return {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(map(str, (JOBS / "kill_hook", JOBS, *inherited))),
            ORDER_VARIABLE: str(self.order),
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": secrets.token_hex(32),
            "RAY_USAGE_STATS_ENABLED": "0",
            **SETTINGS,
        }

    def _conversation(self, name: str) -> Path:
        return self.folder / f"{name}.txt"


def write_clips(folder: Path) -> list[Path]:
    """Write the catalogue of all cells: one long clip and short ones.

    Parameters
    ----------
    folder : Path
        Made here.

    Returns
    -------
    clips : list of Path
        The files.
    """
    folder.mkdir(parents=True)
    clips = [folder / f"{number:02}.flac" for number in range(N_CLIPS)]
    for number, clip in enumerate(clips):
        duration_s = 2.0 + number % 3 if number else LONG_S
        music = synthesise_music(duration_s, sr_hz=SR_HZ, n_channels=1, seed=number)
        write_audio(clip, music, sr_hz=SR_HZ)
    return clips


def end(driver: subprocess.Popen[str]) -> None:
    """End a driver if it has not ended, and close its pipe.

    Parameters
    ----------
    driver : subprocess.Popen
        From `Stage.start`.
    """
    with driver:
        if driver.poll() is None:
            driver.kill()
