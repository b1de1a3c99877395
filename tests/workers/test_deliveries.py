"""Webhooks to a real HTTP receiver that takes, hangs, redirects, fails: signed, in order, retried, dead in the end, redriven."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from typing import Any

import jsonschema  # type: ignore[import-untyped]  # it comes without types
import orjson
import pytest
from aiohttp import web
from standardwebhooks.webhooks import Webhook as Verifier

from controlplane.adapters.cel import Cel
from controlplane.adapters.nats import NatsRole
from controlplane.adapters.postgres.database import Database, Urls
from controlplane.adapters.secrets import LocalSecrets
from controlplane.adapters.webhooks import HttpWebhooks
from controlplane.domain.webhooks import RETRIES
from controlplane.ports.bus import BusUnavailableError
from controlplane.services.events.dead_letters import newest, redrive
from tests.plugins.bus import NatsFixture
from tests.plugins.database import Database as DatabaseUrls
from tests.support.registry import Fleet
from tests.waiting import until
from workers.deliveries import Deliveries, DeliveryTools
from workers.relay import Relay

SECRET = "whsec_c2VhbGwtc2VjcmV0LXNlYWxsLXNlY3JldA=="
OLD_SECRET = "whsec_b2xkLXNlY3JldC1vbGQtc2VjcmV0LW9sZC0="


class Receiver:
    """A subscriber's server. `answers` are used up one by one, then everything is taken."""

    def __init__(self) -> None:
        self.answers: list[int | str] = []
        self.taken: list[dict[str, Any]] = []
        self.requests: list[tuple[dict[str, str], bytes]] = []
        self.url = ""
        self._let_go = asyncio.Event()
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        app = web.Application()
        app.router.add_post("/hook", self._handle)
        app.router.add_post("/elsewhere", self._elsewhere)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}/hook"

    async def stop(self) -> None:
        self._let_go.set()
        if self._runner is not None:
            await self._runner.cleanup()

    async def _handle(self, request: web.Request) -> web.Response:
        body = await request.read()
        self.requests.append(({k.lower(): v for k, v in request.headers.items()}, body))
        answer = self.answers.pop(0) if self.answers else 204
        if answer == "hang":
            await self._let_go.wait()
        if answer == "redirect":
            return web.Response(status=307, headers={"Location": "/elsewhere"})
        status = answer if isinstance(answer, int) else 200
        if 200 <= status < 300:
            self.taken.append(orjson.loads(body))
        return web.Response(status=status)

    async def _elsewhere(self, request: web.Request) -> web.Response:
        raise AssertionError("a redirect was followed")


class World:
    """The registry, a relay that plans deliveries, and the loop that makes them."""

    def __init__(self, database: DatabaseUrls, nats: NatsFixture, receiver: Receiver) -> None:
        self.receiver = receiver
        self.pools = Database(Urls(platform=database.platform, engine=database.engine))
        self.registry = Fleet(database.owner)
        self.relay = Relay(self.pools.engine, nats.bus(NatsRole.RELAY), Cel())
        tools = DeliveryTools(self.pools.engine, HttpWebhooks(timeout=0.5), LocalSecrets())
        self.deliveries = Deliveries(tools)

    def webhook(self, name: str = "acme", **changes: Any) -> None:
        spec = {"url": self.receiver.url, "secrets": [{"env": "SEAWALL_SECRET_HOOK"}], "types": ["*"], "filter": "true"}
        self.registry.config("webhooks", name, {**spec, **changes})

    async def happen(self, *changes: str, subject: str = "r1", **data: Any) -> None:
        async with self.pools.engine() as uow:
            for change in changes:
                await uow.record("rollout", subject, change, tenant="acme", data=data)
        await self.relay.step()

    async def deliver(self, times: int = 1) -> None:
        """As many rounds, the waits between them left out."""
        for _ in range(times):
            while await self.deliveries.step():
                pass
            self.registry.run("update deliveries set due_at = now() where state = 'pending'")

    def states(self) -> list[tuple[Any, ...]]:
        return self.registry.ask("select state, attempts from deliveries order by subject_id, seq")

    def changes(self) -> Sequence[str]:
        return [event["type"].split(".")[3] for event in self.receiver.taken]


@pytest.fixture
async def world(database: DatabaseUrls, nats: NatsFixture, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    monkeypatch.setenv("SEAWALL_SECRET_HOOK", SECRET)
    monkeypatch.setenv("SEAWALL_SECRET_OLD", OLD_SECRET)
    receiver = Receiver()
    await receiver.start()
    made = World(database, nats, receiver)
    yield made
    await receiver.stop()
    await made.pools.close()


async def test_an_event_arrives_as_a_signed_cloudevent(world: World) -> None:
    world.webhook(secrets=[{"env": "SEAWALL_SECRET_HOOK"}, {"env": "SEAWALL_SECRET_OLD"}])
    await world.happen("started", wave=1)
    await world.deliver()
    [(headers, body)] = world.receiver.requests
    for secret in (SECRET, OLD_SECRET):
        Verifier(secret).verify(body, headers)
    event = orjson.loads(body)
    assert event["specversion"] == "1.0"
    assert (event["type"], event["subject"], event["tenant"]) == ("dev.seawall.rollout.started.v1", "r1", "acme")
    assert (event["data"], event["sequence"], headers["webhook-id"]) == ({"wave": 1}, "1", event["id"])
    assert world.states() == [("delivered", 1)]


async def test_an_event_whose_subject_has_odd_characters_arrives(world: World) -> None:
    world.webhook()
    await world.happen("started", subject="odoo/1\r\nX: é")
    await world.deliver()
    [(headers, body)] = world.receiver.requests
    Verifier(SECRET).verify(body, headers)
    assert orjson.loads(body)["subject"] == "odoo/1\r\nX: é"
    assert "x" not in headers


async def test_only_what_is_wanted_is_sent(world: World) -> None:
    world.webhook(types=["dev.seawall.rollout.*"], filter="event.data.wave > 1")
    await world.happen("started", wave=1)
    await world.happen("paused", wave=2)
    async with world.pools.engine() as uow:
        await uow.record("tenant", "acme", "suspended", data={"wave": 9})
    await world.relay.step()
    await world.deliver()
    assert world.changes() == ["paused"]


async def test_a_filter_that_fails_rather_sends_one_too_many(world: World) -> None:
    world.webhook(filter="event.data.missing == 1")
    await world.happen("started")
    await world.deliver()
    assert world.changes() == ["started"]


async def test_a_failed_delivery_holds_up_its_own_subject_only_and_order_is_kept(world: World) -> None:
    world.webhook()
    world.receiver.answers = [500]
    await world.happen("started", "paused", subject="r1")
    await world.deliveries.step()
    await world.happen("started", subject="r2")
    await world.deliveries.step()
    assert [e["subject"] for e in world.receiver.taken] == ["r2"]
    await world.deliver(2)
    assert [(e["subject"], e["sequence"]) for e in world.receiver.taken] == [("r2", "1"), ("r1", "1"), ("r1", "2")]


@pytest.mark.parametrize(
    ("answer", "reason"), [(500, "500"), ("hang", "no answer"), ("redirect", "redirects"), (404, "404")]
)
async def test_what_is_no_success_is_tried_again_under_the_same_id(
    world: World, answer: int | str, reason: str
) -> None:
    world.webhook()
    world.receiver.answers = [answer]
    await world.happen("started")
    await world.deliveries.step()
    [(state, error)] = world.registry.ask("select state, last_error from deliveries")
    assert state == "pending"
    assert reason in error
    await world.deliver(2)
    assert world.states() == [("delivered", 2)]
    assert len({headers["webhook-id"] for headers, _ in world.receiver.requests}) == 1


async def test_a_delivery_that_failed_too_often_is_a_dead_letter_and_can_be_redriven(world: World) -> None:
    world.webhook()
    world.receiver.answers = [503] * (len(RETRIES) + 1)
    await world.happen("started", "paused")
    await world.deliver(len(RETRIES) + 1)
    assert world.states()[0] == ("dead", len(RETRIES) + 1)
    await world.deliver()
    assert world.changes() == ["paused"]
    async with world.pools.platform() as uow:
        [letter] = await newest(uow, None, 10)
        assert (letter.kind, letter.webhook, letter.event) == ("delivery", "acme", "rollout-r1-1")
        assert await redrive(uow, "delivery", "", letter.id, actor="key:1")
    await world.deliver()
    assert world.changes() == ["paused", "started"]


async def test_a_receiver_that_is_gone_is_not_tried_again(world: World) -> None:
    world.webhook()
    world.receiver.answers = [410]
    await world.happen("started")
    await world.deliver()
    assert world.states() == [("dead", 1)]


async def test_nobody_listening_at_the_address_is_a_failure_like_any_other(world: World) -> None:
    world.webhook(url="http://127.0.0.1:9/hook")
    await world.happen("started")
    await world.deliveries.step()
    assert world.states() == [("pending", 1)]


@pytest.mark.parametrize(
    "url",
    [
        "http://169.254.169.254/metadata/identity/oauth2/token",
        "http://[fe80::1]/",
        "http://[::ffff:169.254.169.254]/",
        "http://2852039166/",
    ],
)
async def test_the_metadata_service_is_never_called(world: World, url: str) -> None:
    world.webhook(url=url)
    await world.happen("started")
    await world.deliveries.step()
    [(error,)] = world.registry.ask("select last_error from deliveries")
    assert "metadata" in error or "not a canonical IPv4 address" in error


async def test_a_private_address_is_refused_where_the_webhook_says_so(world: World) -> None:
    world.webhook(allowPrivate=False)
    await world.happen("started")
    await world.deliveries.step()
    assert world.receiver.requests == []
    world.webhook(allowPrivate=False, url=world.receiver.url.replace("127.0.0.1", "localhost"))
    await world.deliver()
    assert world.receiver.requests == []


async def test_a_missing_or_broken_secret_sends_nothing_unsigned(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.webhook()
    await world.happen("started")
    for broken in ("", "whsec_***"):
        monkeypatch.setenv("SEAWALL_SECRET_HOOK", broken)
        await world.deliver()
    [(error,)] = world.registry.ask("select last_error from deliveries")
    assert "can't be signed" in error
    assert "***" not in error
    assert world.receiver.requests == []


async def test_a_subscriber_added_later_gets_what_happens_from_then_on(world: World) -> None:
    await world.happen("started")
    world.webhook()
    await world.happen("paused")
    await world.deliver()
    assert world.changes() == ["paused"]


async def test_everything_is_delivered_though_nats_is_away_and_once(world: World, nats: NatsFixture) -> None:
    world.webhook()
    nats.server.kill()
    async with world.pools.engine() as uow:
        for change in ("started", "paused", "resumed"):
            await uow.record("rollout", "r1", change)
    relay = Relay(world.pools.engine, nats.bus(NatsRole.RELAY), Cel(), batch=1)
    with pytest.raises(BusUnavailableError):
        await relay.step()
    await relay.plan_ahead()
    await world.deliver(3)
    assert world.changes() == ["started", "paused", "resumed"]
    nats.server.start()
    await until(lambda: published(relay))
    await world.deliver()
    assert len(world.receiver.requests) == 3
    assert world.registry.ask("select count(*) from outbox") == [(0,)]


async def published(relay: Relay) -> bool:
    """One more try; whether nothing is left."""
    try:
        return await relay.step() == 0
    except BusUnavailableError:
        return False


async def test_a_sender_that_died_in_the_middle_is_followed_by_another(world: World) -> None:
    world.webhook()
    await world.happen("started")
    async with world.pools.engine() as uow:
        assert len(await uow.deliveries.claim(5, uow.now + timedelta(seconds=60))) == 1
    assert await world.deliveries.step() == 0
    world.registry.run("update deliveries set due_at = now()")
    await world.deliver()
    assert world.states() == [("delivered", 2)]


async def test_a_deleted_webhook_ends_its_deliveries(world: World) -> None:
    world.webhook()
    await world.happen("started")
    world.registry.run("update config_current set deleted_at = now()")
    await world.deliver()
    assert world.states() == [("dead", 1)]


ANNOTATION = {
    # As Grafana publishes it: https://grafana.com/docs/grafana/latest/developer-resources/api-reference/http-api/annotations/
    "type": "object",
    "additionalProperties": False,
    "required": ["time", "text"],
    "properties": {
        "dashboardUID": {"type": "string"},
        "panelId": {"type": "integer"},
        "time": {"type": "integer", "minimum": 1_000_000_000_000},
        "timeEnd": {"type": "integer", "minimum": 1_000_000_000_000},
        "tags": {"type": "array", "items": {"type": "string"}},
        "text": {"type": "string", "minLength": 1},
    },
}


async def test_grafana_gets_annotations_with_its_token_and_a_dead_letter_when_it_refuses_for_good(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEAWALL_SECRET_GRAFANA", "glsa_a-token\n")
    world.webhook(
        "grafana",
        secrets=[],
        format="grafana",
        token={"env": "SEAWALL_SECRET_GRAFANA"},
        types=["dev.seawall.rollout.*"],
    )
    world.receiver.answers = [401]
    await world.happen("started", release="odoo/17.0.5")
    await world.deliver(2)
    assert world.states() == [("delivered", 2)]
    headers, body = world.receiver.requests[-1]
    assert headers["authorization"] == "Bearer glsa_a-token"
    assert headers["content-type"] == "application/json"
    assert not any(name.startswith("webhook-") for name in headers)
    jsonschema.validate(orjson.loads(body), ANNOTATION)
    (told,) = world.registry.ask("select extract(epoch from at) * 1000 from history where subject_id = 'r1'")
    assert abs(orjson.loads(body)["time"] - float(told[0])) < 1
    assert {"seawall", "change", "rollout", "started", "tenant:acme", "app:odoo"} <= set(orjson.loads(body)["tags"])
    world.receiver.answers = [500] * (len(RETRIES) + 1)
    await world.happen("failed", subject="r2", reason="a gate said no")
    await world.deliver(len(RETRIES) + 1)
    assert [state for state, _ in world.states()] == ["delivered", "dead"]


async def test_a_token_that_is_none_sends_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEAWALL_SECRET_GRAFANA", "two words")
    world.webhook("grafana", secrets=[], format="grafana", token={"env": "SEAWALL_SECRET_GRAFANA"})
    await world.happen("started")
    await world.deliver()
    assert world.receiver.requests == []
    (error,) = world.registry.ask("select last_error from deliveries")
    assert "is no token" in error[0]
    assert "two words" not in error[0]
