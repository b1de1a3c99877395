"""`freeze` and `thaw`: the stop button."""

from __future__ import annotations

from typing import Annotated

import typer

from .options import TABLE, Output, Reason, Selector


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("freeze")(freeze)
    app.command("thaw")(thaw)


def freeze(
    everything: Annotated[bool, typer.Option("--all", help="The whole fleet.")] = False,
    selector: Selector = "",
    reason: Reason = "",
    until: Annotated[str, typer.Option("--until", help="It ends by itself: a span (4h) or a time with its zone.")] = "",
    output: Output = TABLE,
) -> None:
    """Nothing forward starts, here or anywhere; ways back go on. Without --all or -l: list what is frozen."""
    from .client import connect
    from .failures import UsageError
    from .output import say, show_one

    if not everything and not selector:
        _list(output)
        return
    if everything and selector:
        raise UsageError("--all and -l together: choose one.")
    if not reason:
        raise UsageError("A freeze needs a --reason: others will wonder.")
    body = {"all": True} if everything else {"selector": selector}
    made = connect().post("/v1/freezes", {**body, "reason": reason, **({"until": moment_of(until)} if until else {})})
    show_one(made, output, name=made["id"], table=lambda: typer.echo(made["id"]))
    say(f"Frozen: {selector or 'the whole fleet'}. End it with `seawall thaw {made['id']}`.")


def thaw(
    freeze_id: Annotated[str, typer.Argument(metavar="ID", help="Which one; --all for every freeze.")] = "",
    everything: Annotated[bool, typer.Option("--all", help="Every freeze in force.")] = False,
) -> None:
    """End a freeze: forward work may start again."""
    from .client import connect
    from .failures import UsageError
    from .output import say

    if bool(freeze_id) == everything:
        raise UsageError("Name one freeze, or say --all.", "`seawall freeze` lists them.")
    client = connect()
    ids = [f["id"] for f in client.pages("/v1/freezes")] if everything else [freeze_id]
    for one in ids:
        client.delete(f"/v1/freezes/{one}")
        say(f"Thawed {one}.")
    if not ids:
        say("Nothing is frozen.")


def _list(output: Output) -> None:
    from .client import connect
    from .output import Column, column, show_list, when

    columns = [
        column("ID", "id"),
        Column("WHAT", lambda f: f["selector"] or "the whole fleet"),
        column("REASON", "reason"),
        Column("SINCE", lambda f: when(f["createdAt"])),
        Column("UNTIL", lambda f: when(f["until"]) or "thawed"),
        column("BY", "createdBy"),
    ]
    show_list(connect().pages("/v1/freezes"), columns, output, name=lambda f: str(f["id"]))


def moment_of(text: str) -> str:
    """A time, or a span from now."""
    from datetime import UTC, datetime, timedelta

    from .options import seconds_of

    if text[:1].isdigit() and "-" in text:
        return text
    return (datetime.now(UTC) + timedelta(seconds=seconds_of(text))).isoformat()
