"""Operations over HTTP: calling one off."""

from __future__ import annotations

import asyncio

from tests.api.problems import problem
from tests.api.test_tenants import body
from tests.plugins.api import Api
from tests.plugins.operations import Works


async def test_an_operation_is_called_off_by_who_may_and_the_same_key_gives_the_same_answer(
    works: Works, api: Api
) -> None:
    admin, auditor = await api.as_("platform-admin"), await api.as_("auditor")
    works.trouble("unavailable")
    path = (await admin.post("/v1/tenants", json=body())).headers["operation-location"]
    problem(await auditor.post(f"{path}:cancel"), 403, "forbidden")
    key = {"Idempotency-Key": "once"}
    first = await admin.post(f"{path}:cancel", json={"reason": "typo"}, headers=key)
    assert (first.status_code, first.headers["operation-location"]) == (202, path)
    again = await admin.post(f"{path}:cancel", json={"reason": "typo"}, headers=key)
    assert again.json() == first.json()
    await asyncio.wait_for(works.finish(first.json()["id"]), 20)
    assert (await admin.get(path)).json()["state"] == "cancelled"
    audit = (await admin.get("/v1/audit?action=operations.cancel")).json()["items"]
    assert [entry["detail"]["reason"] for entry in audit] == ["typo"]


async def test_an_operation_that_is_not_there_or_over_is_not_called_off(works: Works, api: Api) -> None:
    admin = await api.as_("platform-admin")
    missing = "01999999-9999-7999-8999-999999999999"
    problem(await admin.post(f"/v1/operations/{missing}:cancel"), 404, "not-found")
    answer = await admin.post("/v1/tenants", json=body())
    await works.finish(answer.json()["id"])
    problem(await admin.post(f"{answer.headers['operation-location']}:cancel"), 409, "operation-over")
