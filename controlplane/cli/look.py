"""`changes`: what changed."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from .options import TABLE, Output

Most = Annotated[int, typer.Option("--limit", min=1, max=10_000, help="So many lines at most.")]
Since = Annotated[str, typer.Option("--since", help="A span back from now (2h), or a time with its zone.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("changes")(changes)


def changes(
    since: Since = "2h",
    cluster: Annotated[str, typer.Option("--cluster", help="Only what concerns this cluster.")] = "",
    app: Annotated[str, typer.Option("--app", help="Only what concerns this app.")] = "",
    limit: Most = 50,
    output: Output = TABLE,
) -> None:
    """What changed lately, where, what stopped it, and what the way back is; newest first."""
    from .client import connect
    from .output import Column, column, show_list, when

    columns = [
        Column("WHEN", lambda c: when(c["at"])),
        Column("WHAT", lambda c: c.get("what") or f"{c['kind']}/{c['id']}"),
        Column("CHANGE", lambda c: change_of(c["type"])),
        Column("WHERE", lambda c: c.get("where") or ()),
        Column("WHAT STOPPED IT", lambda c: c.get("stopped") or brief(c["data"])),
        column("WAY BACK", "wayBack"),
    ]
    found = connect().pages("/v1/changes", most=limit, since=since_of(since), cluster=cluster or None, app=app or None)
    show_list(found, columns, output, name=lambda c: f"{c['kind']}/{c['id']}")


def change_of(event_type: str) -> str:
    """The change that an event type names: `dev.seawall.rollout.started.v1` is `started`."""
    parts = event_type.split(".")
    return parts[-2] if len(parts) > 3 and parts[-1].startswith("v") else event_type


def since_of(text: str) -> str:
    """Read a span or a time as the API takes it. Raises UsageError."""
    from .options import iso_duration

    return text if "-" in text else iso_duration(text)


def brief(data: dict[str, Any]) -> str:
    """A few short facts of a record on one line."""
    short = (f"{k} {v}" for k, v in data.items() if isinstance(v, str | int | float) and len(str(v)) <= 60)
    return ", ".join(list(short)[:4])
