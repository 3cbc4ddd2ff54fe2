"""Read vectors from the tokens that a transformer gives, as MAEST does."""

from __future__ import annotations

from embedlib.errors import EngineError
from embedlib.records import Float32

# Essentia's documentation of MAEST (essentia.upf.edu/models.html): class token, distillation
# token, then the patches of the spectrogram.
CLS_TOKEN = 0


def cls_token(outputs: tuple[Float32, ...]) -> Float32:
    """Read the class token of each patch.

    Parameters
    ----------
    outputs : tuple of np.ndarray [shape=(batch, 1, n_tokens, n_dims), float32]
        One array: the output of a transformer block. The axis of length one may be missing:
        Essentia drops it where the graph does not tell its shape.

    Returns
    -------
    vectors : np.ndarray [shape=(batch, 1, n_dims), float32]
        A copy, so that the tokens need not be kept.

    Raises
    ------
    EngineError
        If the array has other axes.

    Examples
    --------
    >>> import numpy as np
    >>> tokens = np.arange(12, dtype=np.float32).reshape(2, 1, 3, 2)
    >>> cls_token((tokens,))
    array([[[0., 1.]],
    <BLANKLINE>
           [[6., 7.]]], dtype=float32)
    """
    (output,) = outputs
    n_blocks = output.shape[1] if output.ndim == 4 else 1
    if output.ndim not in (3, 4) or n_blocks != 1:
        raise EngineError(
            f"the node gave {output.shape}, not (batch, 1, n_tokens, n_dims)",
            fix="choose the output of a transformer block",
        )
    return output.reshape(len(output), 1, *output.shape[-2:])[:, :, CLS_TOKEN].copy()
