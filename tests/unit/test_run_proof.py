"""The proof of a node: it reads what the driver wrote, and opens what the catalogue names."""

from __future__ import annotations

import os
import pickle
from dataclasses import replace
from pathlib import Path

import pytest

from embedlib.records import PartResult, Shard, Track
from embedlib.run.proof import (
    MIN_UNSEEN,
    PROOF_TRACKS,
    SHARD_TRACKS,
    Proof,
    Witness,
    is_doubtful_part,
    make_proof,
    open_files,
    second_look,
    shard_proof,
    unseen,
    unseen_shard,
)


def shard_in(folder: Path, n_tracks: int) -> Shard:
    folder.mkdir(exist_ok=True)
    paths = [folder / f"{number}.wav" for number in range(n_tracks)]
    for path in paths:
        path.write_bytes(b"RIFF")
    return Shard("s", tuple(Track(path.name, str(path), 4, "1") for path in paths), 60.0)


@pytest.fixture
def shard(tmp_path: Path) -> Shard:
    return shard_in(tmp_path / "music", 20)


@pytest.fixture
def proof(tmp_path: Path, shard: Shard) -> Proof:
    return make_proof(tmp_path / "out", "run", shards=[shard], with_sources=True)


def remove(tracks: tuple[Track, ...]) -> None:
    for track in tracks:
        os.remove(track.uri)


def part_of(**statuses: int) -> PartResult:
    n_rows = sum(statuses.values())
    return PartResult("m", "s", "part.parquet", n_rows, 1, 1, 1.0, tuple(statuses.items()))


def test_who_sees_the_same_disk_passes_and_the_proof_travels(proof: Proof) -> None:
    travelled = pickle.loads(pickle.dumps(proof))
    assert Witness().answer(unseen, travelled) == ""
    assert len(proof.tracks) == PROOF_TRACKS


def test_an_output_that_is_not_there_is_named(proof: Proof) -> None:
    os.remove(proof.nonce_path)
    assert unseen(proof) == f"{proof.nonce_path} (No such file or directory)"


def test_another_folder_of_the_same_name_does_not_pass(proof: Proof) -> None:
    Path(proof.nonce_path).write_text("of another disk")
    assert unseen(proof) == f"{proof.nonce_path} (it is another file there)"


def test_every_run_has_a_proof_of_its_own(tmp_path: Path, shard: Shard, proof: Proof) -> None:
    other = make_proof(tmp_path / "out", "other", shards=[shard], with_sources=True)
    assert (other.nonce, other.nonce_path) != (proof.nonce, proof.nonce_path)


def test_sources_that_are_not_there_are_named_by_their_first(proof: Proof) -> None:
    remove(proof.tracks)
    reason = f"{proof.tracks[0].uri} (No such file or directory)"
    assert unseen(proof) == f"12 of 12 planned files, among them {reason}"


def test_a_few_files_that_are_gone_are_no_fault_of_the_node(proof: Proof) -> None:
    remove(proof.tracks[: MIN_UNSEEN - 1])
    assert unseen(proof) == ""


def test_a_small_catalogue_that_is_gone_proves_nothing(tmp_path: Path) -> None:
    shard = shard_in(tmp_path / "few", MIN_UNSEEN - 1)
    proof = make_proof(tmp_path / "out", "run", shards=[shard], with_sources=True)
    remove(shard.tracks)
    assert unseen(proof) == ""


def test_files_that_may_be_gone_are_not_asked_for(tmp_path: Path, shard: Shard) -> None:
    proof = make_proof(tmp_path / "out", "run", shards=[shard], with_sources=False)
    remove(shard.tracks)
    assert unseen(proof) == ""


def test_what_a_store_says_is_told_without_its_secret(shard: Shard, proof: Proof) -> None:
    url = "nosuchstore://ann:secret@host/a.wav?X-Signature=ab12"
    blind = replace(proof, tracks=tuple(replace(track, uri=url) for track in shard.tracks))
    assert "nosuchstore://***@host" in unseen(blind)
    assert "secret" not in unseen(blind)
    assert "ab12" not in unseen(blind)


@pytest.mark.parametrize(
    ("statuses", "is_doubtful"),
    [
        ({"missing": 8}, True),
        ({"missing": 4, "unreadable": 4, "ok": 7}, True),
        ({"missing": 7}, False),
        ({"missing": 10, "ok": 10}, False),
        ({"undecodable": 20}, False),
    ],
)
def test_a_part_is_doubted_for_files_that_could_not_be_opened_only(
    statuses: dict[str, int], is_doubtful: bool
) -> None:
    assert is_doubtful_part(part_of(**statuses)) is is_doubtful


def test_a_second_look_finds_what_has_come_back(tmp_path: Path, shard: Shard) -> None:
    away = tmp_path / "away"
    Path(shard.tracks[0].uri).parent.rename(away)
    assert "20 of 20 planned files" in second_look(shard)
    away.rename(Path(shard.tracks[0].uri).parent)
    assert second_look(shard) == ""


@pytest.mark.parametrize("n_tracks", [1, 64, 65, 1000])
def test_of_a_large_shard_a_sample_from_end_to_end_is_looked_at(
    proof: Proof, n_tracks: int
) -> None:
    tracks = tuple(Track(str(number), str(number), 1, "1") for number in range(n_tracks))
    looked_at = shard_proof(proof, Shard("s", tracks, 1.0)).tracks
    assert len(looked_at) <= SHARD_TRACKS
    assert int(looked_at[-1].track_id) >= 0.9 * (n_tracks - 1)


def test_the_error_says_how_to_go_on_in_one_line(shard: Shard) -> None:
    text = str(unseen_shard(shard, "20 of 20 planned files"))
    assert text.startswith("most files of shard s cannot be opened: 20 of 20")
    assert "--accept-missing" in text
    assert "\n" not in text


def test_the_files_that_a_process_has_open_are_found(tmp_path: Path) -> None:
    path = tmp_path / "held.wav"
    with path.open("wb"):
        assert str(path) in open_files(os.getpid())
    assert str(path) not in open_files(os.getpid())


def test_a_process_that_is_gone_has_no_file_open() -> None:
    assert open_files(2**22 + 1) == ()
