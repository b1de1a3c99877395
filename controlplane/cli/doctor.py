"""`doctor`: whether what this command line talks to is well."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

import typer

from .options import TABLE, Format, Output

if TYPE_CHECKING:
    from .client import Client

MAX_SKEW = 5.0
"""Seconds that our clock may differ from the API's before tokens and `until` times become a puzzle."""


@dataclass(frozen=True)
class Finding:
    """One check: what, whether it is well, and what was seen."""

    check: str
    well: bool
    seen: str


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(doctor)


def doctor(output: Output = TABLE) -> None:
    """Check address, key, versions, the API's parts, the clock and the clusters. Ends with 1 if something is wrong."""
    from .client import connect
    from .output import Column, show_list

    findings = list(check(connect()))
    rows = [{"check": f.check, "well": f.well, "seen": f.seen} for f in findings]
    columns = [
        Column("", lambda r: "ok" if r["well"] else "BAD"),
        Column("CHECK", lambda r: r["check"]),
        Column("SEEN", lambda r: r["seen"]),
    ]
    show_list(rows, columns, output, name=lambda r: "" if r["well"] else str(r["check"]))
    if output is Format.TABLE and all(f.well for f in findings):
        typer.echo("All is well.", err=True)
    raise typer.Exit(0 if all(f.well for f in findings) else 1)


def check(client: Client) -> Iterator[Finding]:
    """Look at everything that can be seen from here; one bad part does not hide the others."""
    from .failures import CommandError, UnreachableError

    started = time.time()
    try:
        answer = client.request("GET", "/livez")
    except UnreachableError as error:
        yield Finding("address", False, error.message)
        return
    except CommandError as error:
        yield Finding("address", False, f"{client.profile.url} is not a Seawall API: {error.message}")
        return
    answered = time.time()
    yield Finding("address", True, f"{client.profile.url}, {1000 * (answered - started):.0f} ms")
    yield from _key(client)
    yield _clock(answer.headers.get("date"), started, answered)
    yield from _parts(client)
    if client.fleet:
        yield Finding("fleet", True, client.fleet)


def _key(client: Client) -> Iterator[Finding]:
    from .failures import ProblemError

    try:
        who = client.get("/v1/whoami")
        yield Finding("key", True, f"{who['name'] or who['id']}: {', '.join(who['roles'])}")
    except ProblemError as error:
        yield Finding("key", False, error.message)


def _clock(date: str | None, sent: float, answered: float) -> Finding:
    """How far the API's clock is from ours: it read its own (in whole seconds) somewhen between our request and its answer."""
    if not date:
        return Finding("clock", False, "the API sends no Date, so clocks can't be compared")
    theirs = parsedate_to_datetime(date).timestamp()
    skew = max(sent - 1 - theirs, theirs - answered, 0.0)
    return Finding("clock", skew <= MAX_SKEW, f"{skew:.0f} s apart (at most {MAX_SKEW:.0f})")


def _parts(client: Client) -> Iterator[Finding]:
    """The version and each part that /readyz knows; it answers 503 with the same body when one is away."""
    from controlplane import __version__

    from .failures import ProblemError

    try:
        ready = client.get("/readyz")
    except ProblemError as error:
        ready = dict(error.problem)
    parts = ready.get("parts") or []
    if not parts:
        seen = str(ready.get("detail") or "the API does not say which parts it stands on")
        yield Finding("parts", False, seen)
    for part in parts:
        well = part["state"] in ("ok", "notRequired")
        yield Finding(part["name"], well, f"{part['state']} {part.get('detail', '')}".rstrip())
    server = str(ready.get("version") or "unknown")
    yield Finding("version", server == __version__, f"command line {__version__}, API {server}")
