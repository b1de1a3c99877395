"""Verdicts of votes on blame, with the votes and what follows from them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from migrations.columns import moment, text, uid

revision = "20261125_pre_blame_verdicts"
down_revision = "20261125_pre_restore_drills"
branch_labels = None
depends_on = None

_LIST = sa.text("'[]'::jsonb")


def upgrade() -> None:
    op.create_table(
        "blame_verdicts",
        uid("id"),
        moment("at", now=True),
        uid("asker"),
        text("verdict"),
        sa.Column("blamed", postgresql.JSONB(), server_default=_LIST, nullable=False),
        sa.Column("rollouts", postgresql.JSONB(), server_default=_LIST, nullable=False),
        text("reason"),
        text("act"),
        text("why"),
        sa.Column("rests_on", postgresql.JSONB(), server_default=_LIST, nullable=False),
        sa.Column("votes", postgresql.JSONB(), server_default=_LIST, nullable=False),
        text("digest"),
        sa.CheckConstraint("act in ('stopped','held','told')", name="blame_act"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("digest"),
    )
    op.create_index("ix_blame_verdicts_rollouts", "blame_verdicts", ["rollouts"], postgresql_using="gin")
    op.create_index("ix_blame_verdicts_blamed", "blame_verdicts", ["blamed"], postgresql_using="gin")
    # Workers vote; nobody changes or deletes a verdict; tenants' owners read what was written to their own history.
    op.execute("grant select, insert on blame_verdicts to sw_engine")
    op.execute("grant select on blame_verdicts to sw_platform")


def downgrade() -> None:
    op.drop_table("blame_verdicts")
