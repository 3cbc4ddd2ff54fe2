"""What the models that Essentia publishes have in common: where they lie, and their licence."""

from __future__ import annotations

from pathlib import PurePosixPath

from embedlib.models.spec import WeightsSource

# https://essentia.upf.edu/models.html
ESSENTIA_MODELS = "https://essentia.upf.edu/models"
MTG_LICENCE = "CC BY-NC-SA 4.0 (Music Technology Group, UPF)"

TRUST_FIRST_NOTES = "No checksum is known: the first download is locked with --trust-first."


def essentia_weights(
    *paths: str,
    licence: str = MTG_LICENCE,
    sha256: str | None = None,
    n_bytes: int | None = None,
    onnx_sha256: str | None = None,
) -> WeightsSource:
    """Say where Essentia publishes the weights of a model.

    Parameters
    ----------
    *paths : str
        Below ``https://essentia.upf.edu/models/``, in the order to try; all of one file name.
    licence : str
        Of the weights.
    sha256 : str or None
        Hex digest of the file, where it is known.
    n_bytes : int or None
        Size of the file, where it is known.
    onnx_sha256 : str or None
        Hex digest of the ``.onnx`` file beside it, where it is known.

    Returns
    -------
    source : WeightsSource
        Published.

    Examples
    --------
    >>> essentia_weights("tempo/tempocnn/deepsquare-k16-3.pb").urls
    ('https://essentia.upf.edu/models/tempo/tempocnn/deepsquare-k16-3.pb',)
    """
    return WeightsSource(
        file_name=PurePosixPath(paths[0]).name,
        licence=licence,
        published=True,
        urls=tuple(f"{ESSENTIA_MODELS}/{path}" for path in paths),
        sha256=sha256,
        n_bytes=n_bytes,
        onnx_sha256=onnx_sha256,
    )
