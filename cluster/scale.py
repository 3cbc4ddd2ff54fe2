"""Ask the autoscaler of a running cluster for cores, or for none.

Run: ray submit cluster/aws.yaml cluster/scale.py -- --cores 64

For nodes that are to be there before a run, or to go after one that could not take back what it
asked for by `--grow-to`. The request stays until the next one, also when nothing is left to do:
`--cores 0` lets idle nodes go.
"""

from __future__ import annotations

import argparse

import ray
from ray.autoscaler.sdk import request_resources


def main() -> None:
    """Read the command line, then ask."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cores", type=int, required=True, help="how many, over all workers")
    n_cores = parser.parse_args().cores
    if n_cores < 0:
        parser.error(f"--cores {n_cores} must not be negative")
    ray.init(address="auto", log_to_driver=False)
    request_resources(num_cpus=n_cores)
    print(f"asked for {n_cores} cores; `ray status` shows what comes")


if __name__ == "__main__":
    main()
