"""``embedlib doctor``: parse, call, print."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from embedlib.cli.output import print_json, say
from embedlib.cli.outputs import Json

if TYPE_CHECKING:
    from collections.abc import Iterator

    from embedlib.doctor.verdict import Check

_COLUMNS = "{verdict:<7}  {name:<16}  {found}"


def doctor(
    out: Annotated[
        str | None, typer.Option(help="Output to try: a folder, or the URL of a store.")
    ] = None,
    address: Annotated[str | None, typer.Option(help="Ray cluster to try.")] = None,
    device: Annotated[str, typer.Option(help="cpu, or cuda where a card is wanted.")] = "cpu",
    json: Json = False,
) -> None:
    """Look at this machine, and print the command that mends each fault.

    A warning makes a run slower, or may become a fault. Exit codes: 0 no fault, 1 a fault.

    Example: embedlib doctor --out OUT
    """
    from embedlib.doctor.examine import examine
    from embedlib.doctor.verdict import Verdict

    checks = list(_said(examine(out=out, address=address, device=device), quiet=json))
    n_faults, n_warnings = (
        sum(check.verdict is verdict for check in checks)
        for verdict in (Verdict.FAULT, Verdict.WARNING)
    )
    if json:
        objects = [asdict(check) for check in checks]
        print_json({"checks": objects, "n_faults": n_faults, "n_warnings": n_warnings})
    else:
        say(f"{n_faults} faults, {n_warnings} warnings, {len(checks)} checks")
    raise typer.Exit(1 if n_faults else 0)


def _said(checks: Iterator[Check], *, quiet: bool) -> Iterator[Check]:
    """Print checks as they come, for some take a minute."""
    for check in checks:
        if not quiet:
            say(_COLUMNS.format(verdict=check.verdict, name=check.name, found=check.found))
            if check.fix:
                say(_COLUMNS.format(verdict="", name="", found=f"fix: {check.fix}"))
        yield check
