"""A gate that another system answers later, from the question to the end of the rollout: through the real API, signed."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from standardwebhooks.webhooks import Webhook as Signer

from tests.api.problems import problem
from tests.contract.fleets import until_read
from tests.plugins.api import Api
from tests.support.answering import SECRET, Answering, Play, answering

from .conftest import Stage

STRATEGY: dict[str, Any] = {
    "waves": [
        {
            "name": "all",
            "cut": {"percent": "100%"},
            "soak": {"for": "PT0S", "samples": 1},
            "before": [{"webhook": {"use": "board", "answer": "later"}}],
        }
    ]
}


@pytest.fixture
async def board(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Answering]:
    """A change board that takes questions and answers later."""
    monkeypatch.setenv("SEAWALL_SECRET_BOARD", SECRET)
    async with answering() as server:
        server.plays = [Play("", status=202)]
        stage.rows.config(
            "endpoints", "board", {"url": server.url, "secrets": [{"env": "SEAWALL_SECRET_BOARD"}], "timeout": "PT5S"}
        )
        stage.rows.config("strategies", "asked", STRATEGY)
        yield server


class Ticket:
    """The board's side of one question."""

    def __init__(self, asked: dict[str, Any], http: httpx.AsyncClient) -> None:
        self.asked = asked
        self.http = http

    async def answer(
        self, verdict: str, *, id_: str = "", secret: str = SECRET, age: timedelta = timedelta(0), **changes: Any
    ) -> httpx.Response:
        body = {"verdict": verdict, "planHash": self.asked["planHash"], "reason": "decided", "by": "zoe", **changes}
        text, at, message = json.dumps(body), datetime.now(UTC) - age, id_ or str(uuid.uuid4())
        headers = {
            "content-type": "application/json",
            "webhook-id": message,
            "webhook-timestamp": str(int(at.timestamp())),
            "webhook-signature": Signer(secret).sign(message, at, text),
        }
        return await self.http.post(f"/v1/gates/{self.asked['ask']}:answer", content=text, headers=headers)


async def opened(stage: Stage, api: Api, board: Answering) -> tuple[uuid.UUID, Ticket]:
    """A rollout whose question the board has."""
    stage.rows.release("1.0")
    await stage.tenants(["a", "b"])
    rollout = await stage.start("1.0", "asked", changeRef="CHG1")

    async def waiting() -> bool:
        return stage.rows.ask("select 1 from gates where verdict = 'wait' and who = 'endpoint board'") != []

    await until_read(waiting)
    return rollout, Ticket(board.questions()[0], api.client())


async def test_a_signed_yes_opens_the_gate_and_people_saw_that_it_was_outstanding(
    stage: Stage, api: Api, board: Answering
) -> None:
    rollout, ticket = await opened(stage, api, board)
    operator = await api.as_("operator")
    (outstanding,) = (await operator.get("/v1/gates")).json()["items"]
    assert (outstanding["who"], outstanding["changeRef"], outstanding["rollout"]) == (
        "endpoint board",
        "CHG1",
        str(rollout),
    )
    view = (await operator.get(f"/v1/rollouts/{rollout}")).json()
    assert [(w["gate"], w["who"]) for w in view["waitingFor"]] == [("webhook", "endpoint board")]
    assert view["explanation"]["who"] == "endpoint board"
    assert (await ticket.answer("wait", reason="the board meets on Tuesday")).status_code == 200
    assert (await ticket.answer("pass", reason="agreed")).json()["by"] == "zoe"
    assert await stage.over(rollout) == "succeeded"
    assert stage.rows.ask("select verdict, reason from gates") == [("pass", "board (zoe): agreed")]
    assert (await operator.get("/v1/gates")).json()["items"] == []
    (gate,) = (await operator.get(f"/v1/rollouts/{rollout}/gates")).json()["items"]
    assert gate["evidence"]["by"] == "zoe"


async def test_the_same_answer_twice_is_one_and_another_decision_is_refused(
    stage: Stage, api: Api, board: Answering
) -> None:
    rollout, ticket = await opened(stage, api, board)
    await stage.command(rollout, "pause")
    both = await asyncio.gather(ticket.answer("pass", id_="m1"), ticket.answer("pass", id_="m1"))
    assert [one.status_code for one in both] == [200, 200]
    assert (await ticket.answer("pass")).status_code == 200
    problem(await ticket.answer("fail"), 409, "gate-decided")
    assert stage.rows.ask("select count(*) from gate_answers") == [(1,)]
    await stage.command(rollout, "resume")
    assert await stage.over(rollout) == "succeeded"
    problem(await ticket.answer("fail"), 409, "rollout-over")


async def test_a_no_fails_the_wave_before_anything_was_touched(stage: Stage, api: Api, board: Answering) -> None:
    rollout, ticket = await opened(stage, api, board)
    await ticket.answer("fail", reason="no window")
    assert await stage.over(rollout) == "failed"
    assert set(stage.targets(rollout).values()) == {"cancelled"}


async def test_an_answer_that_is_forged_old_unreadable_late_or_about_another_plan_changes_nothing(
    stage: Stage, api: Api, board: Answering
) -> None:
    rollout, ticket = await opened(stage, api, board)
    problem(await ticket.answer("pass", secret="whsec_Zm9yZ2VkLWZvcmdlZC1mb3JnZWQ="), 401, "bad-signature")
    problem(await ticket.answer("pass", age=timedelta(minutes=6)), 401, "bad-signature")
    problem(await ticket.http.post(f"/v1/gates/{ticket.asked['ask']}:answer", json={}), 401, "bad-signature")
    problem(await ticket.answer("pass", planHash="sha256:" + "0" * 64), 409, "plan-changed")
    problem(await ticket.answer("pass", colour="red"), 422, "answer-unreadable")
    problem(await ticket.answer("maybe"), 422, "answer-unreadable")
    problem(await Ticket({**ticket.asked, "ask": str(uuid.uuid4())}, ticket.http).answer("pass"), 404, "not-found")
    stage.rows.run("update gate_asks set expires_at = now()")
    problem(await ticket.answer("pass"), 409, "ask-expired")
    assert stage.rows.ask("select count(*) from gate_answers") == [(0,)]
    assert set(stage.targets(rollout).values()) == {"pending"}
    await stage.command(rollout, "abort")
    assert await stage.over(rollout) == "aborted"
