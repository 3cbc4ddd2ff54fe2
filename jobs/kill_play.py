"""One cell of the kill matrix, from the first process to the verdict."""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import psutil
from kill_cells import Cell, Verdict, Victim
from kill_cluster import HEAD, WORKER
from kill_log import (
    GONE,
    KILLED,
    POLL_S,
    Line,
    faults,
    give_order,
    note,
    read_log,
    release,
    withdraw_order,
)
from kill_stage import PAIR, PATIENCE_S, Stage, end

import embedlib
from embedlib.catalog.stores import Place
from embedlib.errors import EmbedlibError
from embedlib.run.points import Point
from embedlib.tables.commit import committed_shards

NODES = {Victim.RAYLET: WORKER, Victim.HEAD: HEAD}
"""The node that is lost; all other cells run on the head alone, which stays."""

ALONE = frozenset({Victim.SOLO, Victim.DRIVER, Victim.HEAD, Victim.NOBODY})
"""Cells of one model, whose actors decode for themselves; the others have decode workers too."""

TITLES = {
    Victim.DECODER: "ray::DecodeActor",
    Victim.MODEL: "ray::ModelActor",
    Victim.SOLO: "ray::ModelActor",
}
"""How Ray calls the processes of actors."""

SURVIVED = frozenset(set(Victim) - {Victim.DRIVER, Victim.HEAD})
"""Losses that the same run mends: it ends with 0, and the run after it has nothing to do."""

STATES = {
    Point.PART_WRITTEN: "written",
    Point.BEFORE_COMMIT: "written",
    Point.AFTER_COMMIT: "committed",
}
"""What the disk holds of the shard while a process waits at a point; "nothing" before these."""


def play(cell: Cell, stage: Stage) -> Verdict:
    """Disturb one run, run the same command once more, and compare.

    Parameters
    ----------
    cell : Cell
        Who is killed, and where the run stands then.
    stage : Stage
        With the audio, the clean outputs and the cluster.

    Returns
    -------
    verdict : Verdict
        With every reason why the cell fails.
    """
    started_s = time.monotonic()
    scene = _Scene(cell, stage)
    try:
        found = scene.play()
    except (EmbedlibError, psutil.Error, subprocess.TimeoutExpired) as exc:
        found = [str(exc)]
    finally:
        scene.close()
    wall_s = time.monotonic() - started_s
    return Verdict(cell, tuple(found), tuple(scene.exit_codes), scene.n_rows_again, wall_s)


def differences(out: Place, clean: Place, *, models: Sequence[str]) -> list[str]:
    """Say where an output is not that of a clean run, bit by bit, or does not verify.

    Parameters
    ----------
    out, clean : Path or StorePath
        Two outputs; `clean` may have further tables.
    models : sequence of str
        The tables that both must have.

    Returns
    -------
    differences : list of str
        Empty if there are none.
    """
    try:
        compared, problems = embedlib.diff(out, clean), embedlib.verify(out).problems
    except EmbedlibError as exc:  # an output that cannot be read has lost something
        return [str(exc)]
    differing = [each for each in compared.differences if each.model in models]
    found = [str(each) for each in (*differing, *problems)]
    if set(compared.exact) != set(models):
        found.append(f"compared bit by bit were only {compared.exact}")
    return found


class _Scene:
    """The processes of one cell, and what they leave."""

    def __init__(self, cell: Cell, stage: Stage) -> None:
        self._cell, self._stage = cell, stage
        self._models = PAIR[:1] if cell.victim in ALONE else PAIR
        self._folder = Path(tempfile.mkdtemp(prefix="cell-", dir=stage.folder))
        self._name = f"out-of-{self._folder.name}"
        self._out = stage.out(self._name)
        self._drivers: list[subprocess.Popen[str]] = []
        self._strangers: set[int] = set()
        self.exit_codes: list[int] = []
        self.n_rows_again = 0

    def play(self) -> list[str]:
        """Disturb a run, run again, compare, and say what is amiss."""
        clean = self._stage.clean()
        found = [*self._disturb(), *self._run_again()]
        return [*found, *differences(self._out, clean, models=self._models)]

    def close(self) -> None:
        """End what still runs."""
        for driver in self._drivers:
            end(driver)

    def _disturb(self) -> list[str]:
        """Kill while a process waits at the point, see the dead, let the process go on."""
        node, is_race = NODES.get(self._cell.victim, ""), self._cell.victim is Victim.NOBODY
        if not is_race:
            self._stage.cluster.start(node or HEAD)
        self._strangers = {actor.pid for actor in self._actors()}
        give_order(self._stage.order, folder=self._folder, point=self._cell.point, node=node)
        disturbed = [self._start(is_local=is_race) for _ in range(1 + is_race)]
        reached = self._await_point(disturbed)
        withdraw_order(self._stage.order)
        found, pids = [], []
        try:
            if reached is not None:
                found = [] if is_race else self._misplaced(reached)
                pids = self._outrun(reached) if is_race else self._kill(reached)
        finally:
            release(self._folder)
        self.exit_codes = [driver.wait(timeout=PATIENCE_S) for driver in disturbed]
        if reached is None:
            found = [f"the run ended with {self.exit_codes}: {self._last_words()}"]
        return found + faults(read_log(self._folder), pids=pids, is_kill=not is_race)

    def _run_again(self) -> list[str]:
        """Run the same command once more, and say what it should not have met."""
        # Without its head there is no cluster to come back to.
        driver = self._start(is_local=self._cell.victim in (Victim.NOBODY, Victim.HEAD))
        stdout, _ = driver.communicate(timeout=PATIENCE_S)
        self.exit_codes.append(driver.returncode)
        if driver.returncode:
            return [f"the run after it ended with {driver.returncode}: {self._last_words()}"]
        self.n_rows_again = int(json.loads(stdout)["n_rows"])
        if self._cell.victim in SURVIVED and (self.n_rows_again or any(self.exit_codes)):
            left = f"{self.n_rows_again} rows left to the run after it"
            return [f"exit codes {self.exit_codes}, {left}: {self._last_words()}"]
        return []

    def _last_words(self) -> str:
        return self._stage.last_words(self._name)

    def _start(self, *, is_local: bool) -> subprocess.Popen[str]:
        options = ("--local",) if is_local else ("--address", self._stage.cluster.address)
        driver = self._stage.start(self._models, self._name, *options)
        self._drivers.append(driver)
        return driver

    def _await_point(self, drivers: Sequence[subprocess.Popen[str]]) -> Line | None:
        """Give what the process at the point wrote, or None when no process came there."""
        deadline_s = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline_s:
            if log := read_log(self._folder):
                return log[0]
            if all(driver.poll() is not None for driver in drivers):
                return None
            time.sleep(POLL_S)
        return None

    def _misplaced(self, reached: Line) -> list[str]:
        """Ask the disk whether the shard of the process at the point is where the point says."""
        models = [reached["model"]] if reached["model"] else self._models
        found = {self._state(model, reached["shard_id"]) for model in models}
        wanted = STATES.get(self._cell.point, "nothing")
        return [] if found == {wanted} else [f"of the shard was there: {found}, not {wanted}"]

    def _state(self, model: str, shard_id: str) -> str:
        if shard_id in committed_shards(self._out, model):
            return "committed"
        return "written" if any((self._out / model).glob(f"part-{shard_id}-*")) else "nothing"

    def _kill(self, reached: Line) -> list[int]:
        """Kill the victim, wait until it is gone, and give its process ids."""
        victims = self._victims(reached["pid"])
        for victim in victims:
            victim.kill()
            note(self._folder, KILLED, pid=victim.pid)
        for victim in victims:
            while is_alive(victim):
                time.sleep(POLL_S)
            note(self._folder, GONE, pid=victim.pid)
        return [victim.pid for victim in victims]

    def _victims(self, waiting: int) -> list[psutil.Process]:
        """Find who is to die; of several actors the one that waits, if it is among them."""
        if self._cell.victim is Victim.DRIVER:
            return [psutil.Process(self._drivers[0].pid)]
        if self._cell.victim in NODES:
            return self._stage.cluster.servers(NODES[self._cell.victim])
        actors = [each for each in self._actors() if each.pid not in self._strangers]
        return sorted(actors, key=lambda actor: actor.pid != waiting)[:1]

    def _actors(self) -> list[psutil.Process]:
        """List actors of the victim's kind; those of a run before may take their time to end."""
        title = TITLES.get(self._cell.victim)
        every = self._stage.cluster.processes(HEAD) if title is not None else []
        return [each for each in every if title in title_of(each)]

    def _outrun(self, reached: Line) -> list[int]:
        """Let the other driver come to its end, and give its process id."""
        [rival] = [driver for driver in self._drivers if driver.pid != reached["pid"]]
        rival.wait(timeout=PATIENCE_S)
        note(self._folder, GONE, pid=rival.pid)
        return [rival.pid]


def is_alive(process: psutil.Process) -> bool:
    """Say whether a process can still do anything.

    Parameters
    ----------
    process : psutil.Process
        Which.

    Returns
    -------
    is_alive : bool
        False also for one whose parent has not asked for its exit code yet.
    """
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def title_of(process: psutil.Process) -> str:
    """Give the command line of a process, which Ray makes a title.

    Parameters
    ----------
    process : psutil.Process
        Which.

    Returns
    -------
    title : str
        Empty if it is gone.
    """
    try:
        return " ".join(process.cmdline())
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return ""
