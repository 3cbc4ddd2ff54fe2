"""Specs: what they promise, and how they are found."""

from __future__ import annotations

import sys
from dataclasses import replace
from importlib.metadata import EntryPoint, PathDistribution
from math import prod
from pathlib import Path

import pytest

from embedlib.errors import ConfigError
from embedlib.features.front_end import front_end
from embedlib.features.patch_input import patch_input
from embedlib.features.readout import readout
from embedlib.models.model_files import FILES_VARIABLE
from embedlib.models.registry import (
    ENTRY_POINT_GROUP,
    collect_specs,
    model_spec,
    model_specs,
    paper_models,
)
from embedlib.models.spec import ModelSpec

VARIANTS = [
    pytest.param(spec.as_variant(variant), id=f"{spec.name}-{variant}")
    for spec in model_specs()
    for variant, _ in spec.variants
]

every_spec = pytest.mark.parametrize("spec", model_specs(), ids=lambda spec: spec.name)
every_spec_and_variant = pytest.mark.parametrize(
    "spec", [*(pytest.param(spec, id=spec.name) for spec in model_specs()), *VARIANTS]
)


@every_spec_and_variant
def test_a_spec_fits_its_front_end_and_patch_input(spec: ModelSpec) -> None:
    frames = front_end(spec.front_end)
    assert spec.sr_hz == frames.sr_hz
    patch_input(spec.patch_input)
    if spec.patch_input == "frames":
        assert prod(spec.input_shape) == spec.patch_frames * frames.n_bands
    spec.patch_rule()


@every_spec_and_variant
def test_the_outputs_of_a_spec_begin_with_embeddings_and_can_be_read(spec: ModelSpec) -> None:
    assert spec.outputs[0].purpose == "embeddings"
    assert len({output.purpose for output in spec.outputs}) == len(spec.outputs)
    for output in spec.outputs:
        readout(output.readout)


@every_spec
def test_published_weights_have_a_url_and_others_none(spec: ModelSpec) -> None:
    assert bool(spec.weights.urls) is spec.weights.published
    assert all(url.endswith(spec.weights.file_name) for url in spec.weights.urls)


@pytest.mark.parametrize(
    ("name", "receptive_field_s", "hop_s"),
    [
        ("msd-musicnn-1", 3.008, 1.488),
        ("msd-musicnn-t200", 3.008, 1.488),
        ("msd-vgg-1", 3.008, 1.488),
        ("msd-vgg-t200", 3.008, 1.488),
        ("audioset-vggish-3", 0.975, 0.93),
        ("deepsquare-k16-3", 11.935, 5.944),
        ("openl3-music-mel128-emb512-3", 1.0, 1.0),
        ("spleeter-5s-3", 11.958, 11.889),
    ],
)
def test_a_patch_of_the_papers_models_sees_as_much_as_documented(
    name: str, receptive_field_s: float, hop_s: float
) -> None:
    spec = model_spec(name)
    assert spec.receptive_field_s == pytest.approx(receptive_field_s, abs=1e-3)
    assert spec.hop_s == pytest.approx(hop_s, abs=1e-3)


@pytest.mark.parametrize(
    ("name", "n_dims"),
    list(zip(paper_models(), (200, 200, 256, 256, 128, 256, 512, 1280), strict=True)),
)
def test_the_papers_models_have_the_dimensions_of_its_table(name: str, n_dims: int) -> None:
    assert model_spec(name).n_dims == n_dims
    assert model_spec(name).write_graph is not None


def test_the_papers_models_come_first_and_in_its_order() -> None:
    names = [spec.name for spec in model_specs()]
    assert tuple(names[: len(paper_models())]) == paper_models()
    assert names[len(paper_models()) :] == [
        "discogs-effnet-bs64-1",
        "discogs-maest-30s-pw-2",
        "fsd-sinet-vgg42-tlpf-1",
        "audioset-yamnet-1",
    ]


@pytest.mark.parametrize("name", paper_models())
def test_an_untrained_model_says_so_in_its_name_and_claims_no_weights(name: str) -> None:
    spec, untrained = model_spec(name), model_spec(f"untrained-{name}")
    assert untrained.name == f"untrained-{name}"
    assert untrained.base_name == name
    assert untrained.untrained
    assert not spec.untrained
    assert not untrained.weights.published
    assert untrained.weights.sha256 is None
    assert untrained.outputs == spec.outputs


def test_a_variant_changes_what_it_names_and_nothing_else() -> None:
    spec = model_spec("openl3-music-mel128-emb512-3")
    assert spec.as_variant("gist") == spec
    assert spec.as_variant("paper") == replace(spec, patch_input="openl3-paper", hop_frames=12_000)


@pytest.mark.parametrize(
    ("name", "close"),
    [
        ("msd-musicn-1", "msd-musicnn-1"),
        ("untrained-vgg", "msd-vgg-1"),
    ],
)
def test_an_unknown_model_is_refused_with_similar_names(name: str, close: str) -> None:
    with pytest.raises(ConfigError, match=f"unknown model '{name}'; did you mean .*{close}"):
        model_spec(name)


def test_at_most_three_similar_names_are_given() -> None:
    with pytest.raises(ConfigError) as caught:
        model_spec("msd-vgg")
    assert 1 <= str(caught.value).count(" or ") + 1 <= 3


def test_a_name_that_resembles_none_may_be_that_of_a_model_in_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(FILES_VARIABLE, raising=False)
    with pytest.raises(ConfigError, match=f"list`, or let {FILES_VARIABLE} name the file of a"):
        model_spec("untrained-beat-shape-1")
    (tmp_path / "none.py").write_text("SPECS = ()")
    monkeypatch.setenv(FILES_VARIABLE, str(tmp_path / "none.py"))
    with pytest.raises(ConfigError, match=r"shape-1'; choose one of `embedlib models list`$"):
        model_spec("untrained-beat-shape-1")


def test_the_rule_of_a_model_gives_way_to_what_the_caller_wants() -> None:
    spec = model_spec("msd-musicnn-1")
    assert spec.patch_rule().last == "tile-short"
    assert spec.patch_rule(hop_frames=187, last="discard").hop_frames == 187
    with pytest.raises(ConfigError, match="hop_frames=0"):
        spec.patch_rule(hop_frames=0)


def entry_point(value: str) -> EntryPoint:
    return EntryPoint(name="mine", value=value, group=ENTRY_POINT_GROUP)


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Give the name of a module that offers models, good and bad."""
    (tmp_path / "embedlib_test_plugin.py").write_text(
        "from dataclasses import replace\n"
        "from embedlib.models.registry import model_spec\n"
        "ONE = replace(model_spec('msd-vgg-1'), name='mine-1')\n"
        "TWO = (ONE, replace(ONE, name='mine-2'))\n"
        "TAKEN = model_spec('msd-vgg-1')\n"
        "TWICE = (ONE, ONE)\n"
        "NUMBER = [ONE, 7]\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    yield "embedlib_test_plugin"
    sys.modules.pop("embedlib_test_plugin", None)


@pytest.mark.parametrize(("value", "names"), [("ONE", ["mine-1"]), ("TWO", ["mine-1", "mine-2"])])
def test_an_installed_package_adds_models_behind_our_own(
    plugin: str, value: str, names: list[str]
) -> None:
    specs = collect_specs([entry_point(f"{plugin}:{value}")])
    assert list(specs)[-len(names) :] == names
    assert list(specs)[: -len(names)] == list(collect_specs([]))


@pytest.mark.parametrize(
    ("value", "what"),
    [
        ("TAKEN", "gives a model 'msd-vgg-1', a name that is taken"),
        ("TWICE", "gives a model 'mine-1', a name that is taken"),
        ("NUMBER", "gives a int, not a ModelSpec"),
        ("MISSING", r"cannot be loaded \(AttributeError: .*MISSING"),
    ],
)
def test_a_package_that_offers_what_cannot_be_taken_is_named(
    plugin: str, value: str, what: str
) -> None:
    with pytest.raises(ConfigError, match=f"the entry point 'mine' = '{plugin}:{value}' .* {what}"):
        collect_specs([entry_point(f"{plugin}:{value}")])


def test_a_package_that_cannot_be_imported_is_named() -> None:
    with pytest.raises(ConfigError, match=r"cannot be loaded \(ModuleNotFoundError: .*; update or"):
        collect_specs([entry_point("embedlib_nowhere:ONE")])


def test_the_distribution_of_a_bad_entry_point_is_named(tmp_path: Path) -> None:
    info = tmp_path / "my_models-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my-models\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[{ENTRY_POINT_GROUP}]\nmine = embedlib_nowhere:ONE\n")
    points = PathDistribution(info).entry_points
    with pytest.raises(
        ConfigError, match=r"of my-models cannot be .*; update or uninstall my-models"
    ):
        collect_specs(points)
