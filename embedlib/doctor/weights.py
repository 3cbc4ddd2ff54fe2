"""Weight files that a run would find, against the hashes that are known of them."""

from __future__ import annotations

from dataclasses import dataclass

from embedlib.doctor.verdict import Check, fault, fine, warning
from embedlib.errors import ModelError
from embedlib.models.cache import VerifiedFile, verify
from embedlib.models.locks import file_sha256
from embedlib.models.registry import model_specs
from embedlib.models.store import expected_sha256, find_weights, weights_folder


@dataclass(frozen=True, slots=True)
class WeightsFacts:
    """Weight files of the cache and of ``EMBEDLIB_MODELS``.

    Attributes
    ----------
    folder : str
        The cache's.
    published : tuple of (str, VerifiedFile)
        Models whose weights were found, and the files.
    others : tuple of VerifiedFile
        What else lies in the cache: stand-ins, heads.
    problem : str
        Why they could not be read; empty where they could.
    """

    folder: str
    published: tuple[tuple[str, VerifiedFile], ...] = ()
    others: tuple[VerifiedFile, ...] = ()
    problem: str = ""


def read_weights() -> WeightsFacts:
    """Hash all weight files that a run would find.

    Returns
    -------
    facts : WeightsFacts
        With the reason where a file or its lock cannot be read.
    """
    folder = str(weights_folder())
    try:
        found = [(spec, path) for spec in model_specs() if (path := find_weights(spec))]
        published = tuple(
            (spec.name, VerifiedFile(path, file_sha256(path), expected_sha256(spec)))
            for spec, path in found
        )
        named = {path for _, path in found}
        others = tuple(file for file in verify() if file.path not in named)
    except ModelError as exc:
        return WeightsFacts(folder, problem=str(exc.args[0]))
    return WeightsFacts(folder, published, others)


def judge_weights(facts: WeightsFacts) -> list[Check]:
    """Judge weight files.

    Parameters
    ----------
    facts : WeightsFacts
        Of this machine, or made up.

    Returns
    -------
    checks : list of Check
        One of each file that is not as it should be, and one of all others.
    """
    if facts.problem:
        fix = f"mv {facts.folder} {facts.folder}.old"
        return [fault("weights", facts.problem, fix=fix)]
    named = [*facts.published, *(("", file) for file in facts.others)]
    wrong = [check for name, file in named for check in _judge_file(name, file)]
    return [*wrong, _judge_all(facts)]


def _judge_file(name: str, file: VerifiedFile) -> list[Check]:
    if not file.is_good:
        again = f" && embedlib models pull {name}" if name else ""
        wanted = str(file.expected)[:12]
        found = f"{file.path} has the sha256 {file.sha256[:12]}..., not {wanted}..."
        return [fault("weights", found, fix=f"rm {file.path}{again}")]
    if name and file.expected is None:
        found = f"{file.path}: nothing is known of its sha256 {file.sha256[:12]}..."
        return [warning("weights", found, fix=f"embedlib models add {file.path} --as {name}")]
    return []


def _judge_all(facts: WeightsFacts) -> Check:
    good = [name for name, file in facts.published if file.is_good and file.expected]
    if not facts.published:
        return warning(
            "weights",
            "no published weights are here, only untrained models can run",
            fix="embedlib models pull msd-musicnn-1",
        )
    names = f" ({', '.join(good)})" if good else ""
    n_others = sum(file.is_good for file in facts.others)
    return fine("weights", f"{len(good)} models as published{names}, {n_others} other files")
