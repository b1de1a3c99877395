"""What a rendering costs: the reference workload for 1,000 tenants, each with values of its own.

CPU is what is compared, in the process that asks and in the engine's processes together, because a wave shares its cores with
the cluster. `SEAWALL_BENCH_TENANTS` (1000) sets the size.
"""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from controlplane.domain.manifests import Rendered
from controlplane.domain.values import Layer, Values, merge_layers
from controlplane.formats import RenderInputs
from controlplane.formats.helm import HelmFormat
from controlplane.formats.pack import pack_chart
from controlplane.formats.sandbox import Sandbox
from tests.bench.rows import Row, row
from tests.support.charts import IMAGE

CHART = Path(__file__).parents[2] / "helm" / "odoo-tenant"
CONDITIONS = "helm/odoo-tenant, 8 objects, schema checked, rendered twice; batches of 32"


def inputs_of(defaults: Values, number: int) -> RenderInputs:
    """The inputs of one tenant; no two are equal."""
    own: Values = {"web": {"workers": number % 64}, "ingress": {"hosts": [f"shop-{number}.example"]}}
    layers = {Layer.CHART: defaults, Layer.RELEASE: {"images": {"web": IMAGE}}, Layer.TENANT: own}
    return RenderInputs("odoo", f"tenant-{number}", merge_layers(layers).values)


async def measure() -> list[Row]:
    """First use, all tenants at once, and the answer from memory."""
    tenants = int(os.environ.get("SEAWALL_BENCH_TENANTS", "1000"))
    archive, sandbox = pack_chart(CHART), Sandbox()
    helm = HelmFormat(sandbox)
    started = time.perf_counter()
    defaults = (await helm.inspect(archive)).defaults
    first = time.perf_counter() - started
    inputs = [inputs_of(defaults, number) for number in range(tenants)]

    async def render_all() -> None:
        results = await helm.render_many(archive, inputs)
        assert all(isinstance(result, Rendered) for result in results), "the chart renders"

    wall, own = await _timed(render_all)
    cached, _ = await _timed(lambda: _discard(helm, archive, inputs[-1:] * 100))
    sandbox.close()
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = own + used.ru_utime + used.ru_stime
    many = f"{CONDITIONS}; {tenants} tenants, {sandbox.size} processes"
    return [
        _row("rendering, first use (engine started, chart read)", first, 1, "s", CONDITIONS),
        _row("rendering, CPU per tenant", cpu / tenants, 1000, "ms", many),
        _row("rendering, wall per tenant", wall / tenants, 1000, "ms", many),
        _row("rendering, equal inputs again", cached / 100, 1000, "ms", "from memory"),
    ]


def _row(name: str, seconds: float, scale: float, unit: str, conditions: str) -> Row:
    return row(name, [seconds], scale=scale, unit=unit, at_most=None, conditions=conditions)


async def _discard(helm: HelmFormat, archive: bytes, inputs: list[RenderInputs]) -> None:
    for one in inputs:
        await helm.render(archive, one)


async def _timed(work: Callable[[], Awaitable[None]]) -> tuple[float, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    await work()
    return time.perf_counter() - wall, time.process_time() - cpu
