"""A query API that answers what a test tells it: for the answers that a real Prometheus gives only in trouble, and for signing in."""

from __future__ import annotations

import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from aiohttp import web

from controlplane.adapters.kubernetes.local.certs import Authority

type Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


def vector(**values: str) -> web.Response:
    """A good answer: a value per tenant, of now."""
    result = [{"metric": {"tenant": t}, "value": [time.time(), value]} for t, value in values.items()]
    return web.json_response({"status": "success", "data": {"resultType": "vector", "result": result}})


def always(response: Callable[[], web.Response]) -> Answer:
    """The same to everybody."""

    async def answer(_request: web.Request) -> web.Response:
        return response()

    return answer


@dataclass
class QueryApi:
    """`answer` may be replaced at any time; `asked` are the requests' Authorization headers, `forms` their bodies."""

    url: str
    ca: Path | None
    answer: Answer = field(default_factory=lambda: always(vector))
    asked: list[str] = field(default_factory=list)
    forms: list[dict[str, str]] = field(default_factory=list)


@dataclass(frozen=True)
class Tls:
    """Certificates for this machine, in a folder."""

    folder: Path

    def context(self) -> tuple[ssl.SSLContext, Path]:
        """What a server needs, and the file that a client trusts it by."""
        authority = Authority(datetime.now(UTC))
        pair = authority.server(["127.0.0.1", "localhost"])
        ca, both = self.folder / "ca.pem", self.folder / "server.pem"
        ca.write_bytes(authority.cert)
        both.write_bytes(pair.cert + pair.key)
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(both)
        return context, ca


@asynccontextmanager
async def query_api(tls: Tls | None = None, port: int = 0) -> AsyncIterator[QueryApi]:
    """Serve it on this machine, on a free port if none is given."""
    context, ca = tls.context() if tls else (None, None)
    api = QueryApi("", ca)

    async def handle(request: web.Request) -> web.StreamResponse:
        api.asked.append(request.headers.get("Authorization", ""))
        api.forms.append({key: str(value) for key, value in (await request.post()).items()})
        return await api.answer(request)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port, ssl_context=context)
    await site.start()
    api.url = (
        f"{'https' if tls else 'http'}://localhost:{runner.addresses[0][1]}"
        if tls
        else f"http://127.0.0.1:{runner.addresses[0][1]}"
    )
    yield api
    await runner.cleanup()
