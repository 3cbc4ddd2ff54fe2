"""The doctor on cards: made-up ones, for no test may need one."""

from __future__ import annotations

import struct
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest

from embedlib.doctor.card import (
    FIRST_DRIVER,
    INSTALL,
    CardFacts,
    Library,
    judge_card,
    needed_libraries,
    read_card,
)
from embedlib.doctor.elf import linked
from embedlib.doctor.verdict import Check, Verdict
from embedlib.engines.onnx_providers import CPU, CUDA, TENSORRT

CARD = CardFacts(
    cards=("NVIDIA H200, 580.82.07, 143771 MiB",),
    driver_cuda=13,
    runtime="1.31.1",
    runtime_cuda=13,
    providers=(TENSORRT, CUDA, CPU),
    libraries=(
        Library(CUDA, "libcudart.so.13", True),
        Library(CUDA, "libcudnn.so.9", True),
        Library(TENSORRT, "libnvinfer.so.10", True),
    ),
)


def the(name: str, checks: list[Check]) -> Check:
    (found,) = (check for check in checks if check.name == name)
    return found


def test_a_card_with_all_its_libraries_has_no_fault() -> None:
    checks = judge_card(CARD, device="cuda")
    assert {check.verdict for check in checks} == {Verdict.OK}
    assert [check.name for check in checks] == [
        "card",
        "onnxruntime",
        "cuda libraries",
        "tensorrt",
    ]


@pytest.mark.parametrize("facts", [CardFacts(), CARD], ids=["none", "one"])
def test_who_wants_no_card_gets_one_line_without_fault(facts: CardFacts) -> None:
    (check,) = judge_card(facts, device="cpu")
    assert check.verdict is Verdict.OK
    assert ("no card" in check.found) != bool(facts.cards)


@pytest.mark.parametrize(
    ("changes", "fix"),
    [
        ({"driver_cuda": None}, "sudo apt-get install nvidia-driver-580"),
        ({"cards": ()}, "sudo apt-get install nvidia-driver-580"),
        ({"driver_cuda": None, "in_container": True}, "docker run --gpus all ..."),
        ({"driver_cuda": 12}, "sudo apt-get install nvidia-driver-580"),
        ({"driver_cuda": 11, "runtime_cuda": 12}, "sudo apt-get install nvidia-driver-525"),
    ],
    ids=str,
)
def test_a_driver_that_is_missing_or_too_old_is_a_fault(
    changes: dict[str, object], fix: str
) -> None:
    check = the("card", judge_card(replace(CARD, **changes), device="cuda"))
    assert (check.verdict, check.fix) == (Verdict.FAULT, fix)


def test_a_newer_driver_runs_older_libraries() -> None:
    facts = replace(CARD, driver_cuda=13, runtime_cuda=12)
    assert the("card", judge_card(facts, device="cuda")).verdict is Verdict.OK
    assert sorted(FIRST_DRIVER) == [11, 12, 13]


@pytest.mark.parametrize("changes", [{"providers": (CPU,)}, {"runtime": ""}], ids=str)
def test_an_onnxruntime_that_knows_no_card_is_replaced_by_the_fix(
    changes: dict[str, object],
) -> None:
    check = the("onnxruntime", judge_card(replace(CARD, **changes), device="cuda"))
    assert (check.verdict, check.fix) == (Verdict.FAULT, INSTALL)


def test_a_library_that_does_not_load_is_named() -> None:
    lost = replace(CARD.libraries[1], is_found=False)
    facts = replace(CARD, libraries=(CARD.libraries[0], lost))
    check = the("cuda libraries", judge_card(facts, device="cuda"))
    assert (check.verdict, check.found) == (Verdict.FAULT, "libcudnn.so.9 cannot be loaded")


def test_tensorrt_may_be_missing() -> None:
    lost = replace(CARD.libraries[2], is_found=False)
    facts = replace(CARD, libraries=(*CARD.libraries[:2], lost))
    checks = judge_card(facts, device="cuda")
    assert {check.verdict for check in checks} == {Verdict.OK}
    assert "without libnvinfer.so.10" in the("tensorrt", checks).found


def test_a_runtime_for_processors_needs_nothing(tmp_path: Path) -> None:
    assert needed_libraries(tmp_path) == ()


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have other libraries")
def test_libraries_are_those_that_the_loader_would_look_for(tmp_path: Path) -> None:
    path = Path(str(find_spec("_ctypes") and find_spec("_ctypes").origin))
    names = linked(path)
    assert any(name.startswith("libffi.so") for name in names)
    assert "libc.so.6" in names
    whole = path.read_bytes()
    for n_bytes in (0, 5, 100, len(whole) // 2):
        (tmp_path / "cut.so").write_bytes(whole[:n_bytes])
        assert set(linked(tmp_path / "cut.so")) <= set(names)


def test_a_library_whose_addresses_are_not_its_offsets_is_read(tmp_path: Path) -> None:
    """By elf(5): a header, two segments (all of it; the dynamic one), its entries, the names."""
    names, shift = b"\0libcublas.so.13\0libgone.so\0", 0x1000
    entries = struct.pack("<8q", 1, 1, 5, 64 + 2 * 56 + 64 + shift, 0, 0, 1, 17)
    header = b"\x7fELF\x02\x01".ljust(32, b"\0") + struct.pack("<Q", 64)
    header = header.ljust(56, b"\0") + struct.pack("<H", 2).ljust(8, b"\0")
    n_bytes = 64 + 2 * 56 + len(entries) + len(names)
    load = struct.pack("<2I6Q", 1, 0, 0, shift, 0, n_bytes, n_bytes, 1)
    dynamic = struct.pack("<2I6Q", 2, 0, 64 + 2 * 56, 0, 0, len(entries), len(entries), 1)
    (tmp_path / "x.so").write_bytes(header + load + dynamic + entries + names)
    assert linked(tmp_path / "x.so") == ("libcublas.so.13",)


@pytest.mark.parametrize("content", [b"", b"MZ", b"\x7fELF\x01\x01" + bytes(99)], ids=repr)
def test_what_is_no_library_of_this_platform_needs_nothing(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.so").write_bytes(content)
    assert linked(tmp_path / "x.so") == ()
    assert linked(tmp_path / "none") == ()


def test_this_machine_is_read_whatever_it_has() -> None:
    facts = read_card()
    assert all("\n" not in card for card in facts.cards)
    assert not facts.providers or CPU in facts.providers
    assert facts.runtime_cuda is not None or not facts.libraries
