from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from embedlib.errors import ConfigError, EngineError
from embedlib.features import spleeter
from embedlib.records import Float32

Read = Callable[[tuple[Float32, ...]], Float32]

each_readout = pytest.mark.parametrize("read", [spleeter.sum_bands, spleeter.max_bands])


def silence(n_channels: int = 2) -> Float32:
    return np.zeros((spleeter.PATCH_SAMPLES, n_channels), np.float32)


def bottlenecks(rng: np.random.Generator, *, batch: int) -> tuple[Float32, ...]:
    """Five arrays of eighths: their sums are exact in any order."""
    shape = (batch, 8, 16, 512)
    return tuple(rng.integers(-80, 80, shape).astype(np.float32) / 8 for _ in range(5))


def test_a_patch_is_512_frames_and_the_last_of_them_is_whole() -> None:
    assert spleeter.PATCH_SAMPLES == 527_360
    magnitudes = spleeter.stft_magnitude(silence())
    assert magnitudes.shape == (512, 1024, 2)
    assert magnitudes.dtype == np.float32
    assert not magnitudes.any()


@pytest.mark.parametrize("k", [5, 100, 1023])
def test_a_sine_at_the_centre_of_a_bin_peaks_there_with_a_quarter_of_a_frame(k: int) -> None:
    phase = 2 * np.pi * (k * np.arange(spleeter.PATCH_SAMPLES) % 4096) / 4096
    magnitudes = spleeter.stft_magnitude(np.cos(phase).astype(np.float32)[:, None])
    assert set(magnitudes[..., 0].argmax(axis=1)) == {k}
    np.testing.assert_allclose(magnitudes[:, k], 1024.0, rtol=1e-3)


def test_a_click_is_heard_in_the_four_frames_that_hold_it() -> None:
    patch = silence()
    patch[100 * 1024 + 500] = 1.0
    loudest = spleeter.stft_magnitude(patch).max(axis=(1, 2))
    np.testing.assert_array_equal(np.flatnonzero(loudest), [97, 98, 99, 100])


def test_left_and_right_are_kept_apart(rng: np.random.Generator) -> None:
    patch = silence()
    patch[:, 0] = rng.standard_normal(len(patch))
    magnitudes = spleeter.stft_magnitude(patch)
    assert magnitudes[..., 0].all()
    assert not magnitudes[..., 1].any()


def test_mono_is_taken_for_both_channels(rng: np.random.Generator) -> None:
    mono = rng.standard_normal((spleeter.PATCH_SAMPLES, 1)).astype(np.float32)
    both = spleeter.stft_magnitude(np.repeat(mono, 2, axis=1))
    np.testing.assert_array_equal(spleeter.stft_magnitude(mono), both)


@pytest.mark.parametrize("shape", [(527_360,), (527_360, 3), (527_360, 0), (524_288, 2)])
def test_what_is_not_a_patch_of_mono_or_stereo_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ConfigError, match="is not 527360 samples, mono or stereo"):
        spleeter.stft_magnitude(np.zeros(shape, np.float32))


@pytest.mark.parametrize("sample", [3e38, np.inf, np.nan])
def test_a_sample_beyond_reason_is_not_finite_and_warns_not(sample: float) -> None:
    patch = silence()
    patch[:4096] = sample
    assert not np.isfinite(spleeter.stft_magnitude(patch)).all()


def literal_recipe(
    outputs: tuple[Float32, ...], reduce: Callable[[Float32], np.float32]
) -> Float32:
    """The recipe step by step, in the order in which the paper's code takes the steps.

    Swap axes 1 and 2; make rows of [8, 512]; reduce blocks of 4 x 4 to [2, 128]; put them into
    256 values; put the stems side by side; sign times logarithm.
    """
    stems = []
    for output in outputs:
        rows = np.reshape(np.swapaxes(output, 1, 2), (-1, 8, 512))
        blocks = [
            reduce(row[4 * i : 4 * i + 4, 4 * j : 4 * j + 4])
            for row in rows
            for i in range(2)
            for j in range(128)
        ]
        stems.append(np.reshape(blocks, (-1, 256)))
    x = np.hstack(stems)
    return np.sign(x) * np.log10(np.abs(x + np.finfo("float32").eps))


@pytest.mark.parametrize(
    ("read", "reduce"), [(spleeter.sum_bands, np.sum), (spleeter.max_bands, np.max)]
)
def test_vectors_are_those_of_the_recipe_word_by_word(
    read: Read, reduce: Callable[[Float32], np.float32], rng: np.random.Generator
) -> None:
    outputs = bottlenecks(rng, batch=2)
    vectors = read(outputs)
    assert vectors.shape == (2, 16, 1280)
    assert vectors.dtype == np.float32
    expected = literal_recipe(outputs, reduce)
    np.testing.assert_allclose(vectors.reshape(-1, 1280), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("stem", [0, 4])
@pytest.mark.parametrize(("time", "band", "channel"), [(0, 0, 0), (5, 3, 511), (7, 15, 4)])
def test_an_activation_reaches_the_vector_of_its_frequency_at_the_place_of_its_stem(
    stem: int, time: int, band: int, channel: int
) -> None:
    outputs = tuple(np.zeros((1, 8, 16, 512), np.float32) for _ in range(5))
    outputs[stem][0, time, band, channel] = 100.0
    vectors = spleeter.sum_bands(outputs)[0]
    place = stem * 256 + (time // 4) * 128 + channel // 4
    np.testing.assert_array_equal(np.argwhere(vectors), [[band, place]])
    assert vectors[band, place] == pytest.approx(2.0)


@each_readout
def test_vectors_do_not_depend_on_what_shares_the_batch(
    read: Read, rng: np.random.Generator
) -> None:
    shape = (5, 8, 16, 512)
    outputs = tuple(rng.standard_normal(shape).astype(np.float32) for _ in range(5))
    alone = read(tuple(output[3:4] for output in outputs))
    np.testing.assert_array_equal(read(outputs)[3:4], alone)


@pytest.mark.parametrize(
    ("activation", "expected"), [(0.0, 0.0), (100.0, 2.0), (-100.0, -2.0), (0.01, -2.0)]
)
def test_the_logarithm_keeps_the_sign_and_flips_it_below_one(
    activation: float, expected: float
) -> None:
    outputs = tuple(np.full((1, 8, 16, 512), activation, np.float32) for _ in range(5))
    np.testing.assert_allclose(spleeter.max_bands(outputs), expected, atol=1e-4)


def test_the_one_value_where_the_recipe_is_infinite_gives_what_its_neighbour_gives() -> None:
    pole = -np.finfo(np.float32).eps
    shape = (1, 8, 16, 512)
    at_pole, beside = (
        spleeter.max_bands((np.full(shape, value, np.float32),) * 5)
        for value in (pole, np.nextafter(pole, np.float32(0)))
    )
    np.testing.assert_array_equal(at_pole, beside)
    assert at_pole[0, 0, 0] == pytest.approx(47 * np.log10(2))


@each_readout
def test_activations_that_are_not_finite_stay_so_and_warn_not(read: Read) -> None:
    outputs = tuple(np.zeros((1, 8, 16, 512), np.float32) for _ in range(5))
    outputs[0][0, 0, 0, 0] = np.nan
    outputs[1][0, 0, 0, :2] = (np.inf, -np.inf)
    assert not np.isfinite(read(outputs)).all()


@each_readout
@pytest.mark.parametrize(
    "shapes",
    [
        [(1, 8, 16, 512)] * 4,
        [(1, 16, 8, 512)] * 5,
        [(8, 16, 512)] * 5,
        [(1, 8, 16, 512)] * 4 + [(1, 16, 32, 256)],
    ],
)
def test_what_is_not_five_bottlenecks_is_refused(read: Read, shapes: list[tuple[int, ...]]) -> None:
    with pytest.raises(EngineError, match="not 5 times \\(8, 16, 512\\)"):
        read(tuple(np.zeros(shape, np.float32) for shape in shapes))
