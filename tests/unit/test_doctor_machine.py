"""The doctor on cores, memory and folders: made-up machines, and this one."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from embedlib.doctor.cgroups import Limits, read_limits
from embedlib.doctor.disks import (
    FIXES,
    FolderFacts,
    judge_folder,
    judge_sockets,
    nearest,
    ray_folder,
    read_folder,
)
from embedlib.doctor.memory import CORE_BYTES, MemoryFacts, judge_memory, read_memory
from embedlib.doctor.processor import (
    ProcessorFacts,
    judge_processor,
    read_processor,
    usable_cores,
)
from embedlib.doctor.verdict import Check, Verdict
from embedlib.run.cores import CoreLease

GIB = 1 << 30

NODE = ProcessorFacts(
    n_machine=4,
    n_usable=4,
    n_leased=0,
    n_quota=None,
    architecture="x86_64",
    model="A processor",
    flags=frozenset({"avx", "avx2", "avx512f"}),
)

MEMORY = MemoryFacts(
    total_bytes=16 * GIB,
    available_bytes=12 * GIB,
    limit_bytes=None,
    shm_bytes=8 * GIB,
    store_bytes=GIB // 2,
    max_files=65_536,
    n_cores=4,
)

CACHE = FolderFacts("cache", "/cache", 50 * GIB, 100 * GIB, "")


def the(name: str, checks: list[Check]) -> Check:
    (found,) = (check for check in checks if check.name == name)
    return found


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def test_a_good_machine_has_no_fault() -> None:
    checks = [*judge_processor(NODE), *judge_memory(MEMORY), judge_folder(CACHE)]
    assert {check.verdict for check in checks} == {Verdict.OK}


@pytest.mark.parametrize(
    ("files", "limits"),
    [
        pytest.param({}, Limits(None, None), id="none"),
        pytest.param(
            {
                "proc/self/cgroup": "0::/pod/box\n",
                "sys/fs/cgroup/pod/cpu.max": "150000 100000\n",
                "sys/fs/cgroup/pod/box/cpu.max": "max 100000\n",
                "sys/fs/cgroup/pod/memory.max": "2147483648\n",
                "sys/fs/cgroup/pod/box/memory.max": "max\n",
            },
            Limits(1.5, 2 * GIB),
            id="version-2-by-an-outer-group",
        ),
        pytest.param(
            {
                "proc/self/cgroup": "4:cpu,cpuacct:/docker/f00\n7:memory:/docker/f00\n",
                "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "200000\n",
                "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
                "sys/fs/cgroup/memory/memory.limit_in_bytes": "1073741824\n",
            },
            Limits(2.0, GIB),
            id="version-1-in-a-container",
        ),
        pytest.param(
            {
                "proc/self/cgroup": "4:cpu:/\n7:memory:/\n",
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
                "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
            },
            Limits(None, None),
            id="version-1-without-limit",
        ),
    ],
)
def test_limits_are_those_of_the_tightest_group(
    files: dict[str, str], limits: Limits, tmp_path: Path
) -> None:
    assert read_limits(write(tmp_path, files)) == limits


def test_less_time_than_cores_is_a_warning_that_says_how_many_to_take() -> None:
    check = the("cores", judge_processor(replace(NODE, n_quota=2.5)))
    assert check.verdict is Verdict.WARNING
    assert check.fix == "taskset --cpu-list 0-1 embedlib extract ... --n-cores 2"


@pytest.mark.parametrize(("n_leased", "verdict"), [(3, Verdict.OK), (4, Verdict.WARNING)])
def test_a_machine_without_a_free_core_is_a_warning(n_leased: int, verdict: Verdict) -> None:
    assert the("cores", judge_processor(replace(NODE, n_leased=n_leased))).verdict is verdict


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ("avx avx2", "f32; bf16 would be simulated"),
        ("avx avx512_bf16", "--precision bf16 is a little faster"),
        ("avx avx512_bf16 amx_bf16", "--precision bf16 pays"),
    ],
)
def test_the_flags_decide_about_precision(flags: str, said: str) -> None:
    check = the("processor", judge_processor(replace(NODE, flags=frozenset(flags.split()))))
    assert check.verdict is Verdict.OK
    assert said in check.found


def test_a_processor_too_old_for_essentia_is_sent_to_openvino() -> None:
    check = the("processor", judge_processor(replace(NODE, flags=frozenset({"sse4_2"}))))
    assert (check.verdict, check.fix) == (
        Verdict.WARNING,
        "embedlib extract ... --engine openvino",
    )


def test_leased_cores_are_counted_and_stay_leased(tmp_path: Path) -> None:
    lease = CoreLease(1, folder=tmp_path)
    facts = read_processor(leases=tmp_path)
    assert facts.n_leased == len(lease.cores)
    assert read_processor(leases=tmp_path).n_leased == len(lease.cores)
    lease.release()
    assert [read_processor(leases=tmp_path).n_leased for _ in range(2)] == [0, 0]


def test_flags_are_those_of_the_first_core(tmp_path: Path) -> None:
    text = "processor\t: 0\nmodel name\t: A\nflags\t\t: avx avx2\n\nprocessor\t: 1\nflags\t: sse\n"
    (tmp_path / "cpuinfo").write_text(text)
    facts = read_processor(cpuinfo=tmp_path / "cpuinfo", leases=tmp_path)
    assert (facts.model, facts.flags) == ("A", {"avx", "avx2"})
    assert facts.n_usable == usable_cores()


@pytest.mark.parametrize(
    ("changes", "verdict", "fix"),
    [
        ({"available_bytes": 4 * GIB}, Verdict.WARNING, "embedlib extract ... --n-cores 2"),
        ({"limit_bytes": 2 * GIB}, Verdict.WARNING, "embedlib extract ... --n-cores 1"),
        ({"limit_bytes": GIB}, Verdict.FAULT, "docker run --memory 4g ..."),
        ({"available_bytes": GIB}, Verdict.FAULT, "ps -eo rss,pid,args --sort -rss | head"),
        ({"available_bytes": 4 * CORE_BYTES}, Verdict.OK, ""),
        ({"available_bytes": 0, "total_bytes": 0}, Verdict.OK, ""),
    ],
    ids=str,
)
def test_memory_is_judged_by_the_workers_of_all_cores(
    changes: dict[str, int], verdict: Verdict, fix: str
) -> None:
    check = the("memory", judge_memory(replace(MEMORY, **changes)))
    assert (check.verdict, check.fix) == (verdict, fix)


def test_the_shared_memory_of_a_plain_container_is_a_fault() -> None:
    check = the("shared memory", judge_memory(replace(MEMORY, shm_bytes=64 << 20)))
    assert check.verdict is Verdict.FAULT
    assert "docker run --shm-size 1024m" in check.fix


@pytest.mark.parametrize(
    ("max_files", "verdict"),
    [(512, Verdict.FAULT), (1_024, Verdict.WARNING), (4_096, Verdict.OK)],
)
def test_few_open_files_are_a_fault(max_files: int, verdict: Verdict) -> None:
    check = the("open files", judge_memory(replace(MEMORY, max_files=max_files)))
    assert check.verdict is verdict
    assert check.fix in ("", "ulimit -n 8192")


def test_memory_is_read_in_bytes(tmp_path: Path) -> None:
    files = {"meminfo": "MemTotal:  2048 kB\nMemAvailable:  1024 kB\nHugePages_Total:  0\n"}
    folder = write(tmp_path, files)
    facts = read_memory(store_bytes=1, meminfo=folder / "meminfo", shm=folder / "none")
    assert (facts.total_bytes, facts.available_bytes) == (2 << 20, 1 << 20)
    assert facts.shm_bytes is None
    assert facts.max_files > 0


@pytest.mark.parametrize("purpose", FIXES)
def test_a_folder_that_cannot_be_written_to_is_a_fault(purpose: str) -> None:
    facts = FolderFacts(purpose, "/x", 0, 0, "Read-only file system")
    check = judge_folder(facts)
    assert (check.verdict, check.fix) == (Verdict.FAULT, FIXES[purpose])
    assert "Read-only file system" in check.found


@pytest.mark.parametrize(
    ("purpose", "free_gib", "verdict"),
    [
        ("cache", 0.1, Verdict.FAULT),
        ("cache", 1, Verdict.WARNING),
        ("cache", 4, Verdict.OK),
        ("temporary folder", 4, Verdict.WARNING),  # of 100: Ray stops to spill at 95 %
        ("temporary folder", 6, Verdict.OK),
    ],
)
def test_room_is_judged_by_what_a_folder_is_for(
    purpose: str, free_gib: float, verdict: Verdict
) -> None:
    facts = replace(CACHE, purpose=purpose, free_bytes=int(free_gib * GIB))
    assert judge_folder(facts).verdict is verdict


def test_a_folder_is_looked_at_without_being_made(tmp_path: Path) -> None:
    facts = read_folder("cache", tmp_path / "not" / "there")
    assert (facts.path, facts.problem) == (str(tmp_path), "")
    assert facts.free_bytes > 0
    assert [*tmp_path.iterdir()] == []


def test_a_file_in_place_of_a_folder_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert nearest(tmp_path / "file" / "cache") == tmp_path / "file"
    assert read_folder("cache", tmp_path / "file" / "cache").problem


def test_a_deep_temporary_folder_is_too_long_for_sockets() -> None:
    assert judge_sockets("/tmp").verdict is Verdict.OK
    check = judge_sockets("/scratch/" + "u" * 40)
    assert (check.verdict, check.fix) == (Verdict.FAULT, "export RAY_TMPDIR=/tmp")


def test_ray_asks_for_a_folder_of_its_own_first() -> None:
    assert ray_folder({"TMPDIR": "/b", "RAY_TMPDIR": "/a"}) == "/a"
    assert ray_folder(os.environ | {"RAY_TMPDIR": "/a"}) == "/a"
