"""Calls to the API: what is repeated, what is asked before, how lists are read to their end."""

from __future__ import annotations

import asyncio

import pytest

from controlplane.cli.client import Client
from controlplane.cli.failures import UnreachableError
from controlplane.cli.profile import Profile
from controlplane.domain.errors import DependencyError
from tests.plugins.api import Api


def test_a_part_known_to_have_ended_is_told_instead_of_waiting_for_an_answer() -> None:
    def ended() -> None:
        raise DependencyError("worker 1 ended with status -9.", code="child-process-failed")

    with pytest.raises(DependencyError, match="worker 1"):
        Client(Profile("http://127.0.0.1:9", ""), before=ended).get("/v1/whoami")


def test_nobody_at_the_address_is_told_with_the_address() -> None:
    with pytest.raises(UnreachableError, match=r"http://127\.0\.0\.1:9"):
        Client(Profile("http://127.0.0.1:9", ""), patience=0.1).get("/v1/whoami")


async def test_a_list_is_read_to_its_end_over_several_pages(api: Api) -> None:
    client = Client(Profile(api.url, await api.key("platform-admin")))
    for number in range(5):
        path = f"/v1/tiers/tier-{number}"
        await asyncio.to_thread(client.put, path, {})

    def names(most: int | None) -> list[str]:
        return [t["name"] for t in client.pages("/v1/tiers", most=most)]

    assert await asyncio.to_thread(names, None) == [f"tier-{n}" for n in range(5)]
    assert await asyncio.to_thread(names, 3) == ["tier-0", "tier-1", "tier-2"]
    first = await asyncio.to_thread(client.get, "/v1/tiers", limit=2)
    following = await asyncio.to_thread(client.get, first["next"])
    assert [t["name"] for t in following["items"]] == ["tier-2", "tier-3"], "an address keeps its own query"


async def test_the_same_key_gives_the_first_answer_again(api: Api) -> None:
    client = Client(Profile(api.url, await api.key("platform-admin")))
    body = {"all": True, "reason": "trying"}

    def post() -> str:
        return str(client.post("/v1/freezes", body, key="once")["id"])

    assert await asyncio.to_thread(post) == await asyncio.to_thread(post)
