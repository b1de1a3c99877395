"""What people do on the pages, under the same roles and with the same effect as over the API."""

from __future__ import annotations

from typing import Any

from tests.api.console.conftest import LogIn, checked
from tests.plugins.api import Api
from tests.support.registry import Fleet


async def running(api: Api, fleet: Fleet, **changes: Any) -> str:
    manager = await api.as_("release-manager")
    body = {"release": "odoo/17.0.4", "strategy": "all", **changes}
    answer = await manager.post("/v1/rollouts", json=body)
    assert answer.status_code == 202, answer.text
    fleet.run("update rollouts set state = 'running', started_at = now()")
    return str(answer.json()["id"])


async def test_a_person_pauses_and_resumes_and_aborts(api: Api, fleet: Fleet, log_in: LogIn) -> None:
    path = f"/console/rollouts/{await running(api, fleet)}"
    browser = await log_in("operator")
    answer = await browser.send(await browser.get(path), f"{path}/pause")
    assert (answer.status_code, answer.headers["location"]) == (303, path)
    paused = await browser.get(path)
    answer = await browser.send(paused, f"{path}/resume")
    assert answer.status_code == 303
    again = await browser.send(paused, f"{path}/resume")
    assert (again.status_code, again.headers["idempotency-replayed"]) == (303, "true"), "sent twice, done once"
    page = await browser.get(path)
    await browser.send(page, f"{path}/abort", inFlight="rollBack", reason="wrong release")
    assert fleet.ask("select command, body ->> 'inFlight', body ->> 'reason' from commands order by seq") == [
        ("pause", None, ""),
        ("resume", None, ""),
        ("abort", "rollBack", "wrong release"),
    ]
    assert fleet.ask("select count(*) from audit where action like 'rollout.%%' and actor like 'key:%%'")[0][0] >= 3


async def test_an_approver_votes_for_the_plan_the_page_showed(api: Api, fleet: Fleet, log_in: LogIn) -> None:
    gate = {"approval": {"group": "business", "count": 1, "early": True}}
    waves = [{"name": "all", "cut": {"percent": "100%"}, "before": [gate]}]
    fleet.config("strategies", "asked", {"waves": waves, "limits": {"inFlight": "100%"}})
    path = f"/console/rollouts/{await running(api, fleet, strategy='asked')}"
    fleet.run(
        "update rollouts set requested_by = 'mia'"
    )  # keys of one maker are one person, who never approves himself
    browser = await log_in("approver:business")
    page = await browser.get(path)
    answer = await browser.send(page, f"{path}/approve", group="business", reason="seen in staging")
    assert answer.status_code == 303, answer.text
    assert "seen in staging" in (await browser.get(path)).text
    assert fleet.ask("select word, person from votes")[0][0] == "approve"
    other = await browser.send(page, f"{path}/approve", group="business", planHash=f"sha256:{'0' * 64}", key="another")
    assert other.status_code == 409
    assert "plan-changed" in checked(other).text


async def test_freeze_and_thaw(fleet: Fleet, log_in: LogIn) -> None:
    browser = await log_in("release-manager")
    page = await browser.get("/console")
    empty = await browser.send(page, "/console/freezes", reason="")
    assert "Say why" in checked(empty).text
    wrong = await browser.send(page, "/console/freezes", reason="x", **{"for": "soon"})
    assert wrong.status_code == 422
    answer = await browser.send(page, "/console/freezes", reason="Black Friday", **{"for": "4h"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/console")
    assert fleet.ask("select closed from budgets") == [(True,)]
    frozen = await browser.get("/console")
    assert "Freeze of everything" in frozen.text
    thaw = next(form.action for form in frozen.forms if form.action.endswith("/thaw"))
    await browser.send(frozen, thaw)
    assert fleet.ask("select closed from budgets") == [(False,)]
    assert "Nothing is stopped." in (await browser.get("/console")).text


async def test_who_may_not_act_has_no_button_and_a_form_made_by_hand_is_refused(
    api: Api, fleet: Fleet, log_in: LogIn
) -> None:
    path = f"/console/rollouts/{await running(api, fleet)}"
    browser = await log_in("auditor")
    page = await browser.get(path)
    assert [form.action for form in page.forms if form.method == "post"] == ["/console/logout"]
    token = page.form("/console/logout").fields["token"]
    for action in (f"{path}/pause", f"{path}/abort", f"{path}/approve", "/console/freezes"):
        answer = await browser.http.post(action, data={"token": token, "key": "k", "reason": "x"})
        assert answer.status_code == 403
        assert "needs one of the roles" in checked(answer).text
    assert fleet.ask("select count(*) from commands") == [(0,)]


async def test_a_word_that_is_none_and_a_rollout_that_is_over_are_told(api: Api, fleet: Fleet, log_in: LogIn) -> None:
    path = f"/console/rollouts/{await running(api, fleet)}"
    browser = await log_in("operator")
    page = await browser.get(path)
    fields = page.form(f"{path}/pause").fields
    unknown = await browser.http.post(f"{path}/explode", data=fields)
    assert "there are: pause, resume" in checked(unknown).text
    fleet.run("update rollouts set state = 'succeeded', ended_at = now()")
    over = await browser.http.post(f"{path}/pause", data=fields)
    assert over.status_code == 409
    assert "rollout-over" in checked(over).text
