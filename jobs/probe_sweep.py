"""Fit probes by a sweep: `embedlib probe sweep`, as a file that a cluster can run.

Run: python jobs/probe_sweep.py --config configs/probes/sonic-pi.yaml

Arguments, output and exit codes are those of the command.
"""

from __future__ import annotations

import sys

from embedlib.cli.app import main

if __name__ == "__main__":
    sys.argv[1:1] = ["probe", "sweep"]
    main()
