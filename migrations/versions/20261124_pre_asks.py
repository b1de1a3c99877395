"""Questions to endpoints that answer later, and their answers."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from migrations.columns import moment, number, text, uid

revision = "20261124_pre_asks"
down_revision = "20261124_pre_votes"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "gate_asks",
        uid("id"),
        uid("rollout_id"),
        number("wave"),
        text("place"),
        number("idx"),
        text("plan_hash"),
        text("endpoint"),
        moment("asked_at", now=True),
        moment("expires_at", now=True),
        moment("sent_at"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("rollout_id", "wave", "place", "idx", "plan_hash", name="ask_once"),
    )
    op.create_table(
        "gate_answers",
        uid("id"),
        uid("ask_id"),
        text("message_id"),
        text("verdict"),
        text("reason"),
        text("by"),
        moment("at", now=True),
        sa.CheckConstraint("verdict in ('pass','wait','fail')", name="answer_verdict"),
        sa.ForeignKeyConstraint(["ask_id"], ["gate_asks.id"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("ask_id", "message_id", name="answer_once"),
    )
    # Both are a record: only whether a question was sent may be written later.
    op.execute("grant select, insert on gate_asks to sw_engine")
    op.execute("grant update (sent_at) on gate_asks to sw_engine")
    op.execute("grant select on gate_asks to sw_platform")
    op.execute("grant select, insert on gate_answers to sw_platform")
    op.execute("grant select on gate_answers to sw_engine")


def downgrade() -> None:
    op.drop_table("gate_answers")
    op.drop_table("gate_asks")
