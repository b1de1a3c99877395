"""Timelines of PostgreSQL that were seen, and what comparing each cluster with the registry found.

The present timeline is noted as the first one: what comes after it is compared. Old code never reads these tables.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from migrations.columns import big, moment, number, text

revision = "20261124_pre_timelines"
down_revision = "20261124_pre_evidence"
branch_labels = None
depends_on = None

MINE = "tenant = nullif(current_setting('seawall.tenant', true), '')"


def upgrade() -> None:
    op.create_table(
        "timelines",
        number("timeline"),
        text("cluster"),
        moment("found_at", now=True),
        moment("compared_at"),
        number("environments"),
        number("differences"),
        sa.PrimaryKeyConstraint("timeline", "cluster"),
    )
    op.create_table(
        "timeline_differences",
        number("timeline"),
        text("cluster"),
        text("namespace"),
        text("app"),
        text("kind"),
        sa.Column("tenant", sa.String(), nullable=True),
        text("environment"),
        big("registry_epoch"),
        big("seal_epoch"),
        text("step"),
        number("revision"),
        moment("at", now=True),
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
