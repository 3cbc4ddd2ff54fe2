"""Several models in one run: what is shared, what is kept apart, and what each table holds."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from deltalake import DeltaTable

import embedlib
from embedlib.audio import signals, waveform
from embedlib.errors import FingerprintError
from embedlib.features.front_end import front_end
from embedlib.models.registry import model_spec, paper_models
from embedlib.models.store import build
from embedlib.run.extract import RunSummary

Command = Callable[..., subprocess.CompletedProcess[str]]

MUSICNN, VGG, TEMPO, OPENL3 = (
    f"untrained-{name}"
    for name in ("msd-musicnn-1", "msd-vgg-1", "deepsquare-k16-3", "openl3-music-mel128-emb512-3")
)
SPLEETER = "untrained-spleeter-5s-3"

BROUGHT = "msd-vgg-1"
"""A model whose weights are brought; no hash of the published ones is known."""

SOUNDS = ("hole.flac", "long.wav", "short.flac", "studio.wav")
N_FILES = len(SOUNDS) + 1
FRONT_ENDS = ("musicnn-mel", "vggish-mel", "tempocnn-mel", "mono-48k", "stereo-44k")

pytestmark = pytest.mark.usefixtures("in_this_process")


class Calls(NamedTuple):
    """What was really called while a run was under way."""

    decodes: Counter[str]
    resamplings: Counter[int]
    passes: Counter[str]


class Run(NamedTuple):
    """An output, and what the last run into it said."""

    out: Path
    summary: RunSummary


def run(sources: Path, out: Path, *models: str, **options: Any) -> RunSummary:
    options = {"allow_unverified": [BROUGHT], **options}
    return embedlib.extract([str(sources)], models=list(models), out=out, local=True, **options)


def rows_of(out: Path, table: str, *columns: str) -> dict[str, dict[str, Any]]:
    rows = embedlib.open(out).tracks(table).to_arrow(["track_id", *columns]).to_pylist()
    return {row["track_id"]: row for row in rows}


def patches_of(out: Path, table: str, track_id: str, column: str = "embeddings") -> np.ndarray:
    name = f"patch_{column}"
    return np.array(rows_of(out, table, name)[track_id][name], np.float32)


def table_of(run: Run, name: str) -> str:
    """Name the table of a model, or that of its stand-in."""
    return name if name in run.summary.models else f"untrained-{name}"


@pytest.fixture(scope="module")
def brought_weights(
    in_this_process: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("weights")
    shutil.copy(build(model_spec(BROUGHT)).path, folder / f"{BROUGHT}.pb")
    folders = [str(folder), *filter(None, [os.environ.get("EMBEDLIB_MODELS")])]
    in_this_process.setenv("EMBEDLIB_MODELS", os.pathsep.join(folders))


@contextmanager
def counted() -> Iterator[Calls]:
    """Count decodings by file, real resamplings by rate, and front ends by name."""
    calls = Calls(Counter(), Counter(), Counter())
    decoding, make_resampler = waveform.Decoding, signals.make_resampler

    def count_decoding(audio: Any, **options: Any) -> Any:
        calls.decodes[Path(audio.path).name] += 1
        return decoding(audio, **options)

    def count_resampler(name: str, *, sr_in_hz: int, sr_out_hz: int, **options: Any) -> Any:
        calls.resamplings[sr_out_hz] += sr_in_hz != sr_out_hz
        return make_resampler(name, sr_in_hz=sr_in_hz, sr_out_hz=sr_out_hz, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(waveform, "Decoding", count_decoding)
        patch.setattr(signals, "make_resampler", count_resampler)
        for kind in {type(front_end(name)) for name in FRONT_ENDS}:
            patch.setattr(kind, "stream", counting_streams(kind.stream, calls.passes))
        yield calls


def counting_streams(stream: Callable[[Any], Any], passes: Counter[str]) -> Callable[[Any], Any]:
    def count_stream(front: Any) -> Any:
        passes[front.name] += 1
        return stream(front)

    return count_stream


@pytest.fixture(scope="module")
def paper_calls(
    brought_weights: None, mixed_clips: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Run, Calls]:
    """The eight models of the paper over five files in one run, counted."""
    out = tmp_path_factory.mktemp("paper") / "out"
    with counted() as calls:
        summary = run(mixed_clips, out, "all", allow_untrained=True)
    return Run(out, summary), calls


@pytest.fixture(scope="module")
def paper(paper_calls: tuple[Run, Calls]) -> Run:
    return paper_calls[0]


def test_eight_models_decode_each_file_once(
    paper_calls: tuple[Run, Calls],
) -> None:
    paper, calls = paper_calls
    assert calls.decodes == Counter([*SOUNDS, "text.mp3"])
    assert paper.summary.decoding["decodes"] == len(SOUNDS)
    assert paper.summary.decoding_saved["decodes"] == 7 * len(SOUNDS)


def test_eight_models_resample_each_file_once_for_each_distinct_signal(
    paper_calls: tuple[Run, Calls],
) -> None:
    paper, calls = paper_calls
    # Four signals, and three files that have the rate of one of them already.
    assert calls.resamplings == {16_000: 3, 11_025: 4, 48_000: 3, 44_100: 3}
    assert paper.summary.decoding["resamplings"] == 13
    # Five models share 16 kHz, which spares four resamplings of each file that is not at 16 kHz.
    assert paper.summary.decoding_saved["resamplings"] == 12


def test_eight_models_run_each_front_end_once_per_file(
    paper_calls: tuple[Run, Calls],
) -> None:
    paper, calls = paper_calls
    # A stream is made for the text as well; no sample reaches it.
    assert calls.passes == Counter({name: N_FILES for name in FRONT_ENDS})
    assert paper.summary.decoding["front_end_passes"] == len(FRONT_ENDS) * len(SOUNDS)
    assert paper.summary.decoding_saved["front_end_passes"] == 3 * len(SOUNDS)


def test_every_table_has_a_row_for_every_file(paper: Run) -> None:
    statuses = {"damaged": 8, "ok": 24, "undecodable": 8}
    assert (paper.summary.statuses, paper.summary.n_rows) == (statuses, 8 * N_FILES)
    assert embedlib.verify(paper.out).problems == ()


def test_stand_ins_are_taken_only_where_weights_are_missing(paper: Run, model: str) -> None:
    found = {BROUGHT, model} & set(paper_models())
    stand_ins = [name for name in paper_models() if name not in found]
    assert paper.summary.untrained == tuple(f"untrained-{name}" for name in stand_ins)
    assert set(paper.summary.models) == found | set(paper.summary.untrained)
    for table in paper.summary.models:
        manifest = embedlib.open(paper.out).tracks(table).manifest
        assert manifest.untrained is (table not in found)


@pytest.mark.parametrize("clip", ["long.wav", "short.flac"])
@pytest.mark.parametrize("name", paper_models())
def test_embed_gives_the_vectors_of_the_table(
    paper: Run, mixed_clips: Path, name: str, clip: str
) -> None:
    table = table_of(paper, name)
    embeddings = embedlib.embed(mixed_clips / clip, model=table, allow_unverified=[BROUGHT])
    np.testing.assert_array_equal(embeddings, patches_of(paper.out, table, clip))


def test_spleeter_gives_sixteen_vectors_of_one_time_for_each_patch(paper: Run) -> None:
    patches = embedlib.open(paper.out).patches(SPLEETER).to_pandas()
    long = patches[patches["track_id"] == "long.wav"]
    assert long["patch"].tolist() == [0] * 16 + [1] * 16
    assert long["band"].tolist() == [*range(16)] * 2
    assert (long.groupby("patch")["t0_ms"].nunique() == 1).all()
    assert (patches.groupby(["track_id", "patch"]).size() == 16).all()


def test_the_embedding_of_a_spleeter_track_is_the_mean_over_all_its_vectors(paper: Run) -> None:
    row = rows_of(paper.out, SPLEETER, "embedding", "n_patches")["long.wav"]
    vectors = patches_of(paper.out, SPLEETER, "long.wav")
    assert vectors.shape == (16 * row["n_patches"], 1280)
    np.testing.assert_allclose(row["embedding"], vectors.mean(axis=0), rtol=1e-5, atol=1e-6)


@pytest.fixture(scope="module")
def three(mixed_clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Three models with three signals, in this process."""
    out = tmp_path_factory.mktemp("three") / "out"
    summary = run(mixed_clips, out, MUSICNN, TEMPO, OPENL3, outputs=["activations"])
    return Run(out, summary)


@pytest.fixture(scope="module")
def three_by_ray(
    command: Command, mixed_clips: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, Any]]:
    out = tmp_path_factory.mktemp("ray") / "out"
    options = ("--outputs", "activations", "--max-failed", "9", "--json", "--quiet")
    done = command(
        *("extract", mixed_clips, "--models", MUSICNN, TEMPO, OPENL3, "--out", out, *options)
    )
    assert done.returncode == 0, done.stderr
    return out, json.loads(done.stdout)


def test_ray_decodes_no_more_and_no_less_than_one_process(
    three: Run, three_by_ray: tuple[Path, dict[str, Any]]
) -> None:
    _, summary = three_by_ray
    assert three.summary.decoding == {
        "decodes": 4,
        "resamplings": 10,
        "front_end_passes": 12,
    }
    assert summary["decoding"] == three.summary.decoding
    assert summary["decoding_saved"] == three.summary.decoding_saved


def test_ray_gives_the_rows_of_one_process(
    three: Run, three_by_ray: tuple[Path, dict[str, Any]]
) -> None:
    out, _ = three_by_ray
    assert embedlib.diff(out, three.out).differences == ()
    assert embedlib.verify(out).problems == ()


def test_a_model_that_has_no_such_output_has_no_such_column(three: Run) -> None:
    tables = {name: embedlib.open(three.out).tracks(name) for name in (MUSICNN, TEMPO, OPENL3)}
    assert tables[MUSICNN].to_numpy("activations").shape == (4, 50)
    assert tables[TEMPO].to_numpy("activations").shape == (4, 256)
    assert tables[OPENL3].manifest.columns == ()


@pytest.fixture(scope="module")
def extended(mixed_clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A finished output of one model to which another was added, after one file had changed."""
    folder = tmp_path_factory.mktemp("extended")
    clips, out = folder / "clips", folder / "out"
    shutil.copytree(mixed_clips, clips)
    run(clips, out, MUSICNN)
    shutil.copytree(out / MUSICNN, folder / "before")
    shutil.copy(clips / "studio.wav", clips / "short.flac")
    return Run(out, run(clips, out, MUSICNN, OPENL3))


def test_a_model_that_is_added_is_the_only_one_that_is_computed(extended: Run) -> None:
    tables = (extended.out / MUSICNN, extended.out.parent / "before")
    assert len({DeltaTable(table).version() for table in tables}) == 1
    assert extended.summary.n_rows == N_FILES
    # Of the front ends, that of the model that was finished does not run again.
    assert extended.summary.decoding == {"decodes": 3, "resamplings": 2, "front_end_passes": 3}
    assert set(extended.summary.decoding_saved.values()) == {0}


def test_a_file_that_changed_before_a_model_was_added_is_not_mixed_in(extended: Run) -> None:
    before = rows_of(extended.out, MUSICNN, "status", "version")
    after = rows_of(extended.out, OPENL3, "status", "version", "embedding")
    assert (before["short.flac"]["status"], after["short.flac"]["status"]) == ("ok", "changed")
    assert after["short.flac"]["embedding"] is None
    assert {name: row["version"] for name, row in after.items()} == {
        name: row["version"] for name, row in before.items()
    }
    assert extended.summary.n_changed == 1


@pytest.fixture(scope="module")
def two_instances(mixed_clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """MusiCNN as it is, and MusiCNN without overlap, in one output."""
    out = tmp_path_factory.mktemp("instances") / "out"
    summary = run(mixed_clips, out, MUSICNN, f"{MUSICNN}:patch_hop_frames=187,as=musicnn-187")
    return Run(out, summary)


def test_two_instances_of_a_model_make_two_tables_from_one_decode(two_instances: Run) -> None:
    tables = (MUSICNN, "untrained-musicnn-187")
    counts = [rows_of(two_instances.out, table, "n_patches") for table in tables]
    assert two_instances.summary.models == tables
    # 13 s are 813 frames.
    assert [count["long.wav"]["n_patches"] for count in counts] == [7, 4]
    assert two_instances.summary.decoding == {
        "decodes": 4,
        "resamplings": 3,
        "front_end_passes": 4,
    }


def test_patches_of_two_instances_at_one_time_are_equal(two_instances: Run) -> None:
    # Of the two hops, 93 and 187 frames, every patch but the first starts elsewhere.
    dense = patches_of(two_instances.out, MUSICNN, "long.wav")
    sparse = patches_of(two_instances.out, "untrained-musicnn-187", "long.wav")
    assert np.array_equal(dense[0], sparse[0])
    assert not np.array_equal(dense[2], sparse[1])


def test_an_instance_with_other_parameters_than_its_table_is_refused(
    two_instances: Run, mixed_clips: Path
) -> None:
    before = sorted(two_instances.out.rglob("*"))
    with pytest.raises(FingerprintError, match=r"musicnn-187 .*patch_hop_frames=187 \(now 100\)"):
        run(
            *(mixed_clips, two_instances.out, MUSICNN),
            f"{MUSICNN}:patch_hop_frames=100,as=musicnn-187",
        )
    assert sorted(two_instances.out.rglob("*")) == before


@pytest.fixture(scope="module")
def with_outputs(mixed_clips: Path, model: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MusiCNN with its activations and the numbers that these are made of."""
    out = tmp_path_factory.mktemp("outputs") / "out"
    run(mixed_clips, out, model, outputs=["activations", "model/dense_1/BiasAdd"])
    return out


@pytest.mark.parametrize(
    ("column", "node"),
    [("activations", "model/Sigmoid"), ("model.dense_1.BiasAdd", "model/dense_1/BiasAdd")],
)
def test_a_further_output_is_what_embed_reads_from_its_node(
    with_outputs: Path, mixed_clips: Path, model: str, column: str, node: str
) -> None:
    vectors = patches_of(with_outputs, model, "long.wav", column)
    assert vectors.shape == (7, 50)
    expected = embedlib.embed(mixed_clips / "long.wav", model=model, node=node)
    np.testing.assert_allclose(vectors, expected, rtol=1e-6, atol=1e-6)


def test_activations_are_the_sigmoid_of_the_logits(with_outputs: Path, model: str) -> None:
    table = embedlib.open(with_outputs).patches(model)
    logits = table.to_numpy("model.dense_1.BiasAdd").astype(np.float64)
    np.testing.assert_allclose(table.to_numpy("activations"), 1 / (1 + np.exp(-logits)), atol=1e-6)


def test_further_outputs_leave_the_embeddings_as_they_are(
    with_outputs: Path, mixed_clips: Path, model: str
) -> None:
    alone = embedlib.embed(mixed_clips / "long.wav", model=model)
    np.testing.assert_allclose(patches_of(with_outputs, model, "long.wav"), alone, rtol=1e-5)


@pytest.mark.slow
@pytest.mark.timeout(3_600)
def test_all_eight_models_over_real_audio(
    start: Callable[..., subprocess.Popen[str]],
    shared_audio: Path,
    shared_sonic_pi: Path,
    tmp_path: Path,
) -> None:
    out, options = tmp_path / "out", ("--allow-untrained", "--json", "--quiet")
    driver = start(
        *("extract", shared_audio, shared_sonic_pi, "--models", "all", "--out", out, *options)
    )
    stdout, stderr = driver.communicate(timeout=3_000)
    assert driver.returncode == 0, stderr
    summary = json.loads(stdout)
    n_tracks = summary["n_tracks"]
    assert n_tracks > 200
    assert summary["statuses"] == {"ok": 8 * n_tracks}
    assert summary["decoding"]["decodes"] == n_tracks
    assert summary["decoding_saved"]["decodes"] == 7 * n_tracks
    assert embedlib.verify(out).problems == ()
