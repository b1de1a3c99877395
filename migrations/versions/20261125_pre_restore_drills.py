"""Restore drills, as somebody reports them.

Old code never writes or reads them, so it may go on serving.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "20261125_pre_restore_drills"
down_revision = "20261124_pre_wave_counts"
branch_labels = None
depends_on = None

MINE = "tenant = nullif(current_setting('seawall.tenant', true), '')"


def upgrade() -> None:
    op.create_table(
        "restore_drills",
        sa.Column("tenant", sa.String(), nullable=False),
        sa.Column("environment", sa.String(), nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("result", sa.String(), nullable=False),
        sa.Column("backup", sa.String(), nullable=True),
        sa.Column("note", sa.String(), nullable=False),
        sa.Column("reported_by", sa.String(), nullable=False),
        sa.Column("reported_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
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
