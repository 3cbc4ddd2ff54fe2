"""Every exception that embedlib raises on purpose, under one root.

::

    EmbedlibError                 catch this one to catch all of ours
    ├─ ConfigError                the caller asked for the impossible; nothing was run
    ├─ CatalogError               a source cannot be listed, or a manifest contradicts itself
    │  └─ SourceRefusedError        it names, or leads to, what is not allowed
    ├─ AudioError                 one track gives no embedding; it becomes a row and the run goes on
    │  ├─ MissingAudioError         status ``missing``
    │  ├─ UnreadableAudioError      status ``unreadable``
    │  ├─ ChangedAudioError         status ``changed``
    │  ├─ EmptyAudioError           status ``empty``
    │  ├─ UndecodableAudioError     status ``undecodable``
    │  ├─ TooShortAudioError        status ``too_short``
    │  ├─ TooLongAudioError         status ``too_long``
    │  ├─ AudioDeadlineError        status ``timeout``
    │  └─ NonfiniteError            status ``nonfinite``
    ├─ ModelError                 weights or a graph that cannot be used
    │  ├─ WeightsMissingError       no file for the model was found
    │  ├─ HashMismatchError         the file is not the one that is pinned
    │  ├─ UnverifiedWeightsError    nothing says that the file is the right one
    │  └─ GraphRefusedError         the graph holds an op that is not on the allow-list
    ├─ EngineError                a runtime is not installed or does not do what it promised
    │  └─ BatchMemoryError          a batch does not fit into memory; a smaller one may
    ├─ OutputError                what lies in the output contradicts the run; nothing is touched
    │  └─ FingerprintError          the output was made with other parameters
    └─ RunError                   infrastructure failed beyond its limit; a rerun continues

A message has three parts: what is wrong, the value that is wrong, and the way out. The first two
are `message`, the way out is `fix`; ``str(error)`` joins them with a semicolon. All classes
survive a pickle, attributes included, because ``Exception`` restores ``args`` and ``__dict__``
and no class here takes anything else.
"""

from __future__ import annotations

from typing import ClassVar


class EmbedlibError(Exception):
    """Root of all errors that embedlib raises on purpose.

    Parameters
    ----------
    message : str
        What is wrong, with the value that is wrong.
    fix : str, optional
        The way out, as an instruction.
    **context : str or int
        Ids that belong to the error (``track_id``, ``shard_id`` ...), kept as attributes.
    """

    exit_code: ClassVar[int] = 1

    fix: str

    def __init__(self, message: str, *, fix: str = "", **context: str | int) -> None:
        super().__init__(message)
        self.fix = fix
        self.__dict__.update(context)

    def __str__(self) -> str:
        message = str(self.args[0])
        return f"{message}; {self.fix}" if self.fix else message


class ConfigError(EmbedlibError):
    """The caller asked for something impossible; nothing was run."""

    exit_code = 2


class CatalogError(EmbedlibError):
    """A source cannot be listed, or a manifest contradicts itself."""


class SourceRefusedError(CatalogError):
    """A source names, or leads to, something that the user has not allowed."""


class AudioError(EmbedlibError):
    """One track gives no embedding; its row carries `status` and the run goes on."""

    status: ClassVar[str] = "undecodable"


class MissingAudioError(AudioError):
    """The file is not where the catalogue saw it."""

    status = "missing"


class UnreadableAudioError(AudioError):
    """The file is there but may not be read, or reading it failed."""

    status = "unreadable"


class ChangedAudioError(AudioError):
    """The file is not the version that was planned."""

    status = "changed"


class EmptyAudioError(AudioError):
    """The file is well formed but holds no sample."""

    status = "empty"


class UndecodableAudioError(AudioError):
    """No decoder on the allow-list makes sense of the bytes."""

    status = "undecodable"


class TooShortAudioError(AudioError):
    """The audio is shorter than one patch and the patch rule says ``discard``."""

    status = "too_short"


class TooLongAudioError(AudioError):
    """The audio is longer than the configured limit."""

    status = "too_long"


class AudioDeadlineError(AudioError):
    """Decoding took more CPU time than the configured deadline."""

    status = "timeout"


class NonfiniteError(AudioError):
    """The samples or the embeddings hold NaN or infinity."""

    status = "nonfinite"


class ModelError(EmbedlibError):
    """Weights or a graph cannot be used."""


class WeightsMissingError(ModelError):
    """No weight file for the model was found."""


class HashMismatchError(ModelError):
    """The weight file is not the one that is pinned."""


class UnverifiedWeightsError(ModelError):
    """The hash of a weight file is neither pinned nor locked, and nobody has vouched for it."""


class GraphRefusedError(ModelError):
    """The graph holds an op that is not on the allow-list."""


class EngineError(EmbedlibError):
    """A runtime is not installed or does not do what it promised."""


class BatchMemoryError(EngineError):
    """A batch does not fit into the memory of its worker; a smaller one may."""


class OutputError(EmbedlibError):
    """What lies in the output contradicts the run; nothing is touched."""


class FingerprintError(OutputError):
    """The output was made with other parameters."""


class RunError(EmbedlibError):
    """Infrastructure failed beyond its limit; the same command continues the run."""
