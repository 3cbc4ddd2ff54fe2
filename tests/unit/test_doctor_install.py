"""The doctor on Python and packages: made-up installations, and this one."""

from __future__ import annotations

import platform
from dataclasses import replace

import pytest

from embedlib.doctor.install import (
    InstallFacts,
    Needed,
    judge_install,
    needed_packages,
    read_install,
    wanted_extras,
)
from embedlib.doctor.verdict import Check, Verdict

SOUND = InstallFacts(
    python="3.11.9",
    allowed_python=">=3.11,<3.14",
    n_bits=64,
    system="Linux",
    machine="x86_64",
    needed=(Needed("ray", "ray[default,tune]>=2.60,<3", ">=2.60,<3", "2.60.0"),),
    runtimes=(("ray", "2.60.0"), ("onnxruntime", "1.31.1"), ("onnxruntime-gpu", None)),
)


def the(name: str, checks: list[Check]) -> Check:
    (found,) = (check for check in checks if check.name == name)
    return found


def test_a_sound_installation_has_no_fault() -> None:
    checks = judge_install(SOUND)
    assert {check.verdict for check in checks} == {Verdict.OK}
    assert the("runtimes", checks).found == "ray 2.60.0, onnxruntime 1.31.1"


@pytest.mark.parametrize(
    "changes", [{"python": "3.10.14"}, {"python": "3.14.0"}, {"n_bits": 32}], ids=str
)
def test_a_python_that_will_not_do_is_a_fault(changes: dict[str, object]) -> None:
    check = the("python", judge_install(replace(SOUND, **changes)))
    assert check.verdict is Verdict.FAULT
    assert check.fix.startswith("uv venv --python 3.11")


@pytest.mark.parametrize("changes", [{"system": "Darwin"}, {"allowed_python": None}], ids=str)
def test_what_works_with_less_is_a_warning(changes: dict[str, object]) -> None:
    check = the("python", judge_install(replace(SOUND, **changes)))
    assert (check.verdict, bool(check.fix)) == (Verdict.WARNING, True)


@pytest.mark.parametrize(
    ("found", "said"), [(None, "ray: not installed"), ("3.1", "ray: 3.1 is outside >=2.60,<3")]
)
def test_a_package_out_of_its_range_is_installed_by_the_fix(found: str | None, said: str) -> None:
    facts = replace(SOUND, needed=(replace(SOUND.needed[0], found=found),))
    check = the("packages", judge_install(facts))
    assert (check.verdict, check.found) == (Verdict.FAULT, said)
    assert check.fix == "pip install 'ray[default,tune]>=2.60,<3'"


def test_a_version_before_a_release_is_one_of_its_range() -> None:
    early = replace(SOUND.needed[0], found="2.61.0rc1")
    assert early.is_met


def test_two_runtimes_in_one_place_are_a_fault() -> None:
    both = (("onnxruntime", "1.31.1"), ("onnxruntime-gpu", "1.31.1"))
    check = the("runtimes", judge_install(replace(SOUND, runtimes=both)))
    assert check.verdict is Verdict.FAULT
    assert check.fix.startswith("pip uninstall --yes onnxruntime onnxruntime-gpu && ")


def test_an_extra_is_looked_for_only_where_it_is_wanted() -> None:
    lines = ("numpy>=2.1", "no-such-package>=9; extra == 's3'")
    assert [each.name for each in needed_packages(lines, extras=())] == ["numpy"]
    missing = needed_packages(lines, extras=("s3",))[1]
    assert (missing.found, missing.wanted) == (None, "no-such-package>=9")


def test_what_is_for_another_platform_is_not_needed() -> None:
    other = "Windows" if platform.system() == "Linux" else "Linux"
    assert needed_packages([f"numpy; platform_system == '{other}'"], extras=()) == ()


@pytest.mark.parametrize(
    ("out", "device", "extras"),
    [
        (None, "cpu", ()),
        ("/a/folder", "cpu", ()),
        ("gs://bucket/out", "cpu", ("gcs",)),
        ("s3://bucket/out", "cuda", ("gpu", "s3")),
    ],
)
def test_a_store_and_a_card_want_an_extra_each(
    out: str | None, device: str, extras: tuple[str, ...]
) -> None:
    assert wanted_extras(out=out, device=device) == extras


def test_this_installation_is_read_from_its_own_metadata() -> None:
    facts = read_install(extras=("s3",))
    names = {each.name for each in facts.needed}
    assert {"ray", "openvino", "s3fs"} <= names
    assert "gcsfs" not in names
    assert (facts.python, facts.n_bits) == (platform.python_version(), 64)
    assert dict(facts.runtimes)["ray"] == next(
        each.found for each in facts.needed if each.name == "ray"
    )
