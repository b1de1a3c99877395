"""Gates before single targets: what each said to each target.

Old code never writes or reads it, so it may go on serving.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from migrations.columns import json, moment, number, text, uid

revision = "20261124_pre_target_gates"
down_revision = "20261124_pre_audit_retention"
branch_labels = None
depends_on = None

MINE = "tenant = nullif(current_setting('seawall.tenant', true), '')"


def upgrade() -> None:
    op.create_table(
        "target_gates",
        uid("rollout_id"),
        text("tenant"),
        number("idx"),
        text("kind"),
        text("verdict"),
        text("reason"),
        text("who"),
        moment("since"),
        moment("until"),
        json("evidence"),
        sa.CheckConstraint("verdict in ('pass','wait','fail','unknown')", name="target_gate_verdict"),
        sa.CheckConstraint("tenant <> ''", name="target_gate_tenant_named"),
        sa.ForeignKeyConstraint(["rollout_id", "tenant"], ["targets.rollout_id", "targets.tenant"]),
        sa.PrimaryKeyConstraint("rollout_id", "tenant", "idx"),
    )
    op.execute("alter table target_gates enable row level security")
    op.execute("alter table target_gates force row level security")
    op.execute(f"create policy tenant_sees_its_own on target_gates to sw_tenant using ({MINE}) with check ({MINE})")
    op.execute(
        "create policy fleet_sees_all on target_gates to sw_platform, sw_engine, current_user using (true) with check (true)"
    )
    op.execute("grant select, insert, update on target_gates to sw_engine")
    op.execute("grant select on target_gates to sw_platform, sw_tenant")


def downgrade() -> None:
    op.drop_table("target_gates")
