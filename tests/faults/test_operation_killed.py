"""Workers killed with SIGKILL at each step of an onboarding, on a real API server; others take over and finish it."""

from __future__ import annotations

import uuid

import pytest

from controlplane.services.onboarding import batch_onboard
from tests.cluster.objects import fresh_name
from tests.plugins.operations import ndjson, spec
from tests.support.charts import DEPLOYMENT, chart
from tests.support.processes import until

from .conftest import Field

pytestmark = pytest.mark.kill

POINTS = [
    "operation:before-issue:1",
    "operation:after-issue:1",
    "operation:after-effect:1",
    "operation:after-effect:7",
    "operation:after-observe:1",
]


SECURE = """
          securityContext:
            allowPrivilegeEscalation: false
            runAsNonRoot: true
            runAsUser: 1000
            capabilities: {drop: [ALL]}
            seccompProfile: {type: RuntimeDefault}
"""
"""What Pod Security `restricted` asks of a container; the namespaces here have their walls."""


async def batch(field: Field, names: list[str]) -> uuid.UUID:
    lines = ndjson(*(spec(name, apps={"odoo": {}}) for name in names))
    async with field.transactions.platform() as uow:
        return await batch_onboard(uow, lines, actor="mia")


def state(field: Field, operation: uuid.UUID) -> str:
    return str(field.rows.ask("select state from operations where id = %s", operation)[0][0])


async def test_an_onboarding_survives_the_kill_of_its_worker_at_every_step(field: Field) -> None:
    web = DEPLOYMENT.replace("          resources:", SECURE.strip("\n") + "\n          resources:")
    field.rows.release("1.0", chart({"web.yaml": web}, base=False))
    names = [fresh_name("shop") for _ in range(3)]
    operation = await batch(field, names)
    for number, point in enumerate(POINTS):
        await field.processes.ended(field.processes.worker(f"worker-{number}", fault=point))
    field.processes.worker("heir")
    await until(lambda: state(field, operation) in ("succeeded", "failed"), 120, "the onboarding is over")
    problems = field.rows.ask("select tenant, problem from operation_items where problem is not null")
    assert (state(field, operation), problems) == ("succeeded", [])
    phases = field.rows.ask("select tenant, phase from tenants order by tenant")
    assert phases == [(name, "active") for name in sorted(names)]
    assert field.rows.ask("select count(*) from rollouts") == [(1,)]
    assert field.rows.ask("select count(*) from steps where state <> 'OBSERVED'") == [(0,)]
    assert field.rows.ask("select count(*) from environments where slot_id is not null or uid is null") == [(0,)]
    for name in names:
        view = await field.cluster.read_namespace(name)
        assert view is not None
        stored = field.rows.ask("select uid, epoch from environments where tenant = %s", name)
        assert stored == [(view.uid, view.epoch)]
    assert field.processes.errors() == []
