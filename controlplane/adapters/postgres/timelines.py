"""The registry's side of the comparison after a failover: see `controlplane.ports.timelines`."""

from __future__ import annotations

import asyncio
import uuid
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from controlplane.domain.manifests import InventoryItem, Rendered, key_of, mark, never_pruned
from controlplane.domain.timelines import SAYS, Difference, KnownEnvironment, RunningApp, Seal, steps_of
from controlplane.ports.health import Part
from controlplane.ports.timelines import Comparison, Overtaken, Place, Standing

from .database import Database
from .engine.packing import pack, unpack
from .engine_timeline import TIMELINE
from .health import SECONDS
from .json_text import as_json
from .uow import PostgresUnitOfWork

_NOTE = text(
    f"""
    insert into timelines (timeline, cluster, environments, differences)
    select now.timeline, c.cluster, 0, 0
    from (select {TIMELINE} as timeline) now, (select '' as cluster union select distinct cluster from environments) c
    where not exists (select 1 from timelines t where t.timeline = now.timeline)
      and (c.cluster = '' or exists (select 1 from timelines))
    on conflict do nothing
    """  # noqa: S608 -- constant
)
_STANDING = text(
    f"""
    select now.timeline, t.cluster is not null and t.compared_at is null as pending
    from (select {TIMELINE} as timeline) now left join timelines t on t.timeline = now.timeline and t.cluster = :cluster
    """  # noqa: S608 -- constant
)
_OVERTAKEN = text(
    """
    select namespace, max(revision) as revision from timeline_differences
    where timeline = :timeline and cluster = :cluster and kind = 'revision-unknown' group by namespace
    """
)
_ENVIRONMENTS = text("select tenant, environment, namespace, uid, epoch from environments where cluster = :cluster")
_CANDIDATES = text(
    """
    select t.tenant, t.rollout_id::text as rollout, t.attempt from targets t join rollouts r on r.id = t.rollout_id
    where t.tenant = any(:tenants) and r.state not in ('draft','succeeded','failed','aborted')
    """
)
_KNOWN_STEPS = text("select distinct step_id::text as step from steps where step_id = any(cast(:steps as uuid[]))")
_RUNNING = text(
    """
    select a.tenant, a.environment, a.app, a.last_number, a.revision, c.body
    from tenant_apps a
    join unnest(cast(:tenants as text[]), cast(:environments as text[])) as x(tenant, environment)
      on x.tenant = a.tenant and x.environment = a.environment
    left join revisions r on r.tenant = a.tenant and r.environment = a.environment and r.app = a.app and r.revision = a.revision
    left join contents c on c.tenant = r.tenant and c.hash = r.content_hash
    """
)
_CLAIM = text(
    """
    update timelines set compared_at = now(), environments = :environments, differences = :differences
    where timeline = :timeline and cluster = :cluster and compared_at is null
    """
)
_LOCK_TENANTS = text("select tenant from tenants where tenant = any(:tenants) order by tenant for update")
_EPOCHS = text(
    """
    update environments e set epoch = greatest(e.epoch, x.seal)
    from unnest(cast(:tenants as text[]), cast(:environments as text[]), cast(:seals as bigint[])) as x(tenant, environment, seal)
    where e.tenant = x.tenant and e.environment = x.environment
    """
)
_CONTENT = text(
    "insert into contents (tenant, hash, body) values (:tenant, :hash, :body) on conflict (tenant, hash) do nothing"
)
_REVISION = text(
    """
    insert into revisions (tenant, environment, app, revision, release_version, content_hash, values_hash, "values", inventory,
      secret_versions, base_revision, state)
    values (:tenant, :environment, :app, :revision, '', :hash, '', '{}', cast(:inventory as jsonb), '{}', :base, 'applied')
    """
)
_APP = text(
    """
    update tenant_apps set revision = :revision, last_number = greatest(last_number, :revision)
    where tenant = :tenant and environment = :environment and app = :app
    """
)
_DIFFERENCES = text(
    """
    insert into timeline_differences (timeline, cluster, namespace, app, kind, tenant, environment, registry_epoch, seal_epoch,
      step, revision)
    select :timeline, :cluster, x.namespace, x.app, x.kind, nullif(x.tenant, ''), x.environment, x.registry, x.seal, x.step, x.revision
    from jsonb_to_recordset(cast(:rows as jsonb)) as x(namespace text, app text, kind text, tenant text, environment text,
      registry bigint, seal bigint, step text, revision int)
    """
)
_SHOWN = 20
"""Namespaces of nobody that the cluster's event names; the table has them all."""


_PART = text(
    f"""
    select {TIMELINE} as timeline, (select max(timeline) from timelines) as noted,
      coalesce((select string_agg(cluster, ', ' order by cluster) from timelines
                where timeline = {TIMELINE} and cluster <> '' and compared_at is null), '') as pending,
      (select coalesce(sum(environments), 0) from timelines where timeline = {TIMELINE}) as environments,
      (select coalesce(sum(differences), 0) from timelines where timeline = {TIMELINE}) as differences
    """  # noqa: S608 -- constant
)


async def timeline_part(engine: AsyncEngine) -> Part:
    """Whether clusters were compared with the registry since PostgreSQL's last failover. Not needed: each waits for its own comparison."""
    try:
        async with asyncio.timeout(SECONDS), engine.connect() as connection:
            row = (await connection.execute(_PART)).one()
    except (TimeoutError, OSError, SQLAlchemyError) as error:
        kind = type(getattr(error, "orig", None) or error).__name__
        return Part(name="timeline", state="away", needed=False, detail=f"PostgreSQL did not say ({kind}).")
    if row.noted is None:
        detail = f"Timeline {row.timeline}; no worker has looked at a cluster yet, so there is nothing to compare after a failover."
        return Part(name="timeline", state="notRequired", needed=False, detail=detail)
    if row.noted != row.timeline:
        detail = f"PostgreSQL began timeline {row.timeline}; no worker has compared a cluster with the registry yet."
        return Part(name="timeline", state="away", needed=False, detail=detail)
    if row.pending:
        detail = f"Timeline {row.timeline}: nothing is dispatched to {row.pending} until compared with the registry."
        return Part(name="timeline", state="away", needed=False, detail=detail)
    detail = f"Timeline {row.timeline}"
    if row.environments:
        detail += f": {row.environments} environments compared, {row.differences} differences (GET /v1/changes)"
    return Part(name="timeline", state="ok", needed=False, detail=detail)


class PostgresTimelines:
    """See `controlplane.ports.timelines.TimelineStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def standing(self, cluster: str) -> Standing:
        """Note a new timeline, and say where the cluster stands on it."""
        async with self._database.engine() as uow:
            await uow.session.execute(_NOTE)
            row = (await uow.session.execute(_STANDING, {"cluster": cluster})).one()
            values = {"timeline": row.timeline, "cluster": cluster}
            found = (await uow.session.execute(_OVERTAKEN, values)).all()
        overtaken = {one.namespace: Overtaken(one.revision, SAYS["revision-unknown"]) for one in found}
        return Standing(row.timeline, row.pending, overtaken)

    async def known(self, cluster: str, seals: Mapping[str, Seal]) -> tuple[uuid.UUID, list[KnownEnvironment]]:
        """Environments, with the steps known of those whose seal is ahead."""
        async with self._database.engine() as uow:
            rows = (await uow.session.execute(_ENVIRONMENTS, {"cluster": cluster})).all()
            ahead = [r for r in rows if r.namespace in seals and seals[r.namespace].epoch > r.epoch]
            steps = await self._steps(uow, ahead, seals)
            installation = await uow.tenants.installation()
        return installation, [
            KnownEnvironment(r.tenant, r.environment, r.namespace, r.uid, r.epoch, steps.get(r.tenant, frozenset()))
            for r in rows
        ]

    async def _steps(
        self, uow: PostgresUnitOfWork, ahead: Sequence[Any], seals: Mapping[str, Seal]
    ) -> dict[str, frozenset[str]]:
        if not ahead:
            return {}
        sealed = sorted({step for row in ahead if _is_uuid(step := seals[row.namespace].step)})
        recorded = frozenset((await uow.session.execute(_KNOWN_STEPS, {"steps": sealed})).scalars())
        candidates: defaultdict[str, list[tuple[str, str, int]]] = defaultdict(list)
        for row in await uow.session.execute(_CANDIDATES, {"tenants": sorted({r.tenant for r in ahead})}):
            candidates[row.tenant].append((row.rollout, row.tenant, row.attempt))
        return {row.tenant: recorded | steps_of(candidates[row.tenant]) for row in ahead}

    async def running(self, places: Sequence[Place]) -> Mapping[Place, Sequence[RunningApp]]:
        """What apps run, with Seawall's marks."""
        values = {"tenants": [p[0] for p in places], "environments": [p[1] for p in places]}
        async with self._database.engine() as uow:
            rows = (await uow.session.execute(_RUNNING, values)).all()
        found: defaultdict[Place, list[RunningApp]] = defaultdict(list)
        for row in rows:
            rendered = unpack(row.body) if row.body is not None else Rendered()
            objects = mark(rendered.objects, row.tenant, row.environment, row.app)
            found[row.tenant, row.environment].append(RunningApp(row.app, row.last_number, row.revision, objects))
        return found

    async def settle(self, comparison: Comparison) -> bool:
        """One transaction: claim the cluster, rebuild, report."""
        done = comparison
        async with self._database.engine() as uow:
            values = {"timeline": done.timeline, "cluster": done.cluster, "environments": done.environments}
            claimed = await uow.session.execute(_CLAIM, values | {"differences": len(done.differences)})
            if claimed.rowcount != 1:  # type: ignore[attr-defined]  # a cursor result, which the annotation does not say
                return False
            tenants = sorted({one.tenant for one in done.differences if one.tenant})
            await uow.session.execute(_LOCK_TENANTS, {"tenants": tenants})
            await self._raise_epochs(uow, done.differences)
            await self._rebuild(uow, done)
            await self._report(uow, done)
        return True

    async def _raise_epochs(self, uow: PostgresUnitOfWork, differences: Sequence[Difference]) -> None:
        ahead = {(d.tenant, d.environment): d.seal_epoch for d in differences if d.tenant and d.kind in _AHEAD}
        if ahead:
            places = list(ahead)
            values = {"tenants": [p[0] for p in places], "environments": [p[1] for p in places]}
            await uow.session.execute(_EPOCHS, values | {"seals": [ahead[p] for p in places]})

    async def _rebuild(self, uow: PostgresUnitOfWork, done: Comparison) -> None:
        for (tenant, environment), made in done.rebuilt.items():
            for one in made:
                digest = one.rendered.content_hash
                inventory = [
                    InventoryItem(key=key_of(o), uid=one.uids.get(key_of(o)) or None, keep=never_pruned(o)).model_dump()
                    for o in one.rendered.objects
                ]
                where = {"tenant": tenant, "environment": environment, "app": one.app, "revision": one.revision}
                await uow.session.execute(_CONTENT, {"tenant": tenant, "hash": digest, "body": pack(one.rendered)})
                row = {**where, "hash": digest, "base": one.base, "inventory": as_json(inventory)}
                await uow.session.execute(_REVISION, row)
                await uow.session.execute(_APP, where)

    async def _report(self, uow: PostgresUnitOfWork, done: Comparison) -> None:
        rows = [
            {
                "namespace": d.namespace,
                "app": d.app,
                "kind": d.kind,
                "tenant": d.tenant,
                "environment": d.environment,
                "registry": d.registry_epoch,
                "seal": d.seal_epoch,
                "step": d.step,
                "revision": d.revision,
            }
            for d in done.differences
        ]
        place = {"timeline": done.timeline, "cluster": done.cluster}
        if rows:
            await uow.session.execute(_DIFFERENCES, place | {"rows": as_json(rows)})
        for d in done.differences:
            if d.tenant:
                data = {**place, "kind": d.kind, "says": SAYS[d.kind], "app": d.app, "environment": d.environment}
                data |= {"sealEpoch": d.seal_epoch, "registryEpoch": d.registry_epoch, "revision": d.revision or None}
                await uow.record("tenant", d.tenant, "registryDiffered", tenant=d.tenant, data=data)
        nobody = [d.namespace for d in done.differences if not d.tenant]
        summary = {**place, "environments": done.environments, "differences": len(done.differences)}
        summary |= {"namespacesOfNobody": nobody[:_SHOWN]}
        await uow.record("cluster", done.cluster, "compared", data=summary)


_AHEAD = frozenset({"epoch-behind", "change-unknown", "revision-unknown"})


def _is_uuid(value: str) -> bool:
    try:
        uuid.UUID(value)
    except ValueError:
        return False
    return True
