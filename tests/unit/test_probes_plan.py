"""What a sweep fits follows from labels, embeddings and settings, and from nothing else."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest

from embedlib.errors import ConfigError
from embedlib.probes.deals import control_deals, deals, splits_of
from embedlib.probes.plan import (
    PARCEL_S,
    FitGroup,
    MaterialKey,
    Subject,
    external_group,
    fold_groups,
    parcels,
)
from embedlib.probes.records import PAPER, POOLED, Params, Protocol, Role, Split
from embedlib.probes.settings import SweepConfig, sweep_config
from embedlib.tasks.cohort import Cohort

SPACE = {"n_hidden": [4, 8], "rate": [1e-2, 1e-3, 1e-4]}


def config_of(**changes: Any) -> SweepConfig:
    return sweep_config({"out": "OUT", "tasks": [{"task": "toy"}], **changes})


def cohort_of(n_tracks: int = 60, **changes: Any) -> Cohort:
    ids = tuple(f"t{number:03}" for number in range(n_tracks))
    return Cohort("toy", ("a", "b"), ids, np.arange(n_tracks) % 2, **changes)


def subject_of(
    cohort: Cohort | None = None, *, protocol: Protocol = POOLED, **changes: Any
) -> Subject:
    values = {"model": "tiny", "embeddings_id": "e1", "n_dims": 8} | changes
    key = MaterialKey("toy", values["model"], protocol.uses_patches)
    return Subject(cohort or cohort_of(), protocol, key, values["embeddings_id"], values["n_dims"])


def groups_of(subject: Subject, config: SweepConfig, role: Role = Role.CV) -> tuple[FitGroup, ...]:
    deal = deals if role is Role.CV else control_deals
    dealt = deal(subject.cohort, split=Split.STRATIFIED, config=config)
    return fold_groups(subject, role=role, deals=dealt, config=config)


def ids_of(subject: Subject, config: SweepConfig, role: Role = Role.CV) -> set[str]:
    return {name for group in groups_of(subject, config, role) for name in group.fit_ids}


def test_each_fold_of_each_repeat_has_a_group_with_all_parameters() -> None:
    config = config_of(folds=4, repeats=3, params=SPACE)
    keys = [[*group.keys] for group in groups_of(subject_of(), config)]
    assert Counter((own[0].repeat, own[0].fold) for own in keys) == {
        (repeat, fold): 1 for repeat in range(3) for fold in range(4)
    }
    assert all([key.params for key in own] == list(config.params.space) for own in keys)


def test_controls_fit_the_first_parameters_for_each_shuffle() -> None:
    config = config_of(folds=3, controls=4, params=SPACE)
    keys = [key for group in groups_of(subject_of(), config, Role.CONTROL) for key in group.keys]
    assert {key.params for key in keys} == {Params(n_hidden=4, rate=1e-2)}
    assert sorted((key.shuffle, key.fold) for key in keys) == [
        (shuffle, fold) for shuffle in range(4) for fold in range(3)
    ]


def test_a_shuffle_that_leaves_a_fold_without_a_class_is_left_out() -> None:
    y = np.array([0] * 57 + [1] * 3)
    folds = tuple(int(number) % 3 for number in range(60))
    rare = Cohort("toy", ("a", "b"), cohort_of().track_ids, y, folds=folds)
    config = config_of(folds="official", controls=12)
    kept = [deal.shuffle for deal in control_deals(rare, split=Split.OFFICIAL, config=config)]
    assert 0 < len(kept) < 12


@pytest.mark.parametrize(
    ("groups", "protocol", "splits"),
    [
        ("auto", POOLED, (Split.GROUPED,)),
        ("auto", PAPER, (Split.STRATIFIED,)),
        ("keep", PAPER, (Split.GROUPED,)),
        ("ignore", POOLED, (Split.STRATIFIED,)),
        ("both", PAPER, (Split.STRATIFIED, Split.GROUPED)),
    ],
)
def test_groups_stay_together_where_protocol_or_user_says_so(
    groups: str, protocol: Protocol, splits: tuple[Split, ...]
) -> None:
    known = cohort_of(groups=("g",) * 60)
    config = config_of(groups=groups)
    assert splits_of(known, protocol=protocol, config=config) == splits
    assert splits_of(cohort_of(), protocol=protocol, config=config) == (Split.STRATIFIED,)


def test_published_folds_are_dealt_once() -> None:
    cohort = cohort_of(folds=tuple((number // 2) % 5 for number in range(60)))
    config = config_of(folds="official", repeats=5)
    (deal,) = deals(cohort, split=Split.OFFICIAL, config=config)
    assert (deal.n_folds, deal.folds.tolist()) == (5, list(cohort.folds))


def test_published_folds_that_are_not_there_are_one_line() -> None:
    with pytest.raises(ConfigError, match="toy: its labels have no published folds"):
        deals(cohort_of(), split=Split.OFFICIAL, config=config_of(folds="official"))


def test_a_class_smaller_than_the_folds_is_one_line() -> None:
    with pytest.raises(ConfigError, match="class 'a' has 2 tracks for 5 folds"):
        deals(cohort_of(4), split=Split.STRATIFIED, config=config_of())


def test_ids_do_not_depend_on_cores_or_place() -> None:
    there = config_of(n_cores=7, local=True, keep_probes=True, models=["x"])
    assert ids_of(subject_of(), config_of()) == ids_of(subject_of(), there)


def test_more_repeats_keep_the_ids_of_those_before() -> None:
    few, many = (ids_of(subject_of(), config_of(repeats=number)) for number in (2, 3))
    assert few < many


def test_the_order_of_parameters_does_not_matter() -> None:
    turned = {name: values[::-1] for name, values in SPACE.items()}
    assert ids_of(subject_of(), config_of(params=SPACE)) == ids_of(
        subject_of(), config_of(params=turned)
    )


def relabelled() -> Cohort:
    cohort = cohort_of()
    return Cohort(cohort.task, cohort.classes, cohort.track_ids, np.roll(cohort.y, 1))


@pytest.mark.parametrize(
    ("subject", "changes"),
    [
        (subject_of(embeddings_id="e2"), {}),
        (subject_of(relabelled()), {}),
        (subject_of(cohort_of(62)), {}),
        (subject_of(model="other"), {}),
        (subject_of(protocol=PAPER), {}),
        (subject_of(), {"folds": 4}),
        (subject_of(), {"rungs": [7]}),
        (subject_of(), {"scheduler": "asha"}),
        (subject_of(), {"params": {**SPACE, "l2": [1e-3]}}),
        (subject_of(), {"params": {**SPACE, "n_hidden": [4, 8, 16]}}),
    ],
)
def test_whatever_changes_a_number_changes_all_ids(
    subject: Subject, changes: dict[str, Any]
) -> None:
    old = ids_of(subject_of(), config_of(params=SPACE))
    assert not old & ids_of(subject, config_of(**{"params": SPACE, **changes}))


def test_ids_are_unique_over_roles_repeats_folds_and_parameters() -> None:
    config = config_of(params=SPACE, repeats=2, controls=2)
    groups = [
        each
        for role in Role
        for each in groups_of(subject_of(), config, role)
        if role is not Role.EXTERNAL
    ]
    names = [name for group in groups for name in group.fit_ids]
    assert len(set(names)) == len(names)
    assert len({group.group_id for group in groups}) == len(groups)


def external_of(**changes: Any) -> FitGroup:
    values = {"setting": (Params(), 12), "test_cohort_id": "c2", "test_embeddings_id": "e2"}
    (first, *_) = groups_of(subject_of(), config_of())
    return external_group(subject_of(), like=first.keys[0], **{**values, **changes})


def test_an_external_fit_trains_on_all_with_what_was_chosen() -> None:
    group = external_of()
    (key,) = group.keys
    assert (key.role, key.fold, key.params) == (Role.EXTERNAL, -1, Params())
    assert (group.schedule, group.rungs) == ("whole:12", (12,))


@pytest.mark.parametrize(
    "changes",
    [
        {"setting": (Params(), 13)},
        {"setting": (Params(rate=0.1), 12)},
        {"test_cohort_id": "c3"},
        {"test_embeddings_id": "e3"},
    ],
)
def test_another_choice_or_external_set_is_another_fit(changes: dict[str, Any]) -> None:
    assert external_of(**changes).group_id != external_of().group_id


def test_parcels_hold_each_group_that_is_left_once() -> None:
    config = config_of(params=SPACE)
    groups = groups_of(subject_of(), config)
    done = {group.group_id for group in groups[::3]}
    bundles = parcels(subject_of(), groups, done=done)
    found = [group.group_id for parcel in bundles for group in parcel.groups]
    assert found == [group.group_id for group in groups if group.group_id not in done]
    assert sum(each.n_fits for each in bundles) == 6 * len(found)


def test_parcels_take_seconds_whatever_the_size_of_a_fit() -> None:
    small = parcels(subject_of(), groups_of(subject_of(), config_of()), done=())
    large_subject = subject_of(cohort_of(5000), n_dims=1280)
    large = parcels(large_subject, groups_of(large_subject, config_of()), done=())
    assert max(len(each.groups) for each in small) > 10
    assert {len(each.groups) for each in large} == {1}
    assert all(each.cost_s < 2 * PARCEL_S for each in small)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"reapeats": 2}, "unknown key 'reapeats'"),
        ({"tasks": [{"task": "a", "label": "x"}]}, r"unknown key 'tasks\.0\.label'"),
        ({"tasks": [{"task": "a"}, {"task": "a"}]}, r"'a' is named twice"),
        ({"tasks": []}, "tasks"),
        ({"params": {"rate": [0.0]}}, r"params\.rate\.0=0\.0"),
        ({"params": {"rates": [0.1]}}, r"unknown key 'params\.rates'"),
        ({"protocols": ["fast"]}, "'fast' is none of paper, pooled"),
        ({"folds": 2}, "folds"),
        ({"rungs": [30, 10]}, "greater than the one before"),
        ({"scheduler": "asha", "local": True}, "scheduler='asha' needs Ray Tune"),
        ({"scheduler": "asha", "keep_probes": True}, "scheduler='asha' keeps no probes"),
    ],
)
def test_a_wrong_setting_is_one_line_that_names_it(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        config_of(**changes)


def test_numbers_without_a_point_are_numbers() -> None:
    assert config_of(params={"rate": ["1e-3"]}).params.rate == [1e-3]  # as YAML 1.1 reads it
