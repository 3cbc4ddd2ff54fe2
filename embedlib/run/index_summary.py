"""What an index run found and did, as one record."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class IndexSummary:
    """What an index run found and did.

    Attributes
    ----------
    run_id : str
        Name of the folder in ``OUT/runs``; empty when the run was only to look.
    out : str
        The output folder.
    dry_run : bool
        Whether nothing was written.
    models : tuple of str
        The tables that were brought up to date.
    untrained : tuple of str
        Those of them whose weights are random.
    n_tracks : int
        Tracks that the sources hold.
    n_new, n_changed, n_moved, n_deleted, n_unchanged : int
        Against the catalogue.
    n_duplicates : int
        Listed tracks whose id another one has; they are among the others.
    named : dict of str to tuple of str
        The first ids of each kind: ``new``, ``changed``, ``moved``, ``deleted``.
    n_finished : int
        Rows of a plan that an earlier run had left open, over all models.
    n_rows : int
        Rows written by this run, these included, over all models.
    n_rows_moved, n_rows_pruned : int
        Rows that were copied under a new name, and rows that left, over all models.
    n_patches : int
        Patches embedded by this run, over all models.
    statuses : dict of str to int
        How the rows written by this run ended; known failures are not tried again.
    n_failed : int
        Rows of this run without an embedding.
    audio_s : float
        Seconds of audio behind the rows of this run, counted per model.
    wall_s : float
        Seconds that it took.
    decoding, decoding_saved : dict of str to int
        As in `embedlib.run.extract.RunSummary`.
    taken_over_from : str
        Whose lock it was, where it had been silent for too long.
    signal_number : int
        Of the signal that ended the run early; 0 when it came to its end.
    """

    run_id: str
    out: str
    dry_run: bool
    models: tuple[str, ...]
    untrained: tuple[str, ...] = ()
    n_tracks: int = 0
    n_new: int = 0
    n_changed: int = 0
    n_moved: int = 0
    n_deleted: int = 0
    n_unchanged: int = 0
    n_duplicates: int = 0
    named: dict[str, tuple[str, ...]] = field(default_factory=dict)
    n_finished: int = 0
    n_rows: int = 0
    n_rows_moved: int = 0
    n_rows_pruned: int = 0
    n_patches: int = 0
    statuses: dict[str, int] = field(default_factory=dict)
    n_failed: int = 0
    audio_s: float = 0.0
    wall_s: float = 0.0
    decoding: dict[str, int] = field(default_factory=dict)
    decoding_saved: dict[str, int] = field(default_factory=dict)
    taken_over_from: str = ""
    signal_number: int = 0
