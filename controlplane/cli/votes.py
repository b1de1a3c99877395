"""`rollout approve`, `reject`, `withdraw`, `votes`, and `gates`: what waits for people, and their answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from .options import TABLE, Output, Reason
from .rollout import Id, find, group

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .client import Client

Group = Annotated[str, typer.Option("--group", help="The group you vote for.")]
Wave = Annotated[str, typer.Option("--wave", help="Only this wave's gates; default: all that ask now.")]


@group.command("approve")
def approve(rollout: Id, approver_group: Group, wave: Wave = "", reason: Reason = "", output: Output = TABLE) -> None:
    """Say yes at the approval gates that ask, to the plan the rollout has now. Never to one's own change."""
    _vote(rollout, approver_group, "approve", wave, reason, output)


@group.command("reject")
def reject(rollout: Id, approver_group: Group, wave: Wave = "", reason: Reason = "", output: Output = TABLE) -> None:
    """Say no, with a --reason: the gate fails, and with it its wave."""
    from .failures import UsageError

    if not reason:
        raise UsageError("A reject needs a --reason: others will wonder.")
    _vote(rollout, approver_group, "reject", wave, reason, output)


@group.command("withdraw")
def withdraw(
    rollout: Id, vote: Annotated[str, typer.Argument(metavar="VOTE", help="Its id.")], reason: Reason = ""
) -> None:
    """Take a vote back before its gate has decided."""
    from urllib.parse import urlencode

    from .client import connect
    from .output import say

    client = connect()
    query = f"?{urlencode({'reason': reason})}" if reason else ""
    client.delete(f"/v1/rollouts/{find(client, rollout)}/approvals/{vote}{query}")
    say("Withdrawn; the record stays.")


@group.command("votes")
def votes(rollout: Id, output: Output = TABLE) -> None:
    """List every vote on a rollout, withdrawn ones too."""
    from .client import connect

    client = connect()
    _show(client.get(f"/v1/rollouts/{find(client, rollout)}/approvals")["items"], output)


def gates(
    rollout: Annotated[str, typer.Argument(metavar="[ID]", help="Of one rollout; without: all that wait.")] = "",
    output: Output = TABLE,
) -> None:
    """List what waits for somebody's answer, or every gate of a rollout with what it last said."""
    from .client import connect
    from .output import Column, column, short_id, show_list, when

    client = connect()
    columns = [
        Column("ROLLOUT", lambda g: short_id(g["rollout"])),
        column("RELEASE", "release"),
        column("WAVE", "wave"),
        Column("GATE", lambda g: f"{g['kind']} {g['place']}"),
        column("SAYS", "verdict"),
        Column("SINCE", lambda g: when(g["since"])),
        column("WHO", "who"),
        column("REASON", "reason"),
    ]
    found = _gates(client, rollout)
    show_list(found, columns, output, name=lambda g: str(g["rollout"]))


def register(app: typer.Typer) -> None:
    """Add the command that has no noun before it."""
    app.command("gates")(gates)


def _gates(client: Client, rollout: str) -> Iterable[Any]:
    if not rollout:
        return client.pages("/v1/gates")
    found: list[Any] = client.get(f"/v1/rollouts/{find(client, rollout)}/gates")["items"]
    return found


def _vote(rollout: str, approver_group: str, word: str, wave: str, reason: str, output: Output) -> None:
    from .client import connect

    client = connect()
    rollout_id = find(client, rollout)
    plan_hash = client.get(f"/v1/rollouts/{rollout_id}")["planHash"]
    body = {"group": approver_group, "planHash": plan_hash, "vote": word, "reason": reason}
    found = client.post(f"/v1/rollouts/{rollout_id}/approvals", {**body, **({"wave": wave} if wave else {})})
    _show(found["items"], output)


def _show(items: list[Any], output: Output) -> None:
    from .output import Column, column, show_list, when

    columns = [
        column("VOTE", "vote"),
        column("GROUP", "group"),
        column("PERSON", "person"),
        column("WAVE", "waveName"),
        Column("WHEN", lambda v: when(v["at"])),
        Column("WITHDRAWN", lambda v: when(v["withdrawnAt"])),
        column("REASON", "reason"),
        column("ID", "id"),
    ]
    show_list(items, columns, output, name=lambda v: str(v["id"]))
