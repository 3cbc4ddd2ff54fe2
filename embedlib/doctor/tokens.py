"""The token of Ray: whether it is demanded, there, and known to nobody else."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from embedlib.doctor.verdict import Check, fault, fine, warning

NODE_PROCESSES = ("gcs_server", "raylet")
"""Of a node those that listen, by their names in the system."""

_MODE, _TOKEN, _PATH = "RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


@dataclass(frozen=True, slots=True)
class TokenFacts:
    """What Ray would find.

    Attributes
    ----------
    mode : str
        Of ``RAY_AUTH_MODE``; empty where it is not set.
    is_in_environment : bool
        Whether the token itself is in a variable.
    path : str
        Of the file that would hold it else.
    permissions : int or None
        Of that file; None where it is not there, or empty.
    open_processes : tuple of str
        Processes of Ray on this machine that demand no token.
    """

    mode: str
    is_in_environment: bool
    path: str
    permissions: int | None
    open_processes: tuple[str, ...]


def read_token(
    environment: Mapping[str, str] = os.environ,
    *,
    home: Path | None = None,
    processes: Path = Path("/proc"),
) -> TokenFacts:
    """Look for the token where Ray does, and for nodes that demand none.

    Parameters
    ----------
    environment : mapping of str to str
        Of this process.
    home : Path or None
        Of this user.
    processes : Path
        Where Linux shows processes; those of other users keep their environment to themselves.

    Returns
    -------
    facts : TokenFacts
        Without the token.
    """
    default = (home or Path.home()) / ".ray" / "auth_token"
    path = Path(environment.get(_PATH) or default)
    return TokenFacts(
        mode=environment.get(_MODE, ""),
        is_in_environment=bool(environment.get(_TOKEN)),
        path=str(path),
        permissions=_permissions(path),
        open_processes=tuple(filter(None, map(_open_process, sorted(processes.glob("[0-9]*"))))),
    )


def judge_token(facts: TokenFacts, *, joins: bool) -> list[Check]:
    """Judge token and nodes.

    Parameters
    ----------
    facts : TokenFacts
        Of this machine, or made up.
    joins : bool
        Whether a run is to join a cluster. One that starts its own makes a token for it.

    Returns
    -------
    checks : list of Check
        One of the token, one of its file where others may read it, and one where a node of this
        machine demands none.
    """
    return [
        _judge_token(facts, joins=joins),
        *_judge_file(facts, joins=joins),
        *_judge_nodes(facts),
    ]


def _judge_token(facts: TokenFacts, *, joins: bool) -> Check:
    if facts.mode.lower() not in ("", "token"):
        found = f"{_MODE}={facts.mode}: whoever reaches a port of Ray may run code here"
        return fault("ray token", found, fix=f"export {_MODE}=token")
    if facts.is_in_environment:
        return fine("ray token", f"in {_TOKEN}")
    if facts.permissions is not None:
        return fine("ray token", f"in {facts.path}")
    if joins:
        found = f"neither in {_TOKEN} nor in {facts.path}"
        return fault("ray token", found, fix=f"scp HEAD:.ray/auth_token {facts.path}")
    return fine("ray token", "none; a run here makes its own")


def _judge_file(facts: TokenFacts, *, joins: bool) -> list[Check]:
    # Ray 2.60 itself writes the file with the permissions that the umask leaves.
    if facts.permissions is None or not facts.permissions & _OTHERS:
        return []
    judge = fault if joins else warning
    found = f"{facts.path} has the permissions {facts.permissions:04o}: others may use it"
    return [judge("ray token file", found, fix=f"chmod 600 {facts.path}")]


def _judge_nodes(facts: TokenFacts) -> list[Check]:
    if not facts.open_processes:
        return []
    found = f"{', '.join(facts.open_processes)}: no token is demanded of who connects"
    fix = f"ray stop && {_MODE}=token ray start --head"
    return [fault("ray nodes here", found, fix=fix)]


def _permissions(path: Path) -> int | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return stat.S_IMODE(found.st_mode) if found.st_size else None


def _open_process(folder: Path) -> str:
    """Name a process of Ray without token; empty for all others."""
    try:
        name = (folder / "comm").read_text().strip()
        if name not in NODE_PROCESSES:
            return ""
        settings = (folder / "environ").read_bytes().lower().split(b"\0")
    except OSError:  # it has ended, or belongs to somebody else
        return ""
    return "" if f"{_MODE}=token".lower().encode() in settings else f"{name} {folder.name}"
