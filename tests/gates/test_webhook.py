"""The webhook gate against a real server that answers, hangs, redirects or talks nonsense."""

from __future__ import annotations

import json
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

import pytest
from standardwebhooks.webhooks import Webhook as Verifier

from controlplane.adapters.endpoints import HttpEndpoints
from controlplane.adapters.postgres.asks import PostgresAsks
from controlplane.adapters.postgres.database import Database as Transactions
from controlplane.adapters.postgres.database import Urls
from controlplane.adapters.postgres.gates import PostgresVotes
from controlplane.adapters.secrets import LocalSecrets
from controlplane.domain.gating import GateKey, Judged, Verdict
from controlplane.domain.plans import Plan
from controlplane.gates.webhook import WebhookGate, WebhookSpec
from controlplane.ports.gates import GatePorts, GateScene
from tests.plugins.database import Database
from tests.support.answering import SECRET, Answering, Play, answering
from tests.support.registry import Fleet

NOW = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)
HASH = "sha256:" + "7" * 64
PLAN = cast(
    "Plan",
    SimpleNamespace(
        plan_hash=HASH,
        kind="deploy",
        app="odoo",
        release="17.0.4",
        environment="production",
        waves=(SimpleNamespace(name="pilot", targets=(SimpleNamespace(tenant="acme-fr"),)),),
    ),
)


def scene(**changes: Any) -> GateScene:
    values: dict[str, Any] = {
        "rollout_id": uuid.UUID(int=1),
        "key": GateKey(0, "before", 0),
        "plan": PLAN,
        "requested_by": "mia",
        "authors": (),
        "changed": (),
        "since": NOW,
        "now": NOW,
        "change_ref": "CHG1",
    }
    return GateScene(**{**values, **changes})


class Asker:
    """The gate with its real ports, and the server it asks."""

    def __init__(self, database: Database, server: Answering, public_url: str) -> None:
        self.server = server
        self.rows = Fleet(database.owner)
        self.transactions = Transactions(Urls(platform=database.platform, engine=database.engine))
        endpoints = HttpEndpoints(self.transactions, LocalSecrets(), wait=0.01)
        asks = PostgresAsks(self.transactions, public_url)
        self.ports = GatePorts(PostgresVotes(self.transactions), None, endpoints, asks)
        self.endpoint()

    def endpoint(self, **changes: Any) -> None:
        spec = {"url": self.server.url, "secrets": [{"env": "SEAWALL_SECRET_BOARD"}], "timeout": "PT0.3S", **changes}
        self.rows.config("endpoints", "board", spec)

    async def look(self, *plays: Play, answer: str = "now", **changes: Any) -> Judged:
        self.server.plays = list(plays) or self.server.plays
        spec = WebhookSpec.model_validate({"use": "board", "answer": answer})
        here = scene(**changes)
        return WebhookGate().judge(spec, here, await WebhookGate().observe(spec, here, self.ports))


@pytest.fixture
async def asker(database: Database, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Asker]:
    monkeypatch.setenv("SEAWALL_SECRET_BOARD", SECRET)
    async with answering() as server:
        made = Asker(database, server, "https://seawall.example")
        yield made
        await made.transactions.close()


async def test_it_asks_signed_and_says_what_was_answered(asker: Asker) -> None:
    judged = await asker.look(Play({"verdict": "pass", "reason": "the board met"}))
    assert (judged.verdict, judged.reason) == (Verdict.PASS, "board: the board met")
    headers, body = asker.server.asked[0]
    assert Verifier(SECRET).verify(body, headers)["changeRef"] == "CHG1"
    asked = json.loads(body)
    assert (asked["release"], asked["wave"], asked["planHash"], asked["tenants"]) == (
        "odoo/17.0.4",
        "pilot",
        HASH,
        ["acme-fr"],
    )


@pytest.mark.parametrize(("said", "verdict"), [("wait", Verdict.WAIT), ("fail", Verdict.FAIL)])
async def test_wait_and_fail_are_answers_too(asker: Asker, said: str, verdict: Verdict) -> None:
    assert (await asker.look(Play({"verdict": said, "reason": "x"}))).verdict is verdict


@pytest.mark.parametrize(
    ("play", "why"),
    [
        (Play(hang=True), "no answer within 0.3 s"),
        (Play({"verdict": "pass"}, status=302), "redirects are not followed"),
        (Play("<html>fine</html>", media_type="text/html"), "it answered text/html, not application/json"),
        (Play("<html>fine</html>"), "its answer is not"),
        (Play({"verdict": "yes"}), "its answer is not"),
        (Play({"verdict": "pass", "because": "x"}), "its answer is not"),
        (Play(["pass"]), "its answer is not"),
        (Play("null"), "its answer is not"),
        (Play({"verdict": "pass"}, status=201), "it answered 201"),
        (Play({"verdict": "pass"}, status=500), "it answered 500"),
        (Play({"verdict": "pass", "reason": "x" * 70_000}), "longer than 64 KiB"),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_whatever_is_no_answer_is_unknown_and_says_why(asker: Asker, play: Play, why: str) -> None:
    judged = await asker.look(play)
    assert judged.verdict is Verdict.UNKNOWN
    assert why in judged.reason


async def test_a_busy_server_is_asked_again_and_a_dead_one_in_vain(asker: Asker) -> None:
    busy = Play(status=503)
    assert (await asker.look(busy, busy, Play({"verdict": "pass"}))).verdict is Verdict.PASS
    ids = {headers["webhook-id"] for headers, _ in asker.server.asked}
    assert (len(asker.server.asked), len(ids)) == (3, 1)
    assert (await asker.look(busy)).verdict is Verdict.UNKNOWN
    assert len(asker.server.asked) == 6


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"url": "http://169.254.169.254/metadata"}, "link-local or a metadata service"),
        ({"url": "http://127.0.0.1:9/ask", "allowPrivate": False}, "is private"),
        ({"url": "http://127.0.0.1:9/ask"}, "ClientConnectorError"),
        ({"secrets": [{"env": "SEAWALL_SECRET_NOBODY"}]}, "can't be signed"),
    ],
)
async def test_an_endpoint_that_may_not_or_can_not_be_called_is_unknown(
    asker: Asker, changes: dict[str, Any], why: str
) -> None:
    asker.endpoint(**changes)
    judged = await asker.look()
    assert judged.verdict is Verdict.UNKNOWN
    assert why in judged.reason
    assert asker.server.asked == []


async def test_an_endpoint_nobody_made_is_unknown(asker: Asker) -> None:
    asker.rows.run("update config_current set deleted_at = now() where kind = 'endpoints'")
    assert "there is no such endpoint" in (await asker.look()).reason


@pytest.mark.parametrize("answer", ["now", "later"])
async def test_nobody_is_asked_before_a_yes_would_let_something_proceed(asker: Asker, answer: str) -> None:
    judged = await asker.look(answer=answer, blocked="the rollout is paused")
    assert (judged.verdict, judged.reason) == (Verdict.WAIT, "not asked yet: the rollout is paused")
    assert asker.server.asked == []


async def test_a_question_for_later_is_sent_until_the_endpoint_has_it_and_then_not_again(asker: Asker) -> None:
    refused = await asker.look(Play(status=400), answer="later")
    assert (refused.verdict, refused.reason) == (Verdict.UNKNOWN, "could not ask board: it answered 400")
    for _ in range(2):
        judged = await asker.look(Play("thanks", status=202, media_type="text/plain"), answer="later")
        assert (judged.verdict, judged.who) == (Verdict.WAIT, "endpoint board")
    assert len(asker.server.asked) == 2
    first, second = asker.server.questions()
    assert first["callback"] == second["callback"] == f"https://seawall.example/v1/gates/{first['ask']}:answer"
    assert asker.server.asked[0][0]["webhook-id"] == first["ask"]


async def test_a_question_that_ran_out_is_unknown(asker: Asker) -> None:
    await asker.look(Play("", status=202), answer="later")
    judged = await asker.look(answer="later", now=datetime(2099, 1, 1, tzinfo=UTC))
    assert judged.verdict is Verdict.UNKNOWN
    assert "did not answer until" in judged.reason


async def test_without_an_address_of_our_own_nobody_is_asked_to_answer_later(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEAWALL_SECRET_BOARD", SECRET)
    async with answering() as server:
        asker = Asker(database, server, "")
        judged = await asker.look(answer="later")
        await asker.transactions.close()
    assert "SEAWALL_PUBLIC_URL" in judged.reason
    assert server.asked == []
