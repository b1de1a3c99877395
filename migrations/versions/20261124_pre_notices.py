"""Notices given to tenants' owners before a change.

Old code never writes or reads them, so it may go on serving.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from migrations.columns import moment, text, uid

revision = "20261124_pre_notices"
down_revision = "20261124_pre_emergencies"
branch_labels = None
depends_on = None

MINE = "tenant = nullif(current_setting('seawall.tenant', true), '')"


def upgrade() -> None:
    op.create_table(
        "notices",
        text("tenant"),
        text("environment"),
        text("app"),
        text("release_version"),
        uid("rollout_id"),
        text("why"),
        moment("at", now=True),
        moment("earliest"),
        sa.ForeignKeyConstraint(["tenant", "environment"], ["environments.tenant", "environments.environment"]),
        sa.CheckConstraint("tenant <> ''", name="notice_tenant_named"),
        sa.PrimaryKeyConstraint("tenant", "environment", "app", "release_version"),
    )
    op.execute("alter table notices enable row level security")
    op.execute("alter table notices force row level security")
    op.execute(f"create policy tenant_sees_its_own on notices to sw_tenant using ({MINE}) with check ({MINE})")
    op.execute(
        "create policy fleet_sees_all on notices to sw_platform, sw_engine, current_user using (true) with check (true)"
    )
    op.execute("grant select, insert on notices to sw_engine, sw_platform")
    op.execute("grant select on notices to sw_tenant")


def downgrade() -> None:
    op.drop_table("notices")
