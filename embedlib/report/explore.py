"""From an output to the folder of a page to explore."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from embedlib.catalog.places import place
from embedlib.catalog.stores import Place, StorePath
from embedlib.report.explore_chart import Chart, make_chart
from embedlib.report.explore_files import DATA_FOLDER, DataFile, data_files
from embedlib.report.explore_options import N_NEIGHBOURS, LayoutName
from embedlib.report.explore_page import explore_page_text
from embedlib.report.explore_source import read_population
from embedlib.tables.durable import refusals, whole_file
from embedlib.tables.layout import OutLike, output_root

FOLDER: Final = "explore"
"""Of an output on a local disk; of the working folder where the output lies in a store."""

PAGE: Final = "index.html"

_OWN_FILE: Final = re.compile(r"(points|(ids|column|tracks)-\d+)-[0-9a-f]{12}\.js")


@dataclass(frozen=True, slots=True)
class Explored:
    """What was written.

    Attributes
    ----------
    page : str
        Path of the page, to be opened by a browser.
    model : str
        Name of the model table.
    version : int
        Of the table that was read.
    n_tracks, n_left_out : int
        On the map; without embedding.
    n_files, n_bytes : int
        Of the page and the data beside it.
    colours : tuple of str
        Columns that the map can be coloured by.
    """

    page: str
    model: str
    version: int
    n_tracks: int
    n_left_out: int
    n_files: int
    n_bytes: int
    colours: tuple[str, ...]


def explore(
    out: OutLike,
    *,
    model: str | None = None,
    to: str | None = None,
    layout: LayoutName = LayoutName.PCA,
    n_neighbours: int = N_NEIGHBOURS,
    colour: str | None = None,
) -> Explored:
    """Write a page that shows the tracks of an output as a map, over one that is there.

    Parameters
    ----------
    out : str or path-like
        Output folder.
    model : str, optional
        Name of the model table; not needed where there is only one.
    to : str, optional
        Folder of the page; by default in the output, by model, or in the working folder where the
        output lies in a store.
    layout : LayoutName, optional
        How vectors become places.
    n_neighbours : int >= 0, optional
        Neighbours of each track; the time to find them grows with the square of the tracks, and 0
        leaves them out.
    colour : str, optional
        Column that is shown first.

    Returns
    -------
    explored : Explored
        Equal tables give equal files.

    Raises
    ------
    ConfigError
        If there are several models and none is named, the column gives no colours, or the layout
        needs a package that is not installed.
    OutputError
        If there is no such table, no track has an embedding, or the folder cannot be written.
    """
    population = read_population(out, model=model)
    chart = make_chart(population, layout=layout, n_neighbours=n_neighbours, colour=colour)
    folder = place(to) if to else _default_folder(out, population.model)
    sizes = write_chart(chart, folder)
    return Explored(
        str(folder / PAGE),
        population.model,
        population.version,
        len(population.ids),
        population.n_left_out,
        len(sizes),
        sum(sizes),
        tuple(column.name for column in chart.columns),
    )


def write_chart(chart: Chart, folder: Place) -> tuple[int, ...]:
    """Write a chart into a folder: data first, then the page that names it, so that either holds.

    Parameters
    ----------
    chart : Chart
        The map.
    folder : Path or StorePath
        It is made; data of an older page in it is deleted.

    Returns
    -------
    sizes : tuple of int
        Bytes of each file.

    Raises
    ------
    OutputError
        If the folder cannot be written.
    """
    with refusals(folder):
        (folder / DATA_FOLDER).mkdir(parents=True, exist_ok=True)
    paths, sizes = _write_data(data_files(chart), folder)
    page = explore_page_text(chart, paths=paths).encode()
    _write(folder / PAGE, page)
    _drop_old(folder / DATA_FOLDER, kept={Path(path).name for path in paths.values()})
    return (*sizes, len(page))


def _default_folder(out: OutLike, model: str) -> Place:
    root = output_root(out)
    return (Path() if isinstance(root, StorePath) else root) / FOLDER / model


def _write_data(data: Iterable[DataFile], folder: Place) -> tuple[dict[str, str], list[int]]:
    paths, sizes = {}, []
    for file in data:
        _write(folder / DATA_FOLDER / file.file_name, file.content)
        paths[file.name] = f"{DATA_FOLDER}/{file.file_name}"
        sizes.append(len(file.content))
    return paths, sizes


def _write(path: Place, content: bytes) -> None:
    with whole_file(path) as temporary:
        temporary.write_bytes(content)


def _drop_old(folder: Place, *, kept: Collection[str]) -> None:
    found = (folder / path.name for path in folder.iterdir())
    for path in [each for each in found if _OWN_FILE.fullmatch(each.name)]:
        if path.name not in kept:
            path.unlink(missing_ok=True)
