from __future__ import annotations

import http.server
import os
import threading
import zipfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import fsspec
import pytest

from embedlib.catalog.listing import list_sources, normalised_sources
from embedlib.errors import CatalogError, ConfigError
from embedlib.records import Track
from embedlib.tables.listed import Listing


def put(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * len(name))
    return root


def ids(*sources: Path | str) -> list[str]:
    return [track.track_id for track in list_sources([str(source) for source in sources])]


@pytest.fixture
def memory() -> Iterator[fsspec.AbstractFileSystem]:
    store = fsspec.filesystem("memory")
    store.pipe({"/cat/a b/é%20[1].wav": b"123", "/cat/.hidden/x.wav": b"1", "/cat/z.MP3": b"12"})
    store.pipe({"/cat/note.txt": b"1"})
    yield store
    store.rm("/cat", recursive=True)


@pytest.fixture
def http_root(tmp_path: Path) -> Iterator[str]:
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            pass

    put(tmp_path / "www", "music/a.wav", "music/b c.flac", "music/cover.jpg")
    handler = partial(Quiet, directory=str(tmp_path / "www"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_folder_gives_its_audio_at_any_depth_in_order_of_names(tmp_path: Path) -> None:
    put(tmp_path, "b/z.wav", "a.mp3", "b/a.FLAC", "c/d/e.opus")

    assert ids(tmp_path) == ["a.mp3", "b/a.FLAC", "b/z.wav", "c/d/e.opus"]


@pytest.mark.parametrize("name", ["cover.jpg", ".hidden.wav", ".git/a.wav", "b/.x/a.wav", "wav"])
def test_a_folder_gives_nothing_hidden_and_no_other_files(tmp_path: Path, name: str) -> None:
    put(tmp_path, "a.wav", name)

    assert ids(tmp_path) == ["a.wav"]


def test_a_track_says_where_the_file_is_how_large_and_of_when(tmp_path: Path) -> None:
    path = put(tmp_path, "x/a.wav") / "x" / "a.wav"
    os.utime(path, ns=(1, 1_234_567_890_123_456_789))

    [track] = list_sources([str(tmp_path)])

    assert track == Track("x/a.wav", str(path), 7, "1234567890123456789")


def test_a_file_named_directly_is_taken_whatever_its_extension(tmp_path: Path) -> None:
    put(tmp_path, "speech.sph", "none")

    assert ids(tmp_path / "speech.sph", tmp_path / "none") == ["speech.sph", "none"]


@pytest.mark.parametrize(
    "name", ["a[1].wav", "a*.wav", "who?.wav", "a b.wav", "ü%20é.wav", "#1.wav", "a@b:c.wav"]
)
def test_odd_names_are_taken_literally(tmp_path: Path, name: str) -> None:
    put(tmp_path / "in [x]", name, "a1.wav")

    assert ids(tmp_path / "in [x]" / name) == [name]
    assert sorted(ids(tmp_path / "in [x]")) == sorted([name, "a1.wav"])


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*.wav", ["a.wav"]),
        ("**/*.wav", ["a.wav", "x/b.wav", "x/y/c.wav"]),
        ("x/**", ["b.flac", "b.wav", "y/c.wav"]),
        ("*/?.wav", ["x/b.wav"]),
        ("[!a]/*.wav", ["x/b.wav"]),
        ("*.sph", ["a.sph"]),
        ("a.*", ["a.wav"]),
    ],
)
def test_a_pattern_gives_what_it_matches(tmp_path: Path, pattern: str, expected: list[str]) -> None:
    put(tmp_path, "a.wav", "a.sph", "a.txt", "x/b.wav", "x/b.flac", "x/y/c.wav")

    found = [name.removeprefix("x/") if pattern == "x/**" else name for name in expected]

    assert ids(tmp_path / pattern) == found


def test_a_pattern_works_below_a_folder_whose_real_name_looks_like_one(tmp_path: Path) -> None:
    put(tmp_path, "disc [1]/a.wav", "disc 1/b.wav")

    assert ids(tmp_path / "disc [1]" / "*.wav") == ["a.wav"]


def test_a_tilde_is_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(put(tmp_path, "music/a.wav")))

    assert ids("~/music/*.wav") == ["a.wav"]


def test_relative_sources_give_absolute_paths(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(put(tmp_path, "music/a.wav"))

    assert [track.uri for track in list_sources(["music"])] == [str(tmp_path / "music/a.wav")]


def test_links_are_followed_to_files_and_folders(tmp_path: Path) -> None:
    put(tmp_path, "real/a.wav")
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "file.wav").symlink_to(tmp_path / "real" / "a.wav")
    (tmp_path / "in" / "folder").symlink_to(tmp_path / "real")

    assert ids(tmp_path / "in") == ["file.wav", "folder/a.wav"]


@pytest.mark.parametrize("pattern", ["", "**/*.wav"])
def test_links_in_a_circle_end(tmp_path: Path, pattern: str) -> None:
    put(tmp_path, "a/x.wav", "b/y.wav")
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    (tmp_path / "a" / "b").symlink_to(tmp_path / "b")
    (tmp_path / "b" / "a").symlink_to(tmp_path / "a")

    assert ids(tmp_path / pattern) == ["a/b/y.wav", "a/x.wav", "b/a/x.wav", "b/y.wav"]


def test_a_link_to_nothing_is_listed_as_a_file_that_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "a.wav").symlink_to(tmp_path / "gone.wav")

    [track] = list_sources([str(tmp_path)])

    assert (track.size, track.version) == (-1, "")


def test_a_pipe_in_a_folder_is_left_out(tmp_path: Path) -> None:
    os.mkfifo(put(tmp_path, "a.wav") / "b.wav")

    assert ids(tmp_path) == ["a.wav"]


def test_a_source_given_twice_counts_once(tmp_path: Path) -> None:
    put(tmp_path, "a.wav")

    assert ids(tmp_path, f"{tmp_path}/", f"file://{tmp_path}") == ["a.wav"]


@pytest.mark.parametrize("source", ["gone", "gone.wav", "gone/*.wav", "gone.csv", "memory://gone"])
def test_a_source_that_does_not_exist_is_refused_by_name(tmp_path: Path, source: str) -> None:
    place = source if "://" in source else str(tmp_path / source)

    with pytest.raises(CatalogError, match=r"gone.* does not exist; check the spelling"):
        ids(place)


@pytest.mark.parametrize("source", ["", "*.flac", "**/*"])
def test_a_source_without_audio_is_refused_by_name(tmp_path: Path, source: str) -> None:
    put(tmp_path / "empty", "note.txt")

    with pytest.raises(CatalogError, match=r"empty.* holds no audio files; .*\.flac"):
        ids(tmp_path / "empty" / source)


def test_no_source_at_all_is_refused() -> None:
    with pytest.raises(ConfigError, match="there is no source"):
        ids()


def test_two_files_of_one_name_are_refused_with_both_places(tmp_path: Path) -> None:
    put(tmp_path, "x/a.wav", "y/a.wav")

    with pytest.raises(ConfigError, match=r"'a.wav' stands for both .*x/a.wav and .*y/a.wav"):
        Listing(list_sources([str(tmp_path / "x"), str(tmp_path / "y")]))


def test_an_id_that_comes_again_is_noticed_even_for_the_same_file() -> None:
    track = Track("a", "/a", 1, "")

    with pytest.raises(ConfigError, match="stands for both"):
        Listing([track, track])


def test_a_name_that_is_no_utf8_is_refused_and_shown(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"caf\xe9.wav")).write_bytes(b"")

    with pytest.raises(CatalogError, match=r"caf.*e9\.wav' is not valid UTF-8; rename the file"):
        ids(tmp_path)


@pytest.mark.parametrize("column", ["uri", "URI", "shard_id"])
def test_a_column_of_the_catalogue_itself_cannot_be_carried(column: str) -> None:
    with pytest.raises(ConfigError, match=f"the column '{column}' cannot be carried"):
        list(list_sources(["x.csv"], carry=[column]))


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("memory://cat", ["a b/é%20[1].wav", "z.MP3"]),
        ("memory://cat/", ["a b/é%20[1].wav", "z.MP3"]),
        ("memory://cat/*.MP3", ["z.MP3"]),
        ("memory://cat/**/*.wav", ["a b/é%20[1].wav"]),
        ("memory://cat/a b/é%20[1].wav", ["é%20[1].wav"]),
        ("memory://cat/note.txt", ["note.txt"]),
    ],
)
def test_a_store_is_listed_as_a_folder_is(
    memory: fsspec.AbstractFileSystem, source: str, expected: list[str]
) -> None:
    assert ids(source) == expected


def test_tracks_of_a_store_can_be_opened_by_their_uri(memory: fsspec.AbstractFileSystem) -> None:
    tracks = list(list_sources(["memory://cat"]))

    sizes = [len(fsspec.open(track.uri).open().read()) for track in tracks]

    assert sizes == [track.size for track in tracks] == [3, 2]


@pytest.mark.parametrize("inside", ["d", "d/*.wav", "d/a.wav"])
def test_files_of_an_archive_are_listed_and_can_be_opened(tmp_path: Path, inside: str) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("d/a.wav", b"12345")

    [track] = list_sources([f"zip://{inside}::file://{tmp_path}/x.zip"])

    assert (track.track_id, track.size) == ("a.wav", 5)
    assert track.uri == f"zip://d/a.wav::file://{tmp_path}/x.zip"


def test_a_web_folder_is_listed_and_a_web_file_has_a_size(http_root: str) -> None:
    assert ids(f"{http_root}/music/") == ["a.wav", "b%20c.flac"]
    [track] = list_sources([f"{http_root}/music/a.wav?signature=secret"])
    assert (track.track_id, track.size) == ("a.wav", len("music/a.wav"))


def test_a_web_file_that_is_not_there_is_refused_without_its_signature(http_root: str) -> None:
    with pytest.raises(CatalogError, match="does not exist") as caught:
        ids(f"{http_root}/music/gone.wav?signature=secret")

    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "extra"), [("gs://bucket/x", "gcs"), ("abfs://c/x", "azure"), ("s3://b/x", "s3")]
)
def test_a_store_without_its_package_names_the_extra(
    url: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def not_installed(url: str) -> None:
        raise ImportError("Install me")

    monkeypatch.setattr(fsspec.core, "url_to_fs", not_installed)

    with pytest.raises(ConfigError, match=rf"pip install 'embedlib\[{extra}\]'"):
        ids(url)


def test_an_unknown_protocol_is_refused_in_one_line() -> None:
    with pytest.raises(ConfigError, match="Protocol not known: nosuch") as caught:
        ids("nosuch://ann:secret@host/x")

    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_sources_compare_equal_in_any_order_and_without_credentials(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    first = normalised_sources(["music", "https://ann:pw@host/x?sig=1"])
    second = normalised_sources(["https://bob:wp@host/x?sig=2", f"{tmp_path}/music/"])

    assert first == second == (f"{tmp_path}/music", "https://***@host/x?***")
