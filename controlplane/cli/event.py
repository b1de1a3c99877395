"""`event`: CloudEvents in, and their fate."""

from __future__ import annotations

import uuid
from typing import Annotated, Any

import typer

from .options import TABLE, Output, new_group

group = new_group("Events: sent in, and what became of them.")


@group.command("send")
def send(
    type_: Annotated[str, typer.Argument(metavar="TYPE", help="Such as release.published")],
    source: Annotated[str, typer.Option("--source", help="Who says it, such as github-acme.")],
    data: Annotated[
        list[str] | None, typer.Option("--data", "-d", help="name=value, or one JSON object; several times.")
    ] = None,
    event_id: Annotated[
        str, typer.Option("--id", help="Its id; the same source and id are one event. Default: new.")
    ] = "",
    subject: Annotated[str, typer.Option("--subject", help="What it is about.")] = "",
    output: Output = TABLE,
) -> None:
    """Send a CloudEvent. Prints its id; `event show` says what it started, or why not."""
    from .client import connect
    from .output import say, show_one

    event = {
        "specversion": "1.0",
        "id": event_id or str(uuid.uuid4()),
        "source": source,
        "type": type_,
        "data": _data(data or []),
    }
    receipt = send_event(connect(), {**event, **({"subject": subject} if subject else {})})
    show_one(receipt, output, name=str(receipt["id"]), table=lambda: typer.echo(receipt["id"]))
    again = "It was there before; it starts nothing a second time." if receipt["duplicate"] else "Accepted."
    say(f"{again} `seawall event show {receipt['id']}` says what becomes of it.")


def send_event(client: Any, event: dict[str, Any]) -> dict[str, Any]:
    """POST one CloudEvent in structured mode; returns its receipt. Again with the same source and id changes nothing."""
    headers = {"Content-Type": "application/cloudevents+json"}
    response = client.request("POST", "/v1/events", json=event, headers=headers)
    receipt: dict[str, Any] = response.json()["events"][0]
    return receipt


@group.command("show")
def show(
    event_id: Annotated[str, typer.Argument(metavar="ID")],
    source: Annotated[str, typer.Option("--source", help="Needed if several sources used this id.")] = "",
    output: Output = TABLE,
) -> None:
    """Show an event's fate: what it matched, what it started, or why not."""
    from urllib.parse import quote

    from .client import connect
    from .output import show_fields, show_one, when

    item = connect().get(f"/v1/events/{quote(event_id, safe='')}", source=source or None)

    def table() -> None:
        show_fields(
            [
                ("event", f"{item['type']} {item['id']} from {item['source']}"),
                ("received", when(item["receivedAt"])),
                ("state", item["state"]),
                *[(one["trigger"] or "no trigger", fate_line(one)) for one in item["fate"]],
            ]
        )

    show_one(item, output, name=str(item["id"]), table=table)


def fate_line(one: dict[str, Any]) -> str:
    """What one trigger made of an event."""
    release = f" {one['app']}/{one['version']}" if one.get("version") else ""
    rollout = f", rollout {one['rollout']}" if one.get("rollout") else ""
    return f"{one['outcome']}{release}{rollout}: {one['reason']}"


def _data(texts: list[str]) -> dict[str, Any]:
    import json

    from .failures import UsageError

    data: dict[str, Any] = {}
    for text in texts:
        if text.startswith("{"):
            try:
                data |= json.loads(text)
            except ValueError as error:
                raise UsageError(f"--data is not JSON: {error}") from error
            continue
        name, equals, value = text.partition("=")
        if not (name and equals):
            raise UsageError(f"--data {text!r} is neither name=value nor a JSON object.")
        data[name] = value
    return data
