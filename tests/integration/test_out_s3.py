"""Outputs on an S3 server: what holds on a disk holds there, and nothing secret is written."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.request import urlopen

import pytest

import embedlib
from embedlib.catalog.stores import StorePath
from embedlib.errors import ConfigError, RunError
from embedlib.run.extract import RunSummary
from embedlib.run.provenance import row_provenance
from embedlib.run.repro import Verdict, repro
from embedlib.run.unfinished import MARK_FILE, DecodingMark, left_behind
from embedlib.tables.status import failures, status

pytest.importorskip("moto.server")
s3fs = pytest.importorskip("s3fs")

Arguments = Callable[..., tuple[object, ...]]
Extract = Callable[..., RunSummary]
WaitUntil = Callable[[Callable[[], object], subprocess.Popen[str]], None]
KillRun = Callable[[subprocess.Popen[str]], None]

MODEL = "untrained-msd-musicnn-1"
SECRET = "hush-hush-hush"
SERVER = Path(__file__).with_name("s3_server.py")
PATIENCE_S = 120.0


@dataclass(frozen=True)
class Server:
    """A running server, and the environment of one who may write there."""

    url: str
    environment: dict[str, str]

    def start(self, *arguments: object, **further: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "embedlib.cli.app", *map(str, arguments)],
            env=self.environment | further,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )

    @contextmanager
    def in_this_process(self) -> Iterator[None]:
        with pytest.MonkeyPatch.context() as patch:
            for name, value in self.environment.items():
                patch.setenv(name, value)
            s3fs.S3FileSystem.clear_instance_cache()
            yield
        s3fs.S3FileSystem.clear_instance_cache()

    def fail_next(self, n_requests: int) -> None:
        urlopen(f"{self.url}/fail?{n_requests}").close()


@contextmanager
def running(conditions: str, environment: dict[str, str]) -> Iterator[Server]:
    line = [sys.executable, str(SERVER), conditions]
    with subprocess.Popen(line, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().strip()
            own = {
                "AWS_ENDPOINT_URL": url,
                "AWS_ACCESS_KEY_ID": "rightkey",
                "AWS_SECRET_ACCESS_KEY": SECRET,
                "AWS_DEFAULT_REGION": "us-east-1",
                "AWS_EC2_METADATA_DISABLED": "true",
            }
            yield Server(url, environment | own)
        finally:
            process.kill()


@pytest.fixture(scope="module")
def server(environment: dict[str, str]) -> Iterator[Server]:
    with running("atomic", environment) as server, server.in_this_process():
        yield server


@pytest.fixture(scope="module")
def extract(mixed_clips: Path) -> Extract:
    def run(out: object, **options: object) -> RunSummary:
        return embedlib.extract([str(mixed_clips)], models=[MODEL], out=str(out), **options)

    return run


@pytest.fixture(scope="module")
def local_out(server: Server, extract: Extract, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("local") / "out"
    extract(out, local=True)
    return out


@pytest.fixture(scope="module")
def out(server: Server, extract: Extract) -> StorePath:
    """The output of one undisturbed run into the store."""
    out = StorePath("s3://store/runs of may/out")
    extract(out, local=True)
    return out


def assert_same_rows(out: object, other: object, *, n_rows: int = 5) -> None:
    found = embedlib.diff(str(out), str(other))
    assert (found.differences, found.exact, found.n_rows) == ((), (MODEL,), n_rows)
    assert embedlib.verify(str(out)).problems == ()


@pytest.mark.slow
def test_a_row_in_a_store_tells_what_made_it_and_is_made_again(out: StorePath) -> None:
    found = row_provenance(str(out), MODEL, "studio.wav")
    assert found.commit is not None
    assert found.run is not None
    assert found.run.kind == "extract"
    assert repro(str(out), MODEL, "studio.wav").verdict is Verdict.BIT_EQUAL
    assert repro(f"{out}@1", MODEL, "text.mp3").verdict is Verdict.SAME_STATUS


def test_an_output_in_a_store_has_the_rows_of_one_on_a_disk(
    out: StorePath, local_out: Path
) -> None:
    assert_same_rows(out, local_out)
    there, here = (embedlib.open(str(root)).tracks(MODEL) for root in (out, local_out))
    assert sorted(there.track_ids) == sorted(here.track_ids)
    assert there.to_numpy().shape == here.to_numpy().shape


def test_a_second_run_finds_nothing_to_do(extract: Extract, out: StorePath) -> None:
    before = sorted((out / MODEL).glob("**"))
    summary = extract(out, local=True)
    assert (summary.n_rows, summary.n_tracks, summary.n_new) == (0, 5, 0)
    assert sorted((out / MODEL).glob("**")) == before


def test_the_store_holds_what_a_folder_would(out: StorePath, local_out: Path) -> None:
    for name in ("catalog/sources.json", f"{MODEL}/model.json"):
        assert (out / name).read_bytes() == (local_out / name).read_bytes()
    assert {path.name for path in out.glob("runs/*/*")} >= {"config.yaml", "summary.json"}


def test_all_that_reads_an_output_takes_the_url(out: StorePath, local_out: Path) -> None:
    [there], [here] = status(str(out)), status(local_out)
    assert (there.statuses, there.n_patches) == (here.statuses, here.n_patches)
    assert sorted(map(str, failures(str(out)))) == sorted(map(str, failures(local_out)))
    patches = [embedlib.open(root).patches(MODEL) for root in (str(out), local_out)]
    assert patches[0].to_arrow().num_rows == patches[1].to_arrow().num_rows > 5


def test_files_are_named_by_url(server: Server, out: StorePath) -> None:
    with server.start("files", out, MODEL) as process:
        stdout, _ = process.communicate(timeout=PATIENCE_S)
    assert stdout.splitlines() == sorted(map(str, (out / MODEL).glob("*.parquet")))


def test_no_secret_is_in_the_output(out: StorePath) -> None:
    files = [path for path in out.glob("**") if path.is_file()]
    assert len(files) > 10
    assert not [path for path in files if SECRET.encode() in path.read_bytes()]


def test_ray_workers_write_to_the_store(server: Server, mixed_clips: Path, local_out: Path) -> None:
    line = ("extract", mixed_clips, "--models", MODEL, "--out", "s3://store/ray", "--quiet")
    with server.start(*line, "--max-failed", 9, "--n-cores", 1) as process:
        _, stderr = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, stderr
    assert_same_rows("s3://store/ray", local_out)


@pytest.mark.slow  # the kill matrix has a cell for each victim in such a store
def test_a_killed_run_goes_on_where_the_log_ends(
    server: Server,
    clips: Path,
    extract_clips: Arguments,
    wait_until: WaitUntil,
    kill_run: KillRun,
) -> None:
    out = StorePath("s3://store/killed")
    with server.start(*extract_clips(out, "--local", "--quiet")) as driver:
        wait_until(lambda: (out / MODEL / "_delta_log" / f"{1:020}.json").exists(), driver)
        kill_run(driver)
    n_committed = sum(n for model in status(str(out)) for _, n in model.statuses)
    summary = embedlib.extract(
        [str(clips)], models=[MODEL], out=str(out), local=True, patch_hop_frames=24
    )
    assert 0 < n_committed == 28 - summary.n_rows < 28
    assert embedlib.verify(str(out)).problems == ()


def test_two_drivers_at_once_write_each_row_once(
    server: Server, mixed_clips: Path, local_out: Path
) -> None:
    line = ("extract", mixed_clips, "--models", MODEL, "--out", "s3://store/doubled", "--quiet")
    drivers = [server.start(*line, "--local", "--max-failed", 9) for _ in range(2)]
    answers = [driver.communicate(timeout=PATIENCE_S) for driver in drivers]
    assert [driver.returncode for driver in drivers] == [0, 0], answers
    assert_same_rows("s3://store/doubled", local_out)
    assert embedlib.verify("s3://store/doubled").notes == ()


def test_a_process_that_dies_while_it_decodes_leaves_its_shard_behind_in_the_store(
    server: Server,
) -> None:
    out = StorePath("s3://store/left")
    begin = "; ".join(
        [
            "import os",
            "from embedlib.catalog.stores import StorePath",
            "from embedlib.run.unfinished import DecodingMark",
            f"DecodingMark(StorePath({str(out)!r}), 'dead').begin('0a')",
            "os._exit(1)",
        ]
    )
    DecodingMark(out, "alive").begin("0b")
    subprocess.run([sys.executable, "-c", begin], env=server.environment, check=False)
    assert left_behind(out) == ("0a",)
    (out / "runs" / "dead" / MARK_FILE).unlink()
    assert left_behind(out) == ()


def test_a_store_that_is_busy_for_a_while_is_outlasted(server: Server) -> None:
    path = StorePath("s3://store/busy")
    server.fail_next(6)  # botocore itself tries five times
    path.write_bytes(b"patience")
    assert path.read_bytes() == b"patience"


def test_a_profile_serves_both_clients(
    server: Server, extract: Extract, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = f"aws_access_key_id = rightkey\naws_secret_access_key = {SECRET}\n"
    (tmp_path / "credentials").write_text(f"[music]\n{keys}")
    (tmp_path / "config").write_text(f"[profile music]\nendpoint_url = {server.url}\n")
    for name in ("ENDPOINT_URL", "ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "DEFAULT_REGION"):
        monkeypatch.delenv(f"AWS_{name}")
    monkeypatch.setenv("AWS_PROFILE", "music")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    s3fs.S3FileSystem.clear_instance_cache()
    assert extract("s3://store/profile", local=True).n_rows == 5
    s3fs.S3FileSystem.clear_instance_cache()


def test_wrong_credentials_are_one_line_that_does_not_show_them(
    server: Server, mixed_clips: Path
) -> None:
    line = ("extract", mixed_clips, "--models", MODEL, "--out", "s3://store/out", "--local")
    with server.start(*line, AWS_ACCESS_KEY_ID="wrongkey") as process:
        stdout, stderr = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, stdout) == (1, "")
    assert stderr.startswith("error: cannot use the store of s3://store/out: ")
    assert stderr.count("\n") == 1
    assert SECRET not in stderr
    assert "wrongkey" not in stderr


def test_a_bucket_that_is_not_there_is_refused(server: Server, extract: Extract) -> None:
    with pytest.raises(RunError, match="s3://no-such-bucket/out: The specified bucket does not"):
        extract("s3://no-such-bucket/out", local=True)


@pytest.fixture
def careless(environment: dict[str, str]) -> Iterator[Server]:
    """A store that takes every write, whatever its conditions."""
    with running("ignores", environment) as server, server.in_this_process():
        yield server


def test_a_store_unfit_for_two_runs_is_for_a_single_writer(
    careless: Server, extract: Extract
) -> None:
    with pytest.raises(ConfigError, match="lets two writers create one file"):
        extract("s3://store/out", local=True)
    assert not StorePath("s3://store/out").exists()
    counts = [extract("s3://store/out", local=True, single_writer=True).n_rows for _ in range(2)]
    assert counts == [5, 0]
    assert embedlib.verify("s3://store/out").problems == ()


def test_a_store_without_conditional_writes_is_refused(
    environment: dict[str, str], extract: Extract
) -> None:
    with (
        running("refuses", environment) as server,
        server.in_this_process(),
        pytest.raises(RunError, match="s3://store/out: A header is unknown"),
    ):
        extract("s3://store/out", local=True, single_writer=True)


def test_the_server_of_these_tests_ends_with_them(environment: dict[str, str]) -> None:
    with running("atomic", environment) as server:
        assert server.url.startswith("http://127.0.0.1:")
    with pytest.raises(OSError, match="refused"):
        server.fail_next(0)
