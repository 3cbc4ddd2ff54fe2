"""Signals reach Python, whatever engines have come and gone in the process."""

from __future__ import annotations

import subprocess
import sys

# In a process of its own, because what is wrong here ends it. The handler runs on the stack that
# was laid last, and the order is the one in which cores of their own would leave a stale one.
SIGNAL_AFTER_ENGINES = """
import signal
from embedlib.engines.engine import GraphSpec
from embedlib.engines.openvino import OpenVinoEngine
from embedlib.models.registry import model_spec
from embedlib.models.store import locate

path = locate(model_spec("untrained-deepsquare-k16-3")).path
spec = GraphSpec(path, "input", ("output",), (40, 256, 1), 1)
heard = []
signal.signal(signal.SIGINT, lambda number, _: heard.append(number))
first, second = OpenVinoEngine(spec), OpenVinoEngine(spec)
del first
del second
signal.raise_signal(signal.SIGINT)
print(heard == [signal.SIGINT])
"""


def test_a_signal_after_two_engines_are_gone_is_heard() -> None:
    child = subprocess.run(
        [sys.executable, "-c", SIGNAL_AFTER_ENGINES], capture_output=True, text=True, check=False
    )
    assert (child.returncode, child.stdout) == (0, "True\n"), child.stderr
