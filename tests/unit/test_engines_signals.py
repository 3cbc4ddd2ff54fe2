"""Signals reach Python, whatever engines have come and gone in the process."""

from __future__ import annotations

import subprocess
import sys

import pytest

# In processes of their own, because what is wrong here ends them.
ENGINES = """
import signal
from embedlib.engines.engine import GraphSpec
from embedlib.engines.openvino import OpenVinoEngine
from embedlib.engines.signal_stack import STACK_BYTES, signal_stack_bytes
from embedlib.models.registry import model_spec
from embedlib.models.store import locate

path = locate(model_spec("untrained-deepsquare-k16-3")).path
spec = GraphSpec(path, "input", ("output",), (40, 256, 1), 1)
"""

# The handler runs on the stack that was laid last, and the order is the one in which cores of
# their own would leave a stale one.
SIGNAL_AFTER_ENGINES = """
heard = []
signal.signal(signal.SIGINT, lambda number, _: heard.append(number))
first, second = OpenVinoEngine(spec), OpenVinoEngine(spec)
del first
del second
signal.raise_signal(signal.SIGINT)
print(heard == [signal.SIGINT])
"""


# Ray reports a crash on that stack, and needs more than OpenVINO lays.
ROOM_FOR_HANDLERS = """
engine = OpenVinoEngine(spec)
print(signal_stack_bytes() >= STACK_BYTES)
"""


@pytest.mark.parametrize("script", [SIGNAL_AFTER_ENGINES, ROOM_FOR_HANDLERS])
def test_signals_have_a_stack_that_is_there_and_large_enough(script: str) -> None:
    line = [sys.executable, "-c", ENGINES + script]
    child = subprocess.run(line, capture_output=True, text=True, check=False)
    assert (child.returncode, child.stdout) == (0, "True\n"), child.stderr
