"""The data of a page to explore, as scripts: a page opened by ``file://`` may load nothing else.

Each file calls ``explore(name, data)``. Numbers are little-endian arrays in base64, texts are JSON.
What is seen at once is in a few files; what is known of single tracks is in many, which the page
loads when it needs one.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from embedlib.report.explore_chart import Chart
from embedlib.report.explore_colours import Classes, ColourColumn

DATA_FOLDER: Final = "data"

IDS_PER_FILE: Final = 20_000
"""All are loaded at once; pieces let the page say how far it is."""

TRACKS_PER_FILE: Final = 500
"""About 250 kB with 20 neighbours each: one click, one file."""


@dataclass(frozen=True, slots=True)
class DataFile:
    """One file beside the page.

    Attributes
    ----------
    name : str
        What the page calls it.
    file_name : str
        It tells the content, so that an old page never meets new data.
    content : bytes
        A script.
    """

    name: str
    file_name: str
    content: bytes


def data_files(chart: Chart) -> Iterator[DataFile]:
    """Write the data of a map.

    Parameters
    ----------
    chart : Chart
        The map.

    Yields
    ------
    file : DataFile
        ``points``; ``ids-<n>``; ``column-<n>``, in the order of the columns; ``tracks-<n>``.
    """
    ids = chart.population.ids
    yield _file("points", encoded(chart.layout.positions.astype("<f4")))
    for number, rows in enumerate(_pieces(len(ids), IDS_PER_FILE)):
        yield _file(f"ids-{number}", ids[rows])
    for number, column in enumerate(chart.columns):
        yield _file(f"column-{number}", _column(column))
    for number, rows in enumerate(_pieces(len(ids), TRACKS_PER_FILE)):
        yield _file(f"tracks-{number}", _tracks(chart, rows))


def encoded(values: NDArray[Any]) -> str:
    """Write numbers as base64.

    Parameters
    ----------
    values : np.ndarray
        Of any shape; its bytes count.

    Returns
    -------
    text : str
        ASCII.

    Examples
    --------
    >>> encoded(np.array([1, 2], np.uint8))
    'AQI='
    """
    return base64.b64encode(np.ascontiguousarray(values).tobytes()).decode()


def _tracks(chart: Chart, rows: slice) -> dict[str, object]:
    return {
        "facts": [fact.values[rows] for fact in chart.population.facts],
        "audio": chart.population.audio[rows],
        "index": encoded(chart.neighbours.index[rows].astype("<i4")),
        "distance": encoded(chart.neighbours.distance[rows].astype("<f4")),
    }


def _column(column: ColourColumn) -> dict[str, object]:
    if isinstance(column, Classes):
        return {
            "labels": column.labels,
            "counts": column.counts,
            "nOthers": column.n_others,
            "codes": encoded(column.codes),
        }
    return {
        "low": column.low,
        "high": column.high,
        "least": column.least,
        "greatest": column.greatest,
        "values": encoded(column.values.astype("<f4")),
    }


def _pieces(n_rows: int, size: int) -> Iterable[slice]:
    return (slice(start, start + size) for start in range(0, n_rows, size))


def _file(name: str, data: object) -> DataFile:
    text = json.dumps(data, separators=(",", ":"))
    content = f'explore("{name}",{text});\n'.encode("ascii")
    digest = hashlib.sha256(content).hexdigest()[:12]
    return DataFile(name, f"{name}-{digest}.js", content)
