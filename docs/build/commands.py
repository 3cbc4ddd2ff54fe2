"""The reference of the command line, made of what `--help` is made of."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

from typer.main import get_command

from embedlib.cli.app import app


def commands_page() -> str:
    """Write the page of all commands.

    Returns
    -------
    markdown : str
        A section per command, in the order of the help.
    """
    command: Any = get_command(app)
    head = f"# Commands\n\n{command.help} Each section is what `--help` says of a command."
    leaves = _leaves(command, ("embedlib",))
    return "\n\n".join([head, *(_section(path, leaf) for path, leaf in leaves)]) + "\n"


def _leaves(command: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    children = getattr(command, "commands", None)
    if children is None:
        yield path, command
        return
    for name, child in children.items():
        yield from _leaves(child, (*path, name))


def _section(path: tuple[str, ...], command: Any) -> str:
    about, _, example = inspect.cleandoc(command.help or "").partition("\n\nExample: ")
    parts = [f"## {' '.join(path)}", about]
    if example:
        parts.append(f"```bash\n{example}\n```")
    if command.params:
        rows = map(_row, command.params)
        parts.append("\n".join(["| option | default | meaning |", "|---|---|---|", *rows]))
    return "\n\n".join(parts)


def _row(param: Any) -> str:
    is_argument = param.param_type_name == "argument"
    names = [param.name.upper()] if is_argument else [*param.opts, *param.secondary_opts]
    told = "" if param.default in (None, False) else f"`{param.default}`"
    meaning = (param.help or "").replace("|", r"\|")
    return f"| {', '.join(f'`{name}`' for name in names)} | {told} | {meaning} |"
