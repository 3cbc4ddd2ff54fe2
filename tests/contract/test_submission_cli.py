"""`embedlib submission-id`: what it asks a cluster, and what it says when none answers."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from ray.job_submission import JobStatus
from typer.testing import CliRunner

from embedlib.cli.app import app
from embedlib.errors import RunError
from embedlib.run.submission import submission_id


@contextmanager
def cluster_with(jobs: dict[str, str], *, status: int = 200) -> Iterator[str]:
    """Answer what the dashboard of Ray 2.60 answers, at the address that is given."""
    rows = [
        {"type": "SUBMISSION", "submission_id": job, "status": state, "entrypoint": "x"}
        for job, state in jobs.items()
    ]
    shell = {"type": "DRIVER", "job_id": "01000000", "status": "RUNNING", "entrypoint": "x"}
    version = {"version": "4", "ray_version": "2.60.0", "ray_commit": "x"}

    class Dashboard(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()
            answer = version if self.path == "/api/version" else [shell, *rows]
            self.wfile.write(json.dumps(answer).encode())

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Dashboard) as server:
        threading.Thread(target=server.serve_forever).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(autouse=True)
def _token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN", "0" * 64)
    for variable in ("RAY_API_SERVER_ADDRESS", "RAY_ADDRESS"):
        monkeypatch.delenv(variable, raising=False)


@pytest.mark.parametrize("state", list(JobStatus), ids=str)
def test_the_name_follows_the_state_of_the_job_on_the_cluster(
    tmp_path: Path, state: JobStatus
) -> None:
    first = submission_id(str(tmp_path))
    with cluster_with({first: state.value}) as address:
        done = CliRunner().invoke(app, ["submission-id", str(tmp_path), "--address", address])
    n_try = 1 if state in {JobStatus.PENDING, JobStatus.RUNNING} else 2
    assert (done.exit_code, done.stdout) == (0, f"{first[:-1]}{n_try}\n")


def test_the_variable_that_ray_reads_gives_the_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = submission_id(str(tmp_path))
    with cluster_with({first: "FAILED"}) as address:
        monkeypatch.setenv("RAY_API_SERVER_ADDRESS", address)
        done = CliRunner().invoke(app, ["submission-id", str(tmp_path), "--json"])
    assert json.loads(done.stdout)["submission_id"] == f"{first[:-1]}2"


@pytest.mark.parametrize("status", [401, 403, 500])
def test_a_cluster_that_does_not_tell_is_an_error_of_one_line(tmp_path: Path, status: int) -> None:
    with cluster_with({}, status=status) as address:
        done = CliRunner().invoke(app, ["submission-id", str(tmp_path), "--address", address])
    assert isinstance(done.exception, RunError)
    assert "cannot be listed" in str(done.exception)
    assert "\n" not in str(done.exception)
    assert done.stdout == ""


@pytest.mark.parametrize("address", ["http://127.0.0.1:1", "http://[", "nope://x"])
def test_an_address_where_no_cluster_is_is_an_error(tmp_path: Path, address: str) -> None:
    done = CliRunner().invoke(app, ["submission-id", str(tmp_path), "--address", address])
    assert isinstance(done.exception, RunError)
    assert f"cluster at '{address}' cannot be listed" in str(done.exception)
