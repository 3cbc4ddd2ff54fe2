"""The graphics card: its driver, and the libraries that onnxruntime loads for it."""

from __future__ import annotations

import ctypes
import io
import shutil
import subprocess
from contextlib import redirect_stdout, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from embedlib.doctor.elf import linked
from embedlib.doctor.verdict import Check, fault, fine
from embedlib.engines.onnx_providers import CUDA, TENSORRT

FIRST_DRIVER = {11: 450, 12: 525, 13: 580}
"""By the major version of CUDA the first driver that runs it: NVIDIA, "CUDA Compatibility", table
"Minor Version Compatibility"."""

INSTALL = "pip uninstall --yes onnxruntime onnxruntime-gpu && pip install 'embedlib[gpu]'"

_FILE_OF_PROVIDER = {
    CUDA: "libonnxruntime_providers_cuda.so",
    TENSORRT: "libonnxruntime_providers_tensorrt.so",
}

# By onnxruntime's page on its CUDA provider: from release 1.19 on.
_CUDNN = "libcudnn.so.9"

_DRIVER = "libcuda.so.1"
_ASK_CARDS = ("--query-gpu=name,driver_version,memory.total", "--format=csv,noheader")
_ANSWER_S = 30.0


@dataclass(frozen=True, slots=True)
class Library:
    """A library that a provider of onnxruntime needs.

    Attributes
    ----------
    provider : str
        In onnxruntime's words.
    name : str
        ``libcudnn.so.9``.
    is_found : bool
        Whether it can be loaded.
    """

    provider: str
    name: str
    is_found: bool


@dataclass(frozen=True, slots=True)
class CardFacts:
    """Cards and what runs on them.

    Attributes
    ----------
    cards : tuple of str
        Name, driver and memory of each, as ``nvidia-smi`` says.
    driver_cuda : int or None
        Major version of CUDA that the driver knows; None without a driver.
    in_container : bool
        Whether the driver would have to be passed in from the host.
    runtime : str
        Version of onnxruntime; empty where it is not installed.
    runtime_cuda : int or None
        Major version of CUDA that it was built for; None for processors alone.
    providers : tuple of str
        What it can run graphs with.
    libraries : tuple of Library
        What these need.
    """

    cards: tuple[str, ...] = ()
    driver_cuda: int | None = None
    in_container: bool = False
    runtime: str = ""
    runtime_cuda: int | None = None
    providers: tuple[str, ...] = ()
    libraries: tuple[Library, ...] = ()


def read_card() -> CardFacts:
    """Look for cards, driver and libraries.

    Returns
    -------
    facts : CardFacts
        Libraries are loaded for it, as a run does.
    """
    cards, driver_cuda = _cards(), _driver_cuda()
    in_container = any(map(Path.exists, (Path("/.dockerenv"), Path("/run/.containerenv"))))
    if not find_spec("onnxruntime"):
        return CardFacts(cards, driver_cuda, in_container)
    import onnxruntime
    from onnxruntime.capi import build_and_package_info as build

    folder = Path(build.__file__).parent
    with redirect_stdout(io.StringIO()):  # it says there what `libraries` say better
        onnxruntime.preload_dlls()
    return CardFacts(
        cards=cards,
        driver_cuda=driver_cuda,
        in_container=in_container,
        runtime=onnxruntime.__version__,
        runtime_cuda=_major(getattr(build, "cuda_version", "")),
        providers=tuple(onnxruntime.get_available_providers()),
        libraries=tuple(
            Library(provider, name, _loads(name)) for provider, name in needed_libraries(folder)
        ),
    )


def needed_libraries(folder: Path) -> tuple[tuple[str, str], ...]:
    """List which of NVIDIA's libraries the providers of an onnxruntime need, beside the driver.

    Parameters
    ----------
    folder : Path
        Where its libraries are.

    Returns
    -------
    needed : tuple of (str, str)
        Provider and library. That of CUDA looks for cuDNN only when a convolution is run, which
        all models have; it is not linked against it.
    """
    found = [
        (provider, name)
        for provider, file in _FILE_OF_PROVIDER.items()
        for name in linked(folder / file)
        if name.startswith(("libcu", "libnv")) and name != _DRIVER
    ]
    has_cuda = any(provider == CUDA for provider, _ in found)
    return (*([(CUDA, _CUDNN)] if has_cuda else []), *found)


def judge_card(facts: CardFacts, *, device: str) -> list[Check]:
    """Judge cards and libraries.

    Parameters
    ----------
    facts : CardFacts
        Of this machine, or made up.
    device : str
        ``cuda`` where a card is wanted; else there need be none.

    Returns
    -------
    checks : list of Check
        One of the card; where it is wanted also of onnxruntime, its libraries, and TensorRT.
    """
    if device != "cuda":
        here = f"{'; '.join(facts.cards)}: --device cuda takes it" if facts.cards else "no card"
        return [fine("card", here)]
    checks = [_judge_driver(facts), _judge_runtime(facts)]
    if CUDA in facts.providers:
        checks += [_judge_libraries(facts), _judge_tensorrt(facts)]
    return checks


def _judge_driver(facts: CardFacts) -> Check:
    wanted = facts.runtime_cuda or max(FIRST_DRIVER)
    install = f"sudo apt-get install nvidia-driver-{FIRST_DRIVER.get(wanted, wanted)}"
    if facts.driver_cuda is None or not facts.cards:
        state = "no driver" if facts.driver_cuda is None else "a driver, but no card"
        fix = "docker run --gpus all ..." if facts.in_container else install
        return fault("card", f"{state} is to be seen", fix=fix)
    found = f"{'; '.join(facts.cards)}, for CUDA up to {facts.driver_cuda}"
    if facts.driver_cuda < wanted:
        return fault("card", f"{found}: onnxruntime was built for CUDA {wanted}", fix=install)
    return fine("card", found)


def _judge_runtime(facts: CardFacts) -> Check:
    if not facts.runtime:
        return fault("onnxruntime", "not installed", fix=INSTALL)
    found = f"{facts.runtime} with {', '.join(facts.providers)}"
    if CUDA not in facts.providers:
        return fault("onnxruntime", f"{found}: it knows no card", fix=INSTALL)
    return fine("onnxruntime", f"{found}, for CUDA {facts.runtime_cuda}")


def _judge_libraries(facts: CardFacts) -> Check:
    needed = [each for each in facts.libraries if each.provider == CUDA]
    missing = [each.name for each in needed if not each.is_found]
    if missing:
        found = f"{', '.join(missing)} cannot be loaded"
        return fault("cuda libraries", found, fix="pip install 'onnxruntime-gpu[cuda,cudnn]'")
    return fine("cuda libraries", ", ".join(each.name for each in needed))


def _judge_tensorrt(facts: CardFacts) -> Check:
    needed = [each for each in facts.libraries if each.provider == TENSORRT]
    missing = [each.name for each in needed if not each.is_found]
    if TENSORRT in facts.providers and not missing:
        return fine("tensorrt", "--engine tensorrt takes it")
    what = ", ".join(missing) or "its provider"
    return fine("tensorrt", f"without {what}; only --engine tensorrt needs it")


def _cards() -> tuple[str, ...]:
    program = shutil.which("nvidia-smi")
    if program is None:
        return ()
    with suppress(OSError, subprocess.SubprocessError):
        done = subprocess.run(
            [program, *_ASK_CARDS], capture_output=True, text=True, timeout=_ANSWER_S, check=True
        )
        return tuple(line.strip() for line in done.stdout.splitlines() if line.strip())
    return ()


def _driver_cuda() -> int | None:
    number = ctypes.c_int()
    try:
        # CUDA driver API, "Version Management": 1000 times the major version, and more.
        failed = ctypes.CDLL(_DRIVER).cuDriverGetVersion(ctypes.byref(number))
    except (OSError, AttributeError):
        return None
    return None if failed else number.value // 1000


def _major(version: str) -> int | None:
    first = version.partition(".")[0]
    return int(first) if first.isdigit() else None


def _loads(name: str) -> bool:
    try:
        ctypes.CDLL(name)
    except OSError:
        return False
    return True
