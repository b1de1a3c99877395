"""Evidence about releases, and backups of tenants as their systems report them.

Old code never writes or reads them, so it may go on serving.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "20261124_pre_evidence"
down_revision = "20261124_pre_drift"
branch_labels = None
depends_on = None

MINE = "tenant = nullif(current_setting('seawall.tenant', true), '')"


def upgrade() -> None:
    op.create_table(
        "release_evidence",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("app", sa.String(), nullable=False),
        sa.Column("version", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("body", postgresql.JSONB(), server_default=sa.text("'{}'::jsonb"), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("reported_by", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["app", "version"], ["releases.app", "releases.version"]),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_release_evidence_release", "release_evidence", ["app", "version", "kind", "at"])
    op.create_table(
        "backups",
        sa.Column("tenant", sa.String(), nullable=False),
        sa.Column("environment", sa.String(), nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("taken_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("checked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("location", sa.String(), nullable=False),
        sa.Column("reported_by", sa.String(), nullable=False),
        sa.Column("reported_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("tenant <> ''", name="backup_tenant_named"),
        sa.ForeignKeyConstraint(["tenant", "environment"], ["environments.tenant", "environments.environment"]),
        sa.PrimaryKeyConstraint("tenant", "environment", "id"),
    )
    op.create_index("ix_backups_newest", "backups", ["tenant", "environment", "taken_at"])
    # Evidence is a record: nobody changes or deletes it.
    op.execute("grant select, insert on release_evidence to sw_platform")
    op.execute("grant select on release_evidence to sw_engine")
    op.execute("grant select, insert, update, delete on backups to sw_platform")
    op.execute("grant select on backups to sw_engine, sw_tenant")
    op.execute("alter table backups enable row level security")
    op.execute("alter table backups force row level security")
    op.execute(f"create policy tenant_sees_its_own on backups to sw_tenant using ({MINE}) with check ({MINE})")
    op.execute(
        "create policy fleet_sees_all on backups to sw_platform, sw_engine, current_user using (true) with check (true)"
    )


def downgrade() -> None:
    op.drop_table("backups")
    op.drop_table("release_evidence")
