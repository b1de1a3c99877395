"""Gates: how long a thousand take, and how soon after the first bad sample was scraped nothing more is dispatched.

Each round of the second figure rolls a release out whose victim answers errors once it runs it. A real Prometheus scrapes counters once a
second, the gate asks for their rate five times a second; the clock starts when the page with the first errors is handed to the scrape.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from controlplane.adapters.postgres.engine.store import PostgresEngineStore
from controlplane.adapters.postgres.gates import PostgresVotes
from controlplane.adapters.postgres.leases import PostgresLeases
from controlplane.adapters.prometheus import Prometheus
from controlplane.adapters.prometheus.answers import series_of
from controlplane.adapters.prometheus.joining import Instant
from controlplane.adapters.simulated import Front, SimulatedCluster, World
from controlplane.adapters.simulated.profile import Profile
from controlplane.adapters.simulated.remote import LocalBackend
from controlplane.domain.gating import Verdict
from controlplane.domain.requests import Ask, RolloutRequest
from controlplane.gates.metric import MetricGate, MetricSpec
from controlplane.ports.gates import GatePorts, Metrics, Series
from controlplane.services.driver import drive
from controlplane.services.fleet import Fleet as Gate
from controlplane.services.rollouts.start import plan_and_start
from controlplane.services.rollouts.tools import RolloutTools
from tests.bench.bench_engine import CLUSTER, Stand, namespace_of, registry
from tests.bench.rows import Row, cpu_seconds, row
from tests.contract.fleets import until_read
from tests.gates.scenes import ports, scene
from tests.plugins.prometheus import SCRAPE_SECONDS, Scraped
from tests.services.engine.conftest import OneCluster

GATES = 1_000
TENANTS = 100
"""Per gate, in the figure of judging; ten of them in the one of measuring, so that a thousand gates cover 10,000 tenants."""
ROUNDS = 10
FLEET = 150
LOOK_SECONDS = 0.2
LIMIT = SCRAPE_SECONDS + 1.0
STRATEGY = {
    "waves": [{"name": "all", "cut": {"percent": "100%"}, "soak": {"for": "PT0.5S", "samples": 2}}],
    "limits": {"inFlight": 10},
    "during": [
        {
            "metric": {
                "query": 'sum by (tenant) (rate(errors_total{tenant=~"{tenants}"}[5s]))'
                ' / sum by (tenant) (rate(requests_total{tenant=~"{tenants}"}[5s]))',
                "max": 0.01,
                "samples": 1,
                "interval": f"PT{LOOK_SECONDS}S",
            }
        }
    ],
}


async def measure() -> list[Row]:
    """Both figures."""
    with prometheus() as served:
        return [_judging(), *await _measuring(served), await _stopping(served)]


@contextmanager
def prometheus() -> Iterator[Scraped]:
    """A Prometheus that scrapes a page of this process."""
    folder = Path(tempfile.mkdtemp(prefix="seawall-prometheus-"))
    served = Scraped(folder)
    try:
        yield served
    finally:
        served.stop()
        shutil.rmtree(folder, ignore_errors=True)


def _judging() -> Row:
    gate, spec = MetricGate(), MetricSpec.model_validate({"query": "q", "max": 0.01, "samples": 3})
    names = [f"t{n:03}" for n in range(TENANTS)]
    here = scene(*names)
    values = [{"tenant": t, "value": 0.001, "at": here.now.isoformat()} for t in names]
    evidence = {"values": values, "asked": names, "looks": ["good"] * 100}

    def judge() -> None:
        for _ in range(GATES):
            assert gate.judge(spec, here, evidence).verdict is Verdict.PASS

    what = f"{GATES} metric gates of {TENANTS} tenants each, 100 looks behind them; CPU of one process"
    return row("1,000 gates judged", cpu_seconds(judge, 5), scale=1, unit="s", at_most=1, conditions=what)


class OneByOne(Prometheus):
    """Asks each query by itself, as before there were joined ones."""

    async def query(self, promql: str, at: datetime, stale: timedelta | None = None) -> Sequence[Series]:
        return series_of(await self.instant(Instant(promql, at, stale)))


async def _measuring(served: Scraped) -> list[Row]:
    """Ask and judge a thousand different gates, all due at once; one by one and joined take turns."""
    shops = [f"t{n:05}" for n in range(10 * GATES)]
    served.page = "# TYPE share gauge\n" + "".join(f'share{{tenant="{shop}"}} 0.001\n' for shop in shops)
    await served.sees(f'share{{tenant="{shops[-1]}"}}')
    sources = [OneByOne(served.url, timeout=30), Prometheus(served.url, timeout=30)]
    groups = [shops[10 * n : 10 * n + 10] for n in range(GATES)]
    taken: list[list[float]] = [[], []]
    for _ in range(5):
        for times, source in zip(taken, sources, strict=True):
            start = time.perf_counter()
            verdicts = await asyncio.gather(*(_look(source, group) for group in groups))
            times.append(time.perf_counter() - start)
            assert set(verdicts) == {Verdict.PASS}
    for source in sources:
        await source.close()
    what = f"{GATES} metric gates due at one moment, a query each over 10 of 10,000 tenants; a real Prometheus on the same machine"
    ratios = [joined / alone for alone, joined in zip(*taken, strict=True)]
    return [
        row("1,000 gates measured and judged", taken[1], scale=1, unit="s", at_most=1, conditions=what),
        row(
            "the same / asked one by one",
            ratios,
            scale=1,
            unit="x",
            at_most=None,
            conditions="the same run, taking turns",
        ),
    ]


GATE, SPEC = MetricGate(), MetricSpec.model_validate({"query": 'share{tenant=~"{tenants}"}', "max": 0.01, "samples": 1})


async def _look(source: Metrics, group: list[str]) -> Verdict:
    here = scene(*group, now=datetime.now(UTC))
    return GATE.judge(SPEC, here, await GATE.observe(SPEC, here, ports(source))).verdict


@dataclass
class Shops:
    """Counters of shops: ten requests a second each, and from a moment on errors in every second one of the victim's."""

    names: list[str]
    victim: str = ""
    began: float = field(default_factory=time.monotonic)
    scraped_at: float = 0.0
    since: int = 0

    def page(self) -> str:
        """The page, handed out now."""
        requests = int(10 * (time.monotonic() - self.began))
        if self.victim and not self.scraped_at:
            self.scraped_at = time.time()
            self.since = requests - 5
        lines = ["# TYPE requests_total counter", "# TYPE errors_total counter"]
        for name in self.names:
            errors = (requests - self.since) // 2 if name == self.victim else 0
            lines += [f'requests_total{{tenant="{name}"}} {requests}', f'errors_total{{tenant="{name}"}} {errors}']
        return "\n".join(lines) + "\n"


async def _stopping(served: Scraped) -> Row:
    world = World(seed=3)
    cluster = SimulatedCluster(CLUSTER, LocalBackend(Front(world)), world.clock)
    await cluster.start()
    await cluster.install()
    names = [f"t{n:03}" for n in range(FLEET)]
    uids = {name: await namespace_of(cluster, name) for name in names}
    world.profile = Profile(ready=(0.05, 0.3))
    source = Prometheus(served.url)
    async with registry(cluster, uids) as stand:
        stand.rows.config("strategies", "stop", STRATEGY)
        delays = [await _round(stand, served, source, names, number) for number in range(ROUNDS)]
    await source.close()
    await cluster.close()
    worst = max(delays)
    what = (
        f"{ROUNDS} rounds, {FLEET} tenants, 10 in flight, scraped every {SCRAPE_SECONDS} s, looked at every {LOOK_SECONDS} s, rate over 5 s;"
        " simulated fleet, PostgreSQL with fsync, real Prometheus, all on one machine; 0 where nothing was dispatched any more"
    )
    spread = f"{min(delays):.3f} to {worst:.3f} ({ROUNDS} rounds)"
    target = f"<= {LIMIT:g} s (a scrape interval + 1 s)"
    return Row("first bad sample scraped -> last dispatch", round(worst, 3), "s", spread, target, worst <= LIMIT, what)


async def _round(stand: Stand, served: Scraped, source: Prometheus, names: list[str], number: int) -> float:
    """Seconds from the scrape of the first errors to the last commit that issued anything forward."""
    shops, version = Shops(names), f"{number}.0"
    served.page = shops.page
    await served.sees(
        f'rate(requests_total{{tenant="{names[0]}"}}[5s]) > 5 and on () (sum(rate(errors_total[5s])) == 0)'
    )
    stand.rows.release(version)
    ask = Ask(RolloutRequest.model_validate({"release": f"odoo/{version}", "strategy": "stop"}))
    started = await plan_and_start(
        RolloutTools(open=stand.database.platform), ask, actor="bench", origin={"kind": "person"}
    )
    gate = Gate(OneCluster(stand.cluster))
    await gate.proven(CLUSTER)
    lease = await PostgresLeases(stand.database).take("rollout", started.id, "bench")
    assert lease is not None
    store, asked = PostgresEngineStore(stand.database), GatePorts(PostgresVotes(stand.database), source)
    victim = asyncio.create_task(_break(stand, started.id, shops))
    await drive(store, gate, lease, asyncio.Event(), asked)
    await victim
    await gate.close()
    state = stand.rows.ask("select state from rollouts where id = %s", started.id)[0][0]
    assert state == "failed", state
    statement = "select extract(epoch from max(issued_at)) from steps where subject_id = %s and phase = 'apply'"
    last = float(stand.rows.ask(statement, started.id)[0][0])
    stand.rows.run("update holds set lifted_at = now(), lift_reason = 'bench' where lifted_at is null")
    return max(0.0, last - shops.scraped_at)


async def _break(stand: Stand, rollout: uuid.UUID, shops: Shops) -> None:
    """Once some are verified, one of those begins to answer errors."""
    statement = (
        "select tenant from targets where rollout_id = %s and state = 'verified' order by tenant limit 1 offset 19"
    )

    async def look() -> str:
        found = await asyncio.to_thread(stand.rows.ask, statement, rollout)
        return str(found[0][0]) if found else ""

    shops.victim = await until_read(look, 60)
