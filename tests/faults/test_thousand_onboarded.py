"""A batch of a thousand tenants, asked for over HTTP, driven by real workers of which one dies in the middle, to its end."""

from __future__ import annotations

from datetime import timedelta

import httpx
import pytest

from controlplane.services.keys import KeyWish, issue_key
from tests.plugins.operations import ndjson, spec
from tests.support.processes import until

from .conftest import Field

pytestmark = pytest.mark.kill

MANY = 1000


async def test_a_batch_of_a_thousand_ends_with_a_result_for_each_line_though_its_worker_was_killed(
    playground: Field,
) -> None:
    wish = KeyWish("test", frozenset({"platform-admin"}), frozenset(), frozenset(), timedelta(days=1))
    async with playground.transactions.platform() as uow:
        secret = (await issue_key(uow, wish, actor="tests"))[1]
    url = await playground.processes.api()
    headers = {"Authorization": f"Bearer {secret}", "Idempotency-Key": "thousand"}
    lines = ndjson(*(spec(f"shop-{n:04}") for n in range(MANY)), spec("lost", tier="golden"))
    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=60, trust_env=False) as client:
        kind = {"Content-Type": "application/x-ndjson"}
        answer = await client.post("/v1/tenants:batchOnboard", content=lines, headers=kind)
        assert answer.status_code == 202, answer.text
        dying = playground.processes.worker("dying", fault=f"operation:after-effect:{2 * MANY}")
        await playground.processes.ended(dying, within=120)
        assert 0 < playground.rows.ask("select count(*) from steps where state = 'OBSERVED'")[0][0] < 10 * MANY
        playground.processes.worker("heir")
        ended = "select count(*) from operations where ended_at is not null"
        await until(lambda: playground.rows.ask(ended) == [(1,)], 240, "the operation ends")
        operation = (await client.get(answer.headers["operation-location"])).json()
        assert (operation["state"], operation["items"]) == ("succeeded", {"succeeded": MANY, "failed": 1})
        (failed,) = (await client.get(operation["itemsUrl"], params={"state": "failed"})).json()["items"]
        assert (failed["line"], failed["problem"]["code"]) == (MANY + 1, "unknown-tier")
    assert playground.rows.ask("select phase, count(*) from tenants group by phase") == [("active", MANY)]
    assert playground.rows.ask("select distinct state from steps") == [("OBSERVED",)]
    assert playground.rows.ask("select count(distinct tenant) from steps where verb = 'create'") == [(MANY,)]
    assert playground.rows.ask("select count(*) from environments where slot_id is not null or uid is null") == [(0,)]
    assert playground.processes.errors() == []
