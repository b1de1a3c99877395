"""All commands: one file per noun, registered here. Modules import what a command needs when it runs, so that --help is fast."""

from __future__ import annotations

from typing import Annotated

import typer

from controlplane import __version__

from . import (
    apply,
    audit,
    breakglass,
    calendar,
    deploy,
    doctor,
    drill,
    emergency,
    event,
    freeze,
    insight,
    key,
    limits,
    login,
    look,
    operation,
    processes,
    release,
    rollout,
    rule,
    tenant,
    timeline,
    up,
    votes,
    why,
)
from .demo import command as demo

HELP = """Releases in tenant-aware waves, with a way back for each tenant on its own.

Exit codes: 0 ok, 1 failed, 2 usage, 3 waiting for a gate or a person, 4 not found or not allowed, 124 timeout.
"""

app = typer.Typer(
    name="seawall",
    help=HELP,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


def _version(value: bool) -> None:
    if value:
        typer.echo(f"seawall {__version__}")
        raise typer.Exit


@app.callback()
def root(
    _: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")] = False,
) -> None:
    """Take the options before any command."""


for module in (up, demo, processes, deploy, why, freeze, votes, apply, look, timeline, insight, doctor, login):
    module.register(app)
for name, group in (
    ("tenant", tenant.group),
    ("calendar", calendar.group),
    ("release", release.group),
    ("rollout", rollout.group),
    ("rule", rule.group),
    ("event", event.group),
    ("drill", drill.group),
    ("emergency", emergency.group),
    ("operation", operation.group),
    ("audit", audit.group),
    ("breakglass", breakglass.group),
    ("key", key.group),
    ("budget", limits.budgets),
    ("breaker", limits.breaker),
):
    app.add_typer(group, name=name)
