"""`demo`: up + tenants + a good and a bad release, live, then a summary. Ends with 0 only if all was as promised."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from controlplane.cli.options import Yes
from controlplane.cli.up import PANEL, Fleet, Port

if TYPE_CHECKING:
    from controlplane.cli.client import Client
    from controlplane.cli.here.stack import Stack

Data = Annotated[Path, typer.Option("--data", help="Folder for the demo's data; what an earlier demo left there goes.")]
_MARK = "seawall-demo"
_DEADLINE = {"simulated": "PT6S"}
_REAL_DEADLINE = "PT45S"
"""Without progress for so long a target has failed. On a small, busy machine with a real API server a good one stood still for 20 s now and then."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(rich_help_panel=PANEL)(demo)


def demo(
    data: Data = Path(".data/demo"),
    fleet: Fleet = "simulated",
    port: Port = 8080,
    keep: Annotated[bool, typer.Option("--keep", help="Stay up afterwards, until Ctrl-C.")] = False,
    yes: Yes = False,
) -> None:
    """24 tenants, a release that works, one that breaks three of them: live, on this machine. Ends with 1 unless all was as promised."""
    from controlplane.cli.client import Client
    from controlplane.cli.profile import save_profile
    from controlplane.cli.up import make_stack, stay

    started = time.monotonic()
    _clean(data)
    stack = make_stack(data, fleet, port, yes=yes)
    with stack:
        save_profile("demo", stack.profile, use=False)
        client = Client(stack.profile, before=stack.check)
        sentences = play(client, stack.fleet.cluster, _DEADLINE.get(fleet, _REAL_DEADLINE))
        _where(stack, fleet, time.monotonic() - started, keep=keep)
        _verdict(sentences)
        client.close()
        if keep:
            stay(stack)
    raise typer.Exit(1 if sentences else 0)


def play(client: Client, cluster: str, deadline: str) -> list[str]:
    """Play all acts; returns what was not as promised."""
    from controlplane.cli.why import explain, print_why

    from . import scene, screen, story, verdict

    story.prepare(client, cluster, deadline)
    screen.chapter(f"1  24 retail tenants in 3 tiers and 2 regions      fleet: {client.fleet}")
    with screen.live_line() as progress:
        seconds = story.onboard(client, cluster, progress)
    screen.line(
        f"onboarded in {seconds:.1f} s, each with its walls and odoo/{scene.FIRST} installed and verified", "green"
    )
    screen.chapter(f"2  {scene.SOURCE} says: release.published {scene.GOOD}")
    story.register(client, scene.GOOD)
    with screen.live_rollout(client.fleet) as show:
        good = story.roll(client, scene.GOOD, show)
    screen.line(f"all 24 tenants in {good.seconds:.1f} s, each verified before its wave passed", "green")
    sentences = [*verdict.good_run(good, 24)]
    screen.chapter(f"3  {scene.SOURCE} says: release.published {scene.BAD}")
    screen.line("nobody knows yet: three tenants still load a module that it no longer ships", "dim")
    story.register(client, scene.BAD)
    with screen.live_rollout(client.fleet) as show:
        bad = story.roll(client, scene.BAD, show)
    screen.what_broke(bad)
    _, again = story.await_fate(client, {**scene.published(scene.BAD), "id": "demo-again"})
    outcome = again["fate"][0]["outcome"]
    screen.labelled(
        "held", f"no trigger starts odoo/{scene.BAD} until a person lifts it (the event came again: {outcome})"
    )
    standings = story.standings(client)
    screen.chapter("4  what each tenant runs now")
    screen.who_runs_what(standings)
    screen.chapter("$ seawall why nova-de")
    print_why(explain(client, "nova-de"), client.fleet)
    release = client.get(f"/v1/releases/{scene.APP}/{scene.BAD}")
    return [*sentences, *verdict.bad_run(bad), *verdict.ending(bad, standings), *verdict.held(release, again)]


def _where(stack: Stack, fleet: str, seconds: float, *, keep: bool) -> None:
    from . import screen

    again = f"seawall up --data {_short(stack.data)} --fleet {fleet}"
    rows = [
        ("it runs", "until Ctrl-C") if keep else ("run it again", again),
        ("API", f"{stack.url}   (description: {stack.url}/v1/openapi.json)"),
        ("in a browser", f"{stack.url}/console"),
        ("key", stack.key),
        ("command line", "SEAWALL_PROFILE=demo seawall tenant list"),
        ("docs", "docs/index.md, docs/tutorial/first-rollout.md"),
    ]
    if fleet == "kubeconfig":
        rows.append(
            (
                "left there",
                "24 namespaces; while it runs: seawall tenant list -o name | xargs -n1 seawall tenant offboard --yes",
            )
        )
    screen.commands(f"Where to look      fleet: {stack.fleet.title}, {seconds:.0f} s in all", rows)


def _short(path: Path) -> Path:
    """A path below the current folder as people write it."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def _verdict(sentences: list[str]) -> None:
    from . import screen

    if sentences:
        screen.wrong(sentences)


def _clean(data: Path) -> None:
    """Remove what an earlier demo left, and nothing else. Raises UsageError for a folder that is not a demo's."""
    from controlplane.cli.failures import UsageError

    if data.exists() and any(data.iterdir()):
        if not (data / _MARK).is_file():
            raise UsageError(f"{data} holds something that is not a demo's.", "Choose another folder with --data.")
        shutil.rmtree(data)
    data.mkdir(parents=True, exist_ok=True)
    (data / _MARK).touch()
