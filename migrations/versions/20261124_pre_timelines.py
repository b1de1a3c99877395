"""Timelines of PostgreSQL that were seen, and what comparing each cluster with the registry found.

The present timeline is noted as the first one: what comes after it is compared. Old code never reads these tables.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "20261124_pre_timelines"
down_revision = "20261124_pre_evidence"
branch_labels = None
depends_on = None

MINE = "tenant = nullif(current_setting('seawall.tenant', true), '')"


def upgrade() -> None:
    op.create_table(
        "timelines",
        sa.Column("timeline", sa.Integer(), nullable=False),
        sa.Column("cluster", sa.String(), nullable=False),
        sa.Column("found_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("compared_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("environments", sa.Integer(), nullable=False),
        sa.Column("differences", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("timeline", "cluster"),
    )
    op.create_table(
        "timeline_differences",
        sa.Column("timeline", sa.Integer(), nullable=False),
        sa.Column("cluster", sa.String(), nullable=False),
        sa.Column("namespace", sa.String(), nullable=False),
        sa.Column("app", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("tenant", sa.String(), nullable=True),
        sa.Column("environment", sa.String(), nullable=False),
        sa.Column("registry_epoch", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("seal_epoch", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("step", sa.String(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("tenant <> ''", name="timeline_difference_tenant_named"),
        sa.PrimaryKeyConstraint("timeline", "cluster", "namespace", "app"),
    )
    op.execute(
        "insert into timelines (timeline, cluster, environments, differences)"
        " select ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int, '', 0, 0"
    )
    op.execute("alter table timeline_differences enable row level security")
    op.execute("alter table timeline_differences force row level security")
    op.execute(
        f"create policy tenant_sees_its_own on timeline_differences to sw_tenant using ({MINE}) with check ({MINE})"
    )
    op.execute(
        "create policy fleet_sees_all on timeline_differences to sw_platform, sw_engine, current_user"
        " using (true) with check (true)"
    )
    op.execute("grant select, insert, update on timelines to sw_engine")
    op.execute("grant select, insert on timeline_differences to sw_engine")
    op.execute("grant select on timelines, timeline_differences to sw_platform")


def downgrade() -> None:
    op.drop_table("timeline_differences")
    op.drop_table("timelines")
