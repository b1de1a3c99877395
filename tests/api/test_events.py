"""Events in over HTTP: stored before 202, each told apart, each with a fate."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
from typing import Any

import httpx
import pytest

from tests.api.problems import problem
from tests.plugins.api import Api

STRUCTURED = {"content-type": "application/cloudevents+json"}
BATCH = {"content-type": "application/cloudevents-batch+json"}
EVENT: dict[str, Any] = {
    "specversion": "1.0",
    "id": "e-1",
    "source": "/ci/odoo",
    "type": "release.published",
    "data": {"tag": "17.0.4"},
}
SECRET = "s3cret"
TENANT = {
    "name": "acme-fr",
    "displayName": "ACME France",
    "tier": "standard",
    "region": "west",
    "timeZone": "Europe/Paris",
    "environments": {"production": {"cluster": "aks-1"}},
    "apps": {},
}
RELEASE = {"action": "published", "release": {"tag_name": "17.0.4"}, "repository": {"full_name": "acme/odoo"}}


async def send(client: httpx.AsyncClient, event: Any, headers: dict[str, str] = STRUCTURED) -> httpx.Response:
    return await client.post("/v1/events", content=json.dumps(event), headers=headers)


async def with_source(api: Api, name: str, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEAWALL_SECRET_HOOK", SECRET)
    admin = await api.as_("platform-admin")
    answer = await admin.put(f"/v1/sources/{name}", json={"kind": kind, "secrets": [{"env": "SEAWALL_SECRET_HOOK"}]})
    assert answer.status_code == 201, answer.text


async def push(api: Api, name: str, payload: Any, delivery: str = "d-1", secret: str = SECRET) -> httpx.Response:
    body = json.dumps(payload).encode()
    headers = {
        "content-type": "application/json",
        "x-github-event": "release",
        "x-github-delivery": delivery,
        "x-hub-signature-256": "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest(),
    }
    return await api.client().post(f"/v1/hooks/{name}", content=body, headers=headers)


async def stored(api: Api) -> list[tuple[str, str]]:
    from sqlalchemy import text

    async with api.container.database.platform() as uow:
        rows = await uow.session.execute(text("select source, id from inbound_events order by received_at, id"))
        return [(row.source, row.id) for row in rows]


async def test_an_event_is_stored_and_its_fate_can_be_read_where_the_answer_says(api: Api) -> None:
    client = await api.as_("ci", apps=["odoo"])
    answer = await send(client, EVENT)
    assert answer.status_code == 202
    [receipt] = answer.json()["events"]
    assert receipt["duplicate"] is False
    assert answer.headers["operation-location"] == receipt["fate"]
    fate = (await client.get(receipt["fate"])).json()
    assert (fate["id"], fate["source"], fate["state"], fate["fate"]) == ("e-1", "/ci/odoo", "received", [])
    assert fate["data"] == {"tag": "17.0.4"}


async def test_binary_and_batch_are_taken_too(api: Api) -> None:
    client = await api.as_("operator")
    attributes = {k: v for k, v in EVENT.items() if k != "data"}
    headers = {"content-type": "application/json", **{f"ce-{k}": v for k, v in attributes.items()}}
    assert (await send(client, EVENT["data"], headers)).status_code == 202
    assert (await send(client, [{**EVENT, "id": f"b-{n}"} for n in range(3)], BATCH)).status_code == 202
    assert [i for _, i in await stored(api)] == ["e-1", "b-0", "b-1", "b-2"]


async def test_an_event_without_id_is_refused_and_nothing_of_its_batch_is_stored(api: Api) -> None:
    client = await api.as_("operator")
    without = {k: v for k, v in EVENT.items() if k != "id"}
    body = problem(await send(client, [EVENT, without], BATCH), 400, "event-invalid")
    assert body["errors"][0]["pointer"] == "/1/id"
    assert await stored(api) == []


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b'{"specversion": NaN}', b"[]", b'"x"', b"[" * 5000])
async def test_what_is_no_event_is_refused_without_a_traceback(api: Api, content: bytes) -> None:
    client = await api.as_("operator")
    problem(await client.post("/v1/events", content=content, headers=STRUCTURED), 400, "event-invalid")


async def test_an_event_that_is_too_large_is_refused(api: Api) -> None:
    client = await api.as_("operator")
    problem(await send(client, {**EVENT, "data": "x" * 300_000}), 413, "event-too-large")


async def test_an_event_seen_twice_is_one_event(api: Api) -> None:
    client = await api.as_("operator")
    await send(client, EVENT)
    again = await send(client, {**EVENT, "time": "2026-11-23T10:00:00Z"})
    assert again.status_code == 202
    assert again.json()["events"][0]["duplicate"] is True
    assert len(await stored(api)) == 1


async def test_many_senders_of_one_event_at_once_store_it_once(api: Api) -> None:
    client = await api.as_("operator")
    answers = await asyncio.gather(*(send(client, EVENT) for _ in range(8)))
    assert {a.status_code for a in answers} == {202}
    assert sorted(a.json()["events"][0]["duplicate"] for a in answers) == [False, *[True] * 7]


async def test_the_same_id_with_other_content_is_refused_and_the_first_event_stands(api: Api) -> None:
    client = await api.as_("operator")
    await send(client, EVENT)
    fresh = {**EVENT, "id": "fresh"}
    problem(await send(client, [fresh, {**EVENT, "data": {"tag": "6.6.6"}}], BATCH), 409, "event-id-reused")
    assert await stored(api) == [("/ci/odoo", "e-1")]
    assert (await client.get("/v1/events/e-1")).json()["data"] == {"tag": "17.0.4"}


async def test_the_same_id_of_two_sources_are_two_events_and_asking_names_both(api: Api) -> None:
    client = await api.as_("operator")
    await send(client, EVENT)
    await send(client, {**EVENT, "source": "/other"})
    assert "/other" in problem(await client.get("/v1/events/e-1"), 404, "event-ambiguous")["detail"]
    assert (await client.get("/v1/events/e-1", params={"source": "/other"})).json()["source"] == "/other"


async def test_an_id_with_slashes_and_spaces_is_found_again(api: Api) -> None:
    client = await api.as_("operator")
    receipt = (await send(client, {**EVENT, "id": "a/b c?d"})).json()["events"][0]
    assert (await client.get(receipt["fate"])).json()["id"] == "a/b c?d"


async def test_who_may_not_send_or_see_is_told_so(api: Api) -> None:
    problem(await send(api.client(), EVENT), 401, "unauthenticated")
    problem(await send(await api.as_("auditor"), EVENT), 403, "forbidden")
    problem(await send(await api.as_("tenant-owner", tenants=["acme"]), EVENT), 404, "not-found")
    await send(await api.as_("ci", apps=["odoo"]), EVENT)
    problem(await (await api.as_("ci", apps=["odoo"])).get("/v1/events/e-1"), 404, "not-found")
    assert (await (await api.as_("auditor")).get("/v1/events/e-1")).status_code == 200


async def test_a_full_outbox_sends_callers_away_before_anything_is_stored(api: Api) -> None:
    from sqlalchemy import text

    async with api.container.database.platform() as uow:
        statement = "insert into outbox (subject, msg_id) select 'sw.event.x', n::text from generate_series(1, 50000) n"
        await uow.session.execute(text(statement))
    answer = await send(await api.as_("operator"), EVENT)
    problem(answer, 429, "overloaded")
    assert answer.headers["retry-after"]
    assert await stored(api) == []
    problem(await (await api.as_("platform-admin")).post("/v1/tenants", json=TENANT), 429, "overloaded")


async def test_a_github_delivery_is_believed_for_its_signature(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    await with_source(api, "github-acme", "github", monkeypatch)
    answer = await push(api, "github-acme", RELEASE)
    assert answer.status_code == 202, answer.text
    event = (await (await api.as_("operator")).get("/v1/events/d-1")).json()
    assert (event["source"], event["type"], event["receivedFrom"]) == (
        "github-acme",
        "release.published",
        "hooks/github-acme",
    )
    assert event["data"]["tag"] == "17.0.4"


async def test_a_delivery_that_is_not_signed_right_is_refused(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    await with_source(api, "github-acme", "github", monkeypatch)
    problem(await push(api, "github-acme", RELEASE, secret="wrong"), 401, "bad-signature")
    unsigned = await api.client().post("/v1/hooks/github-acme", json=RELEASE)
    problem(unsigned, 401, "bad-signature")
    assert await stored(api) == []


async def test_an_unknown_source_is_404(api: Api) -> None:
    problem(await push(api, "nobody", RELEASE), 404, "unknown-source")


async def test_a_redelivery_is_the_same_event_and_a_replay_under_a_new_id_too(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    await with_source(api, "github-acme", "github", monkeypatch)
    await push(api, "github-acme", RELEASE)
    for delivery in ("d-1", "d-2"):
        again = (await push(api, "github-acme", RELEASE, delivery)).json()["events"]
        assert [(e["id"], e["duplicate"]) for e in again] == [("d-1", True)]
    assert len(await stored(api)) == 1


async def test_replays_at_the_same_moment_are_one_event(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    await with_source(api, "github-acme", "github", monkeypatch)
    await asyncio.gather(*(push(api, "github-acme", RELEASE, f"d-{n}") for n in range(6)))
    assert len(await stored(api)) == 1


async def test_a_source_whose_secret_is_missing_believes_nobody(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    await with_source(api, "github-acme", "github", monkeypatch)
    monkeypatch.delenv("SEAWALL_SECRET_HOOK")
    body = problem(await push(api, "github-acme", RELEASE), 503, "secret-unavailable")
    assert SECRET not in json.dumps(body)


async def test_nobody_may_speak_for_a_signed_source_with_a_key(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    await with_source(api, "github-acme", "github", monkeypatch)
    problem(await send(await api.as_("operator"), {**EVENT, "source": "github-acme"}), 403, "source-reserved")


async def test_event_grid_shakes_hands_and_pushes_cloudevents(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    await with_source(api, "acr", "azure", monkeypatch)
    asked = {"webhook-request-origin": "eventgrid.azure.net"}
    agreed = await api.client().options("/v1/hooks/acr", headers=asked)
    assert (agreed.status_code, agreed.headers["webhook-allowed-origin"]) == (200, "eventgrid.azure.net")
    stranger = await api.client().options("/v1/hooks/acr", headers={"webhook-request-origin": "evil.example"})
    problem(stranger, 403, "origin-not-allowed")
    pushed = {**EVENT, "source": "/subscriptions/1/registries/acme", "type": "Microsoft.ContainerRegistry.ImagePushed"}
    answer = await api.client().post(f"/v1/hooks/acr?code={SECRET}", content=json.dumps([pushed]), headers=BATCH)
    assert answer.status_code == 202, answer.text
    problem(
        await api.client().post("/v1/hooks/acr", content=json.dumps(pushed), headers=STRUCTURED), 401, "bad-signature"
    )


async def test_flux_is_believed_for_its_hmac(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    await with_source(api, "flux", "flux", monkeypatch)
    body = json.dumps(
        {"involvedObject": {"kind": "HelmRelease", "name": "odoo"}, "reason": "UpgradeSucceeded"}
    ).encode()
    headers = {"x-signature": "sha256=" + hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()}
    answer = await api.client().post("/v1/hooks/flux", content=body, headers=headers)
    assert answer.status_code == 202


async def test_a_trigger_with_a_filter_that_does_not_compile_is_refused_where_it_is_stored(api: Api) -> None:
    trigger = {
        "source": "/ci",
        "filter": "event.type ==",
        "release": {"app": "odoo", "version": "${event.data.tag}"},
        "rollout": {"strategy": "careful"},
    }
    answer = await (await api.as_("release-manager")).put("/v1/triggers/t", json=trigger)
    assert problem(answer, 422, "expression-invalid")["errors"][0]["pointer"] == "/filter"


async def test_redriving_what_is_no_dead_letter_says_so(api: Api) -> None:
    client = await api.as_("operator")
    await send(client, EVENT)
    items = [{"kind": "event", "id": "e-1", "source": "/ci/odoo"}, {"kind": "delivery", "id": "no-uuid", "source": ""}]
    answer = await client.post("/v1/dead-letters:redrive", json={"items": items})
    assert answer.json() == {"redriven": [], "notFound": items}
    assert (await client.get("/v1/dead-letters")).json() == {"items": []}
