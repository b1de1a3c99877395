"""Gates of rollouts and the votes of people.

Old code never writes or reads them, so it may go on serving.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from migrations.columns import json, moment, number, text, uid

revision = "20261123_pre_gates"
down_revision = "20261123_pre_self_service"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "gates",
        uid("rollout_id"),
        number("wave"),
        text("place"),
        number("idx"),
        text("kind"),
        text("verdict"),
        text("reason"),
        text("who"),
        moment("since"),
        moment("until"),
        json("evidence"),
        sa.CheckConstraint("verdict in ('pass','wait','fail','unknown')", name="gate_verdict"),
        sa.CheckConstraint("place in ('before','during','after')", name="gate_place"),
        sa.ForeignKeyConstraint(["rollout_id", "wave"], ["waves.rollout_id", "waves.wave"]),
        sa.PrimaryKeyConstraint("rollout_id", "wave", "place", "idx"),
    )
    op.create_table(
        "approvals",
        uid("id"),
        uid("rollout_id"),
        number("wave"),
        text("place"),
        number("idx"),
        text("approver_group"),
        text("person"),
        text("plan_hash"),
        text("reason"),
        moment("at", now=True),
        moment("withdrawn_at"),
        sa.ForeignKeyConstraint(["rollout_id", "wave"], ["waves.rollout_id", "waves.wave"]),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(
        "ix_approvals_one_vote",
        "approvals",
        ["rollout_id", "wave", "place", "idx", "person"],
        unique=True,
        postgresql_where=sa.text("withdrawn_at is null"),
    )
    # Votes are a record: nobody deletes them, and only their withdrawal may be written later.
    op.execute("grant select, insert, update on gates to sw_engine")
    op.execute("grant select on gates to sw_platform")
    op.execute("grant select, insert on approvals to sw_platform")
    op.execute("grant update (withdrawn_at) on approvals to sw_platform")
    op.execute("grant select on approvals to sw_engine")


def downgrade() -> None:
    op.drop_table("approvals")
    op.drop_table("gates")
