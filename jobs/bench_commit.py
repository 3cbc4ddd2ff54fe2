"""`bench.py commit`: transactions per minute, alone and with another process at the same table.

Parts of small shards are committed to a table of few files and to one of many, some at a time. The
whole way, write and commit, takes turns with `deltalake.write_deltalake` over the same rows, and
with writing the same files where no log names them. Then one process commits as fast as it can,
and then two do, each its own shards into the one table: none may be lost, none be there twice.
"""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from bench_commit_run import RACE, TURNS
from bench_limits import LimitedConfig, limits_of
from bench_process import measure
from bench_setting import checked, say
from bench_show import show_tables, table_of
from pydantic import Field

FEW, MANY = "few files", "many files"
SIZES = (FEW, MANY)
"""Of the table that is committed to."""

BATCHES = (1, 10, 100)
"""Shards of a transaction."""

N_WRITERS = 2

TO_APPEND = "write and commit / write_deltalake"
TO_FILES = "write and commit / files alone"
RATE = "transactions per minute"
TO_ONE = "two processes / one"
TO_FEW = "many files / few files"


def named(figure: str, *of: str | int) -> str:
    """Name a figure of a table, or of both, and of a size of batches.

    Examples
    --------
    >>> named(RATE, FEW, 10)
    'transactions per minute, few files, batches of 10'
    """
    *tables, n_shards = of
    return ", ".join([figure, *map(str, tables), f"batches of {n_shards}"])


FIGURES = tuple(
    [
        named(f, size, n)
        for f in (RATE, TO_APPEND, TO_FILES, TO_ONE)
        for size in SIZES
        for n in BATCHES
    ]
    + [named(TO_FEW, n) for n in BATCHES]
)


class CommitConfig(LimitedConfig):
    """What to measure; configs/bench/commit.yaml explains each key."""

    few: int = Field(ge=1)
    many: int = Field(ge=1)
    rows: int = Field(ge=1)
    transactions: int = Field(ge=2)
    rounds: int = Field(ge=1)


@dataclass(frozen=True, slots=True)
class Measured:
    """What one table took in one round, for one size of batches.

    Attributes
    ----------
    size : str
        Of the table.
    n_shards : int
        Of a transaction.
    n_transactions : int
        Of each process.
    turns_s : mapping of str to sequence of float
        Seconds of each transaction: ``write`` and ``commit``, ``append`` by delta-rs, and
        ``alone``, the files without a log.
    one_s, two_s : float
        From the start of the first process to the end of the last one, where one or two commit.
    """

    size: str
    n_shards: int
    n_transactions: int
    turns_s: Mapping[str, Sequence[float]]
    one_s: float
    two_s: float

    @property
    def way_s(self) -> float:
        """Seconds of the whole way of a transaction, write and commit."""
        pairs = zip(self.turns_s["write"], self.turns_s["commit"], strict=True)
        return median(write_s + commit_s for write_s, commit_s in pairs)

    @property
    def rate(self) -> float:
        """Transactions per minute of one process, of parts that are written."""
        return 60 * self.n_transactions / self.one_s

    @property
    def rate_of_two(self) -> float:
        """Transactions per minute of two processes together."""
        return 60 * N_WRITERS * self.n_transactions / self.two_s

    def figures(self) -> dict[str, float]:
        """Give the figures of this table by themselves."""
        values = {
            RATE: self.rate,
            TO_APPEND: self.way_s / median(self.turns_s["append"]),
            TO_FILES: self.way_s / median(self.turns_s["alone"]),
            TO_ONE: self.rate_of_two / self.rate,
        }
        return {named(name, self.size, self.n_shards): value for name, value in values.items()}


def figures_of(found: Sequence[Measured]) -> dict[str, float]:
    """Give all figures, medians over the rounds; ratios are taken within a round."""
    by_name: dict[str, list[float]] = {}
    for each in found:
        for name, value in each.figures().items():
            by_name.setdefault(name, []).append(value)
    for n_shards in BATCHES:
        few, many = (by_name[named(RATE, size, n_shards)] for size in SIZES)
        by_name[named(TO_FEW, n_shards)] = [b / a for a, b in zip(few, many, strict=True)]
    return {name: median(values) for name, values in by_name.items()}


@dataclass(frozen=True, slots=True)
class Bench:
    """Where measurements are made, and of what."""

    config: CommitConfig
    scratch: Path
    cores: Sequence[int]

    def table(self, size: str, *, n_round: int) -> tuple[list[Measured], int]:
        """Measure one table from nothing; also how many rows were compared before."""
        root = self.scratch / f"{size} {n_round}"
        root.mkdir()
        turns = self._measure(root, TURNS)
        one = self._race(root, n_writers=1)
        two = self._race(root, n_writers=N_WRITERS)
        say(f"round {n_round}: a table of {size} is measured")
        measured = [
            Measured(
                size=size,
                n_shards=n,
                n_transactions=self.config.transactions,
                turns_s=turns["batches"][str(n)],
                one_s=one[n],
                two_s=two[n],
            )
            for n in BATCHES
        ]
        return measured, turns["rows_compared"]

    def _race(self, root: Path, *, n_writers: int) -> dict[int, float]:
        others = {"meeting": str(n_writers), "n_writers": n_writers}
        with ThreadPoolExecutor(max_workers=n_writers) as pool:
            writers = [
                pool.submit(self._measure, root, RACE, number=number, **others)
                for number in range(n_writers)
            ]
        times = [writer.result()["batches"] for writer in writers]
        return {n: span_s(each[str(n)] for each in times) for n in BATCHES}

    def _measure(self, root: Path, task: str, *, number: int = 0, **more: Any) -> dict[str, Any]:
        n_files = {FEW: self.config.few, MANY: self.config.many}[root.name.rsplit(" ", 1)[0]]
        job = {
            "root": root,
            "task": task,
            "files": n_files,
            "rows": self.config.rows,
            "transactions": self.config.transactions,
            "batches": BATCHES,
            **more,
        }
        out = root / f"{task} {more.get('n_writers', 0)} {number}"
        name = f"{task}, {root.name}"
        return measure("bench_commit_run.py", job, name=name, out=out, cores=self.cores)


def span_s(times: Iterable[tuple[float, float]]) -> float:
    """Give the time from the first start to the last end.

    Examples
    --------
    >>> span_s([(1.0, 3.0), (1.5, 4.0)])
    3.0
    """
    began_s, ended_s = zip(*times, strict=True)
    return float(max(ended_s) - min(began_s))


def rows_of(found: Sequence[Measured]) -> Iterator[tuple[str, ...]]:
    """Give the rows for people: of each table and size of batches the medians of all rounds."""
    for size in SIZES:
        for n_shards in BATCHES:
            own = [each for each in found if (each.size, each.n_shards) == (size, n_shards)]
            ms = {
                way: 1e3 * median(s for each in own for s in each.turns_s[way])
                for way in own[0].turns_s
            }
            rate, of_two = (median(getattr(e, k) for e in own) for k in ("rate", "rate_of_two"))
            yield (
                size,
                str(n_shards),
                *(f"{ms[way]:.1f}" for way in ("write", "commit", "append", "alone")),
                f"{rate:,.0f}",
                f"{n_shards * rate:,.0f}",
                f"{of_two:,.0f}",
            )


COLUMNS = (
    *("table", "shards a transaction", "write ms", "commit ms", "write_deltalake ms"),
    *("files alone ms", "transactions/min", "shards/min", "transactions/min of two processes"),
)


# The interface of a verb


def bench_config(values: Mapping[str, Any], *, origin: str) -> CommitConfig:
    """Check the values of a configuration."""
    return checked(CommitConfig, values, origin=origin)


def figure_names() -> set[str]:
    """Name what a floor or a ceiling can be set for."""
    return set(FIGURES)


def run(config: CommitConfig, scratch: Path, cores: Sequence[int]) -> dict[str, Any]:
    """Measure both tables as often as wanted, and hold the figures against the limits."""
    limits = limits_of(config, names=FIGURES, cores=cores)
    bench = Bench(config, scratch, cores)
    found, n_compared = [], 0
    for n_round in range(1, config.rounds + 1):
        for size in SIZES:
            measured, n_rows = bench.table(size, n_round=n_round)
            found += measured
            n_compared += n_rows
    figures = figures_of(found)
    return {
        "figures": figures,
        "measured": [{name: getattr(each, name) for name in Measured.__slots__} for each in found],
        "tables": [_table(config, found, n_compared=n_compared)],
        "broken_floors": limits.broken(figures),
    }


def _table(config: CommitConfig, found: Sequence[Measured], *, n_compared: int) -> dict[str, Any]:
    return table_of(
        "Transactions",
        COLUMNS,
        rows_of(found),
        notes=[
            f"{config.few:,} files, {config.many:,} files; shards of {config.rows} tracks; medians "
            f"of {config.rounds * config.transactions} transactions.",
            f"Parity: {n_compared} rows of both kinds of tables are equal in each column; the log "
            "names each shard of the one process and of the two exactly once.",
            "write_deltalake puts the shards of a transaction into one file, knows no shards that "
            "another driver has committed, and does not wait for the disk.",
        ],
    )


def add_flags(parser: ArgumentParser) -> None:
    """Add what the command line can say otherwise than the configuration."""
    parser.add_argument("--few", type=int, help="files of the small table")
    parser.add_argument("--many", type=int, help="files of the large table")
    parser.add_argument("--rows", type=int, help="tracks of a shard")
    parser.add_argument("--transactions", type=int, help="of each kind")
    parser.add_argument("--rounds", type=int, help="how often all is measured")


def show(result: Mapping[str, Any]) -> None:
    """Print what was found."""
    show_tables(result)
