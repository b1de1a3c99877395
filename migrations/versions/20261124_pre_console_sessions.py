"""Logins of the web console. Old code never looks at them, so it may go on serving."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from migrations.columns import json, moment, text

revision = "20261124_pre_console_sessions"
down_revision = "20261124_pre_guards"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "console_sessions",
        text("hash"),
        json("principal"),
        sa.Column("key_id", sa.Uuid(), nullable=True),
        moment("created_at", now=True),
        moment("expires_at", now=True),
        sa.PrimaryKeyConstraint("hash"),
    )
    op.create_index("ix_console_sessions_expires", "console_sessions", ["expires_at"])
    # As for keys: workers and tenants' transactions have no business here.
    op.execute("grant select, insert, delete on console_sessions to sw_platform")


def downgrade() -> None:
    op.drop_table("console_sessions")
