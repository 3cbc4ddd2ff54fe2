"""The output that is asked for: written, read, created twice, deleted, as a run does."""

from __future__ import annotations

import time
import uuid
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from embedlib.catalog.patience import reason_of
from embedlib.catalog.stores import Place, StorePath
from embedlib.catalog.uris import filesystem, store_errors
from embedlib.doctor.clocks import ClockFacts, judge_clock
from embedlib.doctor.disks import FIXES, nearest
from embedlib.doctor.verdict import Check, fault, fine, warning
from embedlib.errors import EmbedlibError, RunError
from embedlib.tables.durable import create_if_absent
from embedlib.tables.layout import output_root

SLOW_S = 1.0
"""A commit asks for some dozens of small objects."""


@dataclass(frozen=True, slots=True)
class Client:
    """The tools of a kind of store.

    Attributes
    ----------
    login : str
        Gives it credentials.
    make : str
        Makes a bucket.
    endpoint : str
        Where it is asked, for a shell.
    """

    login: str
    make: str
    endpoint: str


CLIENTS = {
    "s3": Client(
        "aws configure", "aws s3 mb s3://{}", '"${AWS_ENDPOINT_URL:-https://s3.amazonaws.com}"'
    ),
    "gs": Client(
        "gcloud auth application-default login",
        "gcloud storage buckets create gs://{}",
        "https://storage.googleapis.com",
    ),
    "az": Client(
        "az login",
        "az storage container create --name {}",
        '"https://$AZURE_STORAGE_ACCOUNT_NAME.blob.core.windows.net"',
    ),
}
"""By the protocol of the URLs of outputs."""

_REFUSED = frozenset(
    {"PermissionError", "NoCredentialsError", "ClientAuthenticationError", "GoogleAuthError"}
    | {"DefaultCredentialsError", "RefreshError", "TokenRetrievalError", "PartialCredentialsError"}
)
# Of fsspec's file systems, botocore, Azure and Google.


class Creation(StrEnum):
    """What becomes of two that create one file."""

    ONE_WINS = "one wins"
    BOTH_WIN = "both win"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class OutFacts:
    """What an output answers.

    Attributes
    ----------
    place : str
        Where it was tried: the URL, or the nearest folder that is there.
    problem : str
        What did not work; empty where everything did.
    cause : str
        Class of the error behind it.
    advice : str
        The way out that the error itself names.
    creation : Creation
        Of one file by two.
    read_s : float
        Seconds until a small file was there.
    clock : ClockFacts or None
        Its time; None where it does not tell.
    """

    place: str
    problem: str = ""
    cause: str = ""
    advice: str = ""
    creation: Creation = Creation.ONE_WINS
    read_s: float = 0.0
    clock: ClockFacts | None = None


def read_out(out: str) -> OutFacts:
    """Try an output: a file of a name of its own is written, read and deleted.

    A store that does not answer is given a minute, as in a run.

    Parameters
    ----------
    out : str
        Folder or URL.

    Returns
    -------
    facts : OutFacts
        What it answered. A folder that is not there is not made.

    Raises
    ------
    ConfigError
        If no output can lie there.
    """
    root = output_root(out)
    place = nearest(root) if isinstance(root, Path) else root
    try:
        return _tried(place)
    except EmbedlibError as exc:
        behind = exc.__cause__ if isinstance(exc, RunError) and exc.__cause__ else exc
        return OutFacts(str(place), str(exc.args[0]), type(behind).__name__, exc.fix)
    except store_errors() as exc:
        problem = f"{place} cannot be written to: {reason_of(exc)}"
        return OutFacts(str(place), problem, type(exc).__name__)


def judge_out(facts: OutFacts) -> list[Check]:
    """Judge an output.

    Parameters
    ----------
    facts : OutFacts
        What it answered, or made up.

    Returns
    -------
    checks : list of Check
        One of the output, and one of its clock where that is known.
    """
    clock = [judge_clock(facts.clock)] if facts.clock else []
    return [_judge_place(facts), *clock]


def _judge_place(facts: OutFacts) -> Check:
    if facts.problem:
        return fault("store", facts.problem, fix=_fix(facts))
    if facts.creation is Creation.REFUSED:
        return fault(
            "store",
            f"{facts.place} takes no conditional writes, without which nothing can be committed",
            fix="embedlib extract ... --out /a/local/folder",
        )
    if facts.creation is Creation.BOTH_WIN:
        return fault(
            "store",
            f"{facts.place} lets two writers create one file, so that two runs would lose rows",
            fix="embedlib extract ... --single-writer",
        )
    found = f"{facts.place} can be written, read and locked; {1000 * facts.read_s:.0f} ms a read"
    if facts.read_s > SLOW_S:
        return warning("store", found, fix=_ask(facts.place))
    return fine("store", found)


def _fix(facts: OutFacts) -> str:
    protocol, _, rest = facts.place.partition("://")
    if facts.cause == "ConfigError":
        return facts.advice
    if not rest:
        is_refused = facts.cause == "PermissionError"
        return f'sudo chown "$USER" {facts.place}' if is_refused else FIXES["output"]
    if facts.cause in _REFUSED:
        return CLIENTS[protocol].login
    if facts.cause == "FileNotFoundError":
        return CLIENTS[protocol].make.format(rest.partition("/")[0])
    return _ask(facts.place)


def _ask(place: str) -> str:
    client = CLIENTS.get(place.partition("://")[0])
    return f"curl --head {client.endpoint}" if client else f"df --human-readable {place}"


def _tried(place: Place) -> OutFacts:
    probe = place / f".embedlib-doctor-{uuid.uuid4().hex}"
    before_s = time.time()
    probe.write_bytes(b"")
    after_s = time.time()
    try:
        probe.read_bytes()  # the connection is there from now on
        started_s = time.monotonic()
        probe.read_bytes()
        read_s = time.monotonic() - started_s
        told_s = _modified_s(probe)
    finally:
        _remove(probe)
    clock = None if told_s is None else ClockFacts(str(place), before_s, told_s, after_s)
    return OutFacts(str(place), creation=_creation(place), read_s=read_s, clock=clock)


def _modified_s(probe: Place) -> float | None:
    if isinstance(probe, Path):
        return probe.stat().st_mtime
    store, key = filesystem(probe.url)
    try:
        modified_s: float = store.modified(key).timestamp()
    except NotImplementedError:
        return None
    return modified_s


def _creation(place: Place) -> Creation:
    try:
        is_exclusive = _is_exclusive(place)
    except RunError:
        return Creation.REFUSED
    return Creation.ONE_WINS if is_exclusive else Creation.BOTH_WIN


def _is_exclusive(place: Place) -> bool:
    if isinstance(place, StorePath):
        return place.is_exclusive()
    probe = place / f".embedlib-doctor-{uuid.uuid4().hex}"
    try:
        return create_if_absent(probe, b"") and not create_if_absent(probe, b"")
    finally:
        _remove(probe)


def _remove(probe: Place) -> None:
    """Delete a probe; what went wrong before is what is reported."""
    with suppress(RunError, OSError):
        probe.unlink(missing_ok=True)
