"""/metrics, /livez and /readyz of a process that is not the API."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

import orjson
from aiohttp import web

from controlplane.domain.errors import DependencyError
from controlplane.ports.health import Part

from .metrics import exposition

type Parts = Callable[[], Awaitable[Sequence[Part]]]


@asynccontextmanager
async def machine_server(listen: str, parts: Parts) -> AsyncIterator[int]:
    """Serve on `host:port` (port 0: any free one) while the context lasts; gives the port, 0 if `listen` is empty.

    Raises DependencyError `listen-failed` if the address can't be listened on.
    """
    if not listen:
        yield 0
        return
    runner = web.AppRunner(_app(parts), access_log=None)
    await runner.setup()
    try:
        host, _, port = listen.rpartition(":")
        try:
            await web.TCPSite(runner, host or "127.0.0.1", int(port)).start()
        except (OSError, ValueError) as error:
            detail = (
                f"SEAWALL_METRICS_LISTEN={listen} can't be listened on ({type(error).__name__}). Give a free host:port."
            )
            raise DependencyError(detail, code="listen-failed") from error
        yield int(runner.addresses[0][1])
    finally:
        await runner.cleanup()


def _app(parts: Parts) -> web.Application:
    async def livez(_: web.Request) -> web.Response:
        return web.json_response({"status": "ok"}, headers={"Cache-Control": "no-store"})

    async def readyz(_: web.Request) -> web.Response:
        found = await parts()
        ready = all(part.state == "ok" or not part.needed for part in found)
        body = orjson.dumps({"ready": ready, "parts": [part.model_dump(mode="json", by_alias=True) for part in found]})
        status = 200 if ready else 503
        return web.Response(
            body=body, status=status, content_type="application/json", headers={"Cache-Control": "no-store"}
        )

    async def metrics(_: web.Request) -> web.Response:
        content, kind = exposition()
        return web.Response(body=content, headers={"Content-Type": kind, "Cache-Control": "no-store"})

    app = web.Application()
    app.add_routes([web.get("/livez", livez), web.get("/readyz", readyz), web.get("/metrics", metrics)])
    return app
