"""The API of HEAR: what its evaluator and its validator demand, and the numbers of `embed`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import embedlib
from embedlib import hear
from embedlib.errors import ConfigError, NonfiniteError, TooShortAudioError
from embedlib.models.registry import model_specs
from embedlib.records import Float32
from embedlib.run.single import ReadyModel

MODEL = "untrained-msd-vgg-1"
SR_HZ = 16_000


@pytest.fixture(scope="module", autouse=True)
def _cache(environment: dict[str, str]) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EMBEDLIB_CACHE", environment["EMBEDLIB_CACHE"])
        yield


@pytest.fixture(scope="module")
def model(_cache: None) -> hear.HearModel:
    return hear.load_model(MODEL)


def noise(n_sounds: int, duration_s: float, *, sr_hz: int = SR_HZ) -> Float32:
    rng = np.random.default_rng(seed=440)
    return rng.uniform(-1, 1, (n_sounds, int(duration_s * sr_hz))).astype(np.float32)


def test_the_attributes_are_those_of_the_model(model: hear.HearModel) -> None:
    assert (model.sample_rate, model.scene_embedding_size) == (SR_HZ, 256)
    assert model.timestamp_embedding_size == 256


def test_timestamp_embeddings_are_the_patches_of_each_sound(model: hear.HearModel) -> None:
    audio = noise(3, 5.0)
    embeddings, _ = hear.get_timestamp_embeddings(audio, model)
    alone = [embedlib.embed(sound, sr=SR_HZ, model=MODEL) for sound in audio]
    np.testing.assert_array_equal(embeddings, alone)


def test_a_scene_is_the_mean_of_the_patches(model: hear.HearModel) -> None:
    audio = noise(2, 5.0)
    patches = [embedlib.embed(sound, sr=SR_HZ, model=MODEL) for sound in audio]
    expected = [each.mean(axis=0, dtype=np.float64).astype(np.float32) for each in patches]
    scenes = hear.get_scene_embeddings(audio, model)
    assert scenes.dtype == np.float32
    np.testing.assert_array_equal(scenes, expected)


def test_timestamps_are_the_centres_of_the_patches(model: hear.HearModel) -> None:
    _, timestamps_ms = hear.get_timestamp_embeddings(noise(2, 7.0), model)
    # 187 frames of 16 ms, whose first is centred at 0; 93 frames from one patch to the next.
    assert timestamps_ms.tolist() == [[1488.0, 2976.0, 4464.0]] * 2


def test_the_only_patch_of_a_short_sound_is_at_its_middle(model: hear.HearModel) -> None:
    _, timestamps_ms = hear.get_timestamp_embeddings(noise(1, 1.0), model)
    assert timestamps_ms.tolist() == [[500.0]]


@pytest.mark.parametrize("duration_s", [1.07, 1.98, 4.0])
@pytest.mark.parametrize(
    "options",
    [{}, {"patch_hop_frames": 31, "last_patch": "centred"}, {"last_patch": "pad"}],
    ids=["default", "centred", "pad"],
)
def test_timestamps_are_as_the_validator_of_hear_wants_them(
    duration_s: float, options: dict[str, Any]
) -> None:
    model = hear.load_model(model=MODEL, **options)
    embeddings, timestamps_ms = hear.get_timestamp_embeddings(noise(2, duration_s), model)
    assert embeddings.shape == (*timestamps_ms.shape, model.timestamp_embedding_size)
    times_ms, end_ms = timestamps_ms[0], 1000 * duration_s
    steps_ms = np.diff(times_ms) if len(times_ms) > 1 else np.array([end_ms])
    assert np.ptp(steps_ms) <= 1.0
    assert end_ms - 2 * steps_ms[0] <= times_ms[-1] <= end_ms


def test_centred_patches_are_at_regular_times_from_the_start_to_the_end() -> None:
    model = hear.load_model(model=MODEL, patch_hop_frames=31, last_patch="centred")
    embeddings, timestamps_ms = hear.get_timestamp_embeddings(noise(1, 4.0), model)
    # The first patch has 94 of its 187 frames before the start, so that frame 93 is at -16 ms.
    assert timestamps_ms.tolist() == [[496.0 * number - 16.0 for number in range(9)]]
    assert embeddings.shape[1] == 9


class FakeModel:
    """Two vectors per patch, the mean of the patch and one more; counts its calls."""

    n_outputs = 1

    def __init__(self) -> None:
        self.n_calls = 0

    def __call__(self, batch: Float32) -> tuple[Float32, ...]:
        self.n_calls += 1
        means = batch.reshape(len(batch), -1).mean(axis=1)
        return (np.stack([means, means + 1], axis=1)[:, :, np.newaxis],)


def faked(model: hear.HearModel, *, batch_size: int) -> tuple[hear.HearModel, FakeModel]:
    fake, job = FakeModel(), model.ready.job
    manifest = replace(job.manifest, n_dims=1, n_vectors=2)
    ready: Any = ReadyModel(
        replace(job, manifest=manifest, batch_size=batch_size), model.ready.decode, fake
    )
    return hear.HearModel(ready), fake


def test_batches_are_filled_across_sounds(model: hear.HearModel) -> None:
    faked_model, fake = faked(model, batch_size=5)
    hear.get_scene_embeddings(noise(5, 3.1), faked_model)
    assert fake.n_calls == 1


def test_several_vectors_of_a_patch_are_one_timestamp(model: hear.HearModel) -> None:
    faked_model, _ = faked(model, batch_size=2)
    embeddings, timestamps_ms = hear.get_timestamp_embeddings(noise(2, 5.0), faked_model)
    scenes = hear.get_scene_embeddings(noise(2, 5.0), faked_model)
    assert embeddings.shape == (*timestamps_ms.shape, 1) == (2, 2, 1)
    np.testing.assert_allclose(embeddings.mean(axis=1), scenes, rtol=1e-6)


@pytest.mark.parametrize("spec", model_specs(), ids=lambda spec: spec.name)
def test_every_model_listens_at_a_rate_of_hear(spec: Any) -> None:
    rate_hz = hear.hear_rate_hz(spec.sr_hz)
    assert rate_hz in hear.RATES_HZ
    assert rate_hz % spec.sr_hz == 0


@pytest.mark.parametrize(
    ("sr_hz", "rate_hz"), [(11_025, 22_050), (22_050, 22_050), (96_000, 48_000)]
)
def test_a_rate_that_hear_has_not_is_resampled_from_one_that_it_has(
    sr_hz: int, rate_hz: int
) -> None:
    assert hear.hear_rate_hz(sr_hz) == rate_hz


def test_a_model_at_another_rate_takes_audio_at_a_rate_of_hear() -> None:
    name = "untrained-deepsquare-k16-3"
    model = hear.load_model(name)
    (sound,) = audio = noise(1, 2.0, sr_hz=22_050)
    (scene,) = hear.get_scene_embeddings(audio, model)
    (expected,) = embedlib.embed(sound, sr=22_050, model=name)
    assert model.sample_rate == 22_050
    np.testing.assert_array_equal(scene, expected)


def test_one_argument_is_a_file_of_weights_or_a_name(shared_models: Path) -> None:
    weights = shared_models / "msd-musicnn-1.pb"
    audio = noise(1, 3.1)
    (scene,) = hear.get_scene_embeddings(audio, hear.load_model(str(weights)))
    (expected,) = embedlib.embed(audio[0], sr=SR_HZ, model="msd-musicnn-1", weights=weights)
    np.testing.assert_array_equal(scene, expected)
    assert hear.load_model(MODEL).scene_embedding_size != len(scene)


def test_a_name_may_carry_options() -> None:
    model = hear.load_model(f"{MODEL}:patch_hop_frames=31")
    _, timestamps_ms = hear.get_timestamp_embeddings(noise(1, 4.0), model)
    assert np.diff(timestamps_ms).tolist() == [[496.0, 496.0]]


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("weights/gone.pb", "there is no file 'weights/gone.pb'; give one with weights"),
        ("msd-musicnn", "unknown model 'msd-musicnn'; did you mean"),
    ],
)
def test_what_is_neither_a_file_nor_a_model_is_refused(path: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        hear.load_model(path)


@pytest.mark.parametrize("shape", [(16_000,), (2, 1, 16_000), (0, 16_000)])
def test_audio_that_is_no_batch_of_sounds_is_refused(
    model: hear.HearModel, shape: tuple[int, ...]
) -> None:
    with pytest.raises(ConfigError, match=r"is no batch of sounds; give \(n_sounds, n_samples\)"):
        hear.get_scene_embeddings(np.zeros(shape, np.float32), model)


def test_integers_are_no_audio(model: hear.HearModel) -> None:
    with pytest.raises(ConfigError, match="samples of type int16"):
        hear.get_scene_embeddings(np.zeros((2, SR_HZ), np.int16), model)


def test_a_sound_that_is_not_finite_fails_the_batch(model: hear.HearModel) -> None:
    audio = noise(2, 3.1)
    audio[1, 7] = np.nan
    with pytest.raises(NonfiniteError, match="NaN"):
        hear.get_scene_embeddings(audio, model)


def test_a_sound_without_a_patch_raises_what_embed_raises() -> None:
    model = hear.load_model(model=MODEL, last_patch="discard")
    with pytest.raises(TooShortAudioError, match="shorter than one patch"):
        hear.get_timestamp_embeddings(noise(1, 1.0), model)


class FakeTensor:
    """As much of a tensor as is used: an array with a device."""

    def __init__(self, values: Float32, device: str = "cpu") -> None:
        self.values, self.device = values, device

    def detach(self) -> FakeTensor:
        return self

    def cpu(self) -> FakeTensor:
        return FakeTensor(self.values)

    def numpy(self) -> Float32:
        assert self.device == "cpu", "a tensor on another device has no array"
        return self.values

    def to(self, device: str) -> FakeTensor:
        return FakeTensor(self.values, device)


class FakeModule:
    """Stands for ``torch.nn.Module``, whose constructor makes it ready for attributes."""

    def __init__(self) -> None:
        self.is_ready = True


@pytest.fixture
def fake_torch(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    torch = SimpleNamespace(
        Tensor=FakeTensor, from_numpy=FakeTensor, nn=SimpleNamespace(Module=FakeModule)
    )
    monkeypatch.setitem(sys.modules, "torch", torch)
    return torch


@pytest.mark.usefixtures("fake_torch")
def test_tensors_come_back_as_tensors_on_their_device(model: hear.HearModel) -> None:
    audio = noise(2, 4.0)
    results = hear.get_timestamp_embeddings(FakeTensor(audio, "cuda"), model)
    assert [result.device for result in results] == ["cuda", "cuda"]
    for tensor, array in zip(results, hear.get_timestamp_embeddings(audio, model), strict=True):
        np.testing.assert_array_equal(tensor.values, array)


@pytest.mark.usefixtures("fake_torch")
def test_where_torch_is_loaded_a_model_is_a_module() -> None:
    module = hear.load_model(MODEL)
    assert isinstance(module, FakeModule)
    assert module.is_ready
    assert hear.get_scene_embeddings(noise(1, 3.1), module).shape == (1, 256)


def test_torch_itself_takes_part() -> None:
    torch = pytest.importorskip("torch")
    module = hear.load_model(MODEL)
    assert isinstance(module, torch.nn.Module)
    embeddings, timestamps_ms = hear.get_timestamp_embeddings(
        torch.zeros(2, SR_HZ), module.to("cpu")
    )
    assert embeddings.dtype == timestamps_ms.dtype == torch.float32
    assert embeddings.shape == (2, 1, 256)
