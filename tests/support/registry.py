"""Rows of a small fleet, written straight into the database: what onboarding and installs would have left behind."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from controlplane.domain.manifests import Rendered
from controlplane.domain.names import canonical_json, digest_of, namespace_name
from controlplane.domain.releases import ReleaseSpec, release_digest
from tests.support.charts import DIGEST, IMAGE, chart

APP = "odoo"
_SOON = {"for": "PT0S", "samples": 1}
"""One look and no waiting: the default of three samples, a second apart, is two seconds of every test that rolls anything out."""
EVERYBODY_AT_ONCE = {
    "waves": [{"name": "all", "cut": {"percent": "100%"}, "soak": _SOON}],
    "limits": {"inFlight": "100%"},
}


@dataclass
class Fleet:
    """Writes as the schema's owner; each method commits."""

    url: str
    artifacts: dict[str, bytes] = field(default_factory=dict)

    def config(self, kind: str, name: str, spec: Mapping[str, Any]) -> None:
        """Put a configuration object."""
        with psycopg.connect(self.url) as db:
            row = db.execute(
                "select coalesce(max(version), 0) + 1 from config_versions where kind = %s and name = %s", (kind, name)
            ).fetchone()
            version = row[0] if row else 1
            db.execute(
                "insert into config_versions (kind, name, version, spec, digest, created_by) values (%s, %s, %s, %s, %s, 'tests')",
                (kind, name, version, Jsonb(dict(spec)), digest_of(dict(spec))),
            )
            db.execute(
                "insert into config_current (kind, name, version) values (%s, %s, %s)"
                " on conflict (kind, name) do update set version = excluded.version",
                (kind, name, version),
            )

    def basics(self) -> None:
        """A tier, two clusters, and a strategy that takes everybody at once."""
        self.config("tiers", "standard", {"quota": {"requests.cpu": "2", "requests.memory": "4Gi", "pods": "20"}})
        self.config("clusters", "aks-1", {"region": "west"})
        self.config("clusters", "aks-2", {"region": "north"})
        self.config("strategies", "all", EVERYBODY_AT_ONCE)

    def release(self, version: str, artifact: bytes | None = None, **changes: Any) -> ReleaseSpec:
        """Register a release, of `odoo` unless `app` says another; by default a chart whose content says the version."""
        body = artifact if artifact is not None else chart(values={"release": version})
        spec = ReleaseSpec.model_validate(
            {
                "app": APP,
                "version": version,
                "source": {"format": "helm", "artifact": digest_of(body)},
                "images": {"web": f"{IMAGE.split('@')[0]}@sha256:{digest_of(version)[7:]}"},
            }
            | changes
        )
        with psycopg.connect(self.url) as db:
            db.execute(
                "insert into artifacts (digest, media_type, size, content, created_by) values (%s, 'x', %s, %s, 'tests')"
                " on conflict do nothing",
                (digest_of(body), len(body), body),
            )
            db.execute(
                "insert into releases (app, version, spec, digest, created_by) values (%s, %s, %s, %s, 'tests')",
                (spec.app, version, Jsonb(spec.model_dump(mode="json", by_alias=True)), release_digest(spec)),
            )
        return spec

    def tenants(
        self,
        names: Iterable[str],
        *,
        cluster: str = "aks-1",
        region: str = "west",
        labels: Mapping[str, str] | None = None,
        phase: str = "active",
        app: Mapping[str, Any] | None = None,
        environment: str = "production",
    ) -> list[str]:
        """Tenants with one environment that are meant to run `odoo` and have nothing installed."""
        listed = list(names)
        choice = {"channel": "stable", "values": {}, "pin": None, **(app or {})}
        exposure = {"ordersPerHour": 10, "valuePerOrder": {"amount": "20.00", "currency": "EUR"}}
        with psycopg.connect(self.url) as db, db.cursor() as cursor:
            cursor.executemany(
                "insert into tenants (tenant, display_name, tier, region, time_zone, labels, exposure, apps, adopt, phase,"
                " phase_reason) values (%s, '', 'standard', %s, 'UTC', %s, %s, %s, 'never', %s, '')",
                [(t, region, Jsonb(dict(labels or {})), Jsonb(exposure), Jsonb({APP: choice}), phase) for t in listed],
            )
            cursor.executemany(
                "insert into environments (tenant, environment, cluster, namespace, uid, health, health_reason)"
                " values (%s, %s, %s, %s, %s, 'unknown', '')",
                [(t, environment, cluster, namespace_name(t, environment), f"uid-{t}") for t in listed],
            )
            cursor.executemany(
                "insert into tenant_apps (tenant, environment, app, values_version, revision)"
                " values (%s, %s, %s, 1, 0)",
                [(t, environment, APP) for t in listed],
            )
        return listed

    def also(self, tenants: Iterable[str], app: str, environment: str = "production") -> None:
        """Let tenants run another app besides; nothing of it is installed."""
        choice: dict[str, Any] = {app: {"channel": "stable", "values": {}, "pin": None}}
        for tenant in tenants:
            self.run("update tenants set apps = apps || %s where tenant = %s", Jsonb(choice), tenant)
            self.run(
                "insert into tenant_apps (tenant, environment, app, values_version, revision) values (%s, %s, %s, 1, 0)",
                tenant,
                environment,
                app,
            )

    def runs(self, tenants: Iterable[str], version: str, *, verified: bool = True, **values: Any) -> None:
        """One more revision for each tenant: the next number, content of its own, verified or not."""
        with psycopg.connect(self.url) as db:
            for tenant in tenants:
                rendered = Rendered(objects=(_config_map(tenant, version, values),))
                body = zlib.compress(canonical_json(rendered.model_dump(mode="json")))
                db.execute(
                    "insert into contents (tenant, hash, body) values (%s, %s, %s) on conflict do nothing",
                    (tenant, rendered.content_hash, body),
                )
                number = _one(
                    db,
                    "update tenant_apps set last_number = last_number + 1, revision = last_number + 1,"
                    " verified_revision = case when %s then last_number + 1 else verified_revision end"
                    " where tenant = %s and app = %s returning revision",
                    (verified, tenant, APP),
                )
                db.execute(
                    "insert into revisions (tenant, environment, app, revision, release_version, content_hash, values_hash,"
                    " values, base_revision, state) values (%s, 'production', %s, %s, %s, %s, %s, %s, %s, %s)",
                    (
                        tenant,
                        APP,
                        number,
                        version,
                        rendered.content_hash,
                        digest_of(values),
                        Jsonb(values),
                        number - 1,
                        "verified" if verified else "failed",
                    ),
                )

    def run(self, statement: str, *values: Any) -> None:
        """Any other change."""
        with psycopg.connect(self.url) as db:
            db.execute(statement.encode(), values)

    def ask(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """Any other question."""
        with psycopg.connect(self.url) as db:
            return db.execute(statement.encode(), values).fetchall()


def _config_map(tenant: str, version: str, values: Mapping[str, Any]) -> dict[str, Any]:
    metadata = {"name": "settings", "namespace": tenant}
    data = {"version": version, "image": DIGEST, **{k: str(v) for k, v in values.items()}}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


def _one(db: psycopg.Connection[tuple[Any, ...]], statement: str, values: tuple[Any, ...]) -> int:
    row = db.execute(statement.encode(), values).fetchone()
    assert row is not None
    return int(row[0])
