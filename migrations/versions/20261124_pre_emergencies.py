"""Changes that took the emergency lane, and the looks at them afterwards."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from migrations.columns import json, moment, number, text, uid

revision = "20261124_pre_emergencies"
down_revision = "20261124_pre_console_sessions"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "emergencies",
        uid("rollout_id"),
        moment("at", now=True),
        text("criterion"),
        text("reason"),
        text("app"),
        text("release_version"),
        text("environment"),
        text("selector"),
        number("targets"),
        text("change_ref"),
        text("plan_hash"),
        json("left_out"),
        text("actor"),
        text("person"),
        moment("review_by", now=True),
        sa.PrimaryKeyConstraint("rollout_id"),
    )
    op.create_index("ix_emergencies_at", "emergencies", ["at"])
    op.create_table(
        "emergency_reviews",
        uid("rollout_id"),
        moment("at", now=True),
        text("finding"),
        text("note"),
        text("actor"),
        text("person"),
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
