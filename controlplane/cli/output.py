"""Data on stdout as a table, JSON, YAML or names; messages on stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any

from controlplane.domain import moments

from .options import Format

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from .client import Json

_PIPE_WIDTH = 200
"""Characters of a line that goes to a pipe: nobody wraps there, and nothing should be cut."""


@cache
def stdout() -> Console:
    """The console for data."""
    return _console(sys.stdout.isatty(), stderr=False)


@cache
def stderr() -> Console:
    """The console for messages."""
    return _console(sys.stderr.isatty(), stderr=True)


def _console(is_terminal: bool, *, stderr: bool) -> Console:
    from rich.console import Console

    return Console(
        stderr=stderr, highlight=False, soft_wrap=False, width=None if is_terminal else _PIPE_WIDTH, emoji=False
    )


def say(message: str) -> None:
    """Tell a person something that is not data."""
    stderr().print(message, markup=False)


@dataclass(frozen=True)
class Column:
    """A column: its heading, and how its text is made from an item."""

    heading: str
    text: Callable[[Json], Any]
    right: bool = False


def column(heading: str, *path: str, right: bool = False) -> Column:
    """A column that shows what lies at `path`; nothing is an empty cell."""
    return Column(heading, lambda item: dig(item, *path), right)


def dig(item: Any, *path: str) -> Any:
    """What lies at a path of names; None where it ends."""
    for name in path:
        item = item.get(name) if isinstance(item, dict) else None
    return item


def show_list(items: Iterable[Json], columns: Sequence[Column], output: Format, *, name: Callable[[Json], str]) -> None:
    """Write a list. `name` gives what `-o name` prints."""
    found = list(items)
    if output is Format.TABLE:
        if found:
            stdout().print(table_of(found, columns))
        else:
            say("There is none.")
    elif output is Format.NAME:
        _write("".join(f"{name(item)}\n" for item in found))
    else:
        _dump({"items": found}, output)


def show_one(item: Json, output: Format, *, name: str, table: Callable[[], None]) -> None:
    """Write one thing; `table` prints it for people."""
    if output is Format.TABLE:
        table()
    elif output is Format.NAME:
        _write(f"{name}\n")
    else:
        _dump(item, output)


def table_of(items: Iterable[Json], columns: Sequence[Column]) -> Table:
    """A plain table without lines."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for one in columns:
        table.add_column(one.heading, justify="right" if one.right else "left", overflow="fold")
    for item in items:
        table.add_row(*(cell(one.text(item)) for one in columns))
    return table


def show_fields(fields: Sequence[tuple[str, Any]]) -> None:
    """Print labelled lines, leaving out those without a value."""
    from rich.table import Table

    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(style="bold", no_wrap=True, min_width=12)
    grid.add_column(overflow="fold")
    for label, value in fields:
        if value not in (None, "", [], {}):
            grid.add_row(label, cell(value))
    stdout().print(grid)


def cell(value: Any) -> str:
    """Text of a cell, safe from markup."""
    from rich.markup import escape

    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(cell(one) for one in value)
    if isinstance(value, dict):
        return ", ".join(f"{cell(k)}={cell(v)}" for k, v in value.items())
    return "" if value is None else escape(str(value))


def short_id(text: Any) -> str:
    """The end of a UUIDv7: its beginning is the time, the same for neighbours."""
    return str(text or "")[-8:]


def when(text: Any, now: datetime | None = None) -> str:
    """A moment as people say it: `3 min ago`, `in 2 h`; older or later than two days as a date."""
    if not text:
        return ""
    return moments.when(datetime.fromisoformat(str(text)), now or datetime.now(UTC))


def _dump(value: Any, output: Format) -> None:
    if output is Format.YAML:
        import yaml

        _write(yaml.safe_dump(value, sort_keys=False, allow_unicode=True))
    else:
        _write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def _write(text: str) -> None:
    sys.stdout.write(text)
