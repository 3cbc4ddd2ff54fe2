"""Ask the autoscaler of a running cluster for cores and cards, or for none.

Run: ray submit cluster/aws.yaml cluster/scale.py -- --cores 64
     ray submit cluster/aws.yaml cluster/scale.py -- --cores 0 --cards 4

For nodes that are to be there before a run, or to go after one that could not take back what it
asked for by `--grow-to`. The request stays until the next one, also when nothing is left to do:
`--cores 0` lets idle nodes go.
"""

from __future__ import annotations

import argparse

import ray
from ray.autoscaler.sdk import request_resources

CARD = {"CPU": 1, "GPU": 1}
"""What one model worker on a card takes; only nodes with cards can give it."""


def main() -> None:
    """Read the command line, then ask."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cores", type=int, required=True, help="how many, over all workers")
    parser.add_argument("--cards", type=int, default=0, help="how many, over all workers")
    flags = parser.parse_args()
    for name, value in vars(flags).items():
        if value < 0:
            parser.error(f"--{name} {value} must not be negative")
    ray.init(address="auto", log_to_driver=False)
    request_resources(num_cpus=flags.cores, bundles=[CARD] * flags.cards)
    print(f"asked for {flags.cores} cores, {flags.cards} cards; `ray status` shows what comes")


if __name__ == "__main__":
    main()
