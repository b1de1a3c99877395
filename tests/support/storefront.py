"""Shops that people can visit: a small HTTP server per tenant behind a real Traefik, visitors, and what the cluster runs.

The pods of the local control plane are played by kwok and answer nothing, so these servers stand for each tenant's web. What one
answers depends on the image that the tenant's Deployment really carries in the cluster, from the moment it is rolled out: `Serving`
reads that over a watch. Traefik names the services as its Kubernetes provider would: `<namespace>-<service>-<port>@...`.
"""

from __future__ import annotations

import asyncio
import random
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import aiohttp
import yaml
from aiohttp import web

from controlplane.adapters.embedded.processes import Child, accepts, free_port
from controlplane.adapters.fleet.states import workload_state
from controlplane.domain.health import Expected, Health, judge_workload
from tests.bench.bare_loop import BareLoop

TRAEFIK = Path(sys.executable).parent / "traefik"
BAD, GOOD = 503, 200


class Serving(Protocol):
    """What a tenant's web runs now."""

    def image(self, tenant: str) -> str:
        """The image that answers its visitors; empty: none yet."""
        ...


@dataclass
class Told:
    """Serving as a test says, where no cluster is what is tested."""

    images: dict[str, str] = field(default_factory=dict)

    def image(self, tenant: str) -> str:
        """As told."""
        return self.images.get(tenant, "")


class Rolled:
    """Serving as the cluster's Deployments say: a new image answers once it is rolled out, until then the old one does."""

    def __init__(self, watch: BareLoop) -> None:
        self._watch = watch
        self._images: dict[str, str] = {}

    def image(self, tenant: str) -> str:
        """The image of the tenant's Deployment (its production namespace has its name)."""
        seen = self._watch.deployment(tenant)
        if seen is not None:
            meta = seen["metadata"]
            expected = Expected("Deployment", meta["name"], meta["uid"], meta["generation"])
            if judge_workload(expected, workload_state(seen)).health is Health.HEALTHY:
                self._images[tenant] = seen["spec"]["template"]["spec"]["containers"][0]["image"]
        return self._images.get(tenant, "")


class Storefront:
    """A shop per tenant, Traefik before them, and visitors.

    `errors(tenant, image)` is the share of requests that a shop running this image answers with 503; `shock` is added for everybody (a
    dependency that all share, a bad day at the bank). `answered` counts what visitors got, by (tenant, status).
    """

    def __init__(self, tenants: Sequence[str], serving: Serving, *, service: str = "web", port: int = 80) -> None:
        self.tenants = tuple(tenants)
        self.serving = serving
        self.errors: Callable[[str, str], float] = lambda _tenant, _image: 0.0
        self.shock = 0.0
        self.answered: Counter[tuple[str, int]] = Counter()
        self._service = f"{service}-{port}"
        self._random = random.Random(1)
        self._runners: list[web.AppRunner] = []
        self._shops: dict[str, int] = {}
        self._visits: list[asyncio.Task[None]] = []
        self._door, self.metrics_port = free_port(), free_port()
        self._traefik: Child | None = None

    async def start(self, folder: Path) -> None:
        """Open the shops and put Traefik before them."""
        for tenant in self.tenants:
            self._shops[tenant] = await self._open(tenant)
        routes = folder / "routes.yaml"
        routes.write_text(yaml.safe_dump({"http": self._routes()}))
        argv = [
            str(TRAEFIK),
            f"--entrypoints.web.address=127.0.0.1:{self._door}",
            f"--entrypoints.metrics.address=127.0.0.1:{self.metrics_port}",
            "--metrics.prometheus=true",
            "--metrics.prometheus.entrypoint=metrics",
            f"--providers.file.filename={routes}",
            "--global.checknewversion=false",
            "--global.sendanonymoususage=false",
        ]
        self._traefik = Child("Traefik", argv, folder / "traefik.log")
        self._traefik.await_ready(lambda: accepts(self._door) and accepts(self.metrics_port), 60)

    def visit(self, per_second: float) -> None:
        """Let visitors come to every shop, so many a second each, until `stop`."""
        self._visits = [asyncio.create_task(self._visitors(tenant, 1 / per_second)) for tenant in self.tenants]

    async def stop(self) -> None:
        """Send everybody home."""
        for task in self._visits:
            task.cancel()
        await asyncio.gather(*self._visits, return_exceptions=True)
        if self._traefik is not None:
            self._traefik.stop()
        for runner in self._runners:
            await runner.cleanup()

    async def _open(self, tenant: str) -> int:
        async def answer(_request: web.Request) -> web.Response:
            share = self.errors(tenant, self.serving.image(tenant)) + self.shock
            return web.Response(status=BAD if self._random.random() < share else GOOD, text=tenant)

        app = web.Application()
        app.router.add_get("/", answer)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self._runners.append(runner)
        return int(runner.addresses[0][1])

    def _routes(self) -> dict[str, object]:
        name = {tenant: f"{tenant}-{self._service}" for tenant in self.tenants}
        return {
            "routers": {name[t]: {"rule": f"Host(`{t}.shop.example`)", "service": name[t]} for t in self.tenants},
            "services": {
                name[t]: {"loadBalancer": {"servers": [{"url": f"http://127.0.0.1:{port}"}]}}
                for t, port in self._shops.items()
            },
        }

    async def _visitors(self, tenant: str, pause: float) -> None:
        headers = {"Host": f"{tenant}.shop.example"}
        async with aiohttp.ClientSession(f"http://127.0.0.1:{self._door}", headers=headers) as session:
            while True:
                async with session.get("/") as answer:
                    self.answered[tenant, answer.status] += 1
                await asyncio.sleep(pause)
