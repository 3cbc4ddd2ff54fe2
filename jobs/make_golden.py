"""Write the golden files of tests/golden from the published models themselves.

Run: python jobs/make_golden.py nodes FOLDER/msd-musicnn-1.pb

`nodes` writes name, op, shape and type of every node, with the hash of the file they are from.
A golden file is never made again to make a test pass.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from pathlib import Path

from embedlib import __version__
from embedlib.models.graph import list_nodes, parse_graph

GOLDEN = Path(__file__).parents[1] / "tests" / "golden"


def write_nodes(file: Path) -> Path:
    """Write the nodes of a graph file.

    Parameters
    ----------
    file : Path
        A published frozen graph.

    Returns
    -------
    golden : Path
        ``tests/golden/<name>.nodes.json``.
    """
    data = file.read_bytes()
    nodes = list_nodes(parse_graph(data, origin=str(file)))
    lines = [json.dumps([node.name, node.op, node.shape, node.dtype]) for node in nodes]
    head = {
        "made_by": f"jobs/make_golden.py nodes, embedlib {__version__}",
        "file": file.name,
        "sha256": hashlib.sha256(data).hexdigest(),
    }
    golden = GOLDEN / f"{file.stem}.nodes.json"
    # One node per line, so that a difference can be read.
    opening = json.dumps(head, indent=1).rstrip("\n}")
    golden.write_text(opening + ',\n "nodes": [\n  ' + ",\n  ".join(lines) + "\n ]\n}\n")
    return golden


def main() -> None:
    """Read the command line and write one golden file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=["nodes"])
    parser.add_argument("file", type=Path)
    arguments = parser.parse_args()
    print(write_nodes(arguments.file))


if __name__ == "__main__":
    main()
