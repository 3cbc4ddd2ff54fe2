"""An S3 server as a source, and three drivers that adopt it into one output at the same moment."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from subprocess import PIPE
from typing import Any

import pytest

import embedlib
from embedlib.audio.synth import synthesise_catalogue
from embedlib.catalog.listing import list_sources
from embedlib.errors import CatalogError
from embedlib.records import Track
from embedlib.tables.catalog import read_plan

moto_server = pytest.importorskip("moto.server")
s3fs = pytest.importorskip("s3fs")

OBJECTS = {
    "cat/a b/é%20[1].wav": b"RIFF",
    "cat/z+1.mp3": b"ID3",
    "cat/cover.jpg": b"x",
    "cat/.cache/a.wav": b"x",
    "cat/deep/er/c.flac": b"fLaC",
}
N_DRIVERS = 3


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    server = moto_server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(scope="module")
def store(endpoint: str) -> Iterator[Any]:
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("AWS_ENDPOINT_URL", endpoint)
        environment.setenv("AWS_ACCESS_KEY_ID", "test")
        environment.setenv("AWS_SECRET_ACCESS_KEY", "test")
        environment.setenv("AWS_DEFAULT_REGION", "us-east-1")
        s3fs.S3FileSystem.clear_instance_cache()
        yield s3fs.S3FileSystem()
        s3fs.S3FileSystem.clear_instance_cache()


@pytest.fixture(scope="module")
def bucket(store: Any) -> str:
    store.mkdir("music")
    store.pipe({f"music/{key}": data for key, data in OBJECTS.items()})
    return "s3://music"


def ids(source: str) -> list[str]:
    return [track.track_id for track in list_sources([source])]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("cat", ["a b/é%20[1].wav", "deep/er/c.flac", "z+1.mp3"]),
        ("", ["cat/a b/é%20[1].wav", "cat/deep/er/c.flac", "cat/z+1.mp3"]),
        ("cat/*.mp3", ["z+1.mp3"]),
        ("cat/**/*.flac", ["deep/er/c.flac"]),
        ("cat/a b/é%20[1].wav", ["é%20[1].wav"]),
        ("cat/cover.jpg", ["cover.jpg"]),
    ],
)
def test_a_bucket_is_listed_as_a_folder_is(bucket: str, path: str, expected: list[str]) -> None:
    assert ids(f"{bucket}/{path}") == expected


def test_the_version_of_an_object_is_its_etag_however_it_is_found(store: Any, bucket: str) -> None:
    [direct] = list_sources([f"{bucket}/cat/z+1.mp3"])
    [found] = list_sources([f"{bucket}/cat/*.mp3"])

    etag = store.info("music/cat/z+1.mp3")["ETag"].strip('"')
    assert direct == found == Track("z+1.mp3", "s3://music/cat/z+1.mp3", 3, etag)


def test_a_manifest_in_a_bucket_names_objects_next_to_it(store: Any, bucket: str) -> None:
    store.pipe_file("music/cat/m.csv", b"uri\nz+1.mp3\ngone.mp3\n")

    there, gone = list_sources([f"{bucket}/cat/m.csv"])

    assert (there.uri, there.size) == ("s3://music/cat/z+1.mp3", 3)
    assert (gone.uri, gone.size, gone.version) == ("s3://music/cat/gone.mp3", -1, "")


@pytest.mark.parametrize("path", ["nothing", "nothing/a.wav", "cat/nothing.csv"])
def test_what_is_not_in_a_bucket_does_not_exist(bucket: str, path: str) -> None:
    with pytest.raises(CatalogError, match=f"{path} does not exist"):
        ids(f"{bucket}/{path}")


def test_a_bucket_without_credentials_is_refused_in_one_line(
    bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    s3fs.S3FileSystem.clear_instance_cache()

    with pytest.raises(CatalogError, match=r"s3://music/cat cannot be read: .*credentials"):
        ids(f"{bucket}/cat")
    s3fs.S3FileSystem.clear_instance_cache()


# Lists, says so, waits for a line so that all adopt at once, then tells what it planned.
DRIVER = """
import json, sys
import embedlib
from embedlib.audio.synth import synthesise_catalogue
from embedlib.catalog.listing import list_sources
from embedlib.tables.catalog import adopt
out, source = sys.argv[1:]
tracks = list(list_sources([source]))
print("listed", flush=True)
sys.stdin.readline()
plan = adopt(out, tracks, sources=[source])
print(json.dumps([plan.changes.n_new, [[track.track_id, track.shard_id] for track in plan.tracks]]))
"""


def race(out: Path, source: str) -> list[Any]:
    command = [sys.executable, "-c", DRIVER, str(out), source]
    with ExitStack() as stack:
        drivers = [
            stack.enter_context(subprocess.Popen(command, stdin=PIPE, stdout=PIPE, text=True))
            for _ in range(N_DRIVERS)
        ]
        assert [driver.stdout.readline() for driver in drivers] == ["listed\n"] * N_DRIVERS
        for driver in drivers:
            driver.stdin.write("go\n")
            driver.stdin.flush()
        return [json.loads(driver.communicate()[0]) for driver in drivers]


def test_drivers_that_adopt_at_once_agree_on_one_catalogue(store: Any, tmp_path: Path) -> None:
    store.mkdir("many")
    store.pipe({f"many/{n:03}.wav": b"x" * n for n in range(100)})

    outcomes = race(tmp_path / "out", "s3://many")

    written = [[track.track_id, track.shard_id] for track in read_plan(tmp_path / "out")]
    assert [track_id for track_id, _ in written] == [f"{n:03}.wav" for n in range(100)]
    assert all(planned == written for _, planned in outcomes)
    assert sorted(n_new for n_new, _ in outcomes) == [0, 0, 100]


def test_a_bucket_gives_the_embeddings_of_the_same_local_files(
    store: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EMBEDLIB_CACHE", str(tmp_path / "cache"))
    clips = tmp_path / "clips"
    synthesise_catalogue(clips, n_clips=4)
    store.put(f"{clips}/", "s3://clips/", recursive=True)
    model = "untrained-msd-musicnn-1"
    facts = ["track_id", "status", "content_hash", "n_samples", "n_patches"]
    tables = []
    for source in (str(clips), "s3://clips"):
        out = tmp_path / f"out-{len(tables)}"
        embedlib.extract([source], models=[model], out=out, local=True)
        rows = embedlib.open(out).tracks(model).to_arrow([*facts, "patch_embeddings"])
        tables.append(rows.sort_by("track_id"))
    assert len(tables[0]) == len(list(clips.rglob("*.*")))
    assert tables[0].select(facts).to_pylist() == tables[1].select(facts).to_pylist()
    assert tables[0]["patch_embeddings"].equals(tables[1]["patch_embeddings"])
