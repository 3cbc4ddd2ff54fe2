"""What this project brings along: known vulnerabilities, licences, secrets in its files.

Run: python jobs/audit.py
     python jobs/audit.py --json
     python jobs/audit.py --accept-secrets

Exit codes: 0 nothing to change; 1 something to change; 3 a part could not be checked, as without
network. `--accept-secrets` writes what the scan for secrets finds now into
configs/audit/secrets.json: look at each before, its difference in git names them.
"""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import yaml
from audit_licences import LicenceRules, licences
from audit_part import Part, exit_code
from audit_secrets import accept, secrets
from audit_vulnerabilities import vulnerabilities

from embedlib.cli.output import print_table

ROOT = Path(__file__).resolve().parents[1]
RULES = ROOT / "configs" / "audit" / "licences.yaml"
ACCEPTED = ROOT / "configs" / "audit" / "secrets.json"


def arguments() -> Namespace:
    """Read the command line."""
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("--lock", type=Path, default=ROOT / "requirements.lock")
    parser.add_argument("--root", type=Path, default=ROOT, help="of the repository")
    parser.add_argument("--json", action="store_true", help="one object on stdout")
    parser.add_argument("--accept-secrets", action="store_true", help="write what is found now")
    return parser.parse_args()


def audit(lock: Path, *, root: Path) -> list[Part]:
    """Look at all three."""
    rules = LicenceRules.model_validate(yaml.safe_load(RULES.read_text(encoding="utf-8")))
    return [
        vulnerabilities(lock),
        licences(lock, rules=rules),
        secrets(root, accepted=ACCEPTED),
    ]


def show(parts: Sequence[Part]) -> None:
    """Print a table and a verdict of each part."""
    for part in parts:
        if part.rows:
            print_table(list(part.rows), header=part.columns)
        for line in (*part.findings, *part.unchecked):
            print(f"- {line}")
        print(f"{part.verdict}\n")


def show_json(parts: Sequence[Part]) -> None:
    """Print all parts as one object."""
    found = {part.name: asdict(part) | {"exit_code": part.exit_code} for part in parts}
    print(json.dumps({"exit_code": exit_code(parts), "parts": found}, ensure_ascii=False))


def main() -> int:
    """Look, show, judge."""
    options = arguments()
    if options.accept_secrets:
        print(f"{accept(options.root, accepted=ACCEPTED)} findings accepted in {ACCEPTED}")
        return 0
    parts = audit(options.lock, root=options.root)
    (show_json if options.json else show)(parts)
    return exit_code(parts)


if __name__ == "__main__":
    sys.exit(main())
