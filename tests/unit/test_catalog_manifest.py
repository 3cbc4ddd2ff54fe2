from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from embedlib.catalog.listing import list_sources
from embedlib.errors import CatalogError, ConfigError, EmbedlibError
from embedlib.records import Track
from embedlib.tables.listed import Listing

ROWS: list[dict[str, Any]] = [
    {"uri": "a b.wav", "track_id": "one", "start_s": 1.5, "end_s": 3, "genre": "jazz, free"},
    {"uri": "sub/é.mp3", "track_id": None, "start_s": None, "end_s": None, "genre": None},
]


def write(path: Path, rows: Sequence[dict[str, Any]] = ROWS) -> Path:
    names = list(rows[0])
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(list(rows)), path)
    elif path.suffix == ".jsonl":
        path.write_text("\n\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    else:
        separator = {".csv": ",", ".tsv": "\t"}[path.suffix]
        lines = [names, *([f'"{"" if r[n] is None else r[n]}"' for n in names] for r in rows)]
        text = "\r\n".join(separator.join(cells) for cells in lines)
        path.write_text(f"{text}\r\n", encoding="utf-8-sig")
    return path


def read(path: Path | str, *, carry: Sequence[str] = ()) -> list[Track]:
    return list(list_sources([str(path)], carry=carry))


def read_text(path: Path, text: str, *, carry: Sequence[str] = ()) -> list[Track]:
    path.write_text(text, encoding="utf-8")
    return read(path, carry=carry)


@pytest.mark.parametrize("name", ["m.csv", "m.tsv", "m.jsonl", "m.parquet"])
def test_all_kinds_of_manifest_say_the_same(tmp_path: Path, name: str) -> None:
    (tmp_path / "a b.wav").write_bytes(b"12345")

    first, second = read(write(tmp_path / name), carry=["genre"])

    assert (first.track_id, first.uri, first.size) == ("one", str(tmp_path / "a b.wav"), 5)
    assert (first.start_s, first.end_s) == (1.5, 3.0)
    assert first.carried == (("genre", "jazz, free"),)
    assert second == Track(
        "sub/é.mp3", str(tmp_path / "sub/é.mp3"), -1, "", carried=(("genre", ""),)
    )


def test_rows_keep_the_order_of_the_manifest(tmp_path: Path) -> None:
    names = [f"{n * 7919 % 5000}.wav" for n in range(5000)]

    tracks = read_text(tmp_path / "m.csv", "uri\n" + "\n".join(names))

    assert [track.track_id for track in tracks] == names


def test_columns_that_nobody_asked_for_are_left_out(tmp_path: Path) -> None:
    assert [track.carried for track in read(write(tmp_path / "m.csv"))] == [(), ()]


@pytest.mark.parametrize(
    ("value", "text"), [(3, "3"), (True, "true"), (["a", 1], '["a", 1]'), ("é", "é"), (None, "")]
)
def test_carried_values_become_text(tmp_path: Path, value: object, text: str) -> None:
    rows = [{"uri": "a.wav", "label": value}]

    [track] = read(write(tmp_path / "m.jsonl", rows), carry=["label"])

    assert track.carried == (("label", text),)


def test_dates_of_parquet_become_plain_text(tmp_path: Path) -> None:
    rows = [{"uri": "a.wav", "day": date(2026, 1, 2)}]

    [track] = read(write(tmp_path / "m.parquet", rows), carry=["day"])

    assert track.carried == (("day", "2026-01-02"),)


@pytest.mark.parametrize(
    ("cells", "track_id"),
    [
        ("song.mp3,10,20", "song.mp3#t=10,20"),
        ("song.mp3,0.5,", "song.mp3#t=0.5"),
        ("song.mp3,,20.25", "song.mp3#t=,20.25"),
        ("./x/../song.mp3,,", "song.mp3"),
        ("../other/song.mp3,,", "../other/song.mp3"),
        ("memory://x/song.mp3?token=secret,,", "memory://x/song.mp3"),
    ],
)
def test_an_id_follows_from_the_uri_and_the_stretch(
    tmp_path: Path, cells: str, track_id: str
) -> None:
    [track] = read_text(tmp_path / "m.csv", f"uri,start_s,end_s\n{cells}\n")

    assert track.track_id == track_id


def test_absolute_paths_and_urls_stay_as_they_are(tmp_path: Path) -> None:
    tracks = read_text(tmp_path / "m.csv", "uri\n/x/a.wav\nmemory://y/b.wav\n~/c.wav\n")

    assert [track.uri for track in tracks] == [
        "/x/a.wav",
        "memory://y/b.wav",
        str(Path("~/c.wav").expanduser()),
    ]


def test_a_manifest_in_a_store_is_relative_to_its_folder_there() -> None:
    store = fsspec.filesystem("memory")
    store.pipe({"/cat/m.csv": b"uri\nsub/a.wav\n", "/cat/sub/a.wav": b"123"})

    [track] = read("memory://cat/m.csv")

    assert track == Track("sub/a.wav", "memory://cat/sub/a.wav", 3, "")
    store.rm("/cat", recursive=True)


@pytest.mark.parametrize(
    ("stretch", "problem"),
    [
        ("-1,2", r"start_s='-1' is no time"),
        ("1,ten", r"end_s='ten' is no time"),
        ("nan,", r"start_s='nan' is no time"),
        (",inf", r"end_s='inf' is no time"),
        ("5,5", r"end_s=5 is not after start_s=5"),
        ("5,4.5", r"end_s=4.5 is not after start_s=5"),
        (",0", r"end_s=0 is not after start_s=0"),
    ],
)
def test_a_stretch_without_sense_is_refused_with_its_line(
    tmp_path: Path, stretch: str, problem: str
) -> None:
    text = f"uri,start_s,end_s\nok.wav,1,2\na.wav,{stretch}\n"

    with pytest.raises(CatalogError, match=rf"m\.csv, line 3: {problem}"):
        read_text(tmp_path / "m.csv", text)


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("m.csv", "path\na.wav\n", r"has no column 'uri', only path; name the column"),
        ("m.csv", "", r"has no column 'uri', only none"),
        ("m.csv", "uri\n", r"holds no rows"),
        ("m.csv", "uri,uri\na,b\n", r"has a column twice"),
        ("m.csv", "uri,x\na.wav\n", r"line 2: its number of cells is not that of the header"),
        ("m.csv", "uri\na,b.wav\n", r"line 2: its number of cells is not that of the header"),
        ("m.csv", 'uri\n"a.wav\n', r"line 2: unexpected end of data"),
        ("m.csv", "uri,x\n ,1\n", r"line 2: uri='' names no file"),
        ("m.csv", "uri\na\0b.wav\n", r"line 2: "),
        ("m.jsonl", '{"uri": "a"}\n{"uri"\n', r"line 2: not JSON"),
        ("m.jsonl", '["uri"]\n', r"line 1: not a JSON object"),
        ("m.jsonl", '{"uri": "a"}\n{"url": "b"}\n', r"line 2 has no column 'uri', only url"),
        ("m.jsonl", '{"uri": "\\ud800.wav"}\n', r"line 1: uri=.* is not valid UTF-8"),
        ("m.jsonl", "[" * 100_000, r"line 1: not JSON"),
        ("m.parquet", "uri", r"is not a readable Parquet file"),
    ],
)
def test_a_manifest_without_sense_is_refused_in_one_line(
    tmp_path: Path, name: str, text: str, problem: str
) -> None:
    with pytest.raises(CatalogError, match=rf"{name}.*{problem}") as caught:
        read_text(tmp_path / name, text)

    assert "\n" not in str(caught.value)
    assert caught.value.fix


def test_a_manifest_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_bytes("uri\ncafé.wav\n".encode("latin-1"))

    with pytest.raises(CatalogError, match=r"m\.csv is not UTF-8; save it as UTF-8"):
        read(tmp_path / "m.csv")


@pytest.mark.parametrize("name", ["m.csv", "m.jsonl", "m.parquet"])
def test_a_column_to_carry_that_is_not_there_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="has no column 'mood' to carry, only uri"):
        read(write(tmp_path / name), carry=["mood"])


def test_two_rows_with_one_id_are_refused(tmp_path: Path) -> None:
    with pytest.raises(EmbedlibError, match="track_id 'x' stands for both"):
        Listing(read_text(tmp_path / "m.csv", "uri,track_id\na.wav,x\nb.wav,x\n"))
