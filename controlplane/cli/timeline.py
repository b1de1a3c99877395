"""`timeline`: changes and signals on one axis."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from .look import since_of
from .options import TABLE, Output

if TYPE_CHECKING:
    from .client import Client, Json


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("timeline")(timeline)


def timeline(
    tenant: Annotated[str, typer.Argument(metavar="[TENANT]", help="A tenant; left out: the fleet.")] = "",
    since: Annotated[str, typer.Option("--since", help="A span back from now (2h), or a time with its zone.")] = "2h",
    until: Annotated[str, typer.Option("--until", help="As --since; left out: now.")] = "",
    signal: Annotated[
        list[str] | None,
        typer.Option("--signal", help="A named query of the catalogue; may be given several times."),
    ] = None,
    with_: Annotated[
        list[str] | None,
        typer.Option("--with", help="Fills a query's own placeholder: service=web. May be given several times."),
    ] = None,
    environment: Annotated[str, typer.Option("--environment", "-e", help="Whose signals and windows.")] = "production",
    limit: Annotated[
        int, typer.Option("--limit", min=1, max=10_000, help="So many entries at most, the newest.")
    ] = 300,
    output: Output = TABLE,
) -> None:
    """What changed and what was seen, of a tenant or the fleet, on one axis: changes as marks, signals as lines, then each entry."""
    from .client import connect
    from .output import show_one, stdout
    from .timeline_screen import timeline_screen

    asked = {
        "tenant": tenant or None,
        "since": since_of(since),
        "until": since_of(until) if until else None,
        "signal": signal or None,
        "with": with_ or None,
        "environment": environment,
    }
    found = read(connect(), limit, asked)
    console = stdout()
    show_one(
        found,
        output,
        name=tenant or "fleet",
        table=lambda: console.print(timeline_screen(found, min(console.width, 160))),
    )


def read(client: Client, limit: int, asked: Json) -> Json:
    """Pages until the span's beginning, or `limit` entries; `complete` is the last page's, `signals` the first's."""
    first = page = client.get("/v1/timeline", limit=min(limit, 500), **asked)
    items = list(first["items"])
    while page.get("next") and len(items) < limit:
        page = client.get(page["next"])
        items += page["items"]
    cut = len(items) > limit or bool(page.get("next"))
    whole = {key: value for key, value in first.items() if key != "next"}
    known = all(one["state"] == "measured" for one in first["signals"])
    return {**whole, "items": items[:limit], "complete": not cut and known and not page["notes"]}
