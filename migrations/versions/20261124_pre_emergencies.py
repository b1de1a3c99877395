"""Changes that took the emergency lane, and the looks at them afterwards."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "20261124_pre_emergencies"
down_revision = "20261124_pre_console_sessions"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "emergencies",
        sa.Column("rollout_id", sa.Uuid(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("criterion", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("app", sa.String(), nullable=False),
        sa.Column("release_version", sa.String(), nullable=False),
        sa.Column("environment", sa.String(), nullable=False),
        sa.Column("selector", sa.String(), nullable=False),
        sa.Column("targets", sa.Integer(), nullable=False),
        sa.Column("change_ref", sa.String(), nullable=False),
        sa.Column("plan_hash", sa.String(), nullable=False),
        sa.Column("left_out", postgresql.JSONB(), server_default=sa.text("'{}'::jsonb"), nullable=False),
        sa.Column("actor", sa.String(), nullable=False),
        sa.Column("person", sa.String(), nullable=False),
        sa.Column("review_by", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("rollout_id"),
    )
    op.create_index("ix_emergencies_at", "emergencies", ["at"])
    op.create_table(
        "emergency_reviews",
        sa.Column("rollout_id", sa.Uuid(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("finding", sa.String(), nullable=False),
        sa.Column("note", sa.String(), nullable=False),
        sa.Column("actor", sa.String(), nullable=False),
        sa.Column("person", sa.String(), nullable=False),
        sa.CheckConstraint("finding in ('justified','not-justified')", name="review_finding"),
        sa.CheckConstraint("note <> ''", name="review_note"),
        sa.ForeignKeyConstraint(["rollout_id"], ["emergencies.rollout_id"]),
        sa.PrimaryKeyConstraint("rollout_id"),
    )
    # A record: it references no rollout, and nobody changes or deletes a row.
    op.execute("grant select, insert on emergencies, emergency_reviews to sw_platform")
    op.execute("grant select on emergencies, emergency_reviews to sw_engine")


def downgrade() -> None:
    op.drop_table("emergency_reviews")
    op.drop_table("emergencies")
