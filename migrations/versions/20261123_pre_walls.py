"""Raise the walls inside the database: three roles that own nothing, forced row-level security, narrow grants.

`sw_tenant` sees one tenant per transaction (setting `seawall.tenant`), `sw_platform` serves the API's fleet roles,
`sw_engine` runs rollouts and has no grants on keys. A new table needs its own grants: without them nobody sees it.
"""

from __future__ import annotations

from alembic import op

revision = "20261123_pre_walls"
down_revision = "20261123_pre_registry"
branch_labels = None
depends_on = None

# Tables with a tenant in every row: the tenant role sees its own, by policy.
TENANT_TABLES = (
    "tenants",
    "environments",
    "tenant_apps",
    "revisions",
    "contents",
    "targets",
    "steps",
    "reservations",
    "operation_items",
)
# Tables whose rows may belong to one tenant or to the fleet (tenant NULL).
MIXED_TABLES = ("history", "audit", "operations", "deliveries", "budget_moves")
FLEET_TABLES = (
    "config_versions",
    "config_current",
    "releases",
    "artifacts",
    "holds",
    "rollouts",
    "waves",
    "leases",
    "commands",
    "budgets",
    "freezes",
    "previews",
    "inbound_events",
    "outbox",
    "workers",
    "installation",
)
# What a tenant may read of a rollout that touches it: never its plan, which names other tenants.
ROLLOUT_COLUMNS = (
    "id, kind, app, release_version, environment, state, outcome, reason, not_before, created_at, started_at, ended_at,"
    " strategy, strategy_version"
)
APPEND_ONLY = ("history", "audit", "budget_moves")

MINE = "tenant = nullif(current_setting('seawall.tenant', true), '')"


def upgrade() -> None:
    for role in ("sw_tenant", "sw_platform", "sw_engine"):
        op.execute(
            f"do $$ begin if not exists (select from pg_roles where rolname = '{role}') then create role {role} nologin; end if; end $$"
        )
        op.execute(f"grant usage on schema public to {role}")
    _policies()
    _grants()


def _policies() -> None:
    for table in (*TENANT_TABLES, *MIXED_TABLES):
        op.execute(f"alter table {table} enable row level security")
        op.execute(f"alter table {table} force row level security")
        op.execute(f"create policy tenant_sees_its_own on {table} to sw_tenant using ({MINE}) with check ({MINE})")
        op.execute(
            f"create policy fleet_sees_all on {table} to sw_platform, sw_engine, current_user using (true) with check (true)"
        )
    op.execute("alter table rollouts enable row level security")
    op.execute("alter table rollouts force row level security")
    op.execute(
        "create policy tenant_sees_its_own on rollouts for select to sw_tenant"
        " using (exists (select 1 from targets where targets.rollout_id = rollouts.id))"
    )
    op.execute(
        "create policy fleet_sees_all on rollouts to sw_platform, sw_engine, current_user using (true) with check (true)"
    )


def _grants() -> None:
    for table in (*TENANT_TABLES, *FLEET_TABLES, "operations", "deliveries"):
        op.execute(f"grant select, insert, update, delete on {table} to sw_platform, sw_engine")
    for table in APPEND_ONLY:
        op.execute(f"grant select, insert on {table} to sw_platform, sw_engine")
    op.execute("grant update (hash) on audit to sw_engine")
    op.execute("grant select, insert, update, delete on api_keys, intents to sw_platform")
    for table in (
        "tenants",
        "environments",
        "tenant_apps",
        "revisions",
        "targets",
        "operations",
        "operation_items",
        "history",
    ):
        op.execute(f"grant select on {table} to sw_tenant")
    op.execute(f"grant select ({ROLLOUT_COLUMNS}) on rollouts to sw_tenant")
    op.execute("grant update (deferred_until) on tenant_apps to sw_tenant")
    op.execute("grant insert on audit to sw_tenant")
    op.execute("grant select on releases to sw_tenant")
    op.execute("grant usage on all sequences in schema public to sw_platform, sw_engine, sw_tenant")
    op.execute("grant select on alembic_version to sw_platform, sw_engine")


def downgrade() -> None:
    for table in (*TENANT_TABLES, *MIXED_TABLES, "rollouts"):
        op.execute(f"drop policy if exists tenant_sees_its_own on {table}")
        op.execute(f"drop policy if exists fleet_sees_all on {table}")
        op.execute(f"alter table {table} no force row level security")
        op.execute(f"alter table {table} disable row level security")
    for role in ("sw_tenant", "sw_platform", "sw_engine"):
        op.execute(f"drop owned by {role}")
    # The roles stay: they are the cluster's, and another database may use them.
