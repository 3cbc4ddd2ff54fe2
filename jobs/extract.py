"""Extract the embeddings of a catalogue: `embedlib extract`, as a file that a cluster can run.

Run: python jobs/extract.py --config configs/runs/smoke.yaml

Arguments, output and exit codes are those of the command.
"""

from __future__ import annotations

import sys

from embedlib.cli.app import main

if __name__ == "__main__":
    sys.argv.insert(1, "extract")
    main()
