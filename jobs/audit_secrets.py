"""Credentials in files of a repository, as `detect-secrets` knows them."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from audit_part import Part
from detect_secrets.core import baseline
from detect_secrets.core.secrets_collection import SecretsCollection
from detect_secrets.settings import default_settings

NAME: Final = "secrets"
COLUMNS: Final = ("file", "line", "kind")
# Of git: files that are in it, and those that the next commit may take.
LIST: Final = ("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")


def secrets(root: Path, *, accepted: Path) -> Part:
    """Look for credentials in the files of a repository.

    Parameters
    ----------
    root : Path
        Of the repository.
    accepted : Path
        Findings that a person has looked at, as hashes: digests of weights, keys of tests.

    Returns
    -------
    part : Part
        A row for each finding that is not accepted. Nothing is sent anywhere to try it.
    """
    names = repository_files(root, apart_from=accepted)
    if names is None:
        unchecked = (f"{root} is no git repository: secrets were not looked for",)
        return Part(NAME, 0, COLUMNS, unchecked=unchecked)
    found = scanned(root, names) - SecretsCollection.load_from_baseline(
        baseline.load_from_file(str(accepted))
    )
    rows = tuple(sorted((name, str(each.line_number), each.type) for name, each in found))
    findings = tuple(f"{name}:{line} looks like a {kind}" for name, line, kind in rows)
    return Part(NAME, len(names), COLUMNS, rows, findings)


def accept(root: Path, *, accepted: Path) -> int:
    """Write all that is found now as looked at.

    Parameters
    ----------
    root : Path
        Of the repository.
    accepted : Path
        The file, over one that is there.

    Returns
    -------
    n_findings : int
        How many it holds.
    """
    found = scanned(root, repository_files(root, apart_from=accepted) or [])
    with default_settings():
        # Without line numbers: a line more above a finding is no reason to write the file again.
        baseline.save_to_file(baseline.format_for_output(found, is_slim_mode=True), str(accepted))
    return sum(1 for _ in found)


def repository_files(root: Path, *, apart_from: Path) -> list[str] | None:
    """List the files of a repository, committed or not, but not the ignored ones.

    Parameters
    ----------
    root : Path
        Of the repository.
    apart_from : Path
        A file that is left out.

    Returns
    -------
    names : list of str or None
        Relative to the root; None where git knows no repository.
    """
    ended = subprocess.run(LIST, cwd=root, capture_output=True, text=True, check=False)
    if ended.returncode:
        return None
    paths = [(name, root / name) for name in sorted(ended.stdout.split("\0")) if name]
    return [
        name
        for name, path in paths
        if path.is_file() and not path.is_symlink() and path != apart_from
    ]


def scanned(root: Path, names: Sequence[str]) -> SecretsCollection:
    """Scan files with all detectors.

    Parameters
    ----------
    root : Path
        Of the repository.
    names : sequence of str
        Relative to it.

    Returns
    -------
    found : SecretsCollection
        By name.
    """
    absolute, found = SecretsCollection(root=str(root)), SecretsCollection(root=str(root))
    with default_settings():
        for name in names:
            absolute.scan_file(name)
    # Each finding names its file as well, by then below the root, and is compared by that too: what
    # was accepted in one clone holds in all.
    for name, each in absolute:
        each.filename = name
        found[name].add(each)
    return found
