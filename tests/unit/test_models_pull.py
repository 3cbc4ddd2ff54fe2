"""Fetching weights from a server that lies, stalls, breaks off or is not there."""

from __future__ import annotations

import hashlib
import json
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from embedlib.errors import ConfigError, HashMismatchError, ModelError, WeightsMissingError
from embedlib.models.builder import build_untrained
from embedlib.models.graph_writer import GraphWriter
from embedlib.models.heads import locate_head
from embedlib.models.pull import pull, pull_head
from embedlib.models.registry import model_spec
from embedlib.models.spec import ModelSpec
from embedlib.models.store import locate, weights_folder

VGG = model_spec("msd-vgg-1")
GRAPH = build_untrained(VGG)
SHA256 = hashlib.sha256(GRAPH).hexdigest()


HEAD = "mood_happy-msd-vgg-1"


def head_graph() -> bytes:
    writer = GraphWriter(scope="model")
    embeddings = writer.placeholder("Placeholder", shape=[-1, 256])
    writer.op("Softmax", "Softmax", [embeddings])
    return writer.serialise()


def metadata(*, node: str = "model/flatten/Reshape") -> bytes:
    outputs = [{"name": node, "output_purpose": "embeddings"}]
    return json.dumps({"schema": {"outputs": outputs}}).encode()


def head_metadata(*, n_classes: int = 256) -> bytes:
    document = {
        "classes": [f"class {index}" for index in range(n_classes)],
        "schema": {
            "inputs": [{"name": "model/Placeholder"}],
            "outputs": [{"name": "model/Softmax", "output_purpose": "predictions"}],
        },
        "inference": {"embedding_model": {"model_name": "msd-vgg-1"}},
    }
    return json.dumps(document).encode()


BODIES = {
    "/good": GRAPH,
    "/other": build_untrained(VGG, seed=1),
    "/described.pb": GRAPH,
    "/described.json": metadata(),
    "/misdescribed.pb": GRAPH,
    "/misdescribed.json": metadata(node="model/dense/BiasAdd"),
    "/page.pb": GRAPH,
    "/page.json": b"<html>",
    "/broken.pb": GRAPH,
    f"/heads/mood_happy/{HEAD}.pb": head_graph(),
    f"/heads/mood_happy/{HEAD}.json": head_metadata(),
    f"/alone/mood_happy/{HEAD}.pb": head_graph(),
    f"/wrong/mood_happy/{HEAD}.pb": head_graph(),
    f"/wrong/mood_happy/{HEAD}.json": head_metadata(n_classes=2),
}


class Handler(BaseHTTPRequestHandler):
    released = threading.Event()

    def do_GET(self) -> None:
        if self.path == "/broken.json":
            self.send_error(500)
            return
        if self.path.endswith(("404", ".json")) and self.path not in BODIES:
            self.send_error(404)
            return
        self.send_response(200)
        body = BODIES.get(self.path, b"<html>")
        if self.path == "/truncated":
            self.send_header("Content-Length", str(len(GRAPH)))
            body = GRAPH[:1000]
        elif self.path == "/unsized":
            body = GRAPH
        else:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.path == "/slow":
            self.released.wait(10)
            return
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Keep the test's output clean."""


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        Handler.released.set()
        server.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMBEDLIB_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("EMBEDLIB_MODELS", raising=False)
    monkeypatch.setenv("no_proxy", "127.0.0.1")


def spec_at(*urls: str, sha256: str | None = SHA256) -> ModelSpec:
    return replace(VGG, weights=replace(VGG.weights, urls=urls, sha256=sha256))


def nothing_is_left() -> bool:
    return not weights_folder().exists() or not list(weights_folder().iterdir())


@pytest.mark.parametrize("path", ["/good", "/unsized"])
def test_a_pulled_file_is_checked_locked_and_found(server: str, path: str) -> None:
    spec = spec_at(f"{server}{path}")
    file = pull(spec)
    lock = json.loads(file.path.with_suffix(".lock.json").read_text())
    assert file.path.read_bytes() == GRAPH
    assert lock == {"file": "msd-vgg-1.pb", "sha256": SHA256, "source": f"{server}{path}"}
    assert locate(spec) == file


def test_progress_ends_at_the_size_that_the_server_said(server: str) -> None:
    seen: list[tuple[int, int | None]] = []
    pull(spec_at(f"{server}/good"), on_progress=lambda *counts: seen.append(counts))
    assert seen[-1] == (len(GRAPH), len(GRAPH))
    assert seen == sorted(seen)


def test_a_file_that_is_there_is_not_fetched_again(server: str) -> None:
    file = pull(spec_at(f"{server}/good"))
    assert pull(spec_at(f"{server}/404")) == file


def test_the_next_url_is_tried_when_one_fails(server: str) -> None:
    urls = [f"{server}{path}" for path in ("/404", "/truncated", "/html", "/other", "/good")]
    assert pull(spec_at(*urls)).sha256 == SHA256


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/404", "/404: HTTP status 404"),
        ("/truncated", "the connection ended after 1000 of"),
        ("/slow", "/slow: no answer in time"),
    ],
)
def test_a_failed_download_says_why_in_one_line_and_leaves_nothing(
    server: str, path: str, message: str
) -> None:
    with pytest.raises(ModelError, match=message) as caught:
        pull(spec_at(f"{server}{path}"), timeout_s=0.3)
    assert "\n" not in str(caught.value)
    assert "EMBEDLIB_MODELS" in caught.value.fix
    assert nothing_is_left()


def test_without_a_server_the_error_is_one_line() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/x"
        with pytest.raises(ModelError, match=r"could not be fetched .*Connection refused"):
            pull(spec_at(url))


def test_another_file_than_the_pinned_one_is_refused_and_not_kept(server: str) -> None:
    with pytest.raises(HashMismatchError, match=f"expected {SHA256}"):
        pull(spec_at(f"{server}/other"))
    assert nothing_is_left()


def test_an_unknown_hash_is_locked_only_by_the_users_word(server: str) -> None:
    spec = spec_at(f"{server}/good", sha256=None)
    with pytest.raises(ConfigError, match="no sha256 of msd-vgg-1 is known; add --trust-first"):
        pull(spec)
    assert nothing_is_left()
    assert pull(spec, trust_first=True).sha256 == SHA256
    assert pull(spec).sha256 == SHA256


def test_a_page_is_not_locked_even_when_the_first_file_is_trusted(server: str) -> None:
    with pytest.raises(ModelError, match="is not a TensorFlow graph"):
        pull(spec_at(f"{server}/html", sha256=None), trust_first=True)
    assert nothing_is_left()


def test_a_locked_hash_holds_for_later_downloads(server: str) -> None:
    file = pull(spec_at(f"{server}/good", sha256=None), trust_first=True)
    file.path.unlink()
    with pytest.raises(HashMismatchError):
        pull(spec_at(f"{server}/other", sha256=None), trust_first=True)


def test_metadata_are_kept_beside_the_weights(server: str) -> None:
    file = pull(spec_at(f"{server}/described.pb"))
    assert file.path.with_suffix(".json").read_bytes() == metadata()
    assert locate(VGG) == file


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("/misdescribed.pb", "misdescribed.json gives embeddings node 'model/dense/BiasAdd'"),
        ("/page.pb", "page.json is damaged: the file: Invalid JSON"),
        ("/broken.pb", "broken.pb: HTTP status 500"),
    ],
)
def test_metadata_that_are_there_have_to_be_right(server: str, path: str, error: str) -> None:
    with pytest.raises(ModelError, match=error):
        pull(spec_at(f"{server}{path}"))
    assert nothing_is_left()


def test_a_pulled_head_is_locked_and_found(server: str) -> None:
    head = pull_head(HEAD, trust_first=True, base_url=f"{server}/heads")
    assert head.path.read_bytes() == head_graph()
    assert locate_head(HEAD, model=VGG) == head
    assert pull_head(HEAD, base_url=f"{server}/404") == head


def test_the_hash_of_a_head_is_locked_only_by_the_users_word(server: str) -> None:
    with pytest.raises(ConfigError, match=f"no sha256 of {HEAD} is known; add --trust-first"):
        pull_head(HEAD, base_url=f"{server}/heads")
    assert nothing_is_left()


def test_a_head_that_lost_its_metadata_gets_them_again(server: str) -> None:
    head = pull_head(HEAD, trust_first=True, base_url=f"{server}/heads")
    head.path.with_suffix(".json").unlink()
    assert pull_head(HEAD, base_url=f"{server}/heads") == head
    assert locate_head(HEAD, model=VGG) == head


@pytest.mark.parametrize(
    ("folder", "message"),
    [
        ("alone", f"there is no .*{HEAD}.json, which would name the classes"),
        ("wrong", "gives 256 values, its metadata name 2 classes"),
        ("gone", "is not a TensorFlow graph|there is no"),
    ],
)
def test_half_a_head_is_not_kept(server: str, folder: str, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        pull_head(HEAD, trust_first=True, base_url=f"{server}/{folder}")
    assert nothing_is_left()


def test_what_is_no_head_of_a_known_model_is_not_fetched(server: str) -> None:
    with pytest.raises(ConfigError, match="'msd-vgg-2' is not the name of a head; name it TASK-"):
        pull_head("msd-vgg-2", trust_first=True, base_url=server)


def test_weights_that_nobody_gives_out_are_not_searched_for() -> None:
    with pytest.raises(WeightsMissingError, match="never published; bring your own"):
        pull(model_spec("msd-vgg-t200"))
    with pytest.raises(ConfigError, match="use `embedlib models build msd-vgg-1`"):
        pull(model_spec("untrained-msd-vgg-1"))
