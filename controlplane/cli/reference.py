"""The reference of the command line, written from the commands themselves."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import typer
from typer.core import TyperGroup


@cache
def commands() -> dict[str, Any]:
    """Every command by its words, such as `rollout start`."""
    from .app import app

    return dict(_walk("", typer.main.get_command(app)))


def reference() -> str:
    """Markdown with a section for each command: what it does, its arguments and its options."""
    return "\n\n".join(_section(path, command) for path, command in sorted(commands().items()))


def _walk(path: str, command: Any) -> Iterator[tuple[str, Any]]:
    if not isinstance(command, TyperGroup):
        yield path, command
        return
    if path and command.invoke_without_command:
        yield path, command
    for name, inner in command.commands.items():
        yield from _walk(f"{path} {name}".strip(), inner)


def _section(path: str, command: Any) -> str:
    words = [f"`seawall {path}", *(p.metavar or f"[{p.name.upper()}]" for p in _arguments(command))]
    lines = [f"### seawall {path}", "", str(command.help).strip(), "", " ".join(words) + "`"]
    rows = [_row(p) for p in command.params if getattr(p, "help", None) is not None or _is_option(p)]
    if rows:
        lines += ["", "| option | meaning |", "|---|---|", *rows]
    return "\n".join(lines)


def _arguments(command: Any) -> list[Any]:
    return [p for p in command.params if not _is_option(p)]


def _is_option(parameter: Any) -> bool:
    return getattr(parameter, "param_type_name", "") == "option"


def _row(parameter: Any) -> str:
    names = (
        ", ".join(f"`{o}`" for o in parameter.opts)
        if _is_option(parameter)
        else f"`{parameter.metavar or parameter.name}`"
    )
    default = parameter.default
    shown = (
        f" Default: `{default}`."
        if isinstance(default, str | int) and not isinstance(default, bool) and default != ""
        else ""
    )
    required = " Required." if parameter.required and _is_option(parameter) else ""
    return f"| {names} | {(parameter.help or '').replace('|', ' or ')}{shown}{required} |"
