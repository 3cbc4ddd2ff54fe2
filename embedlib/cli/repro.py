"""``embedlib repro``: parse, call, print."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from embedlib.cli.output import print_json, say
from embedlib.cli.outputs import Json
from embedlib.cli.provenance import Model, Named

if TYPE_CHECKING:
    from embedlib.run.repro import Repro
    from embedlib.tables.row_match import VectorMatch


def repro(
    out: Named,
    model: Model,
    track: Annotated[str, typer.Argument(help="A track_id.")],
    source: Annotated[
        str | None, typer.Option(help="The file of the track, where it was moved: path or URL.")
    ] = None,
    accept_changed: Annotated[
        bool, typer.Option("--accept-changed", help="Take a file of other content.")
    ] = False,
    engine: Annotated[
        str | None, typer.Option(help="Another engine than the one that made the row.")
    ] = None,
    device: Annotated[str | None, typer.Option(help="Another device: cpu or cuda.")] = None,
    weights: Annotated[
        str | None, typer.Option(help="The weight file, where it is not found by itself.")
    ] = None,
    allow_unverified: Annotated[
        list[str] | None, typer.Option(help="Models and heads whose weights nobody has pinned.")
    ] = None,
    json: Json = False,
) -> None:
    """Make a row again from its audio and compare it with the table; exit code 1 when it differs.

    Vectors may differ by what engines differ by. A failed track is the same when it fails alike.

    Example: embedlib repro OUT msd-musicnn-1 a.mp3
    """
    from embedlib.run.repro import repro as make_again

    options = {
        "engine": engine,
        "device": device,
        "weights": weights,
        "allow_unverified": allow_unverified,
    }
    found = make_again(
        out,
        model,
        track,
        source=source,
        accept_changed=accept_changed,
        **{name: value for name, value in options.items() if value is not None},
    )
    if json:
        told = {"distance": found.distance, "is_reproduced": found.is_reproduced}
        print_json(asdict(found) | told)
    else:
        for line in _lines(found):
            say(line)
    raise typer.Exit(0 if found.is_reproduced else 1)


def _lines(found: Repro) -> Iterator[str]:
    yield f"{found.model} {found.track_id}: {_verdict(found)}"
    yield f"made again from {found.source}"
    for vectors in found.match.vectors:
        yield f"  {vectors.column}: {_distance(vectors)}"
    for fact in found.match.facts:
        yield f"  {fact.name}: {fact.then} then, {fact.now} now"
    if found.error != found.error_now:
        yield f"  error: {found.error or '-'} then, {found.error_now or '-'} now"
    for change in found.changes:
        yield f"not as then: {change.name} {change.now}, made with {change.then}"
    for note in found.notes:
        yield f"note: {note}"


def _verdict(found: Repro) -> str:
    from embedlib.run.repro import Verdict

    match found.verdict:
        case Verdict.WITHIN_BOUND:
            return f"equal within {_farthest(found)}"
        case Verdict.SAME_STATUS:
            return f"{found.status_now} again"
        case Verdict.DIFFERENT if not found.distance <= found.bound.relative_l2:
            return f"different by {_farthest(found)}"
    return found.verdict.value


def _farthest(found: Repro) -> str:
    """Say how far the vectors are apart, and how far they may be."""
    engines = [change for change in found.changes if change.name == "engine"]
    pair = f" of {engines[0].then} and {engines[0].now}" if engines else ""
    return f"{_short(found.distance)} (bound {_short(found.bound.relative_l2)}{pair})"


def _short(number: float) -> str:
    """Write a small number.

    Examples
    --------
    >>> _short(1.62e-06), _short(1e-05)
    ('1.6e-6', '1e-5')
    """
    return f"{number:.2g}".replace("e-0", "e-")


def _distance(vectors: VectorMatch) -> str:
    count = f"{vectors.n_vectors} vectors" if vectors.n_vectors > 1 else "1 vector"
    if vectors.is_bit_equal:
        return f"{count}, bit-equal"
    where = ""
    if vectors.worst_patch is not None and vectors.worst_t0_ms is not None:
        where = f", worst in patch {vectors.worst_patch} at {vectors.worst_t0_ms / 1000:.3f} s"
    distance = f"relative l2 {_short(vectors.relative_l2)}, cosine {vectors.cosine:.6f}"
    return f"{count}, {distance}{where}"
