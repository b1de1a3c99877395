"""A real HTTP server that plays another system: it answers what a test tells it to."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

SECRET = "whsec_c2VhbGwtc2VjcmV0LXNlYWxsLXNlY3JldA=="


@dataclass
class Play:
    """One answer: a body (an object is sent as JSON), a status, a media type; or `hang`."""

    body: Any = ""
    status: int = 200
    media_type: str = "application/json"
    hang: bool = False


@dataclass
class Answering:
    """`plays` are used up one by one; the last one stays. `asked`: (headers, body) of every request."""

    url: str = ""
    plays: list[Play] = field(default_factory=lambda: [Play({"verdict": "pass", "reason": "fine"})])
    asked: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    let_go: asyncio.Event = field(default_factory=asyncio.Event)

    def questions(self) -> list[dict[str, Any]]:
        """What was asked, read."""
        return [json.loads(body) for _, body in self.asked]

    async def handle(self, request: web.Request) -> web.Response:
        """Answer as told."""
        self.asked.append(({k.lower(): v for k, v in request.headers.items()}, await request.read()))
        play = self.plays.pop(0) if len(self.plays) > 1 else self.plays[0]
        if play.hang:
            await self.let_go.wait()
        text = play.body if isinstance(play.body, str) else json.dumps(play.body)
        headers = {"Location": "/elsewhere"} if 300 <= play.status < 400 else {}
        return web.Response(text=text, status=play.status, content_type=play.media_type, headers=headers)


@asynccontextmanager
async def answering() -> AsyncIterator[Answering]:
    """Serve until the context ends."""
    server = Answering()
    app = web.Application()
    app.router.add_post("/ask", server.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}/ask"
    try:
        yield server
    finally:
        server.let_go.set()
        await runner.cleanup()
