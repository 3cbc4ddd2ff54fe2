"""The stores of the kill matrix: a folder, and an S3 server on this machine."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import s3fs

from embedlib.errors import RunError

SERVER = Path(__file__).resolve().parents[1] / "tests" / "integration" / "s3_server.py"
BUCKET = "s3://store"


@contextmanager
def s3_server() -> Iterator[dict[str, str]]:
    """Run an S3 server, of which only one creator of a file is told that it was first.

    Yields
    ------
    environment : dict of str to str
        Of those who may read and write there.

    Raises
    ------
    RunError
        If it does not start.
    """
    line = [sys.executable, str(SERVER), "atomic"]
    with subprocess.Popen(line, stdout=subprocess.PIPE, text=True) as server:
        try:
            url = server.stdout.readline().strip() if server.stdout else ""
            if not url:
                raise RunError("the S3 server did not start", fix="pip install 'embedlib[dev]'")
            yield {
                "AWS_ENDPOINT_URL": url,
                "AWS_ACCESS_KEY_ID": "rightkey",
                "AWS_SECRET_ACCESS_KEY": "secret",
                "AWS_DEFAULT_REGION": "us-east-1",
                "AWS_EC2_METADATA_DISABLED": "true",
            }
        finally:
            server.kill()


@contextmanager
def exported(values: Mapping[str, str]) -> Iterator[None]:
    """Have variables in the environment of this process, which reads from the store too.

    Parameters
    ----------
    values : mapping of str to str
        Variables; those that were set before are set again at the end.
    """
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    s3fs.S3FileSystem.clear_instance_cache()  # clients keep the address that they began with
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value
        s3fs.S3FileSystem.clear_instance_cache()
