"""Waiting for a store: what passes is outlasted, what does not is told at once, in one line."""

from __future__ import annotations

import errno
from collections.abc import Callable

import pytest
from aiohttp import ClientResponseError, ServerDisconnectedError
from botocore.exceptions import EndpointConnectionError, NoCredentialsError, ReadTimeoutError

from embedlib.catalog import patience
from embedlib.catalog.patience import is_transient, patiently, reason_of, unanswered


@pytest.fixture(autouse=True)
def no_delays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "DELAYS_S", (0.0, 0.0, 0.0))


def failing(*errors: Exception) -> tuple[Callable[[], str], list[Exception]]:
    left = list(errors)

    def work() -> str:
        if left:
            raise left.pop(0)
        return "answer"

    return work, left


def http(status: int) -> ClientResponseError:
    return ClientResponseError(None, (), status=status)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "error",
    [
        TimeoutError(),
        ConnectionResetError(),
        OSError(errno.EBUSY, "slow down"),
        OSError(errno.EREMOTEIO, "internal error"),
        EndpointConnectionError(endpoint_url="http://h"),
        ReadTimeoutError(endpoint_url="http://h"),
        ServerDisconnectedError(),
        http(503),
        http(429),
    ],
)
def test_what_may_pass_is_tried_again(error: Exception) -> None:
    assert is_transient(error)
    work, left = failing(error, error)
    assert (patiently(work), left) == ("answer", [])


@pytest.mark.parametrize(
    "error",
    [FileNotFoundError(), FileExistsError(), PermissionError(), NoCredentialsError(), http(403)],
)
def test_what_does_not_pass_is_told_at_once(error: Exception) -> None:
    assert not is_transient(error)
    work, left = failing(error, error)
    with pytest.raises(type(error)):
        patiently(work)
    assert len(left) == 1


def test_patience_has_an_end() -> None:
    work, left = failing(*[TimeoutError(str(n)) for n in range(9)])
    with pytest.raises(TimeoutError, match="3"):
        patiently(work)
    assert len(left) == 5


def test_a_fault_of_the_code_is_no_trouble_of_the_store() -> None:
    work, left = failing(KeyError("x"), KeyError("x"))
    with pytest.raises(KeyError):
        patiently(work)
    assert len(left) == 1


def test_the_tree_that_delta_rs_draws_becomes_one_line_without_the_answer_of_the_store() -> None:
    drawn = (
        "Generic S3 error\n   \x1b[31m↳\x1b[0m Error performing GET http://h/b?list-type=2 in 3ms"
        "\n    \x1b[31m↳\x1b[0m 403 Forbidden\n     \x1b[31m↳\x1b[0m <Error><AWSAccessKeyId>AKIA"
    )
    expected = "Generic S3 error: Error performing GET http://h/b?*** in 3ms: 403 Forbidden"
    assert reason_of(OSError(drawn)) == expected


def test_an_error_without_words_is_told_by_its_name() -> None:
    assert reason_of(TimeoutError()) == "TimeoutError"


def test_the_error_for_people_names_the_store_and_no_credentials() -> None:
    error = str(unanswered("https://ann:secret@host/out", OSError("sent to https://h/?key=hush")))
    assert error.startswith("cannot use the store of https://***@host/out: sent to https://h/?***;")
