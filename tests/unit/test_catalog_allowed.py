"""Where audio may lie: schemes, roots and links, and what a manifest from elsewhere may name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

from embedlib.audio.fetch import local_copy
from embedlib.catalog.addresses import is_public, origin
from embedlib.catalog.allowed import Allowed, is_below
from embedlib.catalog.listing import allowed_places, list_sources
from embedlib.errors import SourceRefusedError, UnreadableAudioError
from embedlib.records import Shard, Track
from embedlib.run.proof import second_look

REMOTE = "https://host/list.csv"


@pytest.fixture
def music(tmp_path: Path) -> Path:
    folder = tmp_path / "music"
    folder.mkdir()
    (folder / "a.wav").write_bytes(b"RIFF")
    return folder


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "secret.wav"
    path.write_bytes(b"secret")
    return path


@pytest.fixture
def store() -> Iterator[fsspec.AbstractFileSystem]:
    memory = fsspec.filesystem("memory")
    yield memory
    memory.rm("/lists", recursive=True)


def listed(*sources: Path | str, **limits: list[str]) -> list[str]:
    texts = [str(source) for source in sources]
    return [track.uri for track in list_sources(texts, allowed=allowed_places(texts, **limits))]


def remote_manifest(store: fsspec.AbstractFileSystem, *uris: object) -> str:
    store.pipe("/lists/list.csv", "\n".join(["uri", *map(str, uris)]).encode())
    return "memory://lists/list.csv"


# What is refused


@pytest.mark.parametrize("prefix", ["", "file://", "local://", "FILE://"])
def test_a_remote_manifest_names_no_file_of_this_machine(
    store: fsspec.AbstractFileSystem, secret: Path, prefix: str
) -> None:
    with pytest.raises(SourceRefusedError, match="may not name files of this machine"):
        listed(remote_manifest(store, f"{prefix}{secret}"))


@pytest.mark.parametrize(
    "uri",
    [
        "simplecache::/etc/passwd",
        "simplecache::file:///etc/passwd",
        "zip://a.wav::/backup.zip",
        "reference://::https://host/references.json",
        "sftp://host/a.wav",
        "ftp://127.0.0.1/a.wav",
        "http://[::1]/a.wav",  # fsspec takes the colons for a chain
    ],
)
def test_no_detour_leads_from_a_remote_manifest_to_files_or_other_services(uri: str) -> None:
    assert Allowed().refusal(uri, manifest=REMOTE)
    assert not Allowed().refusal(uri)


@pytest.mark.parametrize(
    "uri", ["https://host/a.wav", "s3://bucket/a.wav", "gs://b/a.wav", "abfs://c@d/a.wav"]
)
def test_a_remote_manifest_names_stores_and_the_web(uri: str) -> None:
    assert not Allowed().refusal(uri, manifest=REMOTE)


def test_a_remote_manifest_names_what_lies_beside_it(store: fsspec.AbstractFileSystem) -> None:
    store.pipe("/lists/a.wav", b"RIFF")
    assert listed(remote_manifest(store, "a.wav")) == ["memory://lists/a.wav"]


def test_a_remote_manifest_names_local_files_below_a_root(
    store: fsspec.AbstractFileSystem, music: Path, secret: Path
) -> None:
    inside = remote_manifest(store, music / "a.wav")
    assert listed(inside, roots=[str(music)]) == [f"{music}/a.wav"]
    with pytest.raises(SourceRefusedError, match="outside of the allowed roots"):
        listed(remote_manifest(store, secret), roots=[str(music)])


def test_a_local_manifest_names_local_files_and_urls(tmp_path: Path, music: Path) -> None:
    manifest = tmp_path / "list.csv"
    manifest.write_text(f"uri\n{music}/a.wav\nmusic/a.wav\nmemory://gone.wav\n")
    assert len(listed(manifest)) == 3


def test_schemes_limit_what_is_named(music: Path, tmp_path: Path) -> None:
    manifest = tmp_path / "list.csv"
    manifest.write_text("uri\nmusic/a.wav\nmemory://a.wav\n")
    assert listed(music, schemes=["file"])
    with pytest.raises(SourceRefusedError, match=r"a\.wav \(file:// is not among"):
        listed(music, schemes=["s3", "https"])
    with pytest.raises(SourceRefusedError, match=r"memory://a\.wav \(memory:// is not among"):
        listed(manifest, schemes=["local"])


def test_the_error_counts_all_and_names_the_first_without_credentials(tmp_path: Path) -> None:
    manifest = tmp_path / "list.csv"
    rows = [f"https://ann:hush@host/{number}.wav?sig=hush" for number in range(5)]
    manifest.write_text("\n".join(["uri", *rows]))
    with pytest.raises(SourceRefusedError) as caught:
        listed(manifest, schemes=["s3"])
    assert "names 5 files that are refused" in str(caught.value)
    assert str(caught.value).count("https://***@host/") == 3
    assert "and 2 more; " in str(caught.value)
    assert "hush" not in str(caught.value)
    assert "--allow-roots" in caught.value.fix


# Roots


@pytest.mark.parametrize(
    ("uri", "root", "expected"),
    [
        ("s3://bucket/music/a.wav", "s3://bucket/music", True),
        ("s3://bucket/music/a.wav", "s3://bucket/music/", True),
        ("s3://bucket/musical/a.wav", "s3://bucket/music", False),
        ("s3://other/music/a.wav", "s3://bucket/music", False),
        ("s3://bucket/music/../a.wav", "s3://bucket/music", False),
        ("https://HOST:443/music/a.wav", "https://host/music", True),
        ("https://ann:pw@host/music/a.wav?sig=1", "https://host/music", True),
        ("http://host/music/a.wav", "https://host/music", False),
        ("https://host/music/%2E%2E/a.wav", "https://host/music", False),
        ("https://host\\@evil/music/a.wav", "https://host/music", False),
        ("https://host.evil/music/a.wav", "https://host", False),
        ("https://host@evil/a.wav", "https://host", False),
        ("abfs://mine@account/a.wav", "abfs://other@account", False),
        ("/music/a.wav", "s3://music", False),
        ("s3://music/a.wav", "/", False),
        ("https://[/a.wav", "https://[", False),
    ],
)
def test_below_means_whole_components_of_one_server(uri: str, root: str, expected: bool) -> None:
    assert is_below(uri, root) is expected


def test_a_local_root_is_compared_without_links_and_dots(music: Path, secret: Path) -> None:
    (music / "link.wav").symlink_to(secret)
    (music.parent / "alias").symlink_to(music)
    assert is_below(f"{music}/a.wav", str(music))
    assert is_below(f"{music}/a.wav", str(music.parent / "alias"))
    assert is_below(f"{music.parent}/alias/a.wav", str(music))
    assert not is_below(f"{music}/../secret.wav", str(music))
    assert not is_below(f"{music}/link.wav", str(music))
    assert not is_below(f"{music}al/a.wav", str(music))


def test_a_link_that_leads_out_of_the_roots_refuses_the_listing(music: Path, secret: Path) -> None:
    (music / "link.wav").symlink_to(secret)
    assert len(listed(music)) == 2
    with pytest.raises(SourceRefusedError, match=r"names 1 files .*link\.wav"):
        listed(music, roots=[str(music)])


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("zip://a.wav::s3://bucket/music/b.zip", True),
        ("simplecache::s3://bucket/music/b.wav", True),
        ("zip://a.wav::s3://other/b.zip", False),
        ("reference://a.wav::s3://bucket/music/b.json", False),
        ("s3://bucket/music/a.wav::s3://other/b.zip", False),
    ],
)
def test_a_chain_lies_where_its_last_link_does_and_only_unpacks(uri: str, expected: bool) -> None:
    assert (Allowed(roots=("s3://bucket/music",)).refusal(uri) == "") is expected


# The worker


def test_a_plan_that_was_altered_does_not_lead_a_worker_out_of_the_roots(
    music: Path, secret: Path
) -> None:
    allowed = allowed_places([str(music)], roots=[str(music)])
    with (
        pytest.raises(UnreadableAudioError, match=r"secret\.wav is refused: it lies outside"),
        local_copy(Track("t", str(secret), -1, ""), allowed=allowed),
    ):
        pytest.fail("it was opened")


def test_a_link_that_is_changed_after_the_check_is_not_followed(music: Path, secret: Path) -> None:
    link = music / "link.wav"
    link.symlink_to(music / "a.wav")
    allowed = allowed_places([str(music)], roots=[str(music)])
    with local_copy(Track("t", str(link), -1, ""), allowed=allowed) as audio:
        link.unlink()
        link.symlink_to(secret)
        assert Path(audio.path).read_bytes() == b"RIFF"


def test_a_second_look_does_not_open_what_may_not_be_opened(music: Path, secret: Path) -> None:
    tracks = tuple(Track(f"t{number}", str(secret), 6, "v") for number in range(8))
    shard = Shard("0a", tracks, 1.0)
    assert second_look(shard) == ""
    allowed = allowed_places([str(music)], roots=[str(music)])
    assert "outside of the allowed roots" in second_look(shard, allowed=allowed)


# Addresses


@pytest.mark.parametrize("address", ["93.184.215.14", "2606:2800:21f::1", "::ffff:8.8.8.8"])
def test_addresses_of_the_open_network_are_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        *("10.0.0.1", "172.16.0.1", "192.168.1.1", "127.0.0.1", "127.8.8.8", "0.0.0.0"),
        *("169.254.169.254", "100.64.0.1", "100.100.100.200", "224.0.0.1", "255.255.255.255"),
        *("::1", "::", "fe80::1", "fe80::1%eth0", "fd00:ec2::254", "fec0::1", "ff02::1"),
        *("::ffff:127.0.0.1", "::ffff:a9fe:a9fe", "64:ff9b::a9fe:a9fe", "2002:7f00:1::"),
        *("127.1", "2130706433", "0x7f.1", "localhost", ""),
    ],
)
def test_addresses_of_this_and_other_private_networks_are_not(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("host", ["127.0.0.1", "169.254.169.254", "[fe80:0:0:0:0:0:0:1]"])
def test_a_remote_manifest_names_no_private_address(host: str) -> None:
    allowed = allowed_places([REMOTE])
    assert "not public" in allowed.refusal(f"http://{host}/a.wav", manifest=REMOTE)
    assert "not public" in allowed.refusal(f"http://{host}/a.wav"), "a worker knows of no manifest"


def test_who_is_named_by_the_user_needs_no_public_address() -> None:
    url = "http://127.0.0.1:9000/a.wav"
    assert not allowed_places([url]).refusal(url)
    assert not allowed_places([REMOTE, url]).refusal(url)
    assert not allowed_places(["list.csv"]).refusal(url)
    assert not allowed_places([REMOTE], roots=["http://127.0.0.1:9000/"]).refusal(url)
    assert allowed_places([REMOTE, "http://127.0.0.1:9001/"]).refusal(url)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("HTTP://Host./a", ("host", 80)),
        ("https://u:p@host:8443/", ("host", 8443)),
        ("http://[fe80::1]/", ("fe80::1", 80)),
        ("http://host:x/", None),
        ("http://[/", None),
        ("/a.wav", None),
    ],
)
def test_an_origin_is_host_and_port(url: str, expected: tuple[str, int] | None) -> None:
    assert origin(url) == expected
