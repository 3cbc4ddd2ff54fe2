"""Bring an output up to its sources: `embedlib index`, as a file that a cluster can run.

Run: python jobs/index.py --out OUT

Arguments, output and exit codes are those of the command.
"""

from __future__ import annotations

import sys

from embedlib.cli.app import main

if __name__ == "__main__":
    sys.argv.insert(1, "index")
    main()
