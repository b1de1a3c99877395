"""Questions to endpoints that answer later, and their answers."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "20261124_pre_asks"
down_revision = "20261124_pre_votes"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "gate_asks",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("rollout_id", sa.Uuid(), nullable=False),
        sa.Column("wave", sa.Integer(), nullable=False),
        sa.Column("place", sa.String(), nullable=False),
        sa.Column("idx", sa.Integer(), nullable=False),
        sa.Column("plan_hash", sa.String(), nullable=False),
        sa.Column("endpoint", sa.String(), nullable=False),
        sa.Column("asked_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("rollout_id", "wave", "place", "idx", "plan_hash", name="ask_once"),
    )
    op.create_table(
        "gate_answers",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("ask_id", sa.Uuid(), nullable=False),
        sa.Column("message_id", sa.String(), nullable=False),
        sa.Column("verdict", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("by", sa.String(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
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
