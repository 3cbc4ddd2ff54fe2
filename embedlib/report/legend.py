"""What the marks and numbers of the table mean, for all formats: only of what it holds."""

from __future__ import annotations

from collections.abc import Iterator

from embedlib.models.spec import UNTRAINED_PREFIX
from embedlib.report.paper_table import SIGNIFICANCE, PaperTable, Standing

_FIVE_FOLD = (
    "5F: balanced accuracy (mean recall of the classes) of five-fold cross-validation, in percent."
)
_EXTERNAL = (
    " JD: of probes that were trained on the whole task and tested on an external collection. "
    "AD = 5F - JD, in points."
)
_CHANCE = (
    "Chance: 1 / number of classes, what guessing reaches; shuffled: what the same probes reached "
    "on shuffled labels."
)
_INTERVAL = (
    "[low, high]: 95 % bootstrap interval over groups of tracks (artists, recordings) where they "
    "are known, else over tracks. Intervals do not cover what another draw of training tracks "
    "would change; the standard deviations over folds and over repeated splits stand beside them "
    "for that."
)
_PAPER = (
    "Paper: P. Alonso-Jiménez, D. Bogdanov, X. Serra: Deep embeddings with Essentia models, ISMIR "
    "Late-Breaking Demo 2020, table 2, made with its own classifier (protocol paper)."
)
_PAPER_EXTERNAL = (
    " Its JD rests on other data, labels that were not published, so that no difference is given."
)
_APART = (
    "Other labels: scored on other tracks or labels than most models of the line, and compared to "
    "none; n: the tracks that it was scored for."
)
_UNTRAINED = (
    "random weights. A random network keeps timbre and loudness, so it may score far above "
    "chance; take it as the floor that a trained model has to beat."
)


def legend(table: PaperTable) -> tuple[str, ...]:
    """Explain a table.

    Parameters
    ----------
    table : PaperTable
        The table of the paper.

    Returns
    -------
    sentences : tuple of str
        Not escaped; of external scores, the paper, other labels and untrained models only where
        the table holds such.
    """
    return tuple(_sentences(table))


def _sentences(table: PaperTable) -> Iterator[str]:
    yield _FIVE_FOLD + (_EXTERNAL if table.has_external else "")
    yield _CHANCE
    yield _INTERVAL
    best = "Best 5F and best JD of a line are" if table.has_external else "The best 5F of a line is"
    yield (
        f"{best} marked strongly{', as in the paper' if table.has_paper else ''}; marked weakly is "
        "a 5F that is not significantly worse than the best (paired permutation test, Holm, "
        f"{100 * SIGNIFICANCE:.0f} %)."
    )
    if table.has_paper:
        yield _PAPER + (_PAPER_EXTERNAL if table.has_external else "")
    if any(entry.standing is Standing.APART for entry in table.entries):
        yield _APART
    if untrained := [name for name in table.models if name.startswith(UNTRAINED_PREFIX)]:
        yield f"{', '.join(untrained)}: {_UNTRAINED}"
