"""The models of a run, as a user writes them."""

from __future__ import annotations

import pytest

from embedlib.errors import ConfigError
from embedlib.models.registry import paper_models
from embedlib.run.instances import instances, untrained


def test_a_plain_name_is_a_table_of_that_name_without_options() -> None:
    (musicnn,) = instances(["msd-musicnn-1"])
    assert (musicnn.table, musicnn.spec.name, musicnn.options) == (
        "msd-musicnn-1",
        "msd-musicnn-1",
        (),
    )


def test_all_stands_for_the_models_of_the_paper_in_its_order() -> None:
    assert tuple(each.table for each in instances(["all"])) == paper_models()


def test_a_model_that_is_named_twice_counts_once() -> None:
    assert len(instances(["msd-musicnn-1", "all", "msd-musicnn-1"])) == len(paper_models())


def test_two_instances_of_one_model_have_tables_and_options_of_their_own() -> None:
    plain, other = instances(["msd-musicnn-1", "msd-musicnn-1:patch_hop_frames=187,as=musicnn-187"])
    assert (plain.table, plain.options) == ("msd-musicnn-1", ())
    assert (other.table, other.options) == ("musicnn-187", (("patch_hop_frames", 187),))
    assert other.spec is plain.spec


def test_a_variant_changes_the_spec_and_not_the_table() -> None:
    (openl3,) = instances(["openl3-music-mel128-emb512-3:variant=paper"])
    assert openl3.table == "openl3-music-mel128-emb512-3"
    assert (openl3.spec.patch_input, openl3.spec.hop_frames) == ("openl3-paper", 12_000)


@pytest.mark.parametrize("text", ["untrained-msd-vgg-1:as=vgg", "untrained-msd-vgg-1"])
def test_a_table_of_random_weights_says_so_whatever_it_is_called(text: str) -> None:
    (vgg,) = instances([text])
    assert vgg.table.startswith("untrained-")


def test_the_stand_in_of_an_instance_keeps_its_options() -> None:
    (vgg,) = instances(["msd-vgg-1:patch_hop_frames=187,as=vgg"])
    stand_in = untrained(vgg)
    assert (stand_in.table, stand_in.spec.name, stand_in.options) == (
        "untrained-vgg",
        "untrained-msd-vgg-1",
        (("patch_hop_frames", 187),),
    )


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["msd-musicn-1"], "unknown model 'msd-musicn-1'; did you mean msd-musicnn-1"),
        (["msd-vgg-1", "msd-vgg-1:patch_hop_frames=187"], "2 models would write the table 'msd-v"),
        (["msd-vgg-1:hop=187"], "'hop=187' in 'msd-vgg-1:hop=187' says nothing of a model; write"),
        (["msd-vgg-1:patch_hop_frames"], "'patch_hop_frames' in .* says nothing of a model"),
        (["msd-vgg-1:patch_hop_frames="], "says nothing of a model"),
        (["msd-vgg-1:patch_hop_frames=1.5"], "'patch_hop_frames=1.5' in .* is no number"),
        (["msd-vgg-1:variant=paper"], "msd-vgg-1 has no variant 'paper'; leave it out"),
        (["deepsquare-k16-3:variant=gist"], "has no variant 'gist'; choose one of paper"),
        (["msd-vgg-1:as=../up"], "'../up' cannot name a model table"),
        (["msd-vgg-1:as=catalog"], "'catalog' cannot name a model table"),
        (["msd-vgg-1:as=runs"], "'runs' cannot name a model table"),
        (["untrained-discogs-effnet-bs64-1"], "no untrained stand-in for discogs-effnet-bs64-1"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_one_line(names: list[str], words: str) -> None:
    with pytest.raises(ConfigError, match=words) as refused:
        instances(names)
    assert len(str(refused.value).splitlines()) == 1
