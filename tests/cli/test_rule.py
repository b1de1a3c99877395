"""`seawall rule test`, over the API on real PostgreSQL."""

from __future__ import annotations

from pathlib import Path

from tests.cli.conftest import Cli
from tests.support.registry import Fleet

RULE = """
apiVersion: seawall.dev/v1
kind: rule
metadata: {name: payments}
spec:
  when: '"payments" in release.risks && tenant.labels.country == "fr"'
  then: {approval: {group: payments, waves: each}}
  reason: Payment changes are approved wave by wave.
"""


async def test_a_rule_is_tried_on_a_release_before_it_is_in_force(admin: Cli, fleet: Fleet, folder: Path) -> None:
    fleet.release("18.0", risks=["payments"])
    fleet.run("update tenants set labels = jsonb_build_object('country', right(tenant, 2)) where tenant <> 'zed-de'")
    file = folder / "rule.yaml"
    file.write_text(RULE)
    found = await admin("rule", "test", str(file), "--release", "odoo/18.0", "-l", "tenant!=zed-de")
    assert (found.code, found.err) == (0, "")
    assert "true of 2 of 3 tenants; looks at release, tenant" in found.out
    assert "effect: approval: Payment changes are approved wave by wave." in found.out
    assert "acme-fr  applies" in found.out
    one = await admin("rule", "test", str(file), "--release", "odoo/18.0", "--tenant", "acme-de", "-o", "json")
    assert '"applies": 0' in one.out
    unclear = await admin("rule", "test", str(file), "--release", "odoo/18.0", "--tenant", "zed-de")
    assert unclear.code == 1
    assert "unclear: " in unclear.out
    assert "would leave them out" in unclear.err
    assert fleet.ask("select count(*) from config_current where kind = 'rules'") == [(0,)]
    file.write_text(RULE.replace("release.risks", "releese.risks"))
    wrong = await admin("rule", "test", str(file), "--release", "odoo/18.0")
    assert wrong.code == 1
    assert "releese" in wrong.err
