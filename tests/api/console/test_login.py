"""Who gets in, what the browser holds afterwards, and when it is over."""

from __future__ import annotations

from datetime import timedelta

import psycopg
import pytest

from controlplane.api.housekeeping import forget_sessions
from tests.api.console.conftest import LogIn, checked
from tests.plugins.api import Api
from tests.plugins.database import Database

PAGES = ["/console", "/console/rollouts", "/console/tenants", "/console/tenants/acme-fr", "/console/nothing"]


@pytest.mark.parametrize("path", PAGES)
async def test_without_a_login_every_page_asks_for_one_and_remembers_where_to_go(api: Api, path: str) -> None:
    answer = await api.client().get(path)
    target = "" if path == "/console" else f"?next={path}"
    assert (answer.status_code, answer.headers["location"]) == (303, f"/console/login{target}")


async def test_a_login_leads_to_where_the_person_was_going_but_never_to_another_site(api: Api) -> None:
    key = await api.key("auditor")
    for wanted, given in (
        ("/console/rollouts?state=failed", "/console/rollouts?state=failed"),
        ("https://evil.example/console", "/console"),
        ("//evil.example/console", "/console"),
        ("/console//evil.example", "/console"),
        ("/console\\evil", "/console"),
        ("/v1/keys", "/console"),
    ):
        answer = await api.client(idempotent=False).post("/console/login", data={"key": key, "next": wanted})
        assert (answer.status_code, answer.headers["location"]) == (303, given)


async def test_the_cookie_is_out_of_reach_of_scripts_and_other_paths_and_holds_no_key(
    api: Api, database: Database
) -> None:
    key = await api.key("auditor")
    answer = await api.client(idempotent=False).post("/console/login", data={"key": key})
    cookie = answer.headers["set-cookie"]
    assert {"HttpOnly", "Path=/console", "SameSite=lax"} <= set(cookie.split("; "))
    secret = cookie.split("=", 1)[1].split(";")[0]
    assert key not in cookie
    with psycopg.connect(database.owner) as connection:
        stored = connection.execute("select s::text from console_sessions s").fetchall()
        trail = connection.execute("select action from audit where action like 'console.%'").fetchall()
    assert len(stored) == 1
    assert secret not in stored[0][0]
    assert key not in stored[0][0]
    assert trail == [("console.login",)]


async def test_the_cookie_opens_pages_only_and_not_the_api(log_in: LogIn) -> None:
    browser = await log_in("platform-admin")
    assert (await browser.http.get("/v1/keys")).status_code == 401


async def test_a_wrong_key_is_told_on_the_page_and_never_shown_again(api: Api) -> None:
    answer = await api.client(idempotent=False).post("/console/login", data={"key": "sw_wrong"})
    assert answer.status_code == 401
    page = checked(answer)
    assert "invalid-key" in page.text
    assert "sw_wrong" not in answer.text
    assert "set-cookie" not in answer.headers


async def test_after_logging_out_the_cookie_is_worth_nothing(api: Api, log_in: LogIn) -> None:
    browser = await log_in("auditor")
    secret = browser.http.cookies["seawall_session"]
    page = await browser.get("/console")
    answer = await browser.send(page, "/console/logout")
    assert (answer.status_code, answer.headers["location"]) == (303, "/console/login")
    assert "seawall_session" not in browser.http.cookies
    again = await api.client().get("/console", headers={"cookie": f"seawall_session={secret}"})
    assert again.headers["location"] == "/console/login?code=session-over"


async def test_when_the_key_is_revoked_its_login_is_over_and_the_page_says_why(api: Api, log_in: LogIn) -> None:
    browser = await log_in("auditor")
    admin = await api.as_("platform-admin")
    keys = (await admin.get("/v1/keys")).json()["items"]
    mine = next(key["id"] for key in keys if key["roles"] == ["auditor"])
    await admin.delete(f"/v1/keys/{mine}")
    answer = await browser.http.get("/console")
    assert answer.headers["location"] == "/console/login?code=revoked-key"
    assert "was revoked" in (await browser.get(answer.headers["location"])).text


async def test_a_login_ends_after_its_hours_and_is_forgotten(api: Api, log_in: LogIn, database: Database) -> None:
    browser = await log_in("auditor")
    assert await forget_sessions(api.container) == 0
    with psycopg.connect(database.owner) as connection:
        life = connection.execute("select expires_at - created_at from console_sessions").fetchall()
        connection.execute("update console_sessions set expires_at = now() - interval '1 second'")
    assert life == [(timedelta(hours=8),)]
    assert (await browser.http.get("/console")).headers["location"] == "/console/login?code=session-over"
    assert await forget_sessions(api.container) == 1


@pytest.mark.parametrize(
    "headers", [{"origin": "https://evil.example"}, {"sec-fetch-site": "cross-site"}, {"sec-fetch-site": "same-site"}]
)
async def test_a_form_of_another_site_is_refused(log_in: LogIn, headers: dict[str, str]) -> None:
    browser = await log_in("operator")
    page = await browser.get("/console")
    fields = page.form("/console/freezes").fields | {"reason": "x"}
    answer = await browser.http.post("/console/freezes", data=fields, headers=headers)
    assert answer.status_code == 403
    assert "foreign-form" in checked(answer).text


async def test_a_form_with_the_token_of_another_login_is_refused(log_in: LogIn) -> None:
    mine, other = await log_in("operator"), await log_in("operator")
    page = await mine.get("/console")
    answer = await other.send(page, "/console/freezes", reason="x")
    assert answer.status_code == 403
    assert "foreign-form" in checked(answer).text


async def test_what_is_no_form_is_refused_with_a_page(api: Api, log_in: LogIn) -> None:
    browser = await log_in("operator")
    answer = await browser.http.post("/console/freezes", json={"reason": "x"})
    assert answer.status_code == 422
    assert "x-www-form-urlencoded" in checked(answer).text
    large = await browser.http.post("/console/freezes", data={"reason": "x" * 70_000})
    assert large.status_code == 413
    assert "64,000 bytes" in checked(large).text
