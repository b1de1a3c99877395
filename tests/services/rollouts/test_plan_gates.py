"""Gates about the release alone are asked when a rollout is planned: what is missing is noted, what is wrong refuses the start."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from controlplane.adapters.postgres.database import Database as Transactions
from controlplane.adapters.postgres.database import Urls
from controlplane.adapters.postgres.facts import PostgresFacts
from controlplane.adapters.postgres.gates import PostgresVotes
from controlplane.adapters.signatures import OfflineSignatures
from controlplane.domain.errors import ConflictError
from controlplane.domain.evidence import EvidenceWish, release_subjects
from controlplane.domain.requests import Ask, RolloutRequest
from controlplane.ports.gates import GatePorts
from controlplane.services.evidence import register_evidence
from controlplane.services.rollouts.prepare import prepare
from controlplane.services.rollouts.start import plan_and_start
from controlplane.services.rollouts.tools import RolloutTools
from tests.plugins.database import Database
from tests.support.registry import Fleet
from tests.support.signing import new_key, pem_of, sign, statement, tampered

SIGNED = Ask(RolloutRequest(release="odoo/18.0", strategy="signed"))
KEY = new_key()


@pytest.fixture
async def asking(database: Database, fleet: Fleet) -> AsyncIterator[RolloutTools]:
    """Tools that ask gates as the API does, a trusted key, and a strategy of two waves that wants its signature."""
    transactions = Transactions(Urls(platform=database.platform))
    facts = PostgresFacts(transactions.platform)
    ports = GatePorts(PostgresVotes(transactions), facts=facts, signatures=OfflineSignatures())
    fleet.config("trusts", "acme", {"keys": [{"name": "ci", "publicKey": pem_of(KEY)}]})
    before = [{"provenance": {"trust": "acme"}}]
    waves = [
        {"name": "pilot", "cut": {"count": 1}, "before": before},
        {"name": "rest", "cut": {"percent": "100%"}, "before": before},
    ]
    fleet.config("strategies", "signed", {"waves": waves})
    yield RolloutTools(open=transactions.platform, gate_ports=ports)
    await transactions.close()


async def attest(tools: RolloutTools, envelope: dict[str, Any]) -> None:
    async with tools.open() as uow:
        wish = EvidenceWish.model_validate({"kind": "provenance", "at": uow.now.isoformat(), "envelope": envelope})
        await register_evidence(uow, "odoo", "18.0", wish, actor="ci")


def notes(prepared: Any) -> list[tuple[str, str]]:
    return [(n.code, n.detail) for n in prepared.plan.notes if n.code.startswith("gate-")]


async def test_the_preview_notes_what_a_gate_would_wait_for_once_for_all_waves(
    fleet: Fleet, asking: RolloutTools
) -> None:
    spec = fleet.release("18.0", provenance={"commit": "4c1d"})
    prepared = await prepare(asking, SIGNED, to_start=False)
    ((code, detail),) = notes(prepared)
    assert code == "gate-would-wait"
    assert detail.startswith("Gate provenance (pilot, rest) would say wait now: odoo/18.0: nobody attested where")
    commit = {"buildDefinition": {"resolvedDependencies": [{"digest": {"gitCommit": "4c1d"}}]}}
    body = statement(sorted(release_subjects(spec)), commit, "https://slsa.dev/provenance/v1")
    await attest(asking, sign(KEY, body))
    assert notes(await prepare(asking, SIGNED, to_start=False)) == []


async def test_a_tampered_signature_refuses_the_start_and_missing_trust_is_noted_as_unknown(
    fleet: Fleet, asking: RolloutTools
) -> None:
    spec = fleet.release("18.0", provenance={"commit": "4c1d"})
    body = statement(sorted(release_subjects(spec)), {"commit": "4c1d"}, "https://slsa.dev/provenance/v1")
    await attest(asking, tampered(sign(KEY, body)))
    with pytest.raises(ConflictError) as refused:
        await plan_and_start(asking, SIGNED, actor="mia", origin={"kind": "person"})
    assert refused.value.code == "gate-would-fail"
    assert "no trusted key made any of its signatures" in refused.value.detail
    assert fleet.ask("select count(*) from rollouts") == [(0,)]
    fleet.run("update config_current set deleted_at = now() where kind = 'trusts'")
    assert [code for code, _ in notes(await prepare(asking, SIGNED, to_start=False))] == ["gate-unknown"]


async def test_a_process_without_those_ports_plans_and_leaves_asking_to_the_wave(
    fleet: Fleet, asking: RolloutTools
) -> None:
    fleet.release("18.0")
    assert notes(await prepare(replace(asking, gate_ports=None), SIGNED, to_start=False)) == []
