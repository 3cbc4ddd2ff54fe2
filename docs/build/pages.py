"""Which page of the site a file of the repository is."""

from __future__ import annotations

GENERATED = {
    "README.md": "project/readme.md",
    "ARCHITECTURE.md": "project/architecture.md",
    "CONTRIBUTING.md": "project/contributing.md",
    "CHANGELOG.md": "project/changelog.md",
    "SECURITY.md": "project/security.md",
    "cluster/README.md": "project/cluster.md",
    "cluster/schedules/README.md": "project/schedules.md",
    "docker/README.md": "project/docker.md",
    "jobs/README.md": "project/jobs.md",
}
"""Documents outside of docs/ that are pages of the site, by their path in the repository."""

FOLDER = "docs/"
SUFFIXES = (".md", ".png")


def site_address(path: str) -> str | None:
    """Give the place of a file of the repository on the site, or None where it has none.

    >>> site_address("README.md"), site_address("docs/probes.md"), site_address("jobs/bench.py")
    ('project/readme.md', 'probes.md', None)
    """
    if path in GENERATED:
        return GENERATED[path]
    if path.startswith(FOLDER) and path.endswith(SUFFIXES):
        return path.removeprefix(FOLDER)
    return None
