"""Fit probes by the library and by plain scikit-learn, in turns, in a process of its own.

Run by jobs/bench_probes.py: python jobs/bench_probes_run.py JOB.json, which leaves JOB.result

The plain loop has the settings of the pooled protocol: layers, Adam, penalty, batches, seed,
standardised vectors, and the end where the validation loss no longer falls.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from coverage_draws import Cell, paper_cells
from sklearn.metrics import log_loss
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import StandardScaler

from embedlib.probes.folds import assign_folds, fold_parts
from embedlib.probes.records import POOLED, FitKey, Params, Parts, Role, Sample, Split
from embedlib.probes.training import Training
from embedlib.records import Float32
from embedlib.tasks.cohort import Cohort

N_FOLDS = 5
PARAMS = Params()
"""Those of the paper."""


def fit_ours(key: FitKey, sample: Sample, cohort: Cohort, parts: Parts) -> dict[str, Any]:
    """Fit one probe as a sweep does."""
    started = time.perf_counter()
    training = Training(
        key, sample=sample, y=cohort.y, classes=cohort.classes, parts=parts, protocol=POOLED
    )
    training.advance(POOLED.max_epochs)
    outcome = training.outcome(0, True)
    predicted = outcome.probe.probabilities(sample.x[parts.test]).argmax(axis=1)
    return {
        "seconds": time.perf_counter() - started,
        "n_epochs": outcome.n_epochs,
        "val_loss": outcome.val_loss,
        "predicted": predicted.tolist(),
    }


def fit_plainly(key: FitKey, sample: Sample, cohort: Cohort, parts: Parts) -> dict[str, Any]:
    """Fit one probe by a loop of scikit-learn's own classes."""
    started = time.perf_counter()
    scaler = StandardScaler().fit(sample.x[parts.train])
    train, val, test = (
        scaler.transform(sample.x[some]) for some in (parts.train, parts.val, parts.test)
    )
    y, val_y = cohort.y[parts.train], cohort.y[parts.val]
    weights = 1 / np.bincount(val_y)[val_y]
    batch_size = min(PARAMS.batch_size, len(train))
    mlp = MLPClassifier(
        (PARAMS.n_hidden,),
        alpha=PARAMS.l2 * batch_size,
        batch_size=batch_size,
        learning_rate_init=PARAMS.rate,
        random_state=np.random.RandomState(key.seed),
    )
    losses: list[float] = []
    best = np.inf
    while len(losses) < POOLED.max_epochs and not _is_stale(losses):
        mlp.partial_fit(train, y, classes=np.arange(len(cohort.classes)))
        losses.append(log_loss(val_y, mlp.predict_proba(val), sample_weight=weights))
        if losses[-1] < best:
            best, kept = losses[-1], [w.copy() for w in (*mlp.coefs_, *mlp.intercepts_)]
    mlp.coefs_, mlp.intercepts_ = kept[:2], kept[2:]
    predicted = mlp.predict(test)
    return {
        "seconds": time.perf_counter() - started,
        "n_epochs": len(losses),
        "val_loss": best,
        "predicted": predicted.tolist(),
    }


def _is_stale(losses: list[float]) -> bool:
    return bool(losses) and len(losses) - 1 - int(np.argmin(losses)) >= POOLED.stop_epochs


OURS, PLAIN = "embedlib", "scikit-learn"
WAYS = {OURS: fit_ours, PLAIN: fit_plainly}


def sample_of(cell: Cell) -> tuple[Cohort, Sample]:
    """Draw the labelled vectors of a cell."""
    y = cell.labels
    x: Float32 = cell.draw(y, purpose="tracks")
    cohort = Cohort(cell.task, cell.classes, tuple(map(str, range(len(y)))), y)
    return cohort, Sample(cell.model, x, np.arange(len(y) + 1), "drawn")


def fits_of(cell: Cell) -> Iterator[dict[str, Any]]:
    """Fit each fold of a cell by both ways, in turns."""
    cohort, sample = sample_of(cell)
    folds = assign_folds(cohort, n_folds=N_FOLDS, repeat=0, split=Split.STRATIFIED)
    for fold in range(N_FOLDS):
        parts = fold_parts(folds, fold=fold, has_vectors=sample.has_vectors)
        key = FitKey(
            Role.CV,
            cell.task,
            cell.model,
            POOLED.name,
            Split.STRATIFIED,
            PARAMS,
            N_FOLDS,
            fold=fold,
        )
        truth = cohort.y[parts.test].tolist()
        for way, fit in WAYS.items():
            found = fit(key, sample, cohort, parts)
            names = {"way": way, "task": cell.task, "model": cell.model, "fold": fold}
            yield {**names, **found, "truth": truth}


def measure(job: dict[str, Any]) -> list[dict[str, Any]]:
    """Fit all cells of the job, after a fit of each way to load code."""
    for warm_up in fits_of(paper_cells(job["tasks"][:1], job["models"][:1], scale=0.1, seed=0)[0]):
        if warm_up["fold"]:
            break
    cells = paper_cells(job["tasks"], job["models"], scale=job["scale"], seed=0)
    return [fit for cell in cells for fit in fits_of(cell)]


if __name__ == "__main__":
    job_file = Path(sys.argv[1])
    found = measure(json.loads(job_file.read_text()))
    job_file.with_suffix(".result").write_text(json.dumps({"fits": found}))
