"""`key`: API keys."""

from __future__ import annotations

from typing import Annotated

import typer

from .options import TABLE, Output, new_group

group = new_group("API keys: created, shown once, revoked.")


@group.command("create")
def create(
    name: Annotated[str, typer.Argument(help="What it is for, for people.")],
    role: Annotated[list[str], typer.Option("--role", help="May be given several times.")],
    tenant: Annotated[list[str] | None, typer.Option("--tenant", help="Binds role tenant-owner.")] = None,
    app: Annotated[list[str] | None, typer.Option("--app", help="Binds role ci.")] = None,
    expires_in: Annotated[str, typer.Option("--expires-in", help="90d, PT12H; at most 366 days.")] = "90d",
    output: Output = TABLE,
) -> None:
    """Create a key. Its secret goes to stdout, once."""
    from .client import connect
    from .options import iso_duration
    from .output import say, show_one

    body = {
        "name": name,
        "roles": role,
        "tenants": tenant or [],
        "apps": app or [],
        "expiresIn": iso_duration(expires_in),
    }
    made = connect().post("/v1/keys", body)
    say(f"Key {made['id']} for {name}, until {made['expiresAt']}. It is shown once:")
    show_one(made, output, name=made["id"], table=lambda: typer.echo(made.get("secret", "")))


@group.command("list")
def list_(output: Output = TABLE) -> None:
    """List keys, without secrets."""
    from .client import connect
    from .output import Column, column, show_list, when

    columns = [
        column("ID", "id"),
        column("NAME", "name"),
        column("BEGINS", "prefix"),
        column("ROLES", "roles"),
        Column("BOUND TO", lambda k: [*k["tenants"], *k["apps"]]),
        Column("ENDS", lambda k: f"revoked {when(k['revokedAt'])}" if k["revokedAt"] else when(k["expiresAt"])),
    ]
    show_list(connect().pages("/v1/keys"), columns, output, name=lambda k: str(k["id"]))


@group.command("revoke")
def revoke(key_id: Annotated[str, typer.Argument(metavar="ID")]) -> None:
    """Revoke a key: from the next request on it is refused."""
    from .client import connect
    from .output import say

    connect().delete(f"/v1/keys/{key_id}")
    say(f"Key {key_id} is revoked.")
