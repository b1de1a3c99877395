"""Whether a nats-server answers."""

from __future__ import annotations

import asyncio
from urllib.parse import urlsplit

from controlplane.ports.health import Part

SECONDS = 2.0
_DEFAULT_PORT = 4222


async def nats_part(url: str) -> Part:
    """Connect and read the server's greeting (NATS client protocol, `INFO`); no credentials are needed for that.

    Never needed: without NATS everything accepted is still carried out, one sweep later.
    """
    address = urlsplit(url if "://" in url else f"nats://{url}")
    try:
        async with asyncio.timeout(SECONDS):
            reader, writer = await asyncio.open_connection(address.hostname, address.port or _DEFAULT_PORT)
            try:
                greeting = await reader.readline()
            finally:
                writer.close()
    except (OSError, TimeoutError, ValueError) as error:
        return _away(type(error).__name__)
    return Part(name="nats", state="ok", needed=False) if greeting.startswith(b"INFO ") else _away("another protocol")


def _away(why: str) -> Part:
    detail = f"It does not answer ({why}). Work goes on from PostgreSQL, up to a second slower; event feeds wait."
    return Part(name="nats", state="away", needed=False, detail=detail)
