"""What may be chosen of a page to explore; the help of the command needs it: it loads nothing."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

N_NEIGHBOURS: Final = 20
"""Of each track."""


class LayoutName(StrEnum):
    """How vectors become places on the map."""

    PCA = "pca"
    UMAP = "umap"
