"""Changes as marks in Prometheus: the relay's own page, scraped by a real Prometheus, asked with the dashboard's own queries."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from controlplane.adapters import event_metrics
from controlplane.adapters.cel import Cel
from controlplane.adapters.machine_server import machine_server
from controlplane.adapters.nats import NatsRole
from controlplane.adapters.postgres.database import Database, Urls
from controlplane.adapters.prometheus import Prometheus
from controlplane.domain.event_catalogue import KNOWN
from controlplane.domain.events_out import Change
from controlplane.ports.health import Part
from tests.contract.fleets import until_read
from tests.plugins.bus import NatsFixture
from tests.plugins.database import Database as DatabaseUrls
from tests.plugins.prometheus import PrometheusServer
from tests.support.registry import Fleet
from workers.relay import Relay

DASHBOARD = Path(__file__).parents[2] / "helm" / "seawall" / "files" / "grafana-dashboard.json"


def marks() -> dict[str, dict[str, Any]]:
    """The dashboard's annotation queries over Prometheus, by name."""
    listed = json.loads(DASHBOARD.read_text())["annotations"]["list"]
    return {one["name"]: one for one in listed if one["datasource"]["type"] == "prometheus"}


@pytest.fixture
async def pools(database: DatabaseUrls) -> AsyncIterator[Database]:
    made = Database(Urls(engine=database.engine))
    yield made
    await made.close()


async def test_the_dashboards_marks_stand_at_the_times_at_which_things_changed(
    database: DatabaseUrls, pools: Database, nats: NatsFixture, tmp_path: Path
) -> None:
    async def no_parts() -> list[Part]:
        return []

    event_metrics.begin_marks()
    relay = Relay(pools.engine, nats.bus(NatsRole.RELAY), Cel())
    async with machine_server("127.0.0.1:0", no_parts) as port:
        prometheus = PrometheusServer(tmp_path, [port])
        source = Prometheus(prometheus.url)
        try:
            counted = 'seawall_changes_total{thing="rollout",change="wave-failed"}'
            await prometheus.sees(counted)  # the count before it, so that the first one is an increase
            async with pools.engine() as uow:
                await uow.record("rollout", "r1", "started", data={"targets": 3})
                await uow.record("rollout", "r1", "wave-failed", data={"wave": 1})
            await relay.step()
            await prometheus.sees(f"increase({counted}[1m]) > 0")
            rows = Fleet(database.owner).ask("select type, extract(epoch from at) from history where subject_id = 'r1'")
            at = {kind.split(".")[3]: float(time) for kind, time in rows}
            for name, change in (("Starts", "started"), ("Stops", "wave-failed")):
                assert marks()[name]["useValueForTime"]
                assert await _times(source, marks()[name]["expr"], change) == [pytest.approx(at[change] * 1000, abs=1)]
        finally:
            await source.close()
            prometheus.stop()


async def _times(source: Prometheus, query: str, change: str) -> list[float]:
    """Where Grafana draws: with `useValueForTime` each different value of the range, in milliseconds."""
    found: list[float] = []

    async def look() -> bool:
        now = datetime.now(UTC)
        series = await source.range(query, now - timedelta(seconds=30), now, timedelta(seconds=1))
        found[:] = sorted({value for one in series if one.labels["change"] == change for _, value in one.points})
        return bool(found)

    await until_read(look)
    return found[-1:]


def test_every_query_of_the_dashboard_asks_for_changes_that_there_are() -> None:
    changes = {change for _, change in KNOWN}
    for name, one in marks().items():
        asked = one["expr"].partition('change=~"')[2].partition('"')[0].split("|")
        assert set(asked) <= changes, name


def test_labels_are_those_of_the_catalogue_and_a_late_event_does_not_turn_the_time_back() -> None:
    def told(at: str, kind: str = "freeze") -> Change:
        return Change(kind, "f1", 1, f"dev.seawall.{kind}.lifted.v1", None, at, {})

    event_metrics.mark(
        [told("2026-11-25T08:00:00+00:00"), told("2026-11-25T07:00:00+00:00"), told("2026-11-25T09:00:00+00:00", "x")]
    )
    page = {
        (sample.labels["thing"], sample.labels["change"]): sample.value
        for family in event_metrics.CHANGED_AT.collect()
        for sample in family.samples
    }
    assert page["freeze", "lifted"] == datetime(2026, 11, 25, 8, tzinfo=UTC).timestamp()
    assert not any(thing == "x" for thing, _ in page)
