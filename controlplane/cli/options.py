"""Options that many commands share."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer


class Format(StrEnum):
    """How data is written on stdout."""

    TABLE = "table"
    JSON = "json"
    YAML = "yaml"
    NAME = "name"


Output = Annotated[Format, typer.Option("--output", "-o", help="How to write the answer.", show_choices=True)]
Selector = Annotated[str, typer.Option("--selector", "-l", help="Kubernetes label selector, such as country=fr.")]
Environment = Annotated[str, typer.Option("--environment", "-e", help="production or staging.")]
Reason = Annotated[str, typer.Option("--reason", help="Why; it is kept, and shown to everybody concerned.")]
AcceptNoWayBack = Annotated[
    str,
    typer.Option("--accept-no-way-back", help="Why it may start although some tenants can't go back; it is kept."),
]
Timeout = Annotated[
    str, typer.Option("--timeout", help="Wait at most so long (90s, 30m, PT1H); then end with exit code 124.")
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")]
NoWait = Annotated[bool, typer.Option("--no-wait", help="Return once it is accepted, without waiting for its end.")]
TABLE = Format.TABLE


def seconds_of(text: str) -> float:
    """Read a duration as people write it. Raises UsageError."""
    from controlplane.domain.quantities import parse_duration

    from .failures import UsageError

    try:
        return parse_duration(text, short=True).total_seconds()
    except ValueError as error:
        raise UsageError(f"{error}, or short: 90s, 30m, 4h") from error


def iso_duration(text: str) -> str:
    """Write a duration as the API takes it. Raises UsageError."""
    from datetime import timedelta

    from controlplane.domain.quantities import format_duration

    return format_duration(timedelta(seconds=seconds_of(text)))


def new_group(help_: str) -> typer.Typer:
    """A noun: a group of verbs that shows its help when called alone."""
    return typer.Typer(help=help_, no_args_is_help=True, rich_markup_mode=None)
