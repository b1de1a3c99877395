"""Logins of the web console. Old code never looks at them, so it may go on serving."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "20261124_pre_console_sessions"
down_revision = "20261124_pre_guards"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "console_sessions",
        sa.Column("hash", sa.String(), nullable=False),
        sa.Column("principal", postgresql.JSONB(), server_default=sa.text("'{}'::jsonb"), nullable=False),
        sa.Column("key_id", sa.Uuid(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("hash"),
    )
    op.create_index("ix_console_sessions_expires", "console_sessions", ["expires_at"])
    # As for keys: workers and tenants' transactions have no business here.
    op.execute("grant select, insert, delete on console_sessions to sw_platform")


def downgrade() -> None:
    op.drop_table("console_sessions")
