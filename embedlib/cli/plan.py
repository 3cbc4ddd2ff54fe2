"""``embedlib plan``: parse, call, print."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from embedlib.cli.extract import checked_config, extract
from embedlib.cli.output import print_json, print_table, say

if TYPE_CHECKING:
    from embedlib.run.estimate import Estimate
    from embedlib.run.outlook import Outlook
    from embedlib.run.prices import Prices


def plan(
    estimate: Annotated[
        bool, typer.Option("--estimate", help="Measure for a while what that would cost here.")
    ] = False,
    prices: Annotated[
        Path | None, typer.Option(help="YAML file with core_hour and gpu_hour.")
    ] = None,
    core_hour_price: Annotated[float | None, typer.Option(help="Price of an hour of a core.")] = (
        None
    ),
    gpu_hour_price: Annotated[float | None, typer.Option(help="Price of an hour of a card.")] = (
        None
    ),
    **arguments: Any,
) -> None:
    """Say what extract would do with the same arguments; nothing is written.

    Rows, patches and bytes are told from the sizes of the files. With --estimate some planned files
    are decoded and each model runs for a while, which gives hours of cores or cards, the time that
    the run would take, and what binds it.

    Example: embedlib plan ~/music --models msd-musicnn-1 --out OUT --estimate
    """
    from dataclasses import asdict

    from embedlib.run.estimate import estimate as measure
    from embedlib.run.outlook import look_ahead

    config = checked_config(arguments)
    paid = _prices(prices, core_hour=core_hour_price, gpu_hour=gpu_hour_price)
    outlook, run = look_ahead(config)
    costs = measure(run, config, prices=paid) if (estimate or paid) and run.shards else None
    if arguments["json"]:
        print_json(asdict(outlook) | {"estimate": costs and asdict(costs)})
        return
    _show(outlook)
    for line in _cost_lines(costs) if costs else ():
        say(line)


def _like_extract(verb: Any) -> None:
    """Give a verb the arguments of extract before its own, so that one set of words serves both."""
    own = [
        each
        for each in inspect.signature(verb, eval_str=True).parameters.values()
        if each.kind != each.VAR_KEYWORD
    ]
    theirs = inspect.signature(extract, eval_str=True).parameters.values()
    verb.__signature__ = inspect.Signature([*theirs, *own])


_like_extract(plan)


def _prices(path: Path | None, *, core_hour: float | None, gpu_hour: float | None) -> Prices | None:
    from dataclasses import replace

    from embedlib.run.prices import Prices, read_prices

    given = {"core_hour": core_hour, "gpu_hour": gpu_hour}
    flags = {name: price for name, price in given.items() if price is not None}
    if path is None and not flags:
        return None
    return replace(read_prices(path) if path else Prices(), **flags)


def _show(outlook: Outlook) -> None:
    say(
        f"{outlook.n_pending} of {outlook.n_tracks} tracks to do in {outlook.n_shards} shards, "
        f"about {outlook.audio_s / 3600:.2f} h of audio; {outlook.n_new} are new to {outlook.out}"
    )
    if outlook.n_changed or outlook.n_vanished:
        say(
            f"{outlook.n_changed} tracks have changed and {outlook.n_vanished} have vanished since "
            "they were planned; they are left as they are, `embedlib index` takes them up"
        )
    print_table(
        [
            (
                model.model,
                str(model.n_rows),
                f"{model.audio_s / 3600:.2f}",
                str(model.n_patches),
                f"{model.n_bytes / 1e6:.1f}",
            )
            for model in outlook.models
        ],
        header=("model", "rows", "hours", "patches", "MB"),
    )


def _cost_lines(costs: Estimate) -> list[str]:
    stages = ", ".join(f"{name} {hours:.3g}" for name, hours in costs.stage_hours.items())
    cards = f" and {costs.gpu_hours:.3g} GPU hours" if costs.n_gpus else ""
    on_cards = f" and {costs.n_gpus} GPU" if costs.n_gpus else ""
    lines = [
        f"estimate: {costs.core_hours:.3g} core hours{cards} for {costs.audio_s / 3600:.2f} h of "
        f"audio, from {costs.n_sampled} decoded files",
        f"hours by stage: {stages}",
        f"time: {costs.wall_s / 3600:.3g} h ({costs.wall_s:.0f} s) on {costs.n_cores} cores"
        f"{on_cards} like these, bound by {costs.bound_by}",
    ]
    if costs.cost is not None:
        lines.append(f"cost: {costs.cost:.4g} at the given prices")
    return lines
