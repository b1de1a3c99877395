"""`serve`, `work`, `relay`, `migrate`: what production runs. They read SEAWALL_* from the environment."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from controlplane.settings import Settings

PANEL = "Processes: what production runs"


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (serve, work, relay, migrate):
        app.command(rich_help_panel=PANEL)(command)


def serve() -> None:
    """Serve the API until SIGTERM."""
    settings = settings_with("database_url_platform")
    from controlplane.api.server import run

    run(settings)


def work(
    clusters: Annotated[str, typer.Option("--clusters", help="Only these, separated by commas. Default: all.")] = "",
) -> None:
    """Drive rollouts and operations until SIGTERM; what is in hand is finished first."""
    settings = settings_with("database_url_engine")
    from controlplane.adapters.telemetry import set_up_logging, set_up_tracing
    from workers.app import run

    set_up_logging(settings.log_format)
    set_up_tracing("seawall-work", settings.otlp_endpoint)
    run(settings, tuple(filter(None, (name.strip() for name in clusters.split(",")))) or None)


def relay() -> None:
    """Carry wake-ups and events from PostgreSQL to JetStream until SIGTERM."""
    settings = settings_with("database_url_engine", "nats_url")
    import asyncio
    import signal

    from controlplane.adapters.telemetry import set_up_logging, set_up_tracing
    from workers.relay import run

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

    from .output import say

    upgrade(settings_with("database_url").database_url)
    say("The database has this version's schema.")


def settings_with(*needed: str) -> Settings:
    """Read SEAWALL_* and check that what a process can't do without is there. Raises UsageError that names each variable.

    Values are not repeated: addresses hold passwords.
    """
    from pydantic import ValidationError

    from controlplane.settings import Settings

    from .failures import UsageError

    try:
        settings = Settings()
    except ValidationError as error:
        faults = error.errors(include_url=False, include_context=False, include_input=False)
        told = "; ".join(_said(e["loc"], e["msg"]) for e in faults)
        raise UsageError(f"The environment can't be used: {told}.", "docs/reference/settings.md lists all.") from error
    missing = [f"SEAWALL_{name.upper()}" for name in needed if not getattr(settings, name)]
    if missing:
        raise UsageError(
            f"This process needs {' and '.join(missing)} in its environment.", "docs/reference/settings.md says more."
        )
    return settings


def _said(place: tuple[int | str, ...], complaint: str) -> str:
    plain = complaint.removeprefix("Value error, ")
    return f"SEAWALL_{str(place[0]).upper()} {plain[:1].lower()}{plain[1:]}" if place else plain
