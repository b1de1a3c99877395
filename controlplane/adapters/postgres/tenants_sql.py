"""Statements on tenants, environments and apps. Many rows travel as one JSON array."""

from __future__ import annotations

from sqlalchemy import text

_TENANT = """
select t.tenant, t.display_name, t.tier, t.region, t.time_zone, t.labels, t.exposure, t.apps, t.adopt, t.phase, t.phase_reason,
       t.generation, t.created_at, t.updated_at,
       coalesce((
         select jsonb_agg(jsonb_build_object(
           'tenant', e.tenant, 'environment', e.environment, 'cluster', e.cluster, 'namespace', e.namespace, 'hosts', e.hosts,
           'uid', e.uid, 'epoch', e.epoch, 'slot_kind', e.slot_kind, 'slot_id', e.slot_id, 'dirty', e.dirty, 'walls', e.walls, 'drift', e.drift)
           order by e.environment)
         from environments e where e.tenant = t.tenant), '[]') as environments
from tenants t
"""
_ROWS = """
jsonb_to_recordset(cast(:rows as jsonb)) as x(
  tenant text, display_name text, tier text, region text, time_zone text, labels jsonb, exposure jsonb, apps jsonb, adopt text)
"""
_PLACES = "jsonb_to_recordset(cast(:rows as jsonb)) as x(tenant text, environment text, cluster text, namespace text, hosts jsonb)"
_APP_ROWS = "jsonb_to_recordset(cast(:rows as jsonb)) as x(tenant text, environment text, app text)"
_APPS = """
select a.tenant, a.environment, a.app, a.values, a.values_version, a.revision, a.verified_revision, a.deferred_until,
       r.release_version, {content} as content
from tenant_apps a
left join revisions r on (r.tenant, r.environment, r.app, r.revision) = (a.tenant, a.environment, a.app, a.revision)
{join}
where a.tenant = :tenant order by a.environment, a.app
"""

LOCK = text("select 1 from tenants where tenant = :name for update")
GET = text(f"{_TENANT} where t.tenant = :name")
MANY = text(f"{_TENANT} where t.tenant = any(:names) order by t.tenant")
PAGE = text(f"{_TENANT} where t.tenant > :after order by t.tenant limit :limit")
ADD = text(
    f"""
    insert into tenants (tenant, display_name, tier, region, time_zone, labels, exposure, apps, adopt, phase, phase_reason)
    select tenant, display_name, tier, region, time_zone, labels, exposure, apps, adopt, 'onboarding', '' from {_ROWS}
    on conflict do nothing returning tenant
    """  # noqa: S608 -- constants
)
ADD_ENVIRONMENTS = text(
    f"""
    insert into environments (tenant, environment, cluster, namespace, hosts, health, health_reason)
    select tenant, environment, cluster, namespace, hosts, 'unknown', 'not looked at yet' from {_PLACES} returning tenant
    """  # noqa: S608 -- constants
)
ADD_APPS = text(
    f"""
    insert into tenant_apps (tenant, environment, app, values, values_version, revision)
    select tenant, environment, app, '{{}}', 1, 0 from {_APP_ROWS} returning tenant
    """  # noqa: S608 -- constants
)
ADD_MISSING_APPS = text(
    f"""
    insert into tenant_apps (tenant, environment, app, values, values_version, revision)
    select tenant, environment, app, '{{}}', 1, 0 from {_APP_ROWS} on conflict do nothing
    """  # noqa: S608 -- constants
)
REMOVE_APPS = text("delete from tenant_apps where tenant = :tenant and app = any(:apps) and last_number = 0")
LEFT_APPS = text("select distinct app from tenant_apps where tenant = :tenant and app = any(:apps)")
HOSTS_LOCK = text("select pg_advisory_xact_lock(hashtextextended('seawall.hosts', 0))")
TAKEN_HOSTS = text(
    """
    select host.name as host, e.tenant from environments e join tenants t using (tenant)
    cross join jsonb_array_elements_text(e.hosts) as host(name)
    where host.name = any(:hosts) and t.phase <> 'offboarded'
    """
)
TAKEN_PLACES = text(
    """
    select e.cluster, e.namespace from environments e
    join jsonb_to_recordset(cast(:rows as jsonb)) as x(cluster text, namespace text) using (cluster, namespace)
    """
)
SAVE = text(
    f"""
    update tenants t set display_name = x.display_name, tier = x.tier, region = x.region, time_zone = x.time_zone, labels = x.labels,
      exposure = x.exposure, apps = x.apps, adopt = x.adopt, generation = generation + 1, updated_at = now()
    from {_ROWS} where t.tenant = x.tenant returning t.tenant
    """  # noqa: S608 -- constants
)
SAVE_HOSTS = text(
    f"""
    update environments e set hosts = x.hosts from {_PLACES}
    where e.tenant = x.tenant and e.environment = x.environment and e.hosts <> x.hosts
    """  # noqa: S608 -- constants
)
SET_PHASE = text(
    """
    update tenants set phase = :phase, phase_reason = :reason, generation = generation + 1, updated_at = now()
    where tenant = any(:names) returning tenant
    """
)
CONFIG = text(
    """
    select c.name, v.spec from config_current c join config_versions v using (kind, name, version)
    where c.kind = :kind and c.deleted_at is null
    """
)
APPS = text(_APPS.format(content="null::bytea", join=""))
APPS_WITH_CONTENT = text(
    _APPS.format(content="c.body", join="left join contents c on c.tenant = r.tenant and c.hash = r.content_hash")
)
SET_VALUES = text(
    """
    update tenant_apps set values = cast(:values as jsonb), values_version = values_version + 1
    where (tenant, environment, app) = (:tenant, :environment, :app) returning values_version
    """
)
RELEASES = text(
    """
    select r.app, r.version, r.created_at, r.proven_at is not null as proven,
           exists (select 1 from holds h where h.digest = r.digest and h.lifted_at is null) as held
    from releases r where r.app = any(:apps) order by r.created_at desc, r.version desc
    """
)
RECORD = text(
    """
    with x as (
      select *, row_number() over (partition by tenant order by ordinality) as nth
      from rows from (jsonb_to_recordset(cast(:rows as jsonb)) as (tenant text, change text, data jsonb)) with ordinality
    ), written as (
      insert into history (subject_kind, subject_id, seq, type, tenant, data, at)
      select 'tenant', x.tenant,
             x.nth + coalesce((select max(h.seq) from history h where h.subject_kind = 'tenant' and h.subject_id = x.tenant), 0),
             'dev.seawall.tenant.' || x.change || '.v1', x.tenant, x.data, now() from x
      returning subject_id, seq, type, tenant, data, at
    )
    insert into outbox (subject, msg_id, payload, headers)
    select 'sw.event.' || tenant || '.tenant.' || split_part(type, '.', 4), 'tenant-' || subject_id || '-' || seq,
           jsonb_build_object('kind', 'tenant', 'id', subject_id, 'seq', seq, 'type', type, 'tenant', tenant, 'time', at, 'data', data),
           '{}'::jsonb
    from written returning id
    """
)
INSTALLATION = text(
    """
    with made as (insert into installation (one, id) values (true, :id) on conflict do nothing returning id)
    select id from made union all select id from installation limit 1
    """
)
PLACES = text(
    """
    select e.tenant, e.environment, e.cluster, e.namespace,
           exists (select 1 from tenant_apps a where a.tenant = e.tenant and a.environment = e.environment and a.revision > 0) as installed
    from environments e join tenants t using (tenant) where t.phase <> 'offboarded'
    """
)
AT = text("select tenant from environments where cluster = :cluster and namespace = :namespace")
PLACED_ON = text("select distinct cluster from environments order by cluster")
GIVEN = text(
    """
    select e.namespace, coalesce(a.app, '') as app, coalesce(r.inventory, '[]') as inventory
    from environments e
    join tenants t on t.tenant = e.tenant
    left join tenant_apps a on a.tenant = e.tenant and a.environment = e.environment
    left join revisions r on r.tenant = a.tenant and r.environment = a.environment and r.app = a.app and r.revision = a.revision
    where e.cluster = :cluster and e.slot_id is null and not e.dirty and t.phase = 'active'
      and (e.namespace, coalesce(a.app, '')) > (:namespace, :app)
    order by e.namespace, coalesce(a.app, '') limit :limit
    """
)
SET_DRIFT = text(
    """
    update environments set drift = cast(:drift as jsonb) where tenant = :tenant and environment = :environment
    returning tenant
    """
)
SEEN_LOCK = text("select pg_try_advisory_xact_lock(hashtextextended('seawall.seen', 0))")
# Rows that a driver has locked this moment are left for the next look: nobody waits for a status.
SEEN = text(
    """
    update environments e set health = x.health, health_reason = x.reason, health_at = now(), quota = x.quota
    from jsonb_to_recordset(cast(:rows as jsonb)) as x(tenant text, environment text, health text, reason text, quota jsonb)
    where (e.tenant, e.environment) = (x.tenant, x.environment)
      and (e.tenant, e.environment) in (
        select l.tenant, l.environment from environments l
        join jsonb_to_recordset(cast(:rows as jsonb)) as y(tenant text, environment text) using (tenant, environment)
        for update of l skip locked)
    """
)
