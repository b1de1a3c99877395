"""One trace from an HTTP request through the outbox and NATS to the steps of its rollout, across three real processes."""

from __future__ import annotations

import signal
from datetime import timedelta

import httpx
import orjson
import pytest

from controlplane.adapters.nats import NatsRole
from controlplane.services.keys import KeyWish, issue_key
from tests.plugins.bus import NatsFixture
from tests.support.collector import collecting
from tests.support.processes import tail, until

from .conftest import Field, standing_by
from .test_parts_away import on_bus

pytestmark = pytest.mark.kill

TRACE = "0af7651916cd43dd8448eb211c80319c"
# The sweep finds what is due; here only the wake-up may.
_NOT_DUE = """
create function later() returns trigger language plpgsql as $$ begin new.due_at := now() + interval '1 hour'; return new; end $$;
create trigger later before insert on rollouts for each row execute function later()
"""


async def test_the_callers_trace_reaches_the_step_the_audit_row_and_the_logs(
    playground: Field, nats: NatsFixture
) -> None:
    playground.rows.run(_NOT_DUE)
    playground.rows.release("1.0")
    tenants = await playground.tenants(2)
    wish = KeyWish("test", frozenset({"platform-admin"}), frozenset(), frozenset(), timedelta(days=1))
    async with playground.transactions.platform() as uow:
        secret = (await issue_key(uow, wish, actor="tests"))[1]
    async with collecting() as collector:
        playground.processes.extra["SEAWALL_OTLP_ENDPOINT"] = collector.url
        url = await playground.processes.api()
        headers = {
            "Authorization": f"Bearer {secret}",
            "Idempotency-Key": "traced",
            "traceparent": f"00-{TRACE}-b7ad6b7169203331-01",
        }
        async with httpx.AsyncClient(base_url=url, headers=headers, timeout=30, trust_env=False) as client:
            answer = await client.post("/v1/rollouts", json={"release": "odoo/1.0", "strategy": "all"})
        assert answer.status_code == 202, answer.text
        (carried,) = playground.rows.ask("select headers from outbox where subject like 'sw.intent.%%'")[0]
        assert carried["traceparent"].split("-")[1] == TRACE
        worker = await standing_by(playground, "worker", **on_bus(nats, NatsRole.WORK))
        playground.processes.relay(**on_bus(nats, NatsRole.RELAY))
        assert await playground.over(answer.json()["id"]) == ["succeeded"]
        for child in playground.processes.children.values():
            child.kill(signal.SIGTERM)
        await until(lambda: not any(c.running() for c in playground.processes.children.values()), what="all ended")
        mine = [span for span in collector.spans() if span.trace == TRACE]
    ids = {span.id: span for span in mine}
    (wake,) = [
        span for span in mine if span.name == "wake rollout" and span.parent == carried["traceparent"].split("-")[2]
    ]
    (drive,) = [span for span in mine if span.name == "drive rollout"]
    assert (drive.service, ids[drive.parent]) == ("seawall-work", wake)
    effects = [span for span in mine if span.name == "effect apply"]
    assert {span.attributes["seawall.tenant"] for span in effects} == set(tenants)
    assert {span.attributes["seawall.rollout"] for span in effects} == {answer.json()["id"]}
    assert {ids[span.parent].name for span in effects} == {"drive rollout"}
    assert any(span.name == "tick" and span.parent == drive.id for span in mine)
    audited = playground.rows.ask("select distinct trace_id from audit where action like 'rollout%%'")
    assert audited == [(TRACE,)]
    (said,) = [orjson.loads(line) for line in tail(worker, 100_000).splitlines() if '"event": "driving"' in line]
    assert said["traceId"] == TRACE
