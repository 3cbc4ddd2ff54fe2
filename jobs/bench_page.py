"""A page of all that `bench.py` measured into a folder; it needs nothing else, and no network."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bench_bars import BAR_HEIGHT, WIDTH, Drawing, drawing
from bench_figures import facts_of
from bench_show import figure_text, table_of

from embedlib.errors import OutputError
from embedlib.report.markdown import escaped
from embedlib.report.templating import environment, sealed, template_text

PAGE: Final = "index.html"
HOLDS, BROKEN = "holds", "broken"
UNMEASURED, UNCOUNTED = "not measured", "does not count on this machine"
_TEMPLATE: Final = Path(__file__).with_name("bench_page.html.j2")
_STYLE: Final = Path(__file__).with_name("bench_page.css")
_NUMERIC: Final = frozenset("0123456789.,+-%x≤≥<>e ")
"""What a cell of a column of numbers is made of."""


@dataclass(frozen=True, slots=True)
class Limit:
    """What a figure should be at least or at most.

    Attributes
    ----------
    figure : str
        Its name.
    value : float or None
        What was measured; None where it was not.
    bound : float
        The limit.
    is_floor : bool
        Whether it is the least that should be, not the most.
    counts : bool
        Whether this machine has what the limit needs.
    """

    figure: str
    value: float | None
    bound: float
    is_floor: bool
    counts: bool = True

    @property
    def text(self) -> str:
        """The limit, as people write it."""
        return f"{'≥' if self.is_floor else '≤'} {self.bound:g}"

    @property
    def verdict(self) -> str:
        """Whether it holds."""
        if not self.counts:
            return UNCOUNTED
        if self.value is None:
            return UNMEASURED
        holds = self.value >= self.bound if self.is_floor else self.value <= self.bound
        return HOLDS if holds else BROKEN


@dataclass(frozen=True, slots=True)
class Section:
    """What a page shows of one result.

    Attributes
    ----------
    verb : str
        Of `bench.py`.
    facts : tuple of (str, str)
        What the figures depend on.
    config : str
        As JSON.
    limits : tuple of Limit
        On its figures.
    figures : dict of str to Any
        A table of them.
    tables : list of dict of str to Any
        What people should see.
    drawings : tuple of Drawing
        Its bars.
    broken : list of str
        A line for each limit that does not hold.
    """

    verb: str
    facts: tuple[tuple[str, str], ...]
    config: str
    limits: tuple[Limit, ...]
    figures: dict[str, Any]
    tables: list[dict[str, Any]]
    drawings: tuple[Drawing, ...]
    broken: list[str]

    @property
    def standing(self) -> str:
        """How many limits hold."""
        counted = [limit.verdict for limit in self.limits if limit.verdict in {HOLDS, BROKEN}]
        return f"{counted.count(HOLDS)} of {len(counted)}" if counted else "none set"


def write_page(folder: Path) -> Path:
    """Write the page of all results in a folder, beside them.

    Parameters
    ----------
    folder : Path
        With the files that `bench.py` wrote; others are left out.

    Returns
    -------
    path : Path
        ``index.html`` in it.

    Raises
    ------
    OutputError
        If the folder holds no result, or a file that is no JSON.
    """
    results = sorted(read_results(folder), key=lambda result: result["measured_at"])
    if not results:
        raise OutputError(f"{folder} holds no result", fix="measure first: python jobs/bench.py")
    path = folder / PAGE
    path.write_text(page_text([section_of(result) for result in results]), encoding="utf-8")
    return path


def read_results(folder: Path) -> Iterator[dict[str, Any]]:
    """Read the results that `bench.py` wrote into a folder.

    Parameters
    ----------
    folder : Path
        Other JSON files may lie there.

    Yields
    ------
    result : dict of str to Any
        Of one verb, in the order of the names of the files.

    Raises
    ------
    OutputError
        If a file is no JSON.
    """
    for path in sorted(folder.glob("*.json")):
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as exc:
            raise OutputError(f"{path} is damaged: {exc}", fix="measure it again") from exc
        if isinstance(found, dict) and "benchmark" in found:
            yield found


def page_text(sections: Sequence[Section]) -> str:
    """Write the page.

    Parameters
    ----------
    sections : sequence of Section
        In their order.

    Returns
    -------
    text : str
        HTML, `sealed`.
    """
    style = template_text("page.css") + _STYLE.read_text(encoding="utf-8")
    template = environment().from_string(_TEMPLATE.read_text(encoding="utf-8"))
    return template.render(
        sealed(script=template_text("page.js"), style=style),
        sections=sections,
        text_columns=text_columns,
        bar_height=BAR_HEIGHT,
        width=WIDTH,
    )


def section_of(result: Mapping[str, Any]) -> Section:
    """Choose what a page shows of a result.

    Parameters
    ----------
    result : mapping of str to Any
        What `bench.py` wrote.

    Returns
    -------
    section : Section
        Without tables where an older version wrote none.
    """
    limits = tuple(limits_of(result))
    return Section(
        verb=result["benchmark"],
        facts=tuple(_facts(result)),
        config=json.dumps(result["config"], indent=2, ensure_ascii=False),
        limits=limits,
        figures=_figure_table(result.get("figures", {}), limits),
        tables=result.get("tables", []),
        drawings=tuple(drawing(bars) for bars in result.get("bars", [])),
        broken=result["broken_floors"],
    )


def limits_of(result: Mapping[str, Any]) -> Iterator[Limit]:
    """Hold figures against the limits of their configuration.

    Parameters
    ----------
    result : mapping of str to Any
        What `bench.py` wrote.

    Yields
    ------
    limit : Limit
        Floors, then ceilings.
    """
    figures, config = result.get("figures", {}), result["config"]
    machine = result["machine"]
    facts = {None, *facts_of(machine["flags"], n_cores=machine["n_cores"])}
    for name, floor in config.get("floors", {}).items():
        counts = floor["needs"] in facts
        yield Limit(name, figures.get(name), floor["at_least"], is_floor=True, counts=counts)
    for name, ceiling in config.get("ceilings", {}).items():
        yield Limit(name, figures.get(name), ceiling, is_floor=False)


def text_columns(table: Mapping[str, Any]) -> set[str]:
    """Tell which columns of a table hold texts, not numbers.

    Parameters
    ----------
    table : mapping of str to Any
        Of a result.

    Returns
    -------
    names : set of str
        Titles of columns; the first one is always among them.

    Examples
    --------
    >>> rows = [["f32", "1.5 x", "CPU"], ["bf16", "", "CPU"]]
    >>> sorted(text_columns({"columns": ["kind", "speed", "on"], "rows": rows}))
    ['kind', 'on']
    """
    columns = table["columns"]
    texts = {
        name
        for index, name in enumerate(columns)
        if any(not _NUMERIC.issuperset(row[index]) for row in table["rows"])
    }
    return texts | set(columns[:1])


def markdown_table(table: Mapping[str, Any]) -> str:
    r"""Write a table of a result as GitHub-flavoured Markdown.

    Parameters
    ----------
    table : mapping of str to Any
        Of a result.

    Returns
    -------
    text : str
        Its title in bold, the table, its notes.

    Examples
    --------
    >>> table = {"title": "Speed", "columns": ["a|b", "s"], "rows": [["x", "1"]], "notes": ["So."]}
    >>> print(markdown_table(table))
    **Speed**
    <BLANKLINE>
    | a\|b | s |
    | --- | ---: |
    | x | 1 |
    <BLANKLINE>
    So.
    """
    texts = text_columns(table)
    rule = ["---" if name in texts else "---:" for name in table["columns"]]
    header, *rows = (map(escaped, row) for row in (table["columns"], *table["rows"]))
    lines = "\n".join(f"| {' | '.join(row)} |" for row in (header, rule, *rows))
    return "\n\n".join([f"**{escaped(table['title'])}**", lines, *map(escaped, table["notes"])])


def _figure_table(figures: Mapping[str, float], limits: Sequence[Limit]) -> dict[str, Any]:
    by_name: dict[str, list[Limit]] = {name: [] for name in figures}
    for limit in limits:
        by_name.setdefault(limit.figure, []).append(limit)
    rows = [
        (
            name,
            figure_text(figures[name]) if name in figures else "",
            ", ".join(limit.text for limit in own),
            ", ".join(limit.verdict for limit in own),
        )
        for name, own in by_name.items()
    ]
    return table_of("Figures and limits", ("figure", "value", "limit", "verdict"), rows)


def _facts(result: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    machine = result["machine"]
    yield "Measured", result["measured_at"]
    if "is_short" in result:
        yield "Form", "short" if result["is_short"] else "full"
    yield "CPU", f"{machine['cpu']}, {machine['n_cores']} cores, {' '.join(machine['flags'])}"
    yield "Memory", f"{machine['memory_gib']} GiB"
    yield "Load before", f"{result['load_average']:.2f}"
    yield "Versions", ", ".join(f"{name} {text}" for name, text in result["versions"].items())
