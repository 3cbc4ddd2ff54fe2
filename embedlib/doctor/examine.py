"""Everything that is looked at, one after the other: read, then judged."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from embedlib.config import ExtractConfig
from embedlib.doctor.card import judge_card, read_card
from embedlib.doctor.cluster import judge_cluster, read_cluster
from embedlib.doctor.disks import judge_folder, judge_sockets, ray_folder, read_folder
from embedlib.doctor.install import judge_install, read_install, wanted_extras
from embedlib.doctor.memory import judge_memory, read_memory
from embedlib.doctor.processor import judge_processor, read_processor
from embedlib.doctor.store import judge_out, read_out
from embedlib.doctor.tokens import judge_token, read_token
from embedlib.doctor.verdict import Check
from embedlib.doctor.weights import judge_weights, read_weights
from embedlib.engines.engine import DEVICES
from embedlib.errors import ConfigError
from embedlib.models.folders import cache_folder
from embedlib.run.memory import object_store_bytes
from embedlib.tables.layout import output_root


def examine(
    *, out: str | None = None, address: str | None = None, device: str = "cpu"
) -> Iterator[Check]:
    """Look at this machine, and at what a run from here would use.

    Parameters
    ----------
    out : str or None
        Output that is wanted, a folder or a URL: written to and cleaned up again.
    address : str or None
        Ray cluster that is to be joined.
    device : {'cpu', 'cuda'}
        Where models are to run.

    Returns
    -------
    checks : iterator of Check
        Each as soon as it is known; stores and clusters, which may take a minute, come last.

    Raises
    ------
    ConfigError
        If there is no such device, or no output can lie there.

    Examples
    --------
    >>> next(examine()).name
    'python'
    """
    if device not in DEVICES:
        raise ConfigError(f"device={device!r} is unknown", fix=f"use one of {', '.join(DEVICES)}")
    folder = output_root(out) if out else None
    return _checks(out, folder if isinstance(folder, Path) else None, address, device)


def _checks(
    out: str | None, folder: Path | None, address: str | None, device: str
) -> Iterator[Check]:
    yield from judge_install(read_install(extras=wanted_extras(out=out, device=device)))
    yield from judge_processor(read_processor())
    yield from judge_memory(read_memory(store_bytes=_store_bytes()))
    yield from (judge_folder(read_folder(*each)) for each in _folders(folder))
    yield judge_sockets(ray_folder(os.environ))
    yield from judge_token(read_token(), joins=address is not None)
    yield from judge_card(read_card(), device=device)
    yield from judge_weights(read_weights())
    if out:
        yield from judge_out(read_out(out))
    if address:
        yield from judge_cluster(read_cluster(address))


def _folders(out: Path | None) -> Iterator[tuple[str, Path]]:
    yield "cache", cache_folder()
    yield "temporary folder", Path(tempfile.gettempdir())
    if out:
        yield "output", out


def _store_bytes() -> int:
    """Give the size of the object store of a run that leaves ``--budget-mb`` as it is."""
    budget_mb: int = ExtractConfig.model_fields["budget_mb"].default
    return object_store_bytes(budget_mb << 20)
