"""Python and the installed packages, against what the metadata of embedlib ask for."""

from __future__ import annotations

import platform
import struct
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution, version

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from embedlib.catalog.uris import EXTRA_OF_PROTOCOL, is_url
from embedlib.doctor.verdict import Check, fault, fine, warning

DISTRIBUTION = "embedlib"

EXTRA_OF_DEVICE = {"cuda": "gpu"}
"""Optional dependency of embedlib that brings the engine of a device."""

RUNTIMES = ("ray", "openvino", "essentia-tensorflow", "onnxruntime", "onnxruntime-gpu")

_ONE_PLACE = ("onnxruntime", "onnxruntime-gpu")
# Two distributions of one Python package: the files of the later one lie over those of the other.


@dataclass(frozen=True, slots=True)
class Needed:
    """A package that embedlib needs.

    Attributes
    ----------
    name : str
        Of the distribution.
    wanted : str
        What pip takes: name, extras and range.
    allowed : str
        The range alone; empty for any version.
    found : str or None
        The installed version.
    """

    name: str
    wanted: str
    allowed: str
    found: str | None

    @property
    def is_met(self) -> bool:
        """Whether it is installed, in a version of the range."""
        return self.found is not None and in_range(self.found, self.allowed)


@dataclass(frozen=True, slots=True)
class InstallFacts:
    """Which Python runs, and what it finds.

    Attributes
    ----------
    python : str
        Its version, of three parts.
    allowed_python : str or None
        Range of the metadata; None where embedlib runs without being installed.
    n_bits : int
        Of an address.
    system, machine : str
        As `platform` calls them: ``Linux``, ``x86_64``.
    needed : tuple of Needed
        What embedlib and the extras ask for on this platform.
    runtimes : tuple of (str, str or None)
        `RUNTIMES` and their installed versions.
    """

    python: str
    allowed_python: str | None
    n_bits: int
    system: str
    machine: str
    needed: tuple[Needed, ...]
    runtimes: tuple[tuple[str, str | None], ...]


def wanted_extras(*, out: str | None, device: str) -> tuple[str, ...]:
    """Say which optional dependencies a run needs.

    Parameters
    ----------
    out : str or None
        Folder or URL of the output.
    device : str
        ``cpu`` or ``cuda``.

    Returns
    -------
    extras : tuple of str
        Each once.

    Examples
    --------
    >>> wanted_extras(out="s3://bucket/out", device="cuda")
    ('gpu', 's3')
    """
    scheme = out.partition(":")[0] if out and is_url(out) else ""
    found = {EXTRA_OF_PROTOCOL.get(scheme), EXTRA_OF_DEVICE.get(device)}
    return tuple(sorted(extra for extra in found if extra))


def in_range(found: str, allowed: str) -> bool:
    """Say whether a version is in a range; versions before a release count as others do.

    Parameters
    ----------
    found : str
        A version.
    allowed : str
        A range, as ``>=2.60,<3``.

    Returns
    -------
    is_in_range : bool
        By the rules of PEP 440.

    Examples
    --------
    >>> in_range("2.60.1", ">=2.60,<3"), in_range("3.0", ">=2.60,<3")
    (True, False)
    """
    return SpecifierSet(allowed).contains(found, prereleases=True)


def needed_packages(lines: Iterable[str], *, extras: Collection[str]) -> tuple[Needed, ...]:
    """Look for what the metadata of a distribution ask for on this platform.

    Parameters
    ----------
    lines : iterable of str
        Requirements, with markers.
    extras : collection of str
        Optional dependencies that are wanted.

    Returns
    -------
    needed : tuple of Needed
        In the order of `lines`.
    """
    requirements = [Requirement(line) for line in lines]
    return tuple(_look_for(each) for each in requirements if _applies(each, extras=extras))


def read_install(*, extras: Collection[str] = ()) -> InstallFacts:
    """Look at this Python and its packages.

    Parameters
    ----------
    extras : collection of str
        Optional dependencies that are wanted.

    Returns
    -------
    facts : InstallFacts
        Nothing is imported for it.
    """
    try:
        own = distribution(DISTRIBUTION)
        lines, allowed_python = own.requires or [], own.metadata["Requires-Python"]
    except PackageNotFoundError:
        lines, allowed_python = [], None
    return InstallFacts(
        python=platform.python_version(),
        allowed_python=allowed_python,
        n_bits=8 * struct.calcsize("P"),
        system=platform.system(),
        machine=platform.machine(),
        needed=needed_packages(lines, extras=extras),
        runtimes=tuple((name, installed_version(name)) for name in RUNTIMES),
    )


def installed_version(name: str) -> str | None:
    """Give the version of an installed distribution.

    Parameters
    ----------
    name : str
        Of the distribution.

    Returns
    -------
    version : str or None
        None where it is not installed.
    """
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def judge_install(facts: InstallFacts) -> list[Check]:
    """Judge Python, packages and runtimes.

    Parameters
    ----------
    facts : InstallFacts
        Of this machine, or made up.

    Returns
    -------
    checks : list of Check
        One of Python, one of all packages that are as they should be, one of each other.
    """
    return [_judge_python(facts), *_judge_packages(facts), _judge_runtimes(facts)]


def _applies(requirement: Requirement, *, extras: Collection[str]) -> bool:
    marker = requirement.marker
    return marker is None or any(marker.evaluate({"extra": extra}) for extra in ("", *extras))


def _look_for(requirement: Requirement) -> Needed:
    found, allowed = installed_version(requirement.name), str(requirement.specifier)
    names = ",".join(sorted(requirement.extras))
    wanted = f"{requirement.name}{f'[{names}]' if names else ''}{allowed}"
    return Needed(requirement.name, wanted, allowed, found)


def _judge_python(facts: InstallFacts) -> Check:
    found = f"Python {facts.python}, {facts.n_bits} bit, {facts.system} on {facts.machine}"
    allowed = facts.allowed_python
    if allowed is None:
        return warning(
            "python", f"{found}; embedlib itself is not installed", fix="pip install --editable ."
        )
    if facts.n_bits != 64 or not in_range(facts.python, allowed):
        return fault(
            "python",
            f"{found}; wanted are {allowed} and 64 bit",
            fix="uv venv --python 3.11 && uv pip install embedlib",
        )
    if facts.system != "Linux":
        return warning(
            "python",
            f"{found}; workers are bound to cores, and kept within memory, on Linux only",
            fix="docker build --file docker/Dockerfile --target cpu --tag embedlib .",
        )
    return fine("python", found)


def _judge_packages(facts: InstallFacts) -> list[Check]:
    wrong = [each for each in facts.needed if not each.is_met]
    n_met = len(facts.needed) - len(wrong)
    return [
        *(_wrong_package(each) for each in wrong),
        *([fine("packages", f"{n_met} in their ranges")] if n_met else []),
    ]


def _wrong_package(each: Needed) -> Check:
    state = f"{each.found} is outside {each.allowed}" if each.found else "not installed"
    return fault("packages", f"{each.name}: {state}", fix=f"pip install '{each.wanted}'")


def _judge_runtimes(facts: InstallFacts) -> Check:
    here = {name: found for name, found in facts.runtimes if found}
    found = ", ".join(f"{name} {number}" for name, number in here.items()) or "none"
    if all(name in here for name in _ONE_PLACE):
        return fault(
            "runtimes",
            f"{found}: two of them lie in one place",
            fix=f"pip uninstall --yes {' '.join(_ONE_PLACE)} && pip install 'embedlib[gpu]'",
        )
    return fine("runtimes", found)
