"""Votes as an append-only record that outlives its rollout, and on whose behalf CI registered a release.

Votes cast before are copied. An old API that votes meanwhile gets an error, and an old worker holds its approval gates: nothing opens by
mistake.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from migrations.columns import json, moment, number, text, uid

revision = "20261124_pre_votes"
down_revision = "20261124_pre_target_gates"
branch_labels = None
depends_on = None

_OLD = """
    insert into votes (id, rollout_id, at, word, app, release_version, environment, change_ref, plan_hash, wave, wave_name, place, idx,
      approver_group, person, names, actor, reason)
    select a.id, a.rollout_id, a.at, 'approve', r.app, r.release_version, r.environment, r.change_ref, a.plan_hash, a.wave, w.name,
      a.place, a.idx, a.approver_group, a.person, jsonb_build_array(lower(a.person)), a.person, a.reason
    from approvals a join rollouts r on r.id = a.rollout_id join waves w on (w.rollout_id, w.wave) = (a.rollout_id, a.wave)
"""
_WITHDRAWN = """
    insert into votes (id, rollout_id, at, word, withdraws, app, release_version, environment, change_ref, plan_hash, wave, wave_name,
      place, idx, approver_group, person, names, actor, reason)
    select gen_random_uuid(), v.rollout_id, a.withdrawn_at, 'withdraw', v.id, v.app, v.release_version, v.environment, v.change_ref,
      v.plan_hash, v.wave, v.wave_name, v.place, v.idx, v.approver_group, v.person, v.names, v.actor, ''
    from votes v join approvals a on a.id = v.id where a.withdrawn_at is not null
"""
_BACK = """
    insert into approvals (id, rollout_id, wave, place, idx, approver_group, person, plan_hash, reason, at, withdrawn_at)
    select v.id, v.rollout_id, v.wave, v.place, v.idx, v.approver_group, v.person, v.plan_hash, v.reason, v.at, w.at
    from votes v left join votes w on w.withdraws = v.id
    where v.word = 'approve' and exists (select 1 from waves where (rollout_id, wave) = (v.rollout_id, v.wave))
"""


def upgrade() -> None:
    op.create_table(
        "votes",
        uid("id"),
        uid("rollout_id"),
        moment("at", now=True),
        text("word"),
        sa.Column("withdraws", sa.Uuid(), nullable=True),
        text("app"),
        text("release_version"),
        text("environment"),
        text("change_ref"),
        text("plan_hash"),
        number("wave"),
        text("wave_name"),
        text("place"),
        number("idx"),
        text("approver_group"),
        text("person"),
        json("names", "[]"),
        text("actor"),
        text("reason"),
        sa.CheckConstraint("word in ('approve','reject','withdraw')", name="vote_word"),
        sa.CheckConstraint("(word = 'withdraw') = (withdraws is not null)", name="vote_withdraws"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("withdraws", name="vote_withdrawn_once"),
    )
    op.create_index("ix_votes_rollout", "votes", ["rollout_id", "at"])
    op.create_index("ix_votes_actor", "votes", ["actor"])
    op.execute(_OLD)
    op.execute(_WITHDRAWN)
    op.drop_table("approvals")
    # A record: no role may change or delete a row. It names no table that could be emptied under it.
    op.execute("grant select, insert on votes to sw_platform")
    op.execute("grant select on votes to sw_engine")
    op.add_column("releases", text("on_behalf_of", ""))


def downgrade() -> None:
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
    op.execute(_BACK)
    op.drop_column("releases", "on_behalf_of")
    op.drop_table("votes")
    op.execute("grant select, insert on approvals to sw_platform")
    op.execute("grant update (withdrawn_at) on approvals to sw_platform")
    op.execute("grant select on approvals to sw_engine")
