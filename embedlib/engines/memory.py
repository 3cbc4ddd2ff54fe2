"""When a runtime lacks memory: each says so in words of its own, and none by a class.

Words, not classes, tell: onnxruntime 1.31 raises the same `Fail` for a tensor that does not fit
and for a graph that is wrong, OpenVINO and Essentia raise `RuntimeError` for everything.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from embedlib.engines.engine import GraphSpec
from embedlib.errors import BatchMemoryError

WAY_OUT = "give each worker more memory, by fewer of them (--n-cores), or take a smaller model"
"""What helps where not even one patch fits."""

# Under a limit of memory onnxruntime 1.31 says "Failed to allocate memory for requested buffer"
# (core/framework/bfc_arena.cc, CUDA's arena included), OpenVINO 2026.4 "Failed to allocate N bytes
# of memory" (intel_cpu/src/cpu_memory.cpp) or, where it was to compile a kernel, "can't alloc"
# (xbyak), and TensorFlow 2.5 "OOM when allocating tensor". Libraries below them say the rest: C++
# bad_alloc, oneDNN out_of_memory, CUDA "out of memory", cuDNN and cuBLAS ..._ALLOC_FAILED. A thread
# whose stack finds no room is EAGAIN (pthread_create(3)), which C++ spells out.
_WORDS = re.compile(
    "((failed to|could not|unable to) allocate|can't alloc|bad[_ ]alloc|out[ _]of[ _]memory"
    "|oom when|alloc_failed|resource temporarily unavailable).*",
    re.IGNORECASE,
)


def lack_of_memory(exc: BaseException) -> str:
    """Give what an exception of a runtime says of memory that was lacking.

    Parameters
    ----------
    exc : BaseException
        As it was raised.

    Returns
    -------
    reason : str
        Its words from there to the end of the line; empty if it is about something else.

    Examples
    --------
    >>> lack_of_memory(RuntimeError("cpu_memory.cpp:257: Failed to allocate 4096 bytes of memory"))
    'Failed to allocate 4096 bytes of memory'
    >>> lack_of_memory(MemoryError())
    'MemoryError'
    >>> lack_of_memory(RuntimeError("shapes do not match"))
    ''
    """
    if found := _WORDS.search(str(exc)):
        return found[0].strip()
    return type(exc).__name__ if isinstance(exc, MemoryError) else ""


@contextmanager
def memory_errors(spec: GraphSpec, *errors: type[Exception]) -> Iterator[None]:
    """Give what runtimes raise for want of memory one class; let everything else pass.

    Parameters
    ----------
    spec : GraphSpec
        What is loaded or run.
    *errors : type of Exception
        What the runtime raises; `MemoryError` in any case.

    Yields
    ------
    nothing : None
        For the body that loads or runs.

    Raises
    ------
    BatchMemoryError
        If memory was lacking.
    """
    caught: tuple[type[Exception], ...] = (MemoryError, *errors)
    try:
        yield
    except caught as exc:
        if reason := lack_of_memory(exc):
            raise BatchMemoryError(
                f"a batch of {spec.batch_size} of {spec.path.name} does not fit into memory: "
                f"{reason}",
                fix=WAY_OUT,
            ) from exc
        raise
