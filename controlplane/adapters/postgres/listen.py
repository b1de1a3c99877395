"""LISTEN: a hint that something was committed. Losing one costs a poll."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import psycopg
import structlog

log = structlog.get_logger(__name__)

OUTBOX_CHANNEL = "seawall_outbox"
_RETRY_SECONDS = 1.0


async def listen(url: str, channel: str, heard: Callable[[], None], draining: asyncio.Event) -> None:
    """Call `heard` for each notification until draining; connects again when the server was away."""
    while not draining.is_set():
        try:
            async with await psycopg.AsyncConnection.connect(url, autocommit=True, connect_timeout=5) as connection:
                await connection.execute(psycopg.sql.SQL("listen {}").format(psycopg.sql.Identifier(channel)))
                heard()
                while not draining.is_set():
                    async for _ in connection.notifies(timeout=1.0, stop_after=1):
                        heard()
        except psycopg.Error as error:
            log.warning("no notifications from PostgreSQL, polling meanwhile", error=type(error).__name__)
            await asyncio.sleep(_RETRY_SECONDS)
