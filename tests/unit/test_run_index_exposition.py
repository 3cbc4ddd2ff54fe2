"""The metrics of an index run: what a strict parser of the text format makes of them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace

import pytest

from embedlib.records import Status
from embedlib.run.exposition import PREFIX, exposition
from embedlib.run.index_summary import IndexSummary

_NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
_HELP = re.compile(rf"# HELP ({_NAME}) ((?:[^\\\n]|\\\\|\\n)+)")
_TYPE = re.compile(rf"# TYPE ({_NAME}) (counter|gauge|histogram|summary|untyped)")
_LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"')
_SAMPLE = re.compile(
    rf"({_NAME})(?:\{{({_LABEL.pattern}(?:,{_LABEL.pattern})*)\}})? "
    r"([+-]?(?:\d+(?:\.\d+)?(?:e[+-]?\d+)?|Inf|NaN))"
)


@dataclass
class Family:
    """One metric as it was read."""

    help: str
    kind: str = ""
    samples: dict[tuple[tuple[str, str], ...], float] = field(default_factory=dict)


def parse(text: str) -> dict[str, Family]:
    """Read text of the exposition format 0.0.4: help, type and samples of a metric together.

    Whatever else is in it, or stands twice, is a ValueError.
    """
    if not text.endswith("\n"):
        raise ValueError("the last line has no line feed")
    families: dict[str, Family] = {}
    for line in text.removesuffix("\n").split("\n"):
        if (parts := _HELP.fullmatch(line)) and parts[1] not in families:
            families[parts[1]] = Family(parts[2])
            continue
        if not families:
            raise ValueError(f"{line!r} has no help before it")
        name, family = list(families.items())[-1]
        if (parts := _TYPE.fullmatch(line)) and parts[1] == name and not family.kind:
            family.kind = parts[2]
        elif (parts := _SAMPLE.fullmatch(line)) and parts[1] == name and family.kind:
            labels = tuple(_LABEL.findall(parts[2] or ""))
            if labels in family.samples:
                raise ValueError(f"{line!r} stands twice")
            family.samples[labels] = float(parts[parts.lastindex or 0])
        else:
            raise ValueError(f"{line!r} is not in the format, or in the wrong place")
    return families


GOOD = '# HELP a Some.\n# TYPE a gauge\na 1\na{b="c"} 2.5e-07\n'


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("2.5e-07\n", "2.5e-07"),
        ("a 1", "a  1"),
        ("a 1", "b 1"),
        ('a{b="c"} 2.5e-07', "a 2"),
        ('b="c"', "b='c'"),
        ('b="c"', 'b-x="c"'),
        ('b="c"', 'b="c'),
        ("gauge", "number"),
        ("# TYPE a gauge\n", ""),
        ("# HELP a Some.\n", ""),
        ("a 1", "a None"),
        ("a 1\n", "a 1\n\n"),
        (GOOD, GOOD + GOOD),
    ],
)
def test_the_parser_refuses_what_is_not_in_the_format(old: str, new: str) -> None:
    assert parse(GOOD)["a"].samples == {(): 1.0, (("b", "c"),): 2.5e-07}
    assert old in GOOD
    with pytest.raises(ValueError, match=r"in the format|no help|twice|line feed"):
        parse(GOOD.replace(old, new, 1))


SUMMARY = IndexSummary(
    run_id="20261101-021500-000000-abcdef",
    out="/srv/embedlib/out",
    dry_run=False,
    models=("msd-musicnn-1", "msd-vgg-1"),
    untrained=(),
    n_tracks=100_100,
    n_new=100,
    n_changed=3,
    n_moved=2,
    n_deleted=7,
    n_unchanged=99_995,
    n_duplicates=1,
    named={},
    n_finished=5,
    n_rows=211,
    n_rows_moved=4,
    n_rows_pruned=24,
    statuses={"ok": 205, "undecodable": 4, "duplicate_id": 2},
    n_failed=6,
    audio_s=1234.5,
    wall_s=1e-7,
    decoding={"decodes": 104},
)
ENDED_UNIX_S = 1_793_499_300.25


@pytest.fixture(scope="module")
def families() -> dict[str, Family]:
    return parse(exposition(SUMMARY, ended_unix_s=ENDED_UNIX_S))


def value(families: dict[str, Family], name: str, **labels: str) -> float:
    return families[f"{PREFIX}{name}"].samples[tuple(labels.items())]


def test_every_metric_is_a_gauge_with_our_prefix_and_a_sentence_of_help(
    families: dict[str, Family],
) -> None:
    assert PREFIX == "embedlib_index_"
    assert all(name.startswith(PREFIX) for name in families)
    assert {family.kind for family in families.values()} == {"gauge"}
    assert all(family.help.endswith(".") and family.samples for family in families.values())


@pytest.mark.parametrize(
    ("name", "labels", "expected"),
    [
        ("ended_timestamp_seconds", {}, ENDED_UNIX_S),
        ("duration_seconds", {}, 1e-7),
        ("complete", {}, 1),
        ("catalogue_tracks", {}, 100_100),
        ("tracks", {"change": "deleted"}, 7),
        ("tracks", {"change": "unchanged"}, 99_995),
        ("duplicate_tracks", {}, 1),
        ("rows", {"status": "ok"}, 205),
        ("rows", {"status": "crashed"}, 0),
        ("failed_rows", {}, 6),
        ("finished_rows", {}, 5),
        ("moved_rows", {}, 4),
        ("pruned_rows", {}, 24),
        ("audio_seconds", {}, 1234.5),
        ("decodes", {}, 104),
    ],
)
def test_a_figure_of_the_summary_is_there(
    families: dict[str, Family], name: str, labels: dict[str, str], expected: float
) -> None:
    assert value(families, name, **labels) == expected


def test_every_status_has_a_sample_so_that_no_series_vanishes(families: dict[str, Family]) -> None:
    samples = families[f"{PREFIX}rows"].samples
    assert {status for ((_, status),) in samples} == set(Status)
    assert sum(samples.values()) == SUMMARY.n_rows


def test_a_run_that_a_signal_ended_is_not_complete() -> None:
    ended = parse(exposition(replace(SUMMARY, signal_number=15), ended_unix_s=0.0))
    assert value(ended, "complete") == 0


def test_the_client_library_of_prometheus_reads_the_same(families: dict[str, Family]) -> None:
    parser = pytest.importorskip("prometheus_client.parser")
    text = exposition(SUMMARY, ended_unix_s=ENDED_UNIX_S)
    read = {
        family.name: {tuple(sample.labels.items()): sample.value for sample in family.samples}
        for family in parser.text_string_to_metric_families(text)
    }
    assert read == {name: family.samples for name, family in families.items()}
