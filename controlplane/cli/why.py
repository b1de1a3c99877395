"""`why`: what a tenant runs, what happened to it, what is next, who can act."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from .options import TABLE, Output

if TYPE_CHECKING:
    from .client import Client, Json

_HISTORY = 8


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(why)


def why(
    tenant: Annotated[str, typer.Argument(metavar="TENANT")],
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000, help="So many lines of history.")] = _HISTORY,
    output: Output = TABLE,
) -> None:
    """What a tenant runs, what happened to it, what is next, and who can act."""
    from .client import connect
    from .output import show_one

    client = connect()
    answer = explain(client, tenant, limit)
    show_one(answer, output, name=tenant, table=lambda: print_why(answer, client.fleet))


def explain(client: Client, tenant: str, limit: int = _HISTORY) -> Json:
    """Collect the answer: status, history, and the explanations of the rollouts the tenant is in."""
    status = client.get(f"/v1/tenants/{tenant}/status")
    history = list(client.pages(f"/v1/tenants/{tenant}/history", most=limit))
    rollouts = [client.get(f"/v1/rollouts/{one}") for one in _rollouts_of(status)]
    return {"status": status, "history": history, "rollouts": rollouts}


def print_why(answer: Json, fleet: str) -> None:
    """Print it for people."""
    from rich.text import Text

    from .output import show_fields, stdout
    from .tenant_screen import print_status

    print_status(answer["status"])
    if answer["history"]:
        stdout().print(Text("  what happened, newest first", style="bold"))
        for one in answer["history"]:
            stdout().print(Text(f"    {history_line(one)}"))
    for view in answer["rollouts"]:
        told = view.get("explanation") or {}
        name = f"  rollout {view.get('release') or view['app']}"
        show_fields(
            [
                (name, told.get("now")),
                ("  why", told.get("why")),
                ("  next", told.get("next")),
                ("  who can act", told.get("who")),
            ]
        )
    if fleet:
        stdout().print(Text.assemble("  fleet: ", (fleet, "bold magenta")))


def history_line(one: Json) -> str:
    """One change of the tenant in a line."""
    from .look import change_of
    from .output import when

    data: dict[str, Any] = one.get("data") or one
    reason = data.get("reason") or data.get("detail") or ""
    release = data.get("release") or ""
    change = change_of(str(one.get("type", ""))) or str(data.get("outcome") or data.get("state") or "")
    return f"{when(one.get('at') or one.get('time')):<14} {change} {release} {reason}".rstrip()


def _rollouts_of(status: Json) -> list[str]:
    found: list[str] = []
    for environment in status["environments"]:
        for part in ("now", "next", "last"):
            rollout = (environment.get(part) or {}).get("rollout")
            if rollout and rollout not in found:
                found.append(str(rollout))
    return found
