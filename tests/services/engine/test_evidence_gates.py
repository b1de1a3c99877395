"""Gates over what others attest, driven to their end on real PostgreSQL: they say what is missing, and open when it comes."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

from controlplane.domain.backups import BackupReport
from controlplane.domain.evidence import EvidenceWish, release_subjects
from controlplane.domain.releases import ReleaseSpec
from controlplane.services.evidence import register_evidence, report_backup
from tests.contract.fleets import until_read
from tests.support.signing import new_key, pem_of, sign, statement, tampered

from .conftest import CLUSTER, Stage

WAVE: dict[str, Any] = {"name": "all", "cut": {"percent": "100%"}, "soak": {"for": "PT0S", "samples": 1}}


def now() -> datetime:
    return datetime.now(UTC)


async def said(stage: Stage, rollout: uuid.UUID, verdict: str, part: str) -> dict[str, Any]:
    """Wait until the rollout's gate says so; returns the evidence."""

    async def look() -> dict[str, Any] | None:
        rows = stage.rows.ask("select verdict, reason, evidence from gates where rollout_id = %s", rollout)
        return next((evidence for v, reason, evidence in rows if v == verdict and part in reason), None)

    found = await until_read(look)
    assert found is not None
    return found


async def attest(stage: Stage, version: str, **body: Any) -> None:
    wish = EvidenceWish.model_validate({"at": now().isoformat(), **body})
    async with stage.transactions.platform() as uow:
        await register_evidence(uow, "odoo", version, wish, actor="ci")


async def backup(stage: Stage, tenant: str, age: timedelta, *, checked: bool = True) -> None:
    taken = now() - age
    report = BackupReport(taken_at=taken, size=1000, checked_at=taken if checked else None)
    async with stage.transactions.platform() as uow:
        await report_backup(uow, tenant, "production", f"b-{taken.timestamp():.0f}", report, actor="backups")


async def test_a_wave_waits_for_a_young_scan_and_starts_when_ci_sends_it(stage: Stage) -> None:
    require = [{"kind": "security", "maxAge": "P1D", "max": {"critical": 0}}]
    stage.rows.config("strategies", "scanned", {"waves": [{**WAVE, "before": [{"evidence": {"require": require}}]}]})
    stage.rows.release("1.0")
    await stage.tenants(["a", "b"])
    await attest(stage, "1.0", kind="security", at=(now() - timedelta(days=2)).isoformat(), results={"critical": 0})
    rollout = await stage.start("1.0", "scanned")
    await said(stage, rollout, "wait", "security of odoo/1.0 is older than P1D")
    assert set(stage.targets(rollout).values()) == {"pending"}
    await attest(stage, "1.0", kind="security", results={"critical": 0})
    assert await stage.over(rollout) == "succeeded"
    evidence = await said(stage, rollout, "pass", "security of odoo/1.0 is good")
    assert evidence["releases"]["1.0"][0]["reportedBy"] == "ci"


async def test_a_scan_over_its_limit_fails_the_wave_before_anything_is_touched(stage: Stage) -> None:
    require = [{"kind": "security", "max": {"critical": 0}}]
    stage.rows.config("strategies", "scanned", {"waves": [{**WAVE, "before": [{"evidence": {"require": require}}]}]})
    stage.rows.release("1.0")
    await stage.tenants(["a"])
    await attest(stage, "1.0", kind="security", results={"critical": 3})
    rollout = await stage.start("1.0", "scanned")
    assert await stage.over(rollout) == "failed"
    await said(stage, rollout, "fail", "security: critical 3 > 0")
    assert stage.targets(rollout) == {"a": "cancelled"}


async def test_each_tenant_of_a_wave_needs_a_checked_backup_within_its_tiers_objective(stage: Stage) -> None:
    stage.rows.config("tiers", "standard", {"quota": {"requests.cpu": "2", "pods": "20"}, "rpo": "PT1H"})
    stage.rows.config("strategies", "backed", {"waves": [{**WAVE, "before": [{"backup": {}}]}]})
    stage.rows.release("1.0")
    await stage.tenants(["a", "b"])
    await backup(stage, "a", timedelta(minutes=10))
    await backup(stage, "b", timedelta(hours=2))
    await backup(stage, "b", timedelta(minutes=5), checked=False)
    rollout = await stage.start("1.0", "backed")
    evidence = await said(stage, rollout, "wait", "1 of 2 tenants: b: the newest checked backup")
    assert evidence["targets"]["a"]["rpo"] == "PT1H"
    await backup(stage, "b", timedelta(minutes=1))
    assert await stage.over(rollout) == "succeeded"


async def test_before_each_target_only_the_tenant_without_a_backup_waits(stage: Stage) -> None:
    each = [{"backup": {"maxAge": "PT1H"}}]
    stage.rows.config("strategies", "backed", {"waves": [{**WAVE, "beforeEach": each}], "limits": {"inFlight": 2}})
    stage.rows.release("1.0")
    await stage.tenants(["a", "b", "c"])
    await backup(stage, "a", timedelta(minutes=10))
    await backup(stage, "c", timedelta(minutes=10))
    rollout = await stage.start("1.0", "backed")

    async def others_verified() -> bool:
        return stage.targets(rollout) == {"a": "verified", "b": "pending", "c": "verified"}

    await until_read(others_verified)
    reason = stage.rows.ask("select reason from target_gates where rollout_id = %s and tenant = 'b'", rollout)
    assert reason == [("no checked backup was reported",)]
    await backup(stage, "b", timedelta(minutes=1))
    assert await stage.over(rollout) == "succeeded"


def staging_of(stage: Stage, tenant: str, version: str, since: timedelta, values_hash: str) -> None:
    """What a rollout in the tenant's staging would have left behind."""
    run, at = stage.rows.run, now() - since
    run(
        "insert into environments (tenant, environment, cluster, namespace, health, health_reason)"
        " values (%s, 'staging', %s, %s, 'healthy', '')",
        tenant,
        CLUSTER,
        f"{tenant}-staging",
    )
    run(
        "insert into tenant_apps (tenant, environment, app, values_version, revision, verified_revision)"
        " values (%s, 'staging', 'odoo', 1, 1, 1)",
        tenant,
    )
    run("insert into contents (tenant, hash, body) values (%s, 'sha256:x', '') on conflict do nothing", tenant)
    run(
        "insert into revisions (tenant, environment, app, revision, release_version, content_hash, values_hash,"
        " base_revision, state, created_at, verified_at) values (%s, 'staging', 'odoo', 1, %s, 'sha256:x', %s, 0, 'verified', %s, %s)",
        tenant,
        version,
        values_hash,
        at,
        at,
    )


async def test_production_waits_until_staging_ran_the_release_with_the_same_values_for_long_enough(
    stage: Stage,
) -> None:
    gate = {"verified-in": {"environment": "staging", "for": "PT1H"}}
    stage.rows.config("strategies", "staged", {"waves": [{**WAVE, "before": [gate]}]})
    stage.rows.release("1.0")
    await stage.tenants(["a", "b"])
    rollout = await stage.start("1.0", "staged")
    await said(stage, rollout, "wait", "2 of 2 tenants: a: it has no environment staging")
    hashes = dict(stage.rows.ask("select tenant, values_hash from targets where rollout_id = %s", rollout))
    staging_of(stage, "a", "1.0", timedelta(hours=2), hashes["a"])
    staging_of(stage, "b", "1.0", timedelta(minutes=20), hashes["b"])
    await said(stage, rollout, "wait", "1 of 2 tenants: b: staging has run 1.0 for less than PT1H")
    until = stage.rows.ask("select until from gates where rollout_id = %s", rollout)[0][0]
    assert timedelta(minutes=39) < until - now() < timedelta(minutes=41)
    stage.rows.run(
        "update revisions set verified_at = now() - interval '3 hours' where tenant = 'b' and environment = 'staging'"
    )
    assert await stage.over(rollout) == "succeeded"


async def test_a_share_of_all_staging_environments_may_be_enough(stage: Stage) -> None:
    gate = {"verified-in": {"of": "fleet", "share": "50%", "for": "PT1H"}}
    stage.rows.config("strategies", "staged", {"waves": [{**WAVE, "before": [gate]}]})
    stage.rows.release("1.0")
    await stage.tenants(["a", "b", "c"])
    staging_of(stage, "a", "1.0", timedelta(hours=2), "any")
    staging_of(stage, "b", "0.9", timedelta(hours=9), "any")
    staging_of(stage, "c", "1.0", timedelta(minutes=1), "any")
    rollout = await stage.start("1.0", "staged")
    await said(stage, rollout, "wait", "1 of 3 environments staging ran 1.0 for PT1H, verified; 2 must")
    stage.rows.run("update revisions set verified_at = now() - interval '3 hours' where tenant = 'c'")
    assert await stage.over(rollout) == "succeeded"


def provenance(spec: ReleaseSpec) -> dict[str, Any]:
    predicate = {"buildDefinition": {"resolvedDependencies": [{"digest": {"gitCommit": spec.provenance.commit}}]}}
    return statement(sorted(release_subjects(spec)), predicate, "https://slsa.dev/provenance/v1")


async def test_what_nobody_trusted_built_is_never_dispatched_and_what_ci_signed_is(stage: Stage) -> None:
    key = new_key()
    stage.rows.config("trusts", "acme", {"keys": [{"name": "ci", "publicKey": pem_of(key)}]})
    gate = {"provenance": {"trust": "acme"}}
    stage.rows.config("strategies", "signed", {"waves": [{**WAVE, "before": [gate]}]})
    good = stage.rows.release("1.0", provenance={"commit": "4c1d"})
    bad = stage.rows.release("2.0", provenance={"commit": "5d2e"})
    await stage.tenants(["a"])
    rollout = await stage.start("1.0", "signed")
    await said(stage, rollout, "wait", "nobody attested where")
    await attest(stage, "1.0", kind="provenance", envelope=sign(key, provenance(good)))
    assert await stage.over(rollout) == "succeeded"
    await attest(stage, "2.0", kind="provenance", envelope=tampered(sign(key, provenance(bad))))
    rollout = await stage.start("2.0", "signed")
    assert await stage.over(rollout) == "failed"
    await said(stage, rollout, "fail", "no trusted key made any of its signatures")
    assert stage.targets(rollout) == {"a": "cancelled"}
    assert stage.rows.ask("select count(*) from steps where subject_id = %s", rollout) == [(0,)]
