"""Evidence about releases, and backups of tenants as their systems report them.

Old code never writes or reads them, so it may go on serving.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from migrations.columns import json, moment, text, uid

revision = "20261124_pre_evidence"
down_revision = "20261124_pre_drift"
branch_labels = None
depends_on = None

MINE = "tenant = nullif(current_setting('seawall.tenant', true), '')"


def upgrade() -> None:
    op.create_table(
        "release_evidence",
        uid("id"),
        text("app"),
        text("version"),
        text("kind"),
        moment("at", now=True),
        json("body"),
        moment("received_at", now=True),
        text("reported_by"),
        sa.ForeignKeyConstraint(["app", "version"], ["releases.app", "releases.version"]),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_release_evidence_release", "release_evidence", ["app", "version", "kind", "at"])
    op.create_table(
        "backups",
        text("tenant"),
        text("environment"),
        text("id"),
        moment("taken_at", now=True),
        sa.Column("size", sa.BigInteger(), nullable=False),
        moment("checked_at"),
        text("location"),
        text("reported_by"),
        moment("reported_at", now=True),
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
