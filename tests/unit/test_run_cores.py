"""Leases of cores, between processes and after their death."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from embedlib.run.cores import CoreLease, default_folder

pytestmark = pytest.mark.skipif(
    not hasattr(os, "sched_getaffinity"), reason="the system knows no affinity of processes"
)

HOLDER = """
import sys
from pathlib import Path
from embedlib.run.cores import CoreLease
lease = CoreLease(1000, folder=Path(sys.argv[1]))
print(*lease.cores, flush=True)
sys.stdin.read()
"""

GIVING_WAY = """
import os
from concurrent.futures import ThreadPoolExecutor
from embedlib.run.cores import give_way
give_way()
print(os.sched_getscheduler(0), ThreadPoolExecutor(1).submit(os.sched_getscheduler, 0).result())
"""


@pytest.fixture
def mine() -> Iterator[set[int]]:
    """The cores of this process, which it has again afterwards."""
    cores = os.sched_getaffinity(0)
    yield cores
    os.sched_setaffinity(0, cores)


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that has leased all cores."""
    line = [sys.executable, "-c", HOLDER, str(tmp_path)]
    with subprocess.Popen(
        line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        assert set(map(int, process.stdout.readline().split())) == os.sched_getaffinity(0)
        yield process
        process.kill()


def test_a_lease_gives_cores_of_this_process(tmp_path: Path, mine: set[int]) -> None:
    lease = CoreLease(1, folder=tmp_path)
    assert len(lease.cores) == 1
    assert set(lease.cores) <= mine
    lease.release()


@pytest.mark.skipif(not hasattr(os, "SCHED_IDLE"), reason="the system has no idle class")
def test_a_process_that_gives_way_and_its_threads_run_when_others_rest() -> None:
    line = [sys.executable, "-c", GIVING_WAY]
    found = subprocess.run(line, capture_output=True, text=True, check=True).stdout.split()
    assert found == [str(os.SCHED_IDLE)] * 2


def test_two_leases_never_share_a_core(tmp_path: Path, mine: set[int]) -> None:
    leases = [CoreLease(1, folder=tmp_path) for _ in range(len(mine) + 2)]
    cores = [core for lease in leases for core in lease.cores]
    assert sorted(cores) == sorted(mine)
    for lease in leases:
        lease.release()


def test_a_lease_of_more_cores_than_there_are_gets_those_that_are_free(
    tmp_path: Path, mine: set[int]
) -> None:
    lease = CoreLease(1000, folder=tmp_path)
    assert set(lease.cores) == mine
    lease.release()


def test_a_released_core_can_be_leased_again(tmp_path: Path, mine: set[int]) -> None:
    first = CoreLease(1000, folder=tmp_path)
    first.release()
    second = CoreLease(1000, folder=tmp_path)
    assert first.cores == ()
    assert set(second.cores) == mine
    second.release()


def test_cores_of_another_process_are_not_free(
    tmp_path: Path, holder: subprocess.Popen[str]
) -> None:
    assert CoreLease(1, folder=tmp_path).cores == ()


def test_cores_of_a_killed_process_are_free_again(
    tmp_path: Path, holder: subprocess.Popen[str], mine: set[int]
) -> None:
    holder.kill()
    holder.wait()
    lease = CoreLease(1000, folder=tmp_path)
    assert set(lease.cores) == mine
    lease.release()


def test_pinning_binds_to_the_leased_core(tmp_path: Path, mine: set[int]) -> None:
    lease = CoreLease(1, folder=tmp_path)
    assert lease.pin()
    assert os.sched_getaffinity(0) == set(lease.cores)
    lease.release()


def test_nothing_leased_is_nothing_pinned(
    tmp_path: Path, holder: subprocess.Popen[str], mine: set[int]
) -> None:
    assert not CoreLease(1, folder=tmp_path).pin()
    assert os.sched_getaffinity(0) == mine


def test_all_runs_of_a_user_use_one_folder() -> None:
    assert default_folder() == default_folder()
    assert str(os.getuid()) in default_folder().name
