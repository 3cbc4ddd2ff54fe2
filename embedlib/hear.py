"""The common API of HEAR 2021: models as functions on batches of sounds of equal length.

An evaluator imports this module and calls its three functions::

    import embedlib.hear as hear

    model = hear.load_model("msd-musicnn-1")
    scenes = hear.get_scene_embeddings(audio, model)
    embeddings, timestamps_ms = hear.get_timestamp_embeddings(audio, model)

Audio is a NumPy array or a PyTorch tensor, and so is what comes back. PyTorch is never imported
here: a tensor can only come from somebody who has done so.

References
----------
.. [1] https://hearbenchmark.com/hear-api.html; what the evaluator demands besides is read in
   hearbenchmark/hear-validator, ``hearvalidator/validate.py``, and hearbenchmark/hear-eval-kit,
   ``heareval/embeddings/task_embeddings.py``.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedlib.errors import ConfigError
from embedlib.features.front_end import front_end
from embedlib.records import Float32, TrackRow
from embedlib.run.job import ModelJob
from embedlib.run.single import ReadyModel, embed_arrays, ready_model, vectors_of

RATES_HZ = (16_000, 22_050, 44_100, 48_000)
"""Rates in which HEAR has its data, and which its validator accepts."""

DEFAULT_MODEL = "msd-musicnn-1"

WEIGHT_SUFFIXES = (".pb", ".onnx")
"""What ends like this names a file, and no model."""


class HearModel:
    """A loaded model with the attributes that HEAR asks for.

    Where PyTorch is loaded, `load_model` gives a subclass that is a ``torch.nn.Module`` too, for
    evaluators take nothing else. It has no parameters, and runs where embedlib runs it, whatever
    device it is moved to.

    Parameters
    ----------
    ready : ReadyModel
        The model, ready to run.

    Attributes
    ----------
    sample_rate : int
        Hz: the model's own rate, else one of `RATES_HZ` from which we resample.
    scene_embedding_size, timestamp_embedding_size : int
        Length of an embedding.
    """

    def __init__(self, ready: ReadyModel) -> None:
        super().__init__()
        self.ready = ready
        self.sample_rate = hear_rate_hz(front_end(ready.job.front_end).sr_hz)
        self.scene_embedding_size = ready.job.manifest.n_dims
        self.timestamp_embedding_size = ready.job.manifest.n_dims


def load_model(
    model_file_path: str = "", *, model: str = DEFAULT_MODEL, **options: Any
) -> HearModel:
    """Load a model for the functions of this module.

    HEAR's evaluators give one argument only, hence its two meanings.

    Parameters
    ----------
    model_file_path : str
        A file with weights of `model`; or the name of a model to be used instead of `model`, with
        options where there are any (``NAME:patch_hop_frames=3,last_patch=centred``). Empty for
        `model` with the weights that are found for it.
    model : str
        Name of the model.
    **options : Any
        As `embedlib.embed` takes them. HEAR suggests 50 ms or less between timestamps, from the
        start to the end of a sound: ``patch_hop_frames=3, last_patch="centred"`` for MusiCNN, at
        about 30 times the cost of its own hop.

    Returns
    -------
    model : HearModel
        Ready to run.

    Raises
    ------
    ConfigError
        If a name or an option is wrong.
    ModelError
        If the weights are missing, or not what they should be.
    """
    if os.path.isfile(model_file_path):
        options = {**options, "weights": model_file_path}
    elif Path(model_file_path.partition(":")[0]).suffix in WEIGHT_SUFFIXES:
        raise ConfigError(
            f"there is no file {model_file_path!r}",
            fix="give one with weights, or the name of a model",
        )
    elif model_file_path:
        model = model_file_path
    return _kind_of_model()(ready_model(model, **options))


def get_scene_embeddings(audio: Any, model: HearModel) -> Any:
    """Embed each sound as a whole.

    Parameters
    ----------
    audio : np.ndarray or torch.Tensor [shape=(n_sounds, n_samples), float]
        Mono, in [-1, 1], at ``model.sample_rate``.
    model : HearModel
        From `load_model`.

    Returns
    -------
    embeddings : same kind as `audio` [shape=(n_sounds, n_dims), float32]
        The mean over the patches of a sound, as in the column ``embedding`` of a table.

    Raises
    ------
    AudioError
        If a sound gives no embedding.
    ConfigError
        If `audio` is not of that shape.
    """
    vectors = map(vectors_of, _rows(audio, model))
    means = [of_sound.mean(axis=0, dtype=np.float64) for of_sound in vectors]
    return _like(audio, np.stack(means))


def get_timestamp_embeddings(audio: Any, model: HearModel) -> tuple[Any, Any]:
    """Embed each sound patch by patch.

    Parameters
    ----------
    audio : np.ndarray or torch.Tensor [shape=(n_sounds, n_samples), float]
        Mono, in [-1, 1], at ``model.sample_rate``.
    model : HearModel
        From `load_model`.

    Returns
    -------
    embeddings : same kind as `audio` [shape=(n_sounds, n_timestamps, n_dims), float32]
        One per patch; the mean of its vectors where a model gives several.
    timestamps_ms : same kind as `audio` [shape=(n_sounds, n_timestamps), float32]
        Centres of the patches in milliseconds, at regular steps; see `patch_centres_ms`.

    Raises
    ------
    AudioError
        If a sound gives no embedding.
    ConfigError
        If `audio` is not of that shape.
    """
    job = model.ready.job
    rows = _rows(audio, model)
    embeddings = [_by_patch(vectors_of(row), n_vectors=job.manifest.n_vectors) for row in rows]
    centres_ms = np.stack([patch_centres_ms(row, job=job) for row in rows])
    return _like(audio, np.stack(embeddings)[:, : centres_ms.shape[1]]), _like(audio, centres_ms)


def patch_centres_ms(row: TrackRow, *, job: ModelJob) -> Float32:
    """Give the centres of the patches of a sound, as far as they lie within it.

    HEAR's validator refuses times behind the end of a sound, and steps that differ by more than a
    millisecond. So patches whose centre is behind the end count for the scene only. What is left
    of a sound shorter than its one patch is that patch, at the middle of the sound.

    Parameters
    ----------
    row : TrackRow
        Of a sound that was embedded.
    job : ModelJob
        How it was embedded.

    Returns
    -------
    centres_ms : np.ndarray [shape=(n_timestamps,), float32]
        Milliseconds from the start of the sound, of the first patches, one at least.
    """
    front = front_end(job.front_end)
    half_ms = 500 * (job.rule.patch_frames - 1) * front.hop_samples / front.sr_hz
    centres_ms = np.asarray(row.patch_t0_ms, dtype=np.int32) + half_ms
    end_ms = 1000 * row.decoded.duration_s
    inside_ms = centres_ms[centres_ms <= end_ms]
    if len(inside_ms) < 2:
        inside_ms = np.minimum(centres_ms[:1], end_ms / 2)
    return inside_ms.astype(np.float32)


def hear_rate_hz(sr_hz: int) -> int:
    """Choose a rate of HEAR for a model.

    Parameters
    ----------
    sr_hz : int > 0
        Rate of the model.

    Returns
    -------
    rate_hz : int
        The lowest of `RATES_HZ` that is a multiple of it, the model's own where it is one; the
        highest where none is.

    Examples
    --------
    >>> hear_rate_hz(16_000), hear_rate_hz(11_025)
    (16000, 22050)
    """
    return next((rate_hz for rate_hz in RATES_HZ if rate_hz % sr_hz == 0), RATES_HZ[-1])


def _rows(audio: Any, model: HearModel) -> list[TrackRow]:
    sounds = np.asarray(audio) if _torch_of(audio) is None else audio.detach().cpu().numpy()
    if sounds.ndim != 2 or not len(sounds):
        raise ConfigError(
            f"audio of shape {sounds.shape} is no batch of sounds", fix="give (n_sounds, n_samples)"
        )
    return embed_arrays(list(sounds), sr_hz=model.sample_rate, ready=model.ready)


def _by_patch(vectors: Float32, *, n_vectors: int) -> NDArray[np.float64]:
    """Give one vector per patch: the mean where a patch has several."""
    of_patches = vectors.reshape(-1, n_vectors, vectors.shape[1])
    return np.asarray(of_patches.mean(axis=1, dtype=np.float64))


def _like(audio: Any, values: NDArray[np.floating]) -> Any:
    """Give values as float32 of the kind, and on the device, of the audio."""
    array = values.astype(np.float32, copy=False)
    torch = _torch_of(audio)
    return array if torch is None else torch.from_numpy(array).to(audio.device)


def _torch_of(audio: Any) -> ModuleType | None:
    """Give PyTorch where the audio is one of its tensors."""
    torch = sys.modules.get("torch")
    return torch if torch is not None and isinstance(audio, torch.Tensor) else None


def _kind_of_model() -> type[HearModel]:
    torch = sys.modules.get("torch")
    return HearModel if torch is None else type("HearModule", (HearModel, torch.nn.Module), {})
