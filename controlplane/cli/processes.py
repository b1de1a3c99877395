"""`serve`, `work`, `relay`, `migrate`: what production runs. They read SEAWALL_* from the environment."""

from __future__ import annotations

from typing import Annotated

import typer

PANEL = "Processes: what production runs"


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (serve, work, relay, migrate):
        app.command(rich_help_panel=PANEL)(command)


def serve() -> None:
    """Serve the API until SIGTERM."""
    from controlplane.api.server import run
    from controlplane.settings import Settings

    run(Settings())


def work(
    clusters: Annotated[str, typer.Option("--clusters", help="Only these, separated by commas. Default: all.")] = "",
) -> None:
    """Drive rollouts and operations until SIGTERM; what is in hand is finished first."""
    from controlplane.adapters.telemetry import set_up_logging, set_up_tracing
    from controlplane.settings import Settings
    from workers.app import run

    settings = Settings()
    set_up_logging(settings.log_format)
    set_up_tracing("seawall-work", settings.otlp_endpoint)
    run(settings, tuple(filter(None, clusters.split(","))) or None)


def relay() -> None:
    """Carry wake-ups and events from PostgreSQL to JetStream until SIGTERM."""
    import asyncio
    import signal

    from controlplane.adapters.telemetry import set_up_logging, set_up_tracing
    from controlplane.settings import Settings
    from workers.relay import run

    settings = Settings()
    set_up_logging(settings.log_format)
    set_up_tracing("seawall-relay", settings.otlp_endpoint)

    async def until_signal() -> None:
        draining = asyncio.Event()
        for one in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(one, draining.set)
        await run(settings, draining)

    asyncio.run(until_signal())


def migrate() -> None:
    """Bring the database at SEAWALL_DATABASE_URL to this version's schema; one migrator at a time."""
    from controlplane.adapters.postgres.migrate import upgrade
    from controlplane.settings import Settings

    from .failures import UsageError
    from .output import say

    url = Settings().database_url
    if not url:
        raise UsageError("No database to migrate.", "Set SEAWALL_DATABASE_URL to the address of its owner.")
    upgrade(url)
    say("The database has this version's schema.")
