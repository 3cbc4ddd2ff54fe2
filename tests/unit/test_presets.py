"""Presets: what they say, what comes on top of them, and that each difference is written down."""

from __future__ import annotations

from pathlib import Path

import pytest

from embedlib.config import extract_config, preset_names, read_preset
from embedlib.errors import ConfigError
from embedlib.models.registry import paper_models
from embedlib.run.instances import instances

LEAST = {"sources": ["a"], "out": "o"}


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_is_a_valid_configuration_of_the_models_of_the_paper(name: str) -> None:
    config = extract_config({**LEAST, "preset": name})
    tables = [each.table for each in instances(config.models)]
    assert tables == list(paper_models())


def test_the_preset_of_the_paper_has_its_settings() -> None:
    config = extract_config({**LEAST, "preset": "lbd2020"})
    specs = {each.table: each.spec for each in instances(config.models)}
    openl3 = specs["openl3-music-mel128-emb512-3"]
    tempo = specs["deepsquare-k16-3"]
    spleeter = specs["spleeter-5s-3"]
    assert config.resampler == "essentia-q1"
    assert (openl3.patch_input, openl3.hop_s) == ("openl3-paper", 0.25)
    assert (tempo.front_end, tempo.hop_frames) == ("tempocnn-mel-30s", 16)
    assert (spleeter.front_end, spleeter.embedding.readout) == ("mono-44k", "spleeter-sum")


def test_a_model_named_without_options_takes_those_of_the_preset() -> None:
    named = {"models": ["untrained-deepsquare-k16-3", "msd-vgg-1"], "preset": "lbd2020"}
    assert extract_config({**LEAST, **named}).models == [
        "untrained-deepsquare-k16-3:variant=paper",
        "msd-vgg-1",
    ]


def test_all_with_a_preset_are_the_models_of_the_preset() -> None:
    both = extract_config({**LEAST, "models": ["all"], "preset": "lbd2020"})
    assert both.models == extract_config({**LEAST, "preset": "lbd2020"}).models


def test_what_the_user_says_comes_on_top_of_the_preset() -> None:
    own = {"preset": "lbd2020", "resampler": "soxr-hq", "models": ["deepsquare-k16-3:as=tempo"]}
    config = extract_config({**LEAST, **own})
    assert (config.resampler, config.models) == ("soxr-hq", ["deepsquare-k16-3:as=tempo"])


def test_a_preset_may_be_a_file_of_the_users_own(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("models: ['msd-vgg-1:patch_hop_frames=187']\nprecision: bf16\n")
    config = extract_config({**LEAST, "preset": str(path)})
    assert (config.models, config.precision) == (["msd-vgg-1:patch_hop_frames=187"], "bf16")


def test_an_unknown_preset_is_refused_with_those_there_are() -> None:
    with pytest.raises(ConfigError, match="no preset 'lbd2021'; choose one of default, lbd2020"):
        extract_config({**LEAST, "preset": "lbd2021"})


def test_the_default_preset_changes_nothing() -> None:
    plain = extract_config({**LEAST, "models": ["all"]})
    named = extract_config({**LEAST, "preset": "default"})
    assert named.model_copy(update={"preset": None}) == plain


def test_each_line_of_the_preset_of_the_paper_is_explained() -> None:
    text = (Path(__file__).parents[2] / "configs" / "presets" / "lbd2020.yaml").read_text()
    comments = text.partition("\nmodels:")[0]
    assert all(word in comments for word in ("resampler", "OpenL3", "Tempo-CNN", "Spleeter"))
    assert set(read_preset("lbd2020")) == {"models", "resampler"}
