"""What the cells of the kill matrix share: audio, a store, the command line, clean outputs."""

from __future__ import annotations

import logging
import os
import secrets
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

import s3fs
from kill_cells import Source
from kill_cluster import SETTINGS, Cluster
from kill_log import ORDER_VARIABLE
from moto.server import ThreadedMotoServer

from embedlib.audio.encode import write_audio
from embedlib.audio.synth import synthesise_music
from embedlib.errors import RunError

JOBS = Path(__file__).resolve().parent

PAIR = ("untrained-msd-musicnn-1", "untrained-deepsquare-k16-3")
"""Two front ends, so that each shard is decoded into two chunks at least."""

HOPS = {"untrained-msd-musicnn-1": 46, "untrained-deepsquare-k16-3": 128}
"""Frames between patches: so many that a run has work left when its first shard is committed."""

N_CLIPS, LONG_S, SR_HZ = 12, 48.0, 16_000
"""One clip is longer than a chunk of MusiCNN's frames, which hold 43 s."""

BUCKET = "clips"
PATIENCE_S = 180.0


class Stage:
    """A folder with everything that cells need; a context manager that ends what it started.

    Parameters
    ----------
    folder : Path
        Empty; the caller deletes it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.order = folder / "order.json"
        self._clean: dict[Source, Path] = {}
        self._open = ExitStack()

    def __enter__(self) -> Self:
        clips = write_clips(self.folder / BUCKET)
        endpoint = self._serve()
        inherited = os.environ.get("PYTHONPATH", "").split(os.pathsep)
        self._environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(map(str, (JOBS / "kill_hook", JOBS, *inherited))),
            ORDER_VARIABLE: str(self.order),
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": secrets.token_hex(32),
            "RAY_USAGE_STATS_ENABLED": "0",
            **SETTINGS,
            "AWS_ENDPOINT_URL": endpoint,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "us-east-1",
        }
        store = s3fs.S3FileSystem(key="test", secret="test", endpoint_url=endpoint)
        store.mkdir(BUCKET)
        store.put(f"{clips}/", f"s3://{BUCKET}/", recursive=True)
        self._sources = {Source.FILE: str(clips), Source.S3: f"s3://{BUCKET}"}
        self.cluster = self._open.enter_context(Cluster(self._environment))
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._open.close()

    def start(
        self, source: Source, models: Sequence[str], out: Path, *options: str
    ) -> subprocess.Popen[str]:
        """Start ``embedlib extract`` in a session of its own.

        Parameters
        ----------
        source : Source
            Where the audio lies.
        models : sequence of str
            Of `PAIR`.
        out : Path
            The output; what the command says on stderr goes to a file beside it.
        *options : str
            Further ones.

        Returns
        -------
        driver : subprocess.Popen
            Its stdout will hold one JSON object.
        """
        named = [f"{model}:patch_hop_frames={HOPS[model]}" for model in models]
        line = ["extract", self._sources[source], "--models", *named, "--out", str(out)]
        with Path(f"{out}.txt").open("a") as conversation:
            driver = subprocess.Popen(
                [sys.executable, "-m", "embedlib.cli.app", *line, "--quiet", "--json", *options],
                env=self._environment,
                stdout=subprocess.PIPE,
                stderr=conversation,
                text=True,
                start_new_session=True,
            )
        self._open.callback(_end, driver)
        return driver

    def clean(self, source: Source) -> Path:
        """Give the output of a run of both models that nobody disturbed; it is made once.

        Parameters
        ----------
        source : Source
            Where the audio lies.

        Returns
        -------
        out : Path
            The output.

        Raises
        ------
        RunError
            If that run fails.
        """
        if source not in self._clean:
            out = self.folder / f"clean-{source}"
            driver = self.start(source, PAIR, out, "--local")
            driver.communicate(timeout=PATIENCE_S)
            if driver.returncode:
                raise RunError(f"a clean run ended with {driver.returncode}", fix=f"see {out}.txt")
            self._clean[source] = out
        return self._clean[source]

    def _serve(self) -> str:
        logging.getLogger("werkzeug").setLevel(logging.ERROR)  # a line per request
        server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        server.start()
        self._open.callback(server.stop)
        host, port = server.get_host_and_port()
        return f"http://{host}:{port}"


def write_clips(folder: Path) -> Path:
    """Write the catalogue of all cells: one long clip and short ones.

    Parameters
    ----------
    folder : Path
        Made here.

    Returns
    -------
    folder : Path
        The same.
    """
    folder.mkdir()
    for number in range(N_CLIPS):
        duration_s = 2.0 + number % 3 if number else LONG_S
        music = synthesise_music(duration_s, sr_hz=SR_HZ, n_channels=1, seed=number)
        write_audio(folder / f"{number:02}.flac", music, sr_hz=SR_HZ)
    return folder


def _end(driver: subprocess.Popen[str]) -> None:
    with driver:  # closes its pipe
        if driver.poll() is None:
            driver.kill()
