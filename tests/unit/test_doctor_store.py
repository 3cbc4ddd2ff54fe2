"""The doctor on outputs and clusters: what they answer, made up or by a folder of this machine."""

from __future__ import annotations

import errno
import os
import time
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest

from embedlib.doctor.clocks import ClockFacts, ahead_s
from embedlib.doctor.cluster import (
    NO_EMBEDLIB,
    ClusterFacts,
    NodeFacts,
    Versions,
    judge_cluster,
    read_cluster,
    versions_and_time,
)
from embedlib.doctor.store import Creation, OutFacts, judge_out, read_out
from embedlib.doctor.verdict import Verdict
from embedlib.errors import ConfigError

STORE = OutFacts("s3://bucket/out", read_s=0.02)


def test_a_store_that_answers_has_no_fault() -> None:
    (check,) = judge_out(STORE)
    assert check.verdict is Verdict.OK
    assert check.found.endswith("20 ms a read")


@pytest.mark.parametrize(
    ("place", "cause", "fix"),
    [
        ("s3://bucket/out", "PermissionError", "aws configure"),
        ("s3://bucket/out", "NoCredentialsError", "aws configure"),
        ("s3://bucket/out", "FileNotFoundError", "aws s3 mb s3://bucket"),
        ("gs://bucket/out", "DefaultCredentialsError", "gcloud auth application-default login"),
        ("az://bucket/out", "ClientAuthenticationError", "az login"),
        ("az://bucket/out", "FileNotFoundError", "az storage container create --name bucket"),
        ("gs://bucket/out", "ClientError", "curl --head https://storage.googleapis.com"),
        ("s3://bucket/out", "ConfigError", "pip install 'embedlib[s3]'"),
    ],
)
def test_what_a_store_refuses_is_mended_by_its_own_tools(place: str, cause: str, fix: str) -> None:
    facts = OutFacts(place, "no", cause, "pip install 'embedlib[s3]'")
    (check,) = judge_out(facts)
    assert (check.verdict, check.found, check.fix) == (Verdict.FAULT, "no", fix)


@pytest.mark.parametrize(
    ("creation", "fix"),
    [
        (Creation.BOTH_WIN, "embedlib extract ... --single-writer"),
        (Creation.REFUSED, "embedlib extract ... --out /a/local/folder"),
    ],
)
def test_a_store_where_two_may_create_one_file_is_a_fault(creation: Creation, fix: str) -> None:
    (check,) = judge_out(replace(STORE, creation=creation))
    assert (check.verdict, check.fix) == (Verdict.FAULT, fix)


def test_a_slow_store_is_a_warning() -> None:
    (check,) = judge_out(replace(STORE, read_s=3.0))
    assert check.verdict is Verdict.WARNING
    assert check.fix.startswith("curl --head ")


def test_the_clock_of_a_store_is_judged_beside_it() -> None:
    clock = ClockFacts("s3://bucket/out", 0.0, 1000.0, 1.0)
    assert [check.verdict for check in judge_out(replace(STORE, clock=clock))] == [
        Verdict.OK,
        Verdict.FAULT,
    ]


def test_a_folder_is_tried_and_left_as_it_was(tmp_path: Path) -> None:
    facts = read_out(str(tmp_path / "not" / "there"))
    assert (facts.place, facts.problem, facts.creation) == (str(tmp_path), "", Creation.ONE_WINS)
    assert facts.clock is not None
    assert ahead_s(facts.clock) == 0.0
    assert [*tmp_path.iterdir()] == []


def test_a_folder_with_a_wrong_clock_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = Path.write_bytes

    def write_late(path: Path, content: bytes) -> int:
        n_written = write(path, content)
        os.utime(path, (0, time.time() + 7200))
        return n_written

    monkeypatch.setattr(Path, "write_bytes", write_late)
    _, clock = judge_out(read_out(str(tmp_path)))
    assert clock.verdict is Verdict.FAULT
    assert "ahead of this machine" in clock.found


def test_a_file_in_place_of_a_folder_is_a_fault_of_the_store(tmp_path: Path) -> None:
    (tmp_path / "out").touch()
    (check,) = judge_out(read_out(str(tmp_path / "out")))
    assert check.verdict is Verdict.FAULT
    assert check.found == f"{tmp_path / 'out'} cannot be written to: Not a directory"


def test_a_disk_without_hard_links_is_a_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    (check,) = judge_out(read_out(str(tmp_path)))
    assert check.verdict is Verdict.FAULT
    assert check.found == f"the file system of {tmp_path} has no hard links"
    assert check.fix == "embedlib extract ... --out /a/folder/with/room"
    assert [*tmp_path.iterdir()] == []


@pytest.mark.skipif(find_spec("adlfs") is not None, reason="the client of Azure is installed")
def test_a_store_without_its_client_is_told_what_to_install() -> None:
    (check,) = judge_out(read_out("az://bucket/out"))
    assert (check.verdict, check.fix) == (Verdict.FAULT, "pip install 'embedlib[azure]'")


def test_an_output_that_nothing_can_lie_in_is_wrong_usage() -> None:
    with pytest.raises(ConfigError, match="tables cannot be written to ftp://host/out"):
        read_out("ftp://host/out")


HERE = Versions("3.11.9", "2.60.0", "0.1.0")
NODE = NodeFacts("a", versions=HERE)
CLUSTER = ClusterFacts("10.0.0.1:6379", HERE, nodes=(NODE, replace(NODE, name="b")))


def test_a_cluster_of_equal_nodes_has_no_fault() -> None:
    (check,) = judge_cluster(CLUSTER)
    assert check.verdict is Verdict.OK
    assert check.found == "2 of 2 nodes: Python 3.11.9, Ray 2.60.0, embedlib 0.1.0"


@pytest.mark.parametrize(
    ("changes", "found", "fix"),
    [
        (
            {"versions": replace(HERE, ray="2.55.0")},
            "Python 3.11.9, Ray 2.55.0, embedlib 0.1.0; here Python 3.11.9, Ray 2.60.0, ",
            "uv venv --python 3.11.9 && uv pip install 'ray[default]==2.60.0' embedlib==0.1.0",
        ),
        (
            {"versions": None, "problem": NO_EMBEDLIB},
            "no answer: No module named 'embedlib'",
            "uv venv --python 3.11.9 && uv pip install 'ray[default]==2.60.0' embedlib==0.1.0",
        ),
        (
            {"versions": None, "problem": "none within 60 s"},
            "no answer: none within 60 s",
            "ray stop && RAY_AUTH_MODE=token ray start --address 10.0.0.1:6379",
        ),
        (
            {"clock": ClockFacts("node b", 0.0, 900.0, 1.0)},
            "node b is 899.0 s ahead of this machine",
            "sudo timedatectl set-ntp true",
        ),
    ],
    ids=["ray", "embedlib", "silent", "clock"],
)
def test_a_node_that_differs_is_a_fault_with_its_name(
    changes: dict[str, object], found: str, fix: str
) -> None:
    facts = replace(CLUSTER, nodes=(NODE, replace(NODE, name="b", **changes)))
    same, check = judge_cluster(facts)
    assert same.found.startswith("1 of 2 nodes: ")
    assert (check.verdict, check.fix) == (Verdict.FAULT, fix)
    assert check.found.startswith(found)


def test_a_cluster_without_workers_is_a_warning() -> None:
    (check,) = judge_cluster(replace(CLUSTER, nodes=()))
    assert check.verdict is Verdict.WARNING
    assert check.fix == "RAY_AUTH_MODE=token ray start --address 10.0.0.1:6379"


@pytest.mark.parametrize(
    ("changes", "fix"),
    [
        ({"is_silent": True}, "RAY_AUTH_MODE=token ray start --head --port 6379"),
        ({"is_silent": True, "address": "auto"}, "RAY_AUTH_MODE=token ray start --head"),
        ({}, "export RAY_AUTH_TOKEN_PATH=/the/token/of/the/cluster"),
        (
            {"theirs": Versions("3.12.1", "2.55.0", "")},
            "uv venv --python 3.12.1 && uv pip install 'ray[default]==2.55.0'",
        ),
    ],
    ids=["silent", "not-here", "refused", "other-version"],
)
def test_a_cluster_that_cannot_be_joined_is_a_fault(changes: dict[str, object], fix: str) -> None:
    (check,) = judge_cluster(replace(CLUSTER, problem="no", **changes))
    assert (check.verdict, check.fix) == (Verdict.FAULT, fix)


def test_nobody_listening_is_found_out_without_ray() -> None:
    facts = read_cluster("127.0.0.1:1")
    assert facts.is_silent
    assert facts.problem == "nobody listens at 127.0.0.1:1: Connection refused"


def test_this_machine_knows_its_versions() -> None:
    versions, now_s = versions_and_time()
    assert versions.ray.count(".") == 2
    assert abs(now_s - time.time()) < 60
