"""A browser without JavaScript: follows no redirect by itself, keeps cookies, reads pages."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import httpx
import pytest

from tests.plugins.api import Api
from tests.support.pages import Page


@dataclass
class Browser:
    """One person's browser."""

    http: httpx.AsyncClient

    async def get(self, path: str, status: int = 200) -> Page:
        """Open a page; each page that any test opens is held to the rules of all pages."""
        answer = await self.http.get(path)
        assert answer.status_code == status, (answer.status_code, answer.text[:2000])
        return checked(answer)

    async def send(self, page: Page, action: str, **fields: str) -> httpx.Response:
        """Fill a form of a page in and send it."""
        form = page.form(action)
        assert form.method == "post"
        return await self.http.post(action, data={**form.fields, **fields})


def checked(answer: httpx.Response) -> Page:
    """The page of an answer, which is well-formed, accessible, and runs nothing but our own script."""
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "script-src 'self'" in policy
    assert answer.headers["cache-control"] == "no-store"
    page = Page(answer.text)
    assert page.faults == []
    return page


type LogIn = Callable[..., Awaitable[Browser]]


@pytest.fixture
def log_in(api: Api) -> LogIn:
    """Logs somebody with these roles in through the form."""

    async def enter(*roles: str, tenants: Sequence[str] = (), apps: Sequence[str] = ()) -> Browser:
        browser = Browser(api.client(idempotent=False))
        page = await browser.get("/console/login")
        key = await api.key(*roles, tenants=tenants, apps=apps)
        answer = await browser.send(page, "/console/login", key=key)
        assert (answer.status_code, answer.headers["location"]) == (303, "/console"), answer.text
        return browser

    return enter
