"""The door: unknown keys, wrong types and wrong values are named; nothing is guessed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st

from embedlib.cli.app import app
from embedlib.config import ExtractConfig, extract_config, read_config
from embedlib.errors import ConfigError

LEAST = {"sources": ["a"], "models": ["m"], "out": "o"}


def test_what_is_not_given_has_a_default() -> None:
    config = extract_config(LEAST)
    assert (config.engine, config.precision, config.decoder) == ("auto", "f32", "pyav")
    assert (config.patches, config.local, config.max_failed) == (True, False, 0)


def test_a_configuration_can_not_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        extract_config(LEAST).out = "elsewhere"


@pytest.mark.parametrize("key", LEAST)
def test_a_missing_key_is_named(key: str) -> None:
    values = {name: value for name, value in LEAST.items() if name != key}
    with pytest.raises(ConfigError, match=f"arguments: '{key}' is missing; give it a value"):
        extract_config(values)


def test_an_unknown_key_is_named_with_the_ones_there_are() -> None:
    words = r"run\.yaml: unknown key 'hop'; the keys are accept_missing, address, a"
    with pytest.raises(ConfigError, match=words):
        extract_config({**LEAST, "hop": 93}, origin="run.yaml")


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("sources", "a", "sources='a' is wrong; input should be a valid list"),
        ("sources", [], r"sources=\[\] is wrong"),
        ("sources", [1], "sources.0=1 is wrong"),
        ("models", [], r"models=\[\] is wrong"),
        ("out", 3, "out=3 is wrong; input should be a valid string"),
        ("engine", "torch", "engine='torch' is wrong; input should be 'auto', 'openvino'"),
        ("precision", "f16", "precision='f16' is wrong"),
        ("resampler", "sox", "resampler='sox' is wrong"),
        ("last_patch", "keep", "last_patch='keep' is wrong"),
        ("patch_hop_frames", 0, "patch_hop_frames=0 is wrong"),
        ("patch_hop_frames", 9.5, "patch_hop_frames=9.5 is wrong"),
        ("patch_hop_frames", "93", "patch_hop_frames='93' is wrong"),
        ("max_duration_s", 0, "max_duration_s=0 is wrong"),
        ("cpu_deadline_s", -1.0, "cpu_deadline_s=-1.0 is wrong"),
        ("shard_hours", 0.0, "shard_hours=0.0 is wrong"),
        ("n_cores", 0, "n_cores=0 is wrong"),
        ("budget_mb", 3, "budget_mb=3 is wrong"),
        ("max_failed", -1, "max_failed=-1 is wrong"),
        ("local", "yes", "local='yes' is wrong"),
    ],
)
def test_a_wrong_value_is_named_with_what_it_should_be(key: str, value: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        extract_config({**LEAST, key: value})


@given(st.dictionaries(st.text(), st.none() | st.integers() | st.text() | st.lists(st.text())))
def test_any_mapping_is_a_configuration_or_one_line_of_error(values: dict[str, Any]) -> None:
    try:
        extract_config(values)
    except ConfigError as exc:
        assert len(str(exc).splitlines()) == 1  # noqa: PT017


def test_a_largest_pool_below_the_smallest_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"pool_max=2 is wrong; .* below pool_min=3"):
        extract_config({**LEAST, "pool_min": 3, "pool_max": 2})


def test_a_file_is_read_as_it_stands(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text("sources: [~/Musik/Übung]\npatch_hop_frames: 31\nlocal: true\n")
    assert read_config(path) == {
        "sources": ["~/Musik/Übung"],
        "patch_hop_frames": 31,
        "local": True,
    }


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "holds no keys"),
        (b"just a text", "holds no keys"),
        (b"- a\n- b\n", "holds no keys"),
        (b"a: [", "is not YAML: while parsing"),
        (b"\xff\xfe\x00", "is not YAML"),
        (b"a: !!python/name:os.system", "is not YAML: could not determine a constructor"),
    ],
    ids=["nothing", "text", "list", "unfinished", "binary", "code"],
)
def test_a_file_that_is_no_mapping_is_refused_in_one_line(
    tmp_path: Path, content: bytes, words: str
) -> None:
    path = tmp_path / "run.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=words) as refused:
        read_config(path)
    assert "run.yaml" in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot read .*gone\.yaml: No such file"):
        read_config(tmp_path / "gone.yaml")


def test_every_field_is_a_flag_of_extract_and_is_described() -> None:
    (extract,) = (each for each in app.registered_commands if each.name == "extract")
    command = typer.main.get_command_from_info(
        extract, pretty_exceptions_short=False, rich_markup_mode=None
    )
    flags = {parameter.name for parameter in command.params} - {"config", "json", "quiet"}
    assert flags == set(ExtractConfig.model_fields)
    assert ExtractConfig.__doc__
    assert all(name in ExtractConfig.__doc__ for name in flags)
