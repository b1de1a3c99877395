"""Let a tenant owner see when the waves of its own rollouts are expected, and nothing else of them (reasons name other tenants)."""

from __future__ import annotations

from alembic import op

from migrations.columns import moment

revision = "20261123_pre_self_service"
down_revision = "20261123_pre_events"
branch_labels = None
depends_on = None

COLUMNS = "rollout_id, wave, name, state, started_at, ended_at, expected_from, expected_by"


def upgrade() -> None:
    op.add_column("waves", moment("expected_from"))
    op.add_column("waves", moment("expected_by"))
    op.execute("alter table waves enable row level security")
    op.execute("alter table waves force row level security")
    op.execute(
        "create policy tenant_sees_its_own on waves for select to sw_tenant"
        " using (exists (select 1 from targets t where t.rollout_id = waves.rollout_id and t.wave = waves.wave))"
    )
    op.execute(
        "create policy fleet_sees_all on waves to sw_platform, sw_engine, current_user using (true) with check (true)"
    )
    op.execute(f"grant select ({COLUMNS}) on waves to sw_tenant")


def downgrade() -> None:
    op.execute("revoke all on waves from sw_tenant")
    op.execute("drop policy tenant_sees_its_own on waves")
    op.execute("drop policy fleet_sees_all on waves")
    op.execute("alter table waves no force row level security")
    op.execute("alter table waves disable row level security")
    op.drop_column("waves", "expected_by")
    op.drop_column("waves", "expected_from")
