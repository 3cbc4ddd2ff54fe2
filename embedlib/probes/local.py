"""Parcels carried out in this process, one after the other, without Ray."""

from __future__ import annotations

from embedlib.probes.ledger import Ledger, disk_failed
from embedlib.probes.table import write_fits
from embedlib.probes.work import Batch, carry_out
from embedlib.run.driver import Interruption


def run_here(batch: Batch, ledger: Ledger, interruption: Interruption) -> None:
    """Carry out parcels until all are done, or a signal has come.

    Parameters
    ----------
    batch : Batch
        What to do.
    ledger : Ledger
        Commits it.
    interruption : Interruption
        Looked at before each parcel.

    Raises
    ------
    EmbedlibError
        Whatever a parcel or a commit meets; what was committed before stays.
    """
    keep_in = batch.out if batch.keeps_probes else None
    for parcel in batch.parcels:
        if interruption.signal_number:
            break
        try:
            fits = carry_out(parcel, batch.materials[parcel.subject.material], keep_in=keep_in)
            part = write_fits(batch.out, fits)
        except OSError as exc:
            raise disk_failed(batch.out, exc) from exc
        ledger.add([part])
    ledger.settle()
