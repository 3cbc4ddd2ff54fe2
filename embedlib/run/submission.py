"""The name under which a run is submitted to a cluster: it tells the output and the try."""

from __future__ import annotations

import hashlib
import re

from embedlib.catalog.places import place
from embedlib.tables.layout import RUNS_FOLDER


def submission_id(out: str) -> str:
    """Name the next job for an output.

    Ray takes each name once. A second job is therefore refused as long as the first one has not
    begun its run, and a resumed run has a name of its own.

    Parameters
    ----------
    out : str
        Path or URL of the output, which need not exist.

    Returns
    -------
    submission_id : str
        ``embedlib-<name>-<hash>-try<n>``: the last part of the path, a hash of all of it, and the
        number of runs so far plus one.

    Raises
    ------
    ConfigError
        If outputs cannot lie there.

    Examples
    --------
    >>> submission_id("/music/index 2026")
    'embedlib-index-2026-18c40684-try1'
    """
    root = place(out).absolute()
    runs = root / RUNS_FOLDER
    n_runs = sum(1 for _ in runs.iterdir()) if runs.is_dir() else 0
    name = re.sub(r"[^A-Za-z0-9_-]+", "-", root.name).strip("-")[:40]
    digest = hashlib.sha256(str(root).encode()).hexdigest()[:8]
    return f"embedlib-{name or 'out'}-{digest}-try{n_runs + 1}"
