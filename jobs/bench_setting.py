"""What the figures of a benchmark depend on: machine, versions, configuration, audio."""

from __future__ import annotations

import os
import platform
import sys
import time
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

from bench_figures import cpu_of
from pydantic import BaseModel, ValidationError

from embedlib.errors import ConfigError

ROOT = Path(__file__).resolve().parents[1]
LIBRARIES = (
    *("embedlib", "essentia-tensorflow", "openvino", "numpy", "av", "soxr", "pyarrow"),
    *("deltalake", "ray"),
)

Config = TypeVar("Config", bound=BaseModel)


def machine(cores: Sequence[int]) -> dict[str, Any]:
    """Describe this machine."""
    name, flags = cpu_of(Path("/proc/cpuinfo").read_text())
    n_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    memory_gib = round(n_bytes / 2**30, 1)
    return {"cpu": name, "flags": flags, "n_cores": len(cores), "memory_gib": memory_gib}


def surroundings(verb: str, config: BaseModel, cores: Sequence[int]) -> dict[str, Any]:
    """Give what the figures depend on: time, machine, versions, configuration."""
    return {
        "benchmark": verb,
        "measured_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "machine": machine(cores),
        "load_average": os.getloadavg()[0],
        "versions": {"python": platform.python_version()} | {n: version(n) for n in LIBRARIES},
        "config": config.model_dump(mode="json"),
    }


def checked(kind: type[Config], values: Mapping[str, Any], *, origin: str) -> Config:
    """Check the values of a configuration, or name the key that is wrong."""
    try:
        return kind.model_validate(values)
    except ValidationError as exc:
        problem = exc.errors()[0]
        key = ".".join(str(part) for part in problem["loc"])
        raise ConfigError(f"{origin}: {key}: {problem['msg']}", fix="see configs/bench") from exc


def audio_files(folder: Path) -> list[Path]:
    """List the files of the folder; a file stands for itself."""
    if folder.is_file():
        return [folder.resolve()]
    files = sorted(f.resolve() for f in folder.iterdir() if f.is_file()) if folder.is_dir() else []
    if not files:
        raise ConfigError(f"no audio in {folder}", fix="name a folder of music by --audio")
    return files


def absolute_path(text: str) -> Path:
    """Read a path of the command line, which is relative to where the user is."""
    return Path(text).absolute()


def link_copies(files: Sequence[Path], folder: Path, *, n_copies: int = 1) -> Path:
    """Fill a new folder with links to files, each as often as the others."""
    folder.mkdir()
    for copy in range(n_copies):
        for file in files:
            (folder / f"{copy:03}-{file.name}").symlink_to(file)
    return folder


def machine_line(described: Mapping[str, Any]) -> str:
    """Say in a line on what was measured."""
    return f"{described['cpu']}, {described['n_cores']} cores, {' '.join(described['flags'])}"


def say(line: str) -> None:
    """Tell how far the measurement is."""
    print(line, file=sys.stderr, flush=True)
