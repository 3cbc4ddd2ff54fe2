"""Specs: what they promise, and how they are found."""

from __future__ import annotations

import pytest

from embedlib.errors import ConfigError
from embedlib.features.front_end import front_end
from embedlib.models.registry import model_spec, model_specs
from embedlib.models.spec import ModelSpec

every_spec = pytest.mark.parametrize("spec", model_specs(), ids=lambda spec: spec.name)


@every_spec
def test_a_spec_fits_its_front_end(spec: ModelSpec) -> None:
    frames = front_end(spec.front_end)
    assert spec.sr_hz == frames.sr_hz
    assert spec.input_shape == (spec.patch_frames, frames.n_bands)
    assert [purpose for purpose, _ in spec.outputs] == ["embeddings", "activations"]


@every_spec
def test_published_weights_have_a_url_and_others_none(spec: ModelSpec) -> None:
    assert bool(spec.weights.urls) is spec.weights.published
    assert all(url.endswith(spec.weights.file_name) for url in spec.weights.urls)


@every_spec
def test_a_patch_sees_three_seconds_and_the_next_starts_half_a_patch_later(spec: ModelSpec) -> None:
    assert spec.receptive_field_s == pytest.approx(3.008)
    assert spec.hop_s == pytest.approx(1.488)


@every_spec
def test_an_untrained_model_says_so_in_its_name_and_claims_no_weights(spec: ModelSpec) -> None:
    untrained = model_spec(f"untrained-{spec.name}")
    assert untrained.name == f"untrained-{spec.name}"
    assert untrained.base_name == spec.name
    assert untrained.untrained
    assert not spec.untrained
    assert not untrained.weights.published
    assert untrained.weights.sha256 is None
    assert untrained.outputs == spec.outputs


@pytest.mark.parametrize(
    ("name", "close"),
    [
        ("msd-musicn-1", "msd-musicnn-1"),
        ("untrained-vgg", "msd-vgg-1"),
        ("xyz", "msd-musicnn-1 or msd-musicnn-t200 or msd-vgg-1 or msd-vgg-t200"),
    ],
)
def test_an_unknown_model_is_refused_with_similar_names(name: str, close: str) -> None:
    with pytest.raises(ConfigError, match=f"unknown model '{name}'; did you mean .*{close}"):
        model_spec(name)


def test_the_rule_of_a_model_gives_way_to_what_the_caller_wants() -> None:
    spec = model_spec("msd-musicnn-1")
    assert spec.patch_rule().last == "tile-short"
    assert spec.patch_rule(hop_frames=187, last="discard").hop_frames == 187
    with pytest.raises(ConfigError, match="hop_frames=0"):
        spec.patch_rule(hop_frames=0)
