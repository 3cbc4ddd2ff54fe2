"""What libraries would tell others about those who use them, they do not tell."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from embedlib.audio.encode import write_audio
from embedlib.audio.synth import synthesise_music

# Forks are told by Python itself; they are how reports leave without holding up the process.
EXTRACT = """
import os
forks = []
os.register_at_fork(before=lambda: forks.append(1))
from embedlib.cli.app import main
try:
    main()
finally:
    import openvino
    print(len(forks))
"""

ASK_RAY = """
from embedlib.run.auth import require_tokens
require_tokens(is_local=True)
from ray._common.usage import usage_lib
print(usage_lib.usage_stats_enabled())
"""


def test_openvino_reports_no_use_and_leaves_no_identity_behind(tmp_path: Path) -> None:
    write_audio(tmp_path / "a.wav", synthesise_music(4.0, sr_hz=16000), sr_hz=16000)
    home = tmp_path / "home"
    home.mkdir()
    # In automated tests, by its own rule, the library is quiet anyhow.
    environment = {name: value for name, value in os.environ.items() if name != "CI"}
    line = ["extract", "a.wav", "--models", "untrained-deepsquare-k16-3", "--out", "out"]
    done = subprocess.run(
        [sys.executable, "-c", EXTRACT, *line, "--local", "--quiet", "--json"],
        cwd=tmp_path,
        env=environment | {"HOME": str(home)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "0"
    assert not [*home.iterdir()]


def test_a_ray_that_a_run_starts_reports_no_use() -> None:
    own = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    line = [sys.executable, "-c", ASK_RAY]
    done = subprocess.run(line, env=own, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "False\n"), done.stderr
