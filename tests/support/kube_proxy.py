"""A real HTTP proxy in front of kube-apiserver that a test can make hang, refuse, lose answers, or stall watches.

It speaks plain HTTP on loopback and authenticates to the server itself, so that it can answer for it.
"""

from __future__ import annotations

import asyncio
import base64
import re
import ssl
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import aiohttp
import yaml
from aiohttp import web

_HOP = {"connection", "transfer-encoding", "content-length", "host", "accept-encoding", "content-encoding"}


@dataclass
class Rule:
    """What happens to matching requests, `times` of them or all (None).

    `answer`: `status` and `body` instead of the server's. `hang`: never reaches the server. `lose`: reaches it, but the
    connection breaks before its answer.
    """

    do: Literal["answer", "hang", "lose"]
    method: str = ".*"
    path: str = ".*"
    times: int | None = 1
    status: int = 500
    body: dict[str, Any] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    hits: int = 0

    def meets(self, request: web.Request) -> bool:
        """Whether this request is hit; counts it."""
        fits = re.fullmatch(self.method, request.method) and re.search(self.path, request.path_qs)
        if self.times == 0 or not fits:
            return False
        self.hits += 1
        if self.times is not None:
            self.times -= 1
        return True


class KubeProxy:
    """The proxy; `rules` may be changed at any time, the first that matches wins."""

    def __init__(self, kubeconfig: Path) -> None:
        config = yaml.safe_load(kubeconfig.read_text())
        self._cluster, self._user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        self.rules: list[Rule] = []
        self.seen: list[str] = []
        self.flowing = asyncio.Event()
        self.flowing.set()
        self.port = 0
        self._client: aiohttp.ClientSession | None = None
        self._runner: web.AppRunner | None = None

    def kubeconfig(self, folder: Path) -> Path:
        """A kubeconfig that leads through this proxy."""
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "proxy", "cluster": {"server": f"http://127.0.0.1:{self.port}"}}],
            "users": [{"name": "proxy", "user": {}}],
            "contexts": [{"name": "proxy", "context": {"cluster": "proxy", "user": "proxy"}}],
            "current-context": "proxy",
        }
        path = folder / "proxy.kubeconfig"
        path.write_text(yaml.safe_dump(content))
        return path

    def stall_watches(self) -> None:
        """Let no byte of a watch through any more; connections stay open."""
        self.flowing.clear()

    def resume_watches(self) -> None:
        """Let them flow again, with what was held back."""
        self.flowing.set()

    async def start(self) -> None:
        """Listen on a free port."""
        self._client = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=self._tls(), limit=0), auto_decompress=False, read_bufsize=2**21
        )
        app = web.Application(client_max_size=2**26)
        app.router.add_route("*", "/{tail:.*}", self._handle)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Refuse connections from now on; `start` takes the same port again."""
        self.flowing.set()
        if self._runner:
            await self._runner.cleanup()
        if self._client:
            await self._client.close()

    def _tls(self) -> ssl.SSLContext:
        authority = base64.b64decode(self._cluster["certificate-authority-data"]).decode()
        context = ssl.create_default_context(cadata=authority)
        with tempfile.NamedTemporaryFile() as pair:
            for key in ("client-certificate-data", "client-key-data"):
                pair.write(base64.b64decode(self._user[key]))
            pair.flush()
            context.load_cert_chain(pair.name)
        return context

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        self.seen.append(f"{request.method} {request.path_qs}")
        rule = next((one for one in self.rules if one.meets(request)), None)
        if rule is None:
            return await self._forward(request)
        if rule.do == "hang":
            await asyncio.Event().wait()
        if rule.do == "lose":
            await self._forward(request, lose=True)
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        return web.json_response(rule.body, status=rule.status, headers=rule.headers)

    async def _forward(self, request: web.Request, *, lose: bool = False) -> web.StreamResponse:
        assert self._client is not None
        headers = {key: value for key, value in request.headers.items() if key.lower() not in _HOP}
        url = f"{self._cluster['server']}{request.raw_path}"
        body = await request.read()
        async with self._client.request(request.method, url, headers=headers, data=body) as answer:
            kept = {key: value for key, value in answer.headers.items() if key.lower() not in _HOP}
            if lose or "watch=1" not in request.query_string:
                return web.Response(status=answer.status, headers=kept, body=await answer.read())
            response = web.StreamResponse(status=answer.status, headers=kept)
            await response.prepare(request)
            async for chunk in answer.content.iter_any():
                await self.flowing.wait()
                await response.write(chunk)
            return response


@asynccontextmanager
async def kube_proxy(kubeconfig: Path) -> AsyncIterator[KubeProxy]:
    """A started proxy in front of the kubeconfig's server."""
    proxy = KubeProxy(kubeconfig)
    await proxy.start()
    try:
        yield proxy
    finally:
        await proxy.stop()
