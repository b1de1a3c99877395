"""The wire rules that every path keeps, shown on the smallest feature: keys."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator

import psycopg

from controlplane.api.housekeeping import forget_intents
from tests.api.problems import pointers, problem
from tests.plugins.api import Api
from tests.plugins.database import Database

WISH = {"name": "robot", "roles": ["auditor"]}


async def test_without_a_key_every_path_asks_who_is_calling(api: Api) -> None:
    answer = await api.client().get("/v1/keys")
    problem(answer, 401, "unauthenticated")
    assert answer.headers["www-authenticate"].startswith("Bearer")


async def test_an_unknown_key_is_refused_before_the_body_is_read(api: Api) -> None:
    answer = await api.client("sw_unknown").post("/v1/keys", content=b"{not json")
    problem(answer, 401, "invalid-key")


async def test_an_unknown_field_is_refused_and_named(api: Api) -> None:
    admin = await api.as_("platform-admin")
    answer = await admin.post("/v1/keys", json={**WISH, "colour": "red"})
    body = problem(answer, 422, "invalid")
    assert pointers(body) == ["/colour"]
    assert body["detail"] == "/colour: there is no field of this name here; correct its spelling or leave it out"


async def test_a_bad_name_is_refused_in_words_that_need_no_regular_expression(api: Api) -> None:
    admin = await api.as_("platform-admin")
    body = problem(await admin.put("/v1/tiers/Not_A_Name", json={}), 422, "invalid")
    assert body["detail"].startswith("path/name: is no DNS-1123 label: lower-case letters, digits and '-'")
    body = problem(await admin.get("/v1/operations/not-an-id"), 422, "invalid")
    assert body["detail"] == "path/operation_id: is no UUID; take the id as it was answered"


async def test_a_wrong_type_is_refused_and_named(api: Api) -> None:
    admin = await api.as_("platform-admin")
    answer = await admin.post("/v1/keys", json={"name": 7, "roles": "auditor"})
    assert sorted(pointers(problem(answer, 422, "invalid"))) == ["/name", "/roles"]


async def test_snake_case_is_not_the_wire_s_case(api: Api) -> None:
    admin = await api.as_("platform-admin")
    answer = await admin.post("/v1/keys", json={**WISH, "expires_in": "P1D"})
    problem(answer, 422, "invalid")


async def test_an_unknown_query_parameter_is_refused(api: Api) -> None:
    admin = await api.as_("platform-admin")
    body = problem(await admin.get("/v1/keys?limt=3"), 422, "invalid")
    assert pointers(body) == ["query/limt"]


async def test_a_body_that_is_not_json_is_refused(api: Api) -> None:
    admin = await api.as_("platform-admin")
    headers = {"content-type": "application/json"}
    problem(await admin.post("/v1/keys", content=b"{nope", headers=headers), 422, "invalid-json")
    problem(await admin.post("/v1/keys", content=b'{"name": NaN}', headers=headers), 422, "invalid-json")


async def test_a_body_of_another_media_type_is_refused_with_the_right_one(api: Api) -> None:
    admin = await api.as_("platform-admin")
    for kind in ("application/x-www-form-urlencoded", "text/plain"):
        answer = await admin.post("/v1/keys", content=b'{"name": "x"}', headers={"content-type": kind})
        assert "application/json" in str(problem(answer, 415, "unsupported-media-type")["detail"])
    assert (await admin.post("/v1/keys", content=b'{"name": "x"}')).status_code == 415
    problem(await admin.post("/v1/keys"), 422, "invalid")
    odd = await admin.post(
        "/v1/keys", json=WISH, headers={"content-type": "application/merge-patch+json; charset=utf-8"}
    )
    assert odd.status_code == 201
    patched = await admin.patch("/v1/tenants/acme-fr", content=b"{}", headers={"content-type": "text/plain"})
    assert "application/merge-patch+json" in str(problem(patched, 415, "unsupported-media-type")["detail"])


async def test_a_nul_character_is_refused_wherever_it_hides(api: Api) -> None:
    admin = await api.as_("platform-admin")
    body = problem(await admin.post("/v1/keys", json={**WISH, "name": "a\0b"}), 422, "invalid")
    assert pointers(body) == ["/name"]
    problem(await admin.get("/v1/keys/%00"), 400, "bad-request")


async def test_a_body_over_10_mb_is_refused_with_or_without_a_length(api: Api) -> None:
    admin = await api.as_("platform-admin")
    big = b'{"name":"' + b"x" * 10_000_001 + b'"}'
    headers = {"content-type": "application/json"}
    problem(await admin.post("/v1/keys", content=big, headers=headers), 413, "body-too-large")

    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(big), 1 << 20):
            yield big[start : start + (1 << 20)]

    problem(await admin.post("/v1/keys", content=chunks(), headers=headers), 413, "body-too-large")


async def test_unknown_paths_and_methods_are_problems_too(api: Api) -> None:
    admin = await api.as_("platform-admin")
    problem(await admin.get("/v1/nothing"), 404, "not-found")
    answer = await admin.patch("/v1/keys")
    problem(answer, 405, "method-not-allowed")


async def test_what_a_caller_may_not_see_is_404_and_what_it_may_not_do_is_403(api: Api) -> None:
    auditor = await api.as_("auditor")
    problem(await auditor.post("/v1/keys", json=WISH), 404, "not-found")


async def test_a_post_without_an_idempotency_key_is_refused(api: Api) -> None:
    client = api.client(await api.key("platform-admin"), idempotent=False)
    problem(await client.post("/v1/keys", json=WISH), 400, "idempotency-key-required")


async def test_the_same_idempotency_key_and_body_give_the_first_answer_without_its_secret(api: Api) -> None:
    admin = await api.as_("platform-admin")
    headers = {"idempotency-key": "once"}
    first = await admin.post("/v1/keys", json=WISH, headers=headers)
    reordered = b'{ "roles": ["auditor"], "name": "robot" }'
    json_too = {**headers, "content-type": "application/json"}
    again = await admin.post("/v1/keys", content=reordered, headers=json_too)
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.headers["location"] == again.headers["location"]
    assert again.headers["idempotency-replayed"] == "true"
    shown = first.json()
    assert shown.pop("secret").startswith("sw_")
    assert again.json() == shown


async def test_the_same_idempotency_key_with_another_body_is_refused(api: Api) -> None:
    admin = await api.as_("platform-admin")
    headers = {"idempotency-key": "once"}
    await admin.post("/v1/keys", json=WISH, headers=headers)
    answer = await admin.post("/v1/keys", json={**WISH, "name": "other"}, headers=headers)
    problem(answer, 422, "idempotency-key-reused")


async def test_the_same_idempotency_key_of_another_principal_is_another_key(api: Api) -> None:
    headers = {"idempotency-key": "once"}
    first = await (await api.as_("platform-admin")).post("/v1/keys", json=WISH, headers=headers)
    second = await (await api.as_("platform-admin")).post("/v1/keys", json=WISH, headers=headers)
    assert first.json()["id"] != second.json()["id"]


async def test_concurrent_requests_with_one_idempotency_key_have_one_effect(api: Api) -> None:
    admin = await api.as_("platform-admin")
    headers = {"idempotency-key": "together"}
    answers = await asyncio.gather(*(admin.post("/v1/keys", json=WISH, headers=headers) for _ in range(8)))
    assert {a.status_code for a in answers} == {201}
    assert len({a.json()["id"] for a in answers}) == 1
    names = [k["name"] for k in (await admin.get("/v1/keys")).json()["items"]]
    assert names.count("robot") == 1


async def test_a_failed_request_stores_no_intent(api: Api) -> None:
    admin = await api.as_("platform-admin")
    headers = {"idempotency-key": "k"}
    problem(await admin.post("/v1/keys", json={**WISH, "expiresIn": "P999D"}, headers=headers), 422, "invalid")
    assert (await admin.post("/v1/keys", json=WISH, headers=headers)).status_code == 201


async def test_a_list_is_paged_by_absolute_links_until_the_last_page_has_none(api: Api) -> None:
    admin = await api.as_("platform-admin")
    made = [(await admin.post("/v1/keys", json={**WISH, "name": f"k{n}"})).json()["id"] for n in range(5)]
    seen: list[str] = []
    url: str | None = "/v1/keys?limit=2"
    pages = 0
    while url:
        body = (await admin.get(url)).json()
        seen += [k["id"] for k in body["items"]]
        pages += 1
        url = body.get("next")
        assert url is None or url.startswith(api.url)
    assert pages == 3
    assert [i for i in seen if i in made] == made


async def test_a_cursor_of_somebody_s_own_making_is_refused(api: Api) -> None:
    admin = await api.as_("platform-admin")
    problem(await admin.get("/v1/keys?cursor=bm9wZQ"), 422, "invalid-cursor")
    problem(await admin.get("/v1/keys?limit=0"), 422, "invalid")
    problem(await admin.get("/v1/keys?limit=100000"), 422, "invalid")


async def test_each_read_has_an_etag_and_who_has_the_content_gets_304(api: Api) -> None:
    admin = await api.as_("platform-admin")
    first = await admin.get("/v1/whoami")
    again = await admin.get("/v1/whoami", headers={"if-none-match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == first.headers["etag"]
    for seen in (f'"other", W/{first.headers["etag"]}', "*"):
        assert (await admin.get("/v1/whoami", headers={"if-none-match": seen})).status_code == 304
    assert (await admin.get("/v1/whoami", headers={"if-none-match": '"other"'})).status_code == 200


async def test_an_expired_key_is_refused_by_name(api: Api) -> None:
    from datetime import timedelta

    secret = await api.key("auditor", life=timedelta(microseconds=1))
    problem(await api.client(secret).get("/v1/whoami"), 401, "expired-key")


async def test_a_revoked_key_is_refused_from_the_next_request_on(api: Api) -> None:
    admin = await api.as_("platform-admin")
    issued = (await admin.post("/v1/keys", json=WISH)).json()
    client = api.client(issued["secret"])
    assert (await client.get("/v1/whoami")).status_code == 200
    assert (await admin.delete(f"/v1/keys/{issued['id']}")).status_code == 204
    problem(await client.get("/v1/whoami"), 401, "revoked-key")


async def test_a_key_that_does_not_exist_can_t_be_shown_or_revoked(api: Api) -> None:
    admin = await api.as_("platform-admin")
    problem(await admin.get(f"/v1/keys/{uuid.uuid4()}"), 404, "not-found")
    problem(await admin.delete(f"/v1/keys/{uuid.uuid4()}"), 404, "not-found")


async def test_roles_and_what_they_are_bound_to_go_together(api: Api) -> None:
    admin = await api.as_("platform-admin")
    body = problem(await admin.post("/v1/keys", json={"name": "x", "roles": ["tenant-owner"]}), 422, "invalid")
    assert pointers(body) == ["/tenants"]
    problem(await admin.post("/v1/keys", json={"name": "x", "roles": ["king"]}), 422, "invalid")


async def test_an_idempotency_key_is_kept_for_24_hours_and_then_forgotten(api: Api, database: Database) -> None:
    admin = await api.as_("platform-admin")
    headers = {"idempotency-key": "daily"}
    first = await admin.post("/v1/keys", json=WISH, headers=headers)
    assert await forget_intents(api.container) == 0
    with psycopg.connect(database.owner) as connection:
        connection.execute("update intents set created_at = now() - interval '24 hours 1 second'")
    other = await admin.post("/v1/keys", json={**WISH, "name": "other"}, headers=headers)
    assert (other.status_code, other.json()["id"] != first.json()["id"]) == (201, True)
    with psycopg.connect(database.owner) as connection:
        connection.execute("update intents set created_at = now() - interval '24 hours 1 second'")
    assert await forget_intents(api.container) == 1


async def test_a_request_that_waits_too_long_for_its_twin_is_told_to_come_again(api: Api, database: Database) -> None:
    admin = await api.as_("platform-admin")
    me = (await admin.get("/v1/whoami")).json()["id"]
    with psycopg.connect(database.owner) as twin:
        twin.execute(
            "insert into intents (principal, operation, key, body_hash, status) values (%s, 'POST /v1/keys', 'slow', '', 0)",
            (me,),
        )
        answer = await admin.post("/v1/keys", json=WISH, headers={"idempotency-key": "slow"})
        problem(answer, 409, "idempotency-key-in-use")
        assert answer.headers["retry-after"] == "1"
        twin.rollback()
