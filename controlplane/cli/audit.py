"""`audit`: who did what to what, whether anybody edited it, and all of it as lines."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .look import Most, brief, since_of
from .options import TABLE, Format, Output

if TYPE_CHECKING:
    from controlplane.domain.audit_chain import Anchor

    from .client import Client, Json

group = typer.Typer(
    help="The audit trail: who did what to what. Alone: the newest entries.",
    invoke_without_command=True,
    rich_markup_mode=None,
)
AnchorFiles = Annotated[
    list[Path] | None,
    typer.Option(
        "--anchors", help="File of anchored heads, or a worker's log; several times. Compared with the chain."
    ),
]


@group.callback()
def audit(
    context: typer.Context,
    since: Annotated[str, typer.Option("--since", help="A span back from now (2h), or a time with its zone.")] = "",
    actor: Annotated[str, typer.Option("--actor", help="Only what this caller did.")] = "",
    action: Annotated[str, typer.Option("--action", help="Only this, such as rollout.start.")] = "",
    tenant: Annotated[str, typer.Option("--tenant", help="Only what concerns this tenant.")] = "",
    limit: Most = 50,
    output: Output = TABLE,
) -> None:
    """Who did what to what, newest first."""
    from .client import connect
    from .output import Column, column, show_list, when

    if context.invoked_subcommand is not None:
        return
    columns = [
        Column("WHEN", lambda e: when(e["at"])),
        column("WHO", "actor"),
        column("ACTION", "action"),
        column("WHAT", "subject"),
        column("TENANT", "tenant"),
        Column("DETAIL", lambda e: brief(e["detail"])),
    ]
    wanted = {"since": since_of(since) if since else None, "actor": actor or None, "action": action or None}
    found = connect().pages("/v1/audit", most=limit, tenant=tenant or None, **wanted)
    show_list(found, columns, output, name=lambda e: str(e["id"]))


@group.command("export")
def export() -> None:
    """Write the whole sealed trail as lines of JSON on stdout; `audit verify --file` checks them anywhere."""
    from .client import connect

    with connect().stream("/v1/audit:export", {"Accept": "application/x-ndjson"}) as lines:
        for line in lines:
            typer.echo(line)


@group.command("verify")
def verify(
    file: Annotated[
        Path | None, typer.Option("--file", "-f", help="An export, checked here without asking anybody; - is stdin.")
    ] = None,
    anchors: AnchorFiles = None,
    output: Output = TABLE,
) -> None:
    """Check that nobody edited the trail: 0 it holds, 1 it is broken (or can't be checked)."""
    known = _anchors_in(anchors or [])
    found = _verify_file(file, known) if file is not None else _verify_there(known)
    if output is not Format.TABLE:
        from .output import show_one

        show_one(found, output, name=str(found["verifiedTo"]["seal"]), table=lambda: None)
    else:
        _tell(found)
    if found["brokenAt"] is not None:
        raise typer.Exit(1)


def _anchors_in(files: list[Path]) -> list[Anchor]:
    """Read anchors. Raises UsageError for a file that can't be read, or that holds none: it would prove nothing."""
    from controlplane.domain.audit_lines import read_anchors

    from .failures import UsageError

    found: list[Anchor] = []
    for path in files:
        try:
            with path.open() as lines:
                mine = list(read_anchors(lines))
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"{path} can't be read: {error}") from error
        if not mine:
            raise UsageError(f"{path} holds no anchored head.", "Each is a line of JSON with seal and hash.")
        found += mine
    return found


def _verify_file(file: Path, anchors: list[Anchor]) -> Json:
    from controlplane.domain.audit_lines import check_export, seal_as_json
    from controlplane.domain.errors import InvalidError

    from .failures import CommandError, UsageError

    try:
        with nullcontext(sys.stdin) if str(file) == "-" else file.open(encoding="utf-8") as lines:
            found, anchored = check_export(lines, anchors)
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{file} can't be read: {error}") from error
    except InvalidError as error:
        raise CommandError(error.detail) from error
    passed = {**seal_as_json(anchored.seal), "at": anchored.at} if anchored else None
    head = seal_as_json(found.head)
    return {"verifiedTo": head, "brokenAt": found.broken_at, "problem": found.problem, "anchored": passed}


def _verify_there(anchors: list[Anchor]) -> Json:
    """Have the API follow its chain, step by step, and compare each step's end with our own anchors by an export of its own."""
    from .client import connect

    client = connect()
    if anchors:
        return _verify_by_export(client, anchors)
    place: dict[str, Any] = {}
    anchored: Json | None = None
    while True:
        found = client.get("/v1/audit:verify", **place)
        anchored = found["anchored"] or anchored
        if found["done"]:
            return {**found, "anchored": anchored}
        place = {"after": found["verifiedTo"]["seal"], "hash": found["verifiedTo"]["hash"]}


def _verify_by_export(client: Client, anchors: list[Anchor]) -> Json:
    """With anchors of our own nothing that the API says needs to be believed: follow the rows here."""
    from controlplane.domain.audit_lines import check_export, seal_as_json

    with client.stream("/v1/audit:export", {"Accept": "application/x-ndjson"}) as lines:
        found, anchored = check_export(lines, anchors)
    passed = {**seal_as_json(anchored.seal), "at": anchored.at} if anchored else None
    head = seal_as_json(found.head)
    return {"verifiedTo": head, "brokenAt": found.broken_at, "problem": found.problem, "anchored": passed}


def _tell(found: Json) -> None:
    from .output import say

    head, anchored = found["verifiedTo"], found["anchored"]
    typer.echo(f"verified to {head['seal']}  {head['hash']}")
    if anchored:
        typer.echo(f"anchored at {anchored['at'] or 'an unknown time'}, to {anchored['seal']}")
    else:
        say(
            "Not compared with any anchor: whoever owns the database could have made the chain anew. Give --anchors FILE."
        )
    if found.get("beginsAfter"):
        say(f"Older rows left by the retention policy, up to seal {found['beginsAfter']['seal']}.")
    if found.get("unsealedSeconds", 0) > 5:
        say(f"{found['unsealed']} rows wait for their seal since {found['unsealedSeconds']} s: does a worker run?")
    if found["brokenAt"] is not None:
        say(f"BROKEN at {found['brokenAt']}: {found['problem']}")
