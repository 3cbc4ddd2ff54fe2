"""Token authentication of Ray, always on; to be called before Ray is imported."""

from __future__ import annotations

import os
import secrets
import sys


def require_tokens(*, is_local: bool) -> None:
    """Make Ray demand a token from every node and client.

    Ray reads the mode once, when it is imported, so this does nothing to a Ray that a caller has
    imported before: her settings, or Ray's own default, hold.

    Parameters
    ----------
    is_local : bool
        Whether a cluster is to be started on this machine: it gets a token that exists only in
        the environment of this process and its children, unless the user has named one.
    """
    if "ray" in sys.modules:
        return
    os.environ.setdefault("RAY_AUTH_MODE", "token")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    has_token = os.environ.get("RAY_AUTH_TOKEN") or os.environ.get("RAY_AUTH_TOKEN_PATH")
    if is_local and not has_token:
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
