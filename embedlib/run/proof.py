"""How a node proves that it sees what the driver sees: the output, and the sources.

A mount that is not there looks to a worker like a catalogue of missing files, and a folder of the
same name on its own disk like the output. Neither must become rows.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from embedlib.catalog.allowed import ANYWHERE, Allowed
from embedlib.catalog.places import place
from embedlib.catalog.stores import Place
from embedlib.catalog.uris import absolute, is_url, masked, one_line, store_errors
from embedlib.errors import ConfigError, EmbedlibError, RunError
from embedlib.records import PartResult, Shard, Status, Track
from embedlib.run.run_folder import run_folder, write_record

NONCE_FILE = "nonce"

BLIND = "the worker did not see files that can be opened now"

PROOF_TRACKS = 12
"""Planned files that a node opens before it gets work."""

SHARD_TRACKS = 64
"""Files that are looked at again, of a shard that somebody did not see."""

MIN_UNSEEN = 8
"""Fewer files than this may be gone without a doubt in the one who says so."""

_UNSEEN = frozenset({Status.MISSING, Status.UNREADABLE})


@dataclass(frozen=True, slots=True)
class Proof:
    """What a node must see.

    Attributes
    ----------
    nonce_path : str
        A file in the output.
    nonce : str
        What it holds.
    tracks : tuple of Track
        Files of which it must open most, where there are enough to judge by.
    allowed : Allowed
        Where they may lie.
    """

    nonce_path: str
    nonce: str
    tracks: tuple[Track, ...]
    allowed: Allowed = ANYWHERE


class Witness:
    """Looks at the world from one node: a plain class, made an actor there by the driver."""

    def answer(self, question: Callable[..., Any], *arguments: Any) -> Any:
        """Call a function of this package here.

        Parameters
        ----------
        question : callable
            The function.
        *arguments : Any
            What it is called with.

        Returns
        -------
        answer : Any
            What it returns.
        """
        return question(*arguments)


def make_proof(
    out: Place,
    run_id: str,
    *,
    shards: Iterable[Shard],
    with_sources: bool,
    allowed: Allowed = ANYWHERE,
) -> Proof:
    """Write the file that nodes must find, and choose those that they must open.

    Parameters
    ----------
    out : Path or StorePath
        The output folder.
    run_id : str
        Name of the run.
    shards : iterable of Shard
        What is to be done, in the order in which it starts.
    with_sources : bool
        False where missing files are to be accepted: then only the output counts.
    allowed : Allowed
        Where the files may lie.

    Returns
    -------
    proof : Proof
        For `unseen`.

    Raises
    ------
    OutputError
        If the output cannot be written.
    """
    nonce = secrets.token_hex(16)
    write_record(out, run_id, name=NONCE_FILE, text=nonce)
    path = run_folder(out, run_id) / NONCE_FILE
    tracks = islice((track for shard in shards for track in shard.tracks), PROOF_TRACKS)
    return Proof(str(path.absolute()), nonce, tuple(tracks) if with_sources else (), allowed)


def unseen(proof: Proof) -> str:
    """Say what this machine does not see of what it must see.

    Parameters
    ----------
    proof : Proof
        The output and some files.

    Returns
    -------
    reason : str
        Of the first thing that it does not see; empty when it may work.
    """
    return _unseen_output(proof) or _unseen_sources(proof.tracks, proof.allowed)


def is_doubtful(n_unseen: int, n_tracks: int) -> bool:
    """Say whether so many files cannot be opened that the fault may be with who tried.

    Parameters
    ----------
    n_unseen, n_tracks : int
        Files that could not be opened, of how many.

    Returns
    -------
    is_doubtful : bool
        When it is more than half, and at least `MIN_UNSEEN`.

    Examples
    --------
    >>> is_doubtful(8, 15), is_doubtful(8, 16), is_doubtful(7, 7)
    (True, False, False)
    """
    return n_unseen >= MIN_UNSEEN and 2 * n_unseen > n_tracks


def is_doubtful_part(part: PartResult) -> bool:
    """Say whether a part looks as if its decoder had not seen the sources.

    Parameters
    ----------
    part : PartResult
        Not yet committed.

    Returns
    -------
    is_doubtful : bool
        By its tracks that are ``missing`` or ``unreadable``.
    """
    n_unseen = sum(n for status, n in part.statuses if status in _UNSEEN)
    return is_doubtful(n_unseen, part.n_rows)


def unseen_shard(shard: Shard, reason: str) -> RunError:
    """Make the error for a shard most of whose files cannot be opened by anybody.

    Parameters
    ----------
    shard : Shard
        The shard, of which nothing was committed.
    reason : str
        What was not seen, and by whom.

    Returns
    -------
    error : RunError
        To be raised.
    """
    return RunError(
        f"most files of shard {shard.shard_id} cannot be opened: {reason}",
        fix="bring the sources back, or take --accept-missing if the files are meant to be gone",
        shard_id=shard.shard_id,
    )


def is_unseen(error: RunError) -> bool:
    """Say whether a run stopped because files cannot be opened, by `unseen_shard`.

    Parameters
    ----------
    error : RunError
        That ended a run.

    Returns
    -------
    is_unseen : bool
        No other error of a run is about one shard.
    """
    return hasattr(error, "shard_id")


def second_look(shard: Shard, *, allowed: Allowed = ANYWHERE) -> str:
    """Try again to open files of a shard, from this process.

    Parameters
    ----------
    shard : Shard
        Most of whose files could not be opened.
    allowed : Allowed
        Where they may lie.

    Returns
    -------
    reason : str
        Why most of them still cannot; empty when they can.
    """
    return _unseen_sources(_sample(shard), allowed)


def shard_proof(proof: Proof, shard: Shard) -> Proof:
    """Ask for the files of one shard instead of the first ones.

    Parameters
    ----------
    proof : Proof
        Of the run.
    shard : Shard
        Whose files somebody did not see.

    Returns
    -------
    proof : Proof
        With up to `SHARD_TRACKS` of them, from all over the shard.
    """
    return replace(proof, tracks=_sample(shard))


def open_files(pid: int) -> tuple[str, ...]:
    """List the files that a process of this machine has open.

    Parameters
    ----------
    pid : int
        Of a process of the same user.

    Returns
    -------
    paths : tuple of str
        What its file descriptors point to; empty when it is gone.
    """
    paths = []
    # The process may end at any moment, and close any of its files.
    with suppress(OSError):
        for path in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):
                paths.append(os.readlink(path))
    return tuple(paths)


def _sample(shard: Shard) -> tuple[Track, ...]:
    return shard.tracks[:: -(-len(shard.tracks) // SHARD_TRACKS)]


def _unseen_output(proof: Proof) -> str:
    try:
        found = place(proof.nonce_path).read_text(encoding="utf-8")
    except OSError as exc:
        return f"{proof.nonce_path} ({exc.strerror})"
    except EmbedlibError as exc:  # a store that this machine cannot use
        return str(exc)
    return "" if found == proof.nonce else f"{proof.nonce_path} (it is another file there)"


def _unseen_sources(tracks: Sequence[Track], allowed: Allowed) -> str:
    reasons = [reason for track in tracks if (reason := _unopened(track, allowed))]
    if not is_doubtful(len(reasons), len(tracks)):
        return ""
    return f"{len(reasons)} of {len(tracks)} planned files, among them {reasons[0]}"


def _open_at_once(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)


def _unopened(track: Track, allowed: Allowed) -> str:
    """Say why a file cannot be opened; empty when it can."""
    uri = allowed.followed(absolute(track.uri))
    if refusal := allowed.refusal(uri):
        return masked(f"{track.uri} ({refusal})")
    try:
        if is_url(uri):
            store, path = allowed.store(uri)
            store.invalidate_cache(path)
            store.info(path)
        else:
            # Without waiting: it may be a pipe.
            with open(uri, "rb", opener=_open_at_once) as file:
                file.read(1)
    except ConfigError as exc:  # a package that this machine lacks
        return str(exc)
    except store_errors() as exc:
        reason = (isinstance(exc, OSError) and exc.strerror) or one_line(exc) or type(exc).__name__
        return masked(f"{track.uri} ({reason})")
    return ""
