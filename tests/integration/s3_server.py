"""An S3 server on this machine, in a process of its own: moto, with the atomicity of real stores.

Run as a script it prints its URL, and creates the bucket ``store``. Its only argument says how it
treats conditional writes: ``atomic`` as S3 does, ``ignores`` or ``refuses`` them as some other
stores do. It knows one pair of keys, and fails the next N requests after ``POST /fail?N``.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterable
from typing import Any

ACCESS_KEY = "rightkey"
BUCKET = "store"

Start = Callable[[str, list[tuple[str, str]]], object]


class Store:
    """A WSGI application around moto's."""

    def __init__(self, app: Any, conditions: str) -> None:
        self._app = app
        self._conditions = conditions
        self._n_failing = 0
        # moto looks and then stores, in two steps; a store does both in one.
        self._write = threading.Lock()

    def __call__(self, environ: dict[str, Any], start: Start) -> Iterable[bytes]:
        if environ["PATH_INFO"] == "/fail":
            self._n_failing = int(environ["QUERY_STRING"])
            return _answer(start, "200 OK", "")
        if self._n_failing:
            self._n_failing -= 1
            return _error(start, "503 Service Unavailable", "ServiceUnavailable", "Come back.")
        if ACCESS_KEY not in environ.get("HTTP_AUTHORIZATION", ""):
            return _error(
                start, "403 Forbidden", "InvalidAccessKeyId", "The key that you gave is unknown."
            )
        if "HTTP_IF_NONE_MATCH" in environ and self._conditions == "refuses":
            return _error(start, "501 Not Implemented", "NotImplemented", "A header is unknown.")
        if self._conditions == "ignores":
            environ.pop("HTTP_IF_NONE_MATCH", None)
        if environ["REQUEST_METHOD"] == "GET":
            return list(self._app(environ, start))
        with self._write:
            return list(self._app(environ, start))


def _error(start: Start, status: str, code: str, message: str) -> list[bytes]:
    return _answer(start, status, f"<Error><Code>{code}</Code><Message>{message}</Message></Error>")


def _answer(start: Start, status: str, text: str) -> list[bytes]:
    start(status, [("Content-Type", "application/xml"), ("Content-Length", str(len(text)))])
    return [text.encode()]


def serve(conditions: str) -> None:
    """Answer until the process is ended."""
    import boto3
    from moto.server import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import WSGIRequestHandler, make_server

    class Handler(WSGIRequestHandler):
        protocol_version = "HTTP/1.1"

        def log(self, type: str, message: str, *args: Any) -> None:
            """Say nothing."""

    app = Store(DomainDispatcherApplication(create_backend_app), conditions)
    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    client = boto3.client(
        "s3",
        endpoint_url=url,
        region_name="us-east-1",
        aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key="secret",
    )
    client.create_bucket(Bucket=BUCKET)
    print(url, flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    serve(sys.argv[1])
