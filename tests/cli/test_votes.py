"""Votes, gates and the emergency lane from the command line."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.cli.conftest import Cli
from tests.plugins.api import Api
from tests.support.registry import Fleet

ASKED: dict[str, Any] = {
    "waves": [
        {
            "name": "all",
            "cut": {"percent": "100%"},
            "before": [{"approval": {"group": "business", "count": 2, "early": True}}],
        }
    ]
}
REASON = "wrong VAT on every receipt"


@pytest.fixture
async def operator(api: Api, cli: Cli, fleet: Fleet) -> Cli:
    """An operator where a strategy asks."""
    fleet.config("strategies", "asked", ASKED)
    fleet.config("criteria", "tax", {"description": "A wrong tax rate", "skip": ["approval"]})
    return Cli(cli.home, {"SEAWALL_URL": api.url, "SEAWALL_KEY": await api.key("operator")})


async def voter(api: Api, cli: Cli, fleet: Fleet) -> Cli:
    """Somebody of group business who asked for nothing."""
    key = await api.key("approver:business")
    fleet.run("update api_keys set created_by = 'ann' where prefix = %s", key[:11])
    return Cli(cli.home, {"SEAWALL_URL": api.url, "SEAWALL_KEY": key})


async def test_people_approve_take_it_back_and_reject_with_a_reason(
    api: Api, cli: Cli, fleet: Fleet, operator: Cli
) -> None:
    started = await operator("rollout", "start", "odoo/17.0.4", "-s", "asked", "--change-ref", "CHG1", "-o", "name")
    rollout, ann = started.out.strip(), await voter(api, cli, fleet)
    own = await operator("rollout", "approve", rollout, "--group", "business")
    assert (own.code, "approver" in own.err) == (4, True)
    approved = await ann("rollout", "approve", "latest", "--group", "business", "--reason", "seen")
    assert approved.code == 0
    assert "approve" in approved.out
    (vote,) = json.loads((await ann("rollout", "votes", rollout, "-o", "json")).out)["items"]
    assert (vote["person"], vote["changeRef"]) == ("ann", "CHG1")
    assert (await ann("rollout", "withdraw", rollout, vote["id"])).code == 0
    silent = await ann("rollout", "reject", rollout, "--group", "business")
    assert (silent.code, "--reason" in silent.err) == (2, True)
    assert (await ann("rollout", "reject", rollout, "--group", "business", "--reason", "no")).code == 0
    words = [v["vote"] for v in json.loads((await ann("rollout", "votes", rollout, "-o", "json")).out)["items"]]
    assert words == ["approve", "reject"]


async def test_gates_that_wait_are_listed(api: Api, fleet: Fleet, operator: Cli) -> None:
    rollout = (await operator("rollout", "start", "odoo/17.0.4", "-s", "asked", "-o", "name")).out.strip()
    fleet.run(
        "insert into gates (rollout_id, wave, place, idx, kind, verdict, reason, who, since)"
        " values (%s, 0, 'before', 0, 'approval', 'wait', '0 of 2', 'approver:business', now())",
        rollout,
    )
    assert (await operator("gates", "-o", "name")).out.strip() == rollout
    assert "0 of 2" in (await operator("gates", rollout)).out


async def test_an_emergency_is_previewed_started_listed_and_looked_at_by_somebody_else(
    api: Api, cli: Cli, fleet: Fleet, operator: Cli
) -> None:
    lane = ("--emergency", "tax", "--skip", "approval", "-l", "tenant=acme-fr", "-s", "asked", "--yes", "--no-wait")
    silent = await operator("deploy", "odoo/17.0.4", *lane)
    assert (silent.code, "--reason" in silent.err) == (2, True)
    astray = await operator("deploy", "odoo/17.0.4", "--skip", "approval")
    assert (astray.code, "--emergency" in astray.err) == (2, True)
    deployed = await operator("deploy", "odoo/17.0.4", *lane, "--reason", REASON)
    assert deployed.code == 0, deployed.err
    assert "approval before all" in deployed.out
    listed = await operator("emergency", "list")
    assert "tax@1" in listed.out
    admin = Cli(cli.home, {"SEAWALL_URL": api.url, "SEAWALL_KEY": await api.key("platform-admin")})
    own = await admin("emergency", "review", "latest", "--justified", "--note", "it had to be")
    assert (own.code, "somebody else" in own.err) == (4, True)
    ann = await voter(api, cli, fleet)
    assert (await ann("emergency", "review", "latest", "--not-justified", "--note", "known for weeks")).code == 0
    assert (await operator("emergency", "list", "-o", "name")).out == ""
    assert "EMERGENCY tax" in (await operator("rollout", "show", "latest")).out
