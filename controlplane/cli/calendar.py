"""`calendar`: when calendars' events happen, when a tenant is open, and the feeds. `apply` stores calendars, `get calendars` lists them."""

from __future__ import annotations

from typing import Annotated

import typer

from .options import TABLE, Output, new_group

group = new_group("When calendars' events happen, when a tenant is open, and feeds to subscribe to.")
Days = Annotated[int, typer.Option("--days", min=1, max=366, help="So many days.")]


@group.command("show")
def show(
    name: Annotated[str, typer.Argument(help="A calendar.")],
    start: Annotated[str, typer.Option("--from", help="From then on: a time with its zone; absent: now.")] = "",
    days: Days = 30,
    zone: Annotated[str, typer.Option("--zone", help="Where floating times are read.")] = "UTC",
    output: Output = TABLE,
) -> None:
    """When its events happen."""
    from .client import connect
    from .output import Column, column, say, show_list

    found = connect().get(f"/v1/calendars/{name}/events", days=days, zone=zone, **({"from": start} if start else {}))
    columns = [Column("START", lambda e: e["start"]), Column("END", lambda e: e["end"]), column("EVENT", "summary")]
    show_list(found["items"], columns, output, name=lambda e: str(e["start"]))
    whom = found["selector"] or "everybody"
    say(f"{found['effect']} for {whom}; floating times as in {found['zone']}.")
    if found["error"]:
        say(f"It can't be worked out, so {whom} stays closed: {found['error']}")


@group.command("windows")
def windows(
    tenant: Annotated[str, typer.Argument(help="A tenant.")],
    environment: Annotated[str, typer.Option("--environment", help="One of its environments.")] = "production",
    days: Days = 30,
    output: Output = TABLE,
) -> None:
    """When changes may start on a tenant."""
    from .client import connect
    from .output import Column, say, show_list

    found = connect().get(f"/v1/tenants/{tenant}/windows", environment=environment, days=days)
    columns = [
        Column("OPENS", lambda w: w["start"] or "always"),
        Column("CLOSES", lambda w: w["end"] or "never"),
    ]
    show_list(found["windows"], columns, output, name=lambda w: str(w["start"]))
    until = f" until {found['until']}" if found["until"] else ""
    say(f"open{until}" if found["open"] else f"closed{until}: {found['reason']}")


@group.command("feed")
def feed(tenant: Annotated[str, typer.Option("--tenant", help="A tenant's; absent: the fleet's.")] = "") -> None:
    """An iCalendar feed of what is planned, on stdout."""
    from .client import connect

    path = f"/v1/tenants/{tenant}/schedule.ics" if tenant else "/v1/schedule.ics"
    typer.echo(connect().request("GET", path).text, nl=False)
