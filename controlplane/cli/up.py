"""`up`: everything on this machine, until Ctrl-C."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .options import Yes

if TYPE_CHECKING:
    from .here.stack import Stack

PANEL = "On this machine"
Data = Annotated[Path, typer.Option("--data", help="Folder that keeps everything; again with it goes on where it was.")]
Fleet = Annotated[
    str, typer.Option("--fleet", help="simulated; local (a real kube-apiserver, built at first use); kubeconfig.")
]
Port = Annotated[
    int,
    typer.Option(
        "--port", min=0, max=65535, help="The API's port at the first start; any free one if it is taken, or 0."
    ),
]
WRITABLE = "SEAWALL_KUBECONFIG_WRITABLE"
"""Set to 1: the word of whoever owns it that the cluster of $KUBECONFIG may be written to."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(rich_help_panel=PANEL)(up)


def up(data: Data = Path(".data"), fleet: Fleet = "simulated", port: Port = 8080, yes: Yes = False) -> None:
    """Start everything on this machine: PostgreSQL, nats-server, a fleet, API, relay, two workers. Ctrl-C ends it."""
    from .output import say
    from .profile import save_profile

    stack = make_stack(data, fleet, port, yes=yes)
    with stack:
        register_cluster(stack)
        path = save_profile("local", stack.profile, use=False)
        for line in where_to_look(stack):
            say(line)
        say(f"  command line    profile `local` ({path}); `seawall doctor` looks whether all is well")
        say("Ctrl-C ends it.")
        stay(stack)
        say("Ending.")


def make_stack(data: Path, fleet: str, port: int, *, yes: bool) -> Stack:
    """Build the parts over a folder, after the owner of a given cluster has agreed. Raises CommandError."""
    from .failures import UsageError
    from .output import say

    quiet_libraries(data)
    from .here.fleets import FleetKind
    from .here.stack import Stack

    if fleet not in set(FleetKind):
        raise UsageError(f"{fleet!r} is not a fleet.", f"There are: {', '.join(FleetKind)}.")
    kind = FleetKind(fleet)
    if kind is FleetKind.KUBECONFIG:
        ask_consent(yes=yes)
    return Stack(data, kind, lambda what: say(f"  {what}"), port)


def ask_consent(*, yes: bool) -> None:
    """Ask whether the cluster of $KUBECONFIG may be written to. Raises typer.Abort."""
    from .here.fleets import GivenCluster, kubeconfig_of
    from .output import say

    given = GivenCluster(kubeconfig_of())
    say(f"Seawall will write to {given.title} at {given.server}: its own namespaces and identities, two admission")
    say("policies that bind only Seawall's identities and marks, and one namespace for each tenant.")
    if not yes and os.environ.get(WRITABLE) != "1":
        typer.confirm("May it?", abort=True, err=True)


def register_cluster(stack: Stack) -> None:
    """Make the fleet's cluster known to the registry; what is configured there stays."""
    from .client import Client
    from .failures import ProblemError

    client = Client(stack.profile)
    path = f"/v1/clusters/{stack.fleet.cluster}"
    try:
        client.get(path)
    except ProblemError as error:
        if error.status != 404:
            raise
        client.put(path, {"description": stack.fleet.title})
    client.close()


def where_to_look(stack: Stack) -> list[str]:
    """The addresses of what runs, one a line."""
    return [
        f"Seawall runs.  fleet: {stack.fleet.title}",
        f"  API             {stack.url}",
        f"  its description {stack.url}/v1/openapi.json",
        f"  in a browser    {stack.url}/console",
        f"  key             {stack.key}",
        f"  data and logs   {stack.data}",
    ]


def stay(stack: Stack) -> None:
    """Wait for SIGINT or SIGTERM. Raises DependencyError as soon as a part ends by itself."""
    stop = threading.Event()
    for one in (signal.SIGINT, signal.SIGTERM):
        signal.signal(one, lambda *_: stop.set())
    while not stop.wait(0.5):
        stack.check()


def quiet_libraries(data: Path) -> None:
    """Keep this process's screen for people: no log lines below a warning, no platformdirs' word about XDG_RUNTIME_DIR.

    Where the session has no runtime folder libraries get a private one.
    """
    import logging

    import structlog

    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    if not os.environ.get("XDG_RUNTIME_DIR"):
        folder = data.resolve() / "run"
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        os.environ["XDG_RUNTIME_DIR"] = str(folder)
