"""Who wrote a release that CI registered: the person whom the run's token names may not approve it, the bot is nobody's author."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from controlplane.adapters.identity.local_issuer import LocalIssuer
from controlplane.bootstrap import Container
from tests.api.problems import problem
from tests.api.releases import MANIFEST, body, upload
from tests.plugins.api import Api, serving, settings_for
from tests.plugins.database import Database
from tests.support.registry import Fleet

RUN = "repo:acme/odoo:ref:refs/heads/main"
ASKED: dict[str, Any] = {
    "waves": [
        {
            "name": "all",
            "cut": {"percent": "100%"},
            "before": [{"approval": {"group": "business", "knownAuthors": True, "early": True}}],
        }
    ]
}


@pytest.fixture
async def federated(issuer: LocalIssuer, database: Database, tmp_path: Path) -> AsyncIterator[Api]:
    """An API that trusts people and CI runs of one issuer."""
    rules = tmp_path / "workloads.yaml"
    rules.write_text(yaml.safe_dump([{"issuer": issuer.issuer, "subject": RUN, "apps": ["odoo"]}]))
    settings = settings_for(database).model_copy(update={"oidc_issuer": issuer.issuer, "workloads": rules})
    async with serving(Container(settings)) as api:
        yield api


async def test_the_person_a_run_names_may_not_approve_what_it_registered(
    federated: Api, issuer: LocalIssuer, fleet: Fleet
) -> None:
    fleet.config("strategies", "asked", ASKED)
    run = federated.client(issuer.sign({"sub": RUN, "actor": "ann-gh"}))
    registered = await run.post("/v1/releases", json=body("17.1.0", await upload(run, MANIFEST)))
    assert registered.status_code == 201, registered.text
    admin, manager = await federated.as_("platform-admin"), await federated.as_("release-manager")
    assert (await admin.put("/v1/people/ann", json={"names": ["ann-gh", "ann@acme.example"]})).status_code == 201
    start = {"release": "odoo/17.1.0", "strategy": "asked", "notBefore": "2099-01-01T00:00:00Z"}
    rollout = (await manager.post("/v1/rollouts", json=start)).json()
    vote = {"group": "business", "planHash": rollout["planHash"]}
    path = f"/v1/rollouts/{rollout['id']}/approvals"
    roles = ["approver:business"]
    ann = federated.client(issuer.sign({"sub": "1", "email": "Ann@acme.example", "roles": roles}))
    ben = federated.client(issuer.sign({"sub": "2", "email": "ben@acme.example", "roles": roles}))
    problem(await ann.post(path, json=vote), 403, "own-change")
    assert (await ben.post(path, json=vote)).status_code == 201


@pytest.mark.parametrize("claims", [{}, {"actor": "renovate[bot]"}])
async def test_a_run_that_names_nobody_or_a_bot_leaves_the_authors_unknown(
    federated: Api, issuer: LocalIssuer, fleet: Fleet, claims: dict[str, str]
) -> None:
    fleet.config("strategies", "asked", ASKED)
    run = federated.client(issuer.sign({"sub": RUN, **claims}))
    assert (await run.post("/v1/releases", json=body("17.1.0", await upload(run, MANIFEST)))).status_code == 201
    manager = await federated.as_("release-manager")
    start = {"release": "odoo/17.1.0", "strategy": "asked"}
    preview = (await manager.post("/v1/rollouts:preview", json=start)).json()
    assert "authors-unknown" in {note["code"] for note in preview["notes"]}
    problem(await manager.post("/v1/rollouts", json=start), 422, "authors-unknown")
