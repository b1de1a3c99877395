"""Shops behind Traefik whose answers follow what the local control plane runs, and a Prometheus that scrapes Traefik.

`open_storefront(tenants)` opens them; see `tests.support.storefront` for what can be played (`errors`, `shock`).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from controlplane.adapters.kubernetes.local import LocalControlPlane
from tests.bench.bare_loop import BareLoop
from tests.plugins.prometheus import PrometheusServer
from tests.support.storefront import Rolled, Storefront

VISITS_PER_SECOND = 10.0


@dataclass(frozen=True)
class Street:
    """The shops and who measures them."""

    shops: Storefront
    prometheus: PrometheusServer


type OpenStorefront = Callable[[Sequence[str]], Awaitable[Street]]


@pytest.fixture
async def open_storefront(control_plane: LocalControlPlane, tmp_path: Path) -> AsyncIterator[OpenStorefront]:
    """Opens shops for tenants of the local control plane, with visitors, and a Prometheus that scrapes their Traefik."""
    async with AsyncExitStack() as stack:

        async def open_(tenants: Sequence[str]) -> Street:
            watch = BareLoop(control_plane.kubeconfig)
            await watch.start()
            stack.push_async_callback(watch.close)
            shops = Storefront(tenants, Rolled(watch))
            await shops.start(tmp_path)
            stack.push_async_callback(shops.stop)
            prometheus = PrometheusServer(tmp_path, [shops.metrics_port])
            stack.callback(prometheus.stop)
            shops.visit(VISITS_PER_SECOND)
            return Street(shops, prometheus)

        yield open_
