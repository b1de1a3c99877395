from __future__ import annotations

import json
import zlib

import pytest

from controlplane.domain.errors import ConflictError, SeawallError
from controlplane.domain.manifests import Rendered
from controlplane.domain.requests import Ask, RolloutRequest
from controlplane.services.rollouts.prepare import prepare
from controlplane.services.rollouts.start import Started, plan_and_start, start
from controlplane.services.rollouts.tools import RolloutTools
from tests.support.registry import Fleet

DEPLOY = {"release": "odoo/17.0.4", "strategy": "all"}


def ask(**changes: object) -> Ask:
    return Ask(RolloutRequest.model_validate({**DEPLOY, **changes}))


async def begin(tools: RolloutTools, asked: Ask, **options: object) -> Started:
    return await plan_and_start(tools, asked, actor="mia", origin={"kind": "person"}, **options)  # type: ignore[arg-type] # options of the call


async def test_a_start_writes_every_row_the_driver_needs_in_one_transaction(fleet: Fleet, tools: RolloutTools) -> None:
    started = await begin(tools, ask(reason="French VAT change"))
    assert fleet.ask("select state, release_version, reason, requested_by from rollouts") == [
        ("planned", "17.0.4", "French VAT change", "mia")
    ]
    assert fleet.ask("select wave, name, state from waves") == [(0, "all", "pending")]
    targets = fleet.ask("select tenant, position, state, base_revision, memory from targets order by position")
    assert [(t, s, b) for t, _, s, b, _ in targets] == [
        (t, "pending", 1) for t in ("acme-de", "acme-fr", "zed-de", "zed-fr")
    ]
    assert {(m["wayBack"], m["backTo"]) for *_, m in targets} == {("reapply", 1)}
    assert fleet.ask("select holder, epoch, command_seq from leases") == [("", 0, 0)]
    scopes = dict(fleet.ask("select scope, cap from budgets"))
    assert scopes[f"rollout:{started.id}/inFlight"] == 4
    assert scopes["fleet/inFlight"] is None
    assert scopes["cluster:aks-1/rollback"] == 1
    assert fleet.ask("select seq, type from history where subject_id = %s", str(started.id)) == [
        (1, "dev.seawall.rollout.planned.v1")
    ]
    assert fleet.ask("select actor, action from audit") == [("mia", "rollout.start")]
    assert ("sw.intent._fleet.rollout",) in fleet.ask("select subject from outbox")


async def test_the_stored_content_is_what_rendering_for_that_namespace_gives(fleet: Fleet, tools: RolloutTools) -> None:
    prepared = await prepare(tools, ask())
    await begin(tools, ask())
    for tenant, memory in fleet.ask("select tenant, memory from targets"):
        assert memory["content"] == prepared.given[tenant].content
        body = fleet.ask("select body from contents where tenant = %s and hash = %s", tenant, memory["content"])[0][0]
        rendered = Rendered.model_validate(json.loads(zlib.decompress(body)))
        assert rendered.content_hash == memory["content"]
        assert {o["metadata"]["namespace"] for o in rendered.objects} == {tenant}
    stored = fleet.ask(
        "select t.release_version, c.body from targets t join contents c on (c.tenant, c.hash) = (t.tenant, t.values_hash)"
    )
    assert {(version, json.loads(zlib.decompress(body))["release"]) for version, body in stored} == {
        ("17.0.4", "17.0.4")
    }


async def test_a_start_bound_to_a_preview_is_refused_when_a_tenant_moved_since(
    fleet: Fleet, tools: RolloutTools
) -> None:
    seen = (await prepare(tools, ask())).plan
    fleet.runs(["acme-fr"], "17.0.3", changed="yes")
    with pytest.raises(ConflictError) as caught:
        await begin(tools, ask(), if_plan_hash=seen.plan_hash)
    assert caught.value.code == "plan-changed"
    assert fleet.ask("select count(*) from rollouts") == [(0,)]


async def test_a_tenant_that_moves_between_planning_and_the_transaction_is_noticed(
    fleet: Fleet, tools: RolloutTools
) -> None:
    prepared = await prepare(tools, ask())
    fleet.runs(["acme-fr"], "17.0.3", changed="yes")
    with pytest.raises(ConflictError) as caught:
        async with tools.open() as uow:
            await start(uow, prepared, actor="mia", origin={"kind": "person"})
    assert (caught.value.code, caught.value.extra["moved"]) == ("plan-changed", ["acme-fr"])


async def test_a_rollout_that_meets_another_is_refused_queued_or_takes_over_as_its_policy_says(
    fleet: Fleet, tools: RolloutTools
) -> None:
    first = await begin(tools, ask())
    with pytest.raises(ConflictError) as caught:
        await begin(tools, ask(whenBusy="reject"))
    assert caught.value.code == "busy"
    assert caught.value.extra["busy"] == [str(first.id)]
    queued = await begin(tools, ask(whenBusy="queue", selector="tenant=acme-fr"))
    behind = "select memory -> 'behind' from targets where rollout_id = %s"
    assert fleet.ask(behind, queued.id) == [([str(first.id)],)]
    taking = await begin(tools, ask(whenBusy="supersede", selector="tenant=acme-fr"))
    assert fleet.ask(behind, taking.id) == [([str(first.id), str(queued.id)],)]
    commands = fleet.ask("select subject_id, seq, command, body from commands order by subject_id")
    assert commands == [(i, 1, "supersede", {"rollout": str(taking.id)}) for i in sorted((first.id, queued.id))]


@pytest.mark.parametrize(
    ("statement", "code"),
    [
        ("update tenants set phase = 'suspended'", "suspended"),
        (
            """insert into holds (id, app, version, digest, reason, created_by, lifted_by, lift_reason)
            select gen_random_uuid(), app, version, digest, 'broke three', 'engine', '', '' from releases""",
            "release-held",
        ),
        (
            'update tenants set apps = jsonb_set(apps, \'{odoo,pin}\', \'{"reason":"audit","owner":"mia"}\')',
            "nothing-to-do",
        ),
    ],
)
async def test_a_start_with_nobody_left_says_why(fleet: Fleet, tools: RolloutTools, statement: str, code: str) -> None:
    fleet.run(statement)
    with pytest.raises(SeawallError) as caught:
        await begin(tools, ask())
    assert caught.value.code == code
    assert fleet.ask("select count(*) from rollouts") == [(0,)]
