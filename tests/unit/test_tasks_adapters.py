"""Adapters of public data sets, on cuttings of what was published."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from embedlib.errors import CatalogError, ConfigError
from embedlib.tasks.adapters import dortmund, fs_loop_ds, gtzan, jamendo_tags, urbansound8k
from embedlib.tasks.labels import LabelledTrack, LabelRequest, LabelSet
from embedlib.tasks.registry import task as find_task
from embedlib.tasks.task import Task

GOLDEN = Path(__file__).parents[1] / "golden" / "tasks"
LISTING = (GOLDEN / "dortmund.txt").read_text().split()
INDEX = json.loads((GOLDEN / "gtzan_index.json").read_text())["tracks"]


def touch(folder: Path, names: Iterable[str]) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def with_options(name: str, **options: Any) -> Task:
    found = find_task(name)
    return found.model_copy(update={"options": found.options | options})


def named(labels: LabelSet) -> dict[str, LabelledTrack]:
    return {Path(track.name).name: track for track in labels.tracks}


class TestGtzan:
    @pytest.fixture
    def root(self, tmp_path: Path) -> Path:
        return touch(tmp_path, [entry["audio"][0] for entry in INDEX.values()])

    def test_files_are_labelled_as_the_index_has_them_less_the_faulty(self, root: Path) -> None:
        labels = gtzan.read_labels(LabelRequest(find_task("gtzan"), root))
        assert {track.label for track in labels.tracks} == {"classic"}
        assert set(named(labels)) == {f"{name}.wav" for name in INDEX} - {"classical.00042.wav"}
        assert dict(labels.counts) == {
            "tracks": 12,
            "other files": 0,
            "excluded as faulty": 1,
            "kept, but corrupt in common copies": 0,
        }

    def test_faults_can_be_kept(self, root: Path) -> None:
        labels = gtzan.read_labels(LabelRequest(with_options("gtzan", faults="keep"), root))
        assert "classical.00042.wav" in named(labels)
        assert dict(labels.counts)["excluded as faulty"] == 0

    def test_of_a_thousand_tracks_930_remain(self) -> None:
        golden = json.loads((GOLDEN / "gtzan_lists.json").read_text())
        ids = tuple(f"genres/{g}/{g}.{n:05d}.au" for g in golden for n in range(100))
        labels = gtzan.read_labels(LabelRequest(find_task("gtzan"), None, ids))
        assert len(labels.tracks) == 930
        assert {track.label for track in labels.tracks} == set(find_task("gtzan").classes)

    def test_the_corrupt_track_is_kept_and_counted(self, tmp_path: Path) -> None:
        root = touch(tmp_path, ["jazz.00054.wav", "jazz.00033.wav", "hiphop.00000.mp3"])
        labels = gtzan.read_labels(LabelRequest(find_task("gtzan"), root))
        assert {name: track.label for name, track in named(labels).items()} == {
            "jazz.00054.wav": "jazz",
            "hiphop.00000.mp3": "hip hop",
        }
        assert dict(labels.counts)["kept, but corrupt in common copies"] == 1

    def test_two_copies_of_a_track_are_refused(self, tmp_path: Path) -> None:
        root = touch(tmp_path, ["a/rock.00001.wav", "b/rock.00001.au"])
        with pytest.raises(CatalogError, match=r"rock\.00001 is there twice, as 'a/rock"):
            gtzan.read_labels(LabelRequest(find_task("gtzan"), root))

    def test_a_folder_without_audio_leaves_it_to_the_catalogue(self, tmp_path: Path) -> None:
        root = touch(tmp_path, ["readme.txt"])
        request = LabelRequest(find_task("gtzan"), root, ("pop/pop.00000.wav",))
        assert gtzan.read_labels(request).tracks == (LabelledTrack("pop/pop.00000.wav", "pop"),)

    def test_a_misspelt_option_is_named(self, root: Path) -> None:
        with pytest.raises(ConfigError, match="faults='drop' is unknown"):
            gtzan.read_labels(LabelRequest(with_options("gtzan", faults="drop"), root))


class TestDortmund:
    def test_folders_are_genres_and_artists_are_groups(self, tmp_path: Path) -> None:
        root = touch(tmp_path, [name.lstrip("/") for name in LISTING])
        labels = named(dortmund.read_labels(LabelRequest(find_task("dortmund"), root)))
        assert len(labels) == 12
        hattie = [labels["Hattie-Love_Chain.wav"], labels["Hattie-Winter_Blues.wav"]]
        assert {(track.label, track.group) for track in hattie} == {("folk-country", "Hattie")}
        assert labels["_REAL-Like_it_Like_You_Do_.wav"].group == "_REAL"

    def test_files_elsewhere_are_counted(self, tmp_path: Path) -> None:
        root = touch(tmp_path, ["jazz/7_HILLS-Foster.mp3", "polka/A-B.mp3", "jazz/jazz.00001.wav"])
        labels = dortmund.read_labels(LabelRequest(find_task("dortmund"), root))
        assert labels.counts == (("tracks", 1), ("other files", 2))

    def test_labels_can_be_in_the_ids_of_the_catalogue(self) -> None:
        request = LabelRequest(find_task("dortmund"), None, ("audios/blues/A_B-C_D.mp3", "x.mp3"))
        assert dortmund.read_labels(request).tracks == (
            LabelledTrack("audios/blues/A_B-C_D.mp3", "blues", group="A_B"),
        )


class TestUrbanSound8K:
    @pytest.fixture
    def root(self, tmp_path: Path) -> Path:
        (tmp_path / "metadata").mkdir()
        shutil.copy(GOLDEN / "UrbanSound8K.csv", tmp_path / "metadata")
        return tmp_path

    def test_slices_have_class_recording_and_published_fold(self, root: Path) -> None:
        labels = urbansound8k.read_labels(LabelRequest(find_task("urbansound8k"), root))
        assert labels.counts == (("slices", 12), ("recordings", 11))
        assert named(labels)["102857-5-0-0.wav"] == LabelledTrack(
            "audio/fold10/102857-5-0-0.wav", "engine idling", group="102857", fold=9
        )
        assert {track.label for track in labels.tracks} == set(find_task("urbansound8k").classes)

    def test_the_folder_above_will_do(self, root: Path, tmp_path: Path) -> None:
        shutil.copytree(root / "metadata", tmp_path / "above" / "UrbanSound8K" / "metadata")
        labels = urbansound8k.read_labels(
            LabelRequest(find_task("urbansound8k"), tmp_path / "above")
        )
        assert len(labels.tracks) == 12

    @pytest.mark.parametrize(
        ("before", "after", "problem"),
        [
            ("slice_file_name,fsID", "name,fsID", "no column 'slice_file_name'"),
            (",5,3,dog_bark", ",11,3,dog_bark", "line 2: fold='11' is none"),
            ("car_horn", "trumpet", "label 'trumpet' of 'audio/fold10/100648-1-0-0.wav'"),
        ],
    )
    def test_other_metadata_are_refused(
        self, root: Path, before: str, after: str, problem: str
    ) -> None:
        metadata = root / "metadata" / "UrbanSound8K.csv"
        metadata.write_text(metadata.read_text().replace(before, after))
        with pytest.raises((CatalogError, ConfigError), match=problem):
            urbansound8k.read_labels(LabelRequest(find_task("urbansound8k"), root))

    def test_metadata_without_rows_are_refused(self, root: Path) -> None:
        metadata = root / "metadata" / "UrbanSound8K.csv"
        metadata.write_text(metadata.read_text().partition("\n")[0] + "\n")
        with pytest.raises(CatalogError, match="holds no rows"):
            urbansound8k.read_labels(LabelRequest(find_task("urbansound8k"), root))


class TestFreesoundLoops:
    @staticmethod
    def annotate(root: Path, annotator: str, sound: int, *ticked: str, **others: Any) -> None:
        file = root / "annotations" / annotator / f"sound-{sound}.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        ticks = {name: name in ticked for name in fs_loop_ds.TICKED}
        answers = {
            "instrumentation": ticks,
            "bpm": "120",
            "signature": "4/4",
            "well_cut": True,
            "key": "none",
            "mode": "none",
            "genres": ["global"],
            "comments": "",
            "discard": False,
        }
        file.write_text(json.dumps(answers | others))

    @staticmethod
    def read(root: Path, *ids: str) -> LabelSet:
        return fs_loop_ds.read_labels(LabelRequest(find_task("fs-loop-ds"), root, ids))

    def test_sounds_with_exactly_one_agreed_class_are_kept(self, tmp_path: Path) -> None:
        self.annotate(tmp_path, "ann", 1, "bass")
        self.annotate(tmp_path, "bob", 1, "bass")
        self.annotate(tmp_path, "ann", 2, "bass")
        self.annotate(tmp_path, "bob", 2, "chords")
        self.annotate(tmp_path, "ann", 3, "bass", "chords")
        self.annotate(tmp_path, "ann", 4)
        labels = self.read(tmp_path)
        assert labels.tracks == (LabelledTrack("1", "bass"),)
        counts = dict(labels.counts)
        assert (counts["annotations"], counts["sounds"], counts["exactly one class"]) == (6, 4, 1)
        assert (counts["annotators disagree"], counts["several classes"]) == (1, 1)
        assert counts["no class"] == 1

    def test_vocal_becomes_melody_before_annotators_are_compared(self, tmp_path: Path) -> None:
        self.annotate(tmp_path, "ann", 1, "vocal")
        self.annotate(tmp_path, "bob", 1, "melody")
        self.annotate(tmp_path, "ann", 2, "vocal", "melody")
        labels = self.read(tmp_path)
        assert [track.label for track in labels.tracks] == ["melody", "melody"]
        assert dict(labels.counts)["annotations with vocal, now melody"] == 2

    def test_one_discard_is_enough(self, tmp_path: Path) -> None:
        self.annotate(tmp_path, "ann", 1, "fx")
        self.annotate(tmp_path, "bob", 1, "fx", discard=True)
        self.annotate(tmp_path, "ann", 2, "fx")
        labels = self.read(tmp_path)
        assert [track.name for track in labels.tracks] == ["2"]
        assert dict(labels.counts)["discarded by an annotator"] == 1

    def test_what_was_saved_for_later_does_not_count(self, tmp_path: Path) -> None:
        self.annotate(tmp_path, "ann", 1, "fx")
        self.annotate(tmp_path, "bob", 1, "bass", save_for_later=True)
        labels = self.read(tmp_path)
        assert labels.tracks[0].label == "fx"
        assert dict(labels.counts)["annotations saved for later"] == 1

    def test_other_elements_are_no_class(self, tmp_path: Path) -> None:
        self.annotate(tmp_path, "ann", 1, "fx")
        file = tmp_path / "annotations" / "ann" / "sound-1.json"
        answers = json.loads(file.read_text())
        answers["instrumentation"]["other"] = "a door"
        file.write_text(json.dumps(answers))
        assert self.read(tmp_path).tracks[0].label == "fx"

    def test_names_are_those_of_the_audio_and_groups_are_uploaders(self, tmp_path: Path) -> None:
        self.annotate(tmp_path, "ann", 425998, "fx")
        self.annotate(tmp_path, "ann", 7, "bass")
        touch(tmp_path, ["FSL10K/audio/wav/425998_9497060.wav.wav"])
        metadata = {"425998": {"username": "u"}, "7": {"pack": None}}
        (tmp_path / "FSL10K" / "metadata.json").write_text(json.dumps(metadata))
        labels = self.read(tmp_path, "wav/7_22.wav.wav", "14/7.mp3")
        assert labels.tracks == (
            LabelledTrack("FSL10K/audio/wav/425998_9497060.wav.wav", "fx", group="u"),
            LabelledTrack("wav/7_22.wav.wav", "bass"),
        )

    def test_an_annotation_in_both_archives_counts_once(self, tmp_path: Path) -> None:
        self.annotate(tmp_path, "ann", 1, "fx")
        self.annotate(tmp_path / "FSL10K", "ann", 1, "fx")
        assert dict(self.read(tmp_path).counts)["annotations"] == 1

    @pytest.mark.parametrize(
        ("text", "problem"),
        [
            ("{", "is not JSON"),
            ("[]", "is not a JSON object"),
            ("{}", "no annotation of a loop: 'instrumentation'"),
            ('{"instrumentation": {"bass": true}}', "no annotation of a loop: 'percussion'"),
            ('{"instrumentation": null}', "no annotation of a loop"),
        ],
    )
    def test_what_is_no_annotation_is_refused(
        self, tmp_path: Path, text: str, problem: str
    ) -> None:
        touch(tmp_path, ["annotations/ann/sound-1.json"])
        (tmp_path / "annotations/ann/sound-1.json").write_text(text)
        with pytest.raises(CatalogError, match=problem):
            self.read(tmp_path)


class TestJamendo:
    FILE = GOLDEN / "jamendo.tsv"

    @pytest.fixture
    def data(self, tmp_path: Path) -> Path:
        (tmp_path / "data").mkdir()
        shutil.copy(self.FILE, tmp_path / "data" / "raw_30s_cleantags_50artists.tsv")
        (tmp_path / "data" / "autotagging.tsv").write_text("raw_30s_cleantags_50artists.tsv")
        return tmp_path

    def test_tags_become_classes_and_artists_groups(self, data: Path) -> None:
        labels = jamendo_tags.read_labels(LabelRequest(find_task("aggressive"), data))
        assert labels.tracks == (
            LabelledTrack("30/9830.mp3", "aggressive", group="artist_001491"),
            LabelledTrack("39/11839.mp3", "non aggressive", group="artist_001780"),
            LabelledTrack("46/3346.mp3", "non aggressive", group="artist_000517"),
            LabelledTrack("92/16092.mp3", "aggressive", group="artist_002320"),
            LabelledTrack("99/12099.mp3", "aggressive", group="artist_001822"),
        )

    def test_tracks_with_tags_of_two_classes_or_of_none_are_dropped_and_counted(self) -> None:
        labels = jamendo_tags.read_labels(LabelRequest(find_task("gtzan"), self.FILE))
        # Pop and rock, metal and rock; punk rock.
        assert "08/808.mp3" not in {track.name for track in labels.tracks}
        counts = dict(labels.counts)
        assert (counts["tracks"], len(labels.tracks)) == (14, 11)
        assert counts["dropped, tags of several classes"] == 2
        assert counts["dropped, tags of no class"] == 1

    def test_tags_that_no_track_has_are_counted(self) -> None:
        external = {"classes": {"party": ["mood/theme---party"], "non party": ["genre---reggae"]}}
        task = Task(name="own", classes=["party", "non party"], external=external)  # type: ignore[arg-type]
        labels = jamendo_tags.read_labels(LabelRequest(task, self.FILE))
        assert [track.name for track in labels.tracks] == ["72/10672.mp3"]
        assert dict(labels.counts)["tags that no track has"] == 1

    @pytest.mark.parametrize(
        ("ids", "options"), [(("low/41/241.low.mp3",), {}), ((), {"jamendo_audio": "low"})]
    )
    def test_tracks_are_called_as_the_audio_of_low_quality(
        self, ids: tuple[str, ...], options: dict[str, str]
    ) -> None:
        task = with_options("gtzan", **options)
        labels = jamendo_tags.read_labels(LabelRequest(task, self.FILE, ids))
        assert "41/241.low.mp3" in {track.name for track in labels.tracks}

    def test_a_subset_without_the_tags_gives_an_empty_set(self, tmp_path: Path) -> None:
        file = tmp_path / "autotagging_genre.tsv"
        file.write_text("\n".join(self.FILE.read_text().splitlines()[:2]))
        labels = jamendo_tags.read_labels(LabelRequest(find_task("sad"), file))
        assert labels.tracks == ()
        assert dict(labels.counts)["tags that no track has"] == 3

    @pytest.mark.parametrize(
        ("text", "problem"),
        [
            ("", "does not begin with TRACK_ID"),
            ("raw_30s_cleantags_50artists.tsv", "does not begin with TRACK_ID"),
            ("\t".join([*jamendo_tags.HEADER[:5], "ANNOTATIONS"]), "does not begin with"),
            ("\t".join(jamendo_tags.HEADER) + "\ntrack_1\tartist_1\n", "line 2: 2 cells, not 6"),
        ],
    )
    def test_other_files_are_refused(self, tmp_path: Path, text: str, problem: str) -> None:
        (tmp_path / "autotagging.tsv").write_text(text)
        with pytest.raises(CatalogError, match=problem):
            jamendo_tags.read_labels(LabelRequest(find_task("sad"), tmp_path))

    def test_a_task_without_tags_is_refused(self) -> None:
        with pytest.raises(ConfigError, match="gender does not say which tags"):
            jamendo_tags.read_labels(LabelRequest(find_task("gender"), self.FILE))

    def test_a_misspelt_option_is_named(self) -> None:
        task = with_options("sad", jamendo_audio="high")
        with pytest.raises(ConfigError, match="jamendo_audio='high' is unknown"):
            jamendo_tags.read_labels(LabelRequest(task, self.FILE))
