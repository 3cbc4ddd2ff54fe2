"""The example of the documents, the published MusiCNN on real sounds, against plain scikit-learn.

Nothing of `embedlib.probes` computes the second side: it reads the tables as any program would,
takes folds and seeds from there, and follows the protocol as docs/probes.md tells it.
"""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable
from sklearn.metrics import balanced_accuracy_score
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import StandardScaler

import embedlib
from embedlib.probes.score_records import Cell
from embedlib.probes.scores import read_scores

ROOT = Path(__file__).parents[2]
MODEL = "msd-musicnn-1"
N_FOLDS, PATIENCE, MAX_EPOCHS = 5, 15, 200


@pytest.fixture(scope="module")
def out(
    shared_sonic_pi: Path, shared_models: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The tables of the example, probed as its configuration says."""
    out = tmp_path_factory.mktemp("sonic-pi") / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EMBEDLIB_MODELS", str(shared_models))
        embedlib.extract([str(shared_sonic_pi)], models=[MODEL], out=out, local=True)
    sweep = [sys.executable, "-m", "embedlib.cli.app", "probe", "sweep", "--local", "--json"]
    example = ["--config", "configs/probes/sonic-pi.yaml", "--out", str(out)]
    subprocess.run([*sweep, *example], cwd=ROOT, check=True, capture_output=True)
    return out


@pytest.fixture(scope="module")
def fits(out: Path) -> pd.DataFrame:
    """The five fits that are reported, by fold."""
    table = DeltaTable(out / "probes").to_pandas()
    return table.query("role == 'cv' and repeat == 0").sort_values("fold")


@pytest.fixture(scope="module")
def tracks(out: Path, fits: pd.DataFrame) -> pd.DataFrame:
    """Label and embedding of each track, in the order to which the fits refer."""
    (cohort_id,) = set(fits["cohort_id"])
    cohort = pq.read_table(out / "probes" / "_cohorts" / f"{cohort_id}.parquet").to_pandas()
    embeddings = DeltaTable(out / MODEL).to_pandas()[["track_id", "embedding"]]
    return cohort.merge(embeddings, on="track_id", how="left", validate="one_to_one")


@pytest.fixture(scope="module")
def cell(out: Path) -> Cell:
    """The one result of the report."""
    (found,) = read_scores(out).cells
    return found


def standardised(x: np.ndarray, like: np.ndarray) -> np.ndarray:
    scaler = StandardScaler().fit(like.astype(np.float64))
    return (x - scaler.mean_.astype(np.float32)) / scaler.scale_.astype(np.float32)


def balanced_loss(probabilities: np.ndarray, y: np.ndarray) -> float:
    losses = -np.log(probabilities[np.arange(len(y)), y])
    return float(np.mean([losses[y == number].mean() for number in np.unique(y)]))


def train_plainly(
    x: np.ndarray, y: np.ndarray, *, train: np.ndarray, val: np.ndarray, seed: int
) -> tuple[float, MLPClassifier]:
    """Give the least validation loss, and the network that had it."""
    mlp = MLPClassifier((100,), alpha=1e-5 * 32, batch_size=32, learning_rate_init=1e-3)
    mlp.set_params(random_state=np.random.RandomState(seed))
    losses: list[float] = []
    while len(losses) < MAX_EPOCHS and len(losses) - np.argmin([np.inf, *losses]) < PATIENCE:
        mlp.partial_fit(x[train], y[train], classes=np.unique(y))
        losses.append(balanced_loss(mlp.predict_proba(x[val]), y[val]))
        if losses[-1] < min([np.inf, *losses[:-1]]):
            kept = [weights.copy() for weights in (*mlp.coefs_, *mlp.intercepts_)]
    mlp.coefs_, mlp.intercepts_ = kept[:2], kept[2:]
    return min(losses), mlp


def test_plain_scikit_learn_gives_the_same_balanced_accuracy(
    fits: pd.DataFrame, tracks: pd.DataFrame, cell: Cell
) -> None:
    x = np.stack(list(tracks["embedding"])).astype(np.float32)
    _, y = np.unique(tracks["label"], return_inverse=True)
    tested = [np.array(index) for index in fits["test_index"]]
    assert sorted(np.concatenate(tested)) == list(range(len(y)))
    predicted = np.empty_like(y)
    for fold, row in enumerate(fits.itertuples()):
        val = tested[(fold + 1) % N_FOLDS]
        train = np.setdiff1d(np.arange(len(y)), [*tested[fold], *val])
        own = standardised(x, x[train])
        loss, mlp = train_plainly(own, y, train=train, val=val, seed=int(row.seed))
        predicted[tested[fold]] = mlp.predict(own[tested[fold]])
        assert loss == pytest.approx(row.val_loss, rel=1e-6)  # products of float32 in another order
    accuracy = balanced_accuracy_score(y, predicted)
    assert cell.five_fold == pytest.approx(accuracy, rel=0, abs=1e-9)


def test_classes_are_the_prefixes_that_eight_files_have(
    shared_sonic_pi: Path, tracks: pd.DataFrame
) -> None:
    prefixes = Counter(path.name.partition("_")[0] for path in shared_sonic_pi.glob("*.flac"))
    assert dict(Counter(tracks["label"])) == {prefix: n for prefix, n in prefixes.items() if n >= 8}


def test_musicnn_tells_the_sounds_apart_far_better_than_shuffled_labels(
    cell: Cell, out: Path
) -> None:
    controls = DeltaTable(out / "probes").to_pandas().query("role == 'control'")
    scores = [
        balanced_accuracy_score(
            np.concatenate([*own["truth"]]), np.concatenate([*own["predicted"]])
        )
        for _, own in controls.groupby("shuffle")
    ]
    assert len(scores) == 20
    assert cell.interval.low > max(scores) + 0.2
    assert cell.interval.low < cell.five_fold < cell.interval.high
