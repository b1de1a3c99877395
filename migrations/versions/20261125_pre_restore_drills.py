"""Restore drills, as somebody reports them.

Old code never writes or reads them, so it may go on serving.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from migrations.columns import moment, text

revision = "20261125_pre_restore_drills"
down_revision = "20261124_pre_wave_counts"
branch_labels = None
depends_on = None

MINE = "tenant = nullif(current_setting('seawall.tenant', true), '')"


def upgrade() -> None:
    op.create_table(
        "restore_drills",
        text("tenant"),
        text("environment"),
        text("id"),
        moment("started_at", now=True),
        moment("ended_at", now=True),
        text("result"),
        sa.Column("backup", sa.String(), nullable=True),
        text("note"),
        text("reported_by"),
        moment("reported_at", now=True),
        sa.CheckConstraint("tenant <> ''", name="restore_drill_tenant_named"),
        sa.CheckConstraint("result in ('succeeded','failed')", name="restore_drill_result"),
        sa.ForeignKeyConstraint(["tenant", "environment"], ["environments.tenant", "environments.environment"]),
        sa.PrimaryKeyConstraint("tenant", "environment", "id"),
    )
    op.create_index("ix_restore_drills_newest", "restore_drills", ["tenant", "environment", "ended_at"])
    # Never updated: what is reported once stays as it was.
    op.execute("grant select, insert, delete on restore_drills to sw_platform")
    op.execute("grant select on restore_drills to sw_engine, sw_tenant")
    op.execute("alter table restore_drills enable row level security")
    op.execute("alter table restore_drills force row level security")
    op.execute(f"create policy tenant_sees_its_own on restore_drills to sw_tenant using ({MINE}) with check ({MINE})")
    op.execute(
        "create policy fleet_sees_all on restore_drills to sw_platform, sw_engine, current_user"
        " using (true) with check (true)"
    )


def downgrade() -> None:
    op.drop_table("restore_drills")
