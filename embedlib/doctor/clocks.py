"""What others say of the time: stores, disks, and the nodes of a cluster."""

from __future__ import annotations

from dataclasses import dataclass

from embedlib.doctor.verdict import Check, fault, fine, warning
from embedlib.run.index_lock import SILENT_S

WARNING_S = 5.0
"""A machine that asks for the time over the network is less than a second off."""

FAULT_S = SILENT_S / 2
"""A lock whose holder is silent for twice that is taken over, and S3 refuses requests that are
900 s off (its error ``RequestTimeTooSkewed``)."""


@dataclass(frozen=True, slots=True)
class ClockFacts:
    """What somebody said of the time, and when that was by our own clock.

    Attributes
    ----------
    whose : str
        Who said it.
    before_s, after_s : float
        Our time before it was asked for and after it came, in seconds since 1970.
    told_s : float
        What was said.
    step_s : float
        How coarse it is: the true time is up to this much later.
    """

    whose: str
    before_s: float
    told_s: float
    after_s: float
    step_s: float = 1.0


def ahead_s(facts: ClockFacts) -> float:
    """Say by how much a clock is ahead of ours, at least.

    Parameters
    ----------
    facts : ClockFacts
        What was said.

    Returns
    -------
    ahead_s : float
        Negative where it is behind; 0 where what was said may be true, since it took time.

    Examples
    --------
    >>> ahead_s(ClockFacts("the store", before_s=100.0, told_s=130.0, after_s=102.0))
    28.0
    >>> ahead_s(ClockFacts("the store", before_s=100.0, told_s=99.0, after_s=102.0))
    0.0
    """
    if facts.told_s > facts.after_s:
        return facts.told_s - facts.after_s
    return min(0.0, facts.told_s + facts.step_s - facts.before_s)


def judge_clock(facts: ClockFacts) -> Check:
    """Judge how far two clocks are apart.

    Parameters
    ----------
    facts : ClockFacts
        What was said.

    Returns
    -------
    check : Check
        A fault where a lock could be taken for a dead one.
    """
    ahead = ahead_s(facts)
    direction = "ahead of" if ahead > 0 else "behind"
    found = f"{facts.whose} is {abs(ahead):.1f} s {direction} this machine"
    fix = "sudo timedatectl set-ntp true"
    if abs(ahead) > FAULT_S:
        return fault("clock", f"{found}: locks and signatures depend on it", fix=fix)
    if abs(ahead) > WARNING_S:
        return warning("clock", found, fix=fix)
    return fine("clock", f"{facts.whose} has the same time, as far as can be told")
