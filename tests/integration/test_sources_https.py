"""Servers that send a reader elsewhere: to other services of this machine, or in circles.

Every address is on this machine; a stub stands in for the resolver where a name is asked for.
"""

from __future__ import annotations

import http.server
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest
from aiohttp.resolver import ThreadedResolver

from embedlib.audio import fetch
from embedlib.audio.fetch import local_copy
from embedlib.catalog import http_guard
from embedlib.catalog.http_guard import MAX_REDIRECTS, HttpGuard
from embedlib.catalog.listing import allowed_places, list_sources
from embedlib.errors import SourceRefusedError, UnreadableAudioError
from embedlib.records import Track

METADATA = "http://169.254.169.254/latest/a.wav"
AUDIO = b"RIFF" * 100


@dataclass
class Server:
    """A server whose files are set by the test, and the paths that it was asked for."""

    url: str
    files: dict[str, bytes] = field(default_factory=dict)
    endless: set[str] = field(default_factory=set)
    redirects: dict[str, str] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)


def handler_of(server: Server) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            server.asked.append(self.path)
            if self.path in server.redirects:
                self.send_response(302)
                self.send_header("Location", server.redirects[self.path])
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            if self.path in server.endless:
                self.send_response(200)
                self.end_headers()
                with suppress(ConnectionError):
                    while self.command == "GET":
                        self.wfile.write(AUDIO * 1000)
                return
            content = server.files.get(self.path)
            self.send_response(404 if content is None else 200)
            self.send_header("Content-Length", str(len(content or b"")))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(content or b"")

        do_HEAD = do_GET

        def log_message(self, *args: object) -> None:
            pass

    return Handler


@pytest.fixture
def serve() -> Iterator[Callable[[], Server]]:
    running: list[tuple[http.server.ThreadingHTTPServer, threading.Thread]] = []

    def start() -> Server:
        server = Server("")
        web = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler_of(server))
        server.url = f"http://127.0.0.1:{web.server_port}"
        thread = threading.Thread(target=web.serve_forever, args=(0.01,))  # polls for its end
        thread.start()
        running.append((web, thread))
        return server

    yield start
    for web, thread in running:
        web.shutdown()
        thread.join()
        web.server_close()


@pytest.fixture
def named(serve: Callable[[], Server]) -> Server:
    """The server that the user has named."""
    server = serve()
    server.files["/a.wav"] = AUDIO
    return server


@pytest.fixture
def internal(serve: Callable[[], Server]) -> Server:
    """A server behind the firewall, such as a dashboard."""
    server = serve()
    server.files |= {"/a.wav": b"secret", "/open/a.wav": AUDIO, "/closed/a.wav": b"secret"}
    return server


@pytest.fixture
def resolve_to(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Let all names have one address."""

    def resolve(address: str) -> None:
        class Stub(ThreadedResolver):
            async def resolve(self, host: str, *args: Any, **options: Any) -> Any:
                found = await super().resolve(address, *args, **options)
                return [{**each, "hostname": host} for each in found]

        monkeypatch.setattr(aiohttp.connector, "DefaultResolver", Stub)
        http_guard._web.cache_clear()

    return resolve


def fetched(url: str, *sources: str, roots: tuple[str, ...] = ()) -> bytes:
    """Read a file as a worker of a run over these sources does."""
    allowed = allowed_places(sources, roots=roots)
    with local_copy(Track("t", url, -1, ""), allowed=allowed) as audio, open(audio.path, "rb") as f:
        return f.read()


def test_an_address_that_the_user_has_named_is_read(named: Server) -> None:
    url = f"{named.url}/a.wav"
    assert [track.size for track in list_sources([url])] == [len(AUDIO)]
    assert fetched(url, url) == AUDIO


def test_a_redirect_on_one_server_is_followed(named: Server) -> None:
    named.redirects["/old.wav"] = "/a.wav"
    url = f"{named.url}/old.wav"
    assert fetched(url, url) == AUDIO


def test_a_redirect_to_another_service_of_this_machine_is_refused(
    named: Server, internal: Server
) -> None:
    url = f"{named.url}/old.wav"
    named.redirects["/old.wav"] = f"{internal.url}/a.wav"
    with pytest.raises(SourceRefusedError, match=r"127\.0\.0\.1, which is not public"):
        list(list_sources([url]))
    with pytest.raises(UnreadableAudioError, match=r"is refused: 127\.0\.0\.1 has the address"):
        fetched(url, url)
    assert internal.asked == []


def test_a_redirect_to_the_metadata_of_a_cloud_is_refused(named: Server) -> None:
    url = f"{named.url}/old.wav"
    named.redirects["/old.wav"] = METADATA
    with pytest.raises(UnreadableAudioError, match=r"169\.254\.169\.254, which is not public"):
        fetched(url, url)


def test_a_redirect_by_name_to_this_machine_is_refused(
    named: Server, internal: Server, resolve_to: Callable[[str], None]
) -> None:
    resolve_to("127.0.0.1")
    url = f"{named.url}/old.wav"
    named.redirects["/old.wav"] = internal.url.replace("127.0.0.1", "cdn.test") + "/a.wav"
    with pytest.raises(UnreadableAudioError, match=r"cdn\.test has the address 127\.0\.0\.1"):
        fetched(url, url)
    assert internal.asked == []


def test_a_manifest_from_elsewhere_does_not_reach_this_machine(
    named: Server, internal: Server, resolve_to: Callable[[str], None]
) -> None:
    resolve_to("127.0.0.1")
    by_name = internal.url.replace("127.0.0.1", "public.test")
    for host, reason in ((internal.url, "nobody has named"), (by_name, "public.test has the add")):
        named.files["/list.csv"] = f"uri\n{host}/a.wav\n".encode()
        with pytest.raises(SourceRefusedError, match=reason):
            list(list_sources([f"{named.url}/list.csv"]))
    assert internal.asked == []


def test_a_name_that_has_changed_its_address_since_the_plan_is_refused(
    named: Server, internal: Server, resolve_to: Callable[[str], None]
) -> None:
    resolve_to("127.0.0.1")
    url = internal.url.replace("127.0.0.1", "public.test") + "/a.wav"
    with pytest.raises(UnreadableAudioError, match=r"public\.test has the address"):
        fetched(url, f"{named.url}/list.csv")
    assert internal.asked == []


def test_what_lies_beside_a_manifest_is_read(named: Server) -> None:
    named.files["/list.csv"] = b"uri\na.wav\n"
    source = f"{named.url}/list.csv"
    [track] = list_sources([source])
    assert fetched(track.uri, source) == AUDIO


def test_a_local_manifest_names_servers_of_the_own_network(
    named: Server, resolve_to: Callable[[str], None]
) -> None:
    resolve_to("127.0.0.1")
    url = named.url.replace("127.0.0.1", "music.intranet") + "/a.wav"
    assert fetched(url, "list.csv") == AUDIO


def test_a_root_lets_a_redirect_in_as_far_as_it_goes(named: Server, internal: Server) -> None:
    roots = (named.url, f"{internal.url}/open")
    named.redirects |= {
        "/in.wav": f"{internal.url}/open/a.wav",
        "/out.wav": f"{internal.url}/closed/a.wav",
        "/up.wav": f"{internal.url}/open/../closed/a.wav",
    }
    assert fetched(f"{named.url}/in.wav", f"{named.url}/in.wav", roots=roots) == AUDIO
    for name in ("out.wav", "up.wav"):
        with pytest.raises(UnreadableAudioError, match="outside of the allowed roots"):
            fetched(f"{named.url}/{name}", f"{named.url}/{name}", roots=roots)
    assert "/closed/a.wav" not in internal.asked


def test_a_circle_of_redirects_ends(named: Server) -> None:
    named.redirects["/old.wav"] = "/old.wav"
    url = f"{named.url}/old.wav"
    with pytest.raises(UnreadableAudioError, match=f"more than {MAX_REDIRECTS} times"):
        fetched(url, url)


def test_a_stream_without_end_is_given_up(named: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "UNANNOUNCED_BYTES", 20 << 20)
    named.endless.add("/radio.mp3")
    url = f"{named.url}/radio.mp3"
    with pytest.raises(UnreadableAudioError, match=r"radio\.mp3 gave \d+ bytes without an end"):
        fetched(url, url)


def test_a_redirect_keeps_the_encryption() -> None:
    guard = HttpGuard(hosts=(("host", 80), ("host", 443)))
    guard.check_redirect("http://host/a", "https://host/a", number=1)
    with pytest.raises(SourceRefusedError, match="without encryption"):
        guard.check_redirect("https://host/a?sig=hush", "http://host/a", number=1)


def test_a_refusal_does_not_quote_signatures() -> None:
    with pytest.raises(SourceRefusedError) as caught:
        HttpGuard().check_redirect("https://u:hush@h/a?sig=hush", "http://h/?sig=hush", number=1)
    assert "hush" not in str(caught.value)


def test_a_chained_url_is_guarded_too(named: Server, internal: Server) -> None:
    named.redirects["/old.wav"] = f"{internal.url}/a.wav"
    url = f"simplecache::{named.url}/old.wav"
    with pytest.raises(UnreadableAudioError, match="which is not public"):
        fetched(url, url)
    assert internal.asked == []


def test_sessions_are_shared_by_what_may_be_asked(named: Server) -> None:
    allowed = allowed_places([named.url])
    first, second = (allowed.store(f"{named.url}/{name}")[0] for name in ("a.wav", "b.wav"))
    assert first is second
    assert allowed.store("http://other.test/a.wav")[0] is not first
