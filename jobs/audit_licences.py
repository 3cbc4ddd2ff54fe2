"""Licences of what a lock file installs, from the metadata of what is installed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import Final

from audit_part import Part
from license_expression import ExpressionError, LicenseExpression, get_spdx_licensing
from packaging.requirements import Requirement
from pydantic import BaseModel, ConfigDict

NAME: Final = "licences"
COLUMNS: Final = ("licence", "verdict", "n", "distributions")
UNKNOWN: Final = "unknown"
SPDX: Final = get_spdx_licensing()


class Judgement(BaseModel):
    """Why a distribution may be here whose licence is not allowed as such.

    Attributes
    ----------
    says : str
        What its metadata said when it was judged; another answer needs another judgement.
    why : str
        The reason.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    says: str
    why: str


class LicenceRules(BaseModel):
    """Which licences may be distributed beside ours.

    Attributes
    ----------
    allowed : frozenset of str
        SPDX identifiers.
    classifiers, texts : dict of str to str
        SPDX expressions by what older metadata says in their place.
    judged : dict of str to Judgement
        By distribution.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    allowed: frozenset[str]
    classifiers: dict[str, str]
    texts: dict[str, str]
    judged: dict[str, Judgement]


def licences(
    lock: Path,
    *,
    rules: LicenceRules,
    find: Callable[[str], Distribution] = distribution,
) -> Part:
    """Judge the licences of the distributions of a lock file.

    Parameters
    ----------
    lock : Path
        Requirements with exact versions.
    rules : LicenceRules
        What is allowed.
    find : callable, optional
        From a name to what is installed; raises ``PackageNotFoundError``.

    Returns
    -------
    part : Part
        A row for each licence. What is not installed, and what only other machines install, is
        not checked.
    """
    found: dict[tuple[str, str], list[str]] = defaultdict(list)
    findings, unchecked = [], []
    for name in _names(lock):
        try:
            licence = licence_of(find(name), rules=rules)
        except PackageNotFoundError:
            unchecked.append(f"{name} is not installed here: its licence was not checked")
            continue
        verdict, finding = _judge(name, licence, rules)
        found[licence, verdict].append(name)
        findings += finding
    rows = tuple(_row(*key, names) for key, names in sorted(found.items()))
    n_checked = sum(map(len, found.values()))
    return Part(NAME, n_checked, COLUMNS, rows, tuple(findings), tuple(unchecked))


def licence_of(found: Distribution, *, rules: LicenceRules) -> str:
    """Tell the licence that a distribution claims.

    Parameters
    ----------
    found : Distribution
        With its metadata.
    rules : LicenceRules
        What older metadata means.

    Returns
    -------
    licence : str
        An SPDX expression: of the field for it, else of the free text, else all of its
        classifiers joined by ``AND``; or ``"unknown"``.
    """
    metadata = found.metadata
    text = metadata.get("License-Expression") or metadata.get("License") or ""
    expression = rules.texts.get(text, text)
    if expression and "\n" not in expression and _parsed(expression) is not None:
        return expression
    claims = [
        line for line in metadata.get_all("Classifier") or [] if line.startswith("License ::")
    ]
    if not claims or not rules.classifiers.keys() >= set(claims):
        return UNKNOWN
    return " AND ".join(rules.classifiers[line] for line in claims)


def is_allowed(expression: str, *, allowed: Iterable[str]) -> bool:
    """Tell whether one may choose licences of an expression that are all allowed.

    Parameters
    ----------
    expression : str
        SPDX.
    allowed : iterable of str
        SPDX identifiers.

    Returns
    -------
    is_allowed : bool
        False for what is no SPDX expression.

    Examples
    --------
    >>> [is_allowed(text, allowed=["MIT"]) for text in ("MIT OR GPL-3.0-only", "MIT AND Zlib")]
    [True, False]
    """
    parsed = _parsed(expression)
    return parsed is not None and _holds(parsed, frozenset(allowed))


def _names(lock: Path) -> Iterator[str]:
    for line in lock.read_text(encoding="utf-8").splitlines():
        if line.strip() and not line.startswith("#"):
            yield Requirement(line).name


def _judge(name: str, licence: str, rules: LicenceRules) -> tuple[str, list[str]]:
    judgement = rules.judged.get(name)
    if judgement is not None and judgement.says == licence:
        return judgement.why, []
    if judgement is not None:
        return "to judge", [f"{name} says {licence}, and was judged as {judgement.says}"]
    if is_allowed(licence, allowed=rules.allowed):
        return "allowed", []
    return "to judge", [f"{name} says {licence}: allow it, judge it, or do without {name}"]


def _parsed(expression: str) -> LicenseExpression | None:
    try:
        return SPDX.parse(expression, validate=True)
    except ExpressionError:
        return None


def _holds(parsed: LicenseExpression, allowed: frozenset[str]) -> bool:
    if isinstance(parsed, SPDX.AND):
        return all(_holds(each, allowed) for each in parsed.args)
    if isinstance(parsed, SPDX.OR):
        return any(_holds(each, allowed) for each in parsed.args)
    return parsed.render() in allowed


def _row(licence: str, verdict: str, names: list[str]) -> tuple[str, ...]:
    return licence, verdict, str(len(names)), ", ".join(names)
