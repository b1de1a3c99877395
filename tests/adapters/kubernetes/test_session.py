"""Requests to an API server as they leave: what the environment, the kubeconfig and a body's oddities make of them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from controlplane.adapters.kubernetes.config import load_client
from controlplane.adapters.kubernetes.session import Session, encoded
from tests.adapters.kubernetes.test_config import kubeconfig


@pytest.fixture
async def heard() -> AsyncIterator[tuple[str, list[tuple[web.Request, bytes]]]]:
    """A server that keeps what it was sent, and sets a cookie."""
    seen: list[tuple[web.Request, bytes]] = []

    async def answer(request: web.Request) -> web.Response:
        seen.append((request, await request.read()))
        response = web.json_response({})
        response.set_cookie("affinity", "x")
        return response

    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    yield f"http://{host}:{port}", seen
    await runner.cleanup()


async def test_a_request_says_who_we_are_and_carries_neither_cookies_nor_passwords_of_a_netrc(
    heard: tuple[str, list[tuple[web.Request, bytes]]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address, seen = heard
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password else\n")
    monkeypatch.setenv("NETRC", str(netrc))
    session = Session(await load_client(kubeconfig(tmp_path, address), None))
    try:
        for _ in range(2):
            limits = aiohttp.ClientTimeout(total=5)
            headers = {"Content-Type": "application/merge-patch+json"}
            answer = await session.send("PATCH", f"{address}/api/v1/namespaces/a?x=1", headers, {"a": "ü"}, limits)
            assert (answer.status, await answer.read()) == (200, b"{}")
    finally:
        await session.close()
    for request, body in seen:
        assert (request.method, request.path_qs) == ("PATCH", "/api/v1/namespaces/a?x=1")
        assert request.headers["Authorization"] == "Bearer t"
        assert request.headers["Content-Type"] == "application/merge-patch+json"
        assert "Cookie" not in request.headers
        assert json.loads(body) == {"a": "ü"}


@pytest.mark.parametrize(
    "body", [{"data": {1: "one"}}, {"spec": {"n": 2**70}}, {"a": "\ud800"}, {"a": [1, None, 1.5, "ü"]}]
)
def test_every_body_that_json_can_say_is_sent(body: dict[str, object]) -> None:
    assert json.loads(encoded(body)) == json.loads(json.dumps(body))
