"""Let old audit rows leave behind a checkpoint: by one function of the owner's, which refuses young rows and any other hash."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from migrations.columns import big, moment, text

revision = "20261124_pre_audit_retention"
down_revision = "20261123_pre_audit_seal"
branch_labels = None
depends_on = None

# The floor is in the database: whoever has a worker's password can't remove what is younger.
REMOVE = """
create function remove_audit(upto bigint, expected text, before timestamptz) returns bigint
language plpgsql security definer set search_path = public, pg_temp as $$
declare gone bigint;
begin
  if before > now() - interval '30 days' then
    raise exception 'audit rows younger than 30 days are never removed';
  end if;
  if not exists (select 1 from audit where seal = upto and hash = expected) then
    raise exception 'seal % is not there with this hash', upto;
  end if;
  if exists (select 1 from audit where seal <= upto and at >= before) then
    raise exception 'a row up to seal % is younger than the policy', upto;
  end if;
  delete from audit where seal <= upto;
  get diagnostics gone = row_count;
  insert into audit_checkpoints (seal, hash, rows) values (upto, expected, gone);
  return gone;
end $$
"""


def upgrade() -> None:
    op.create_table(
        "audit_checkpoints",
        sa.Column("seal", sa.BigInteger(), autoincrement=False, nullable=False),
        text("hash"),
        big("rows"),
        moment("removed_at", now=True),
        sa.PrimaryKeyConstraint("seal"),
    )
    op.execute("grant select on audit_checkpoints to sw_platform, sw_engine")
    op.execute(REMOVE)
    op.execute("revoke all on function remove_audit from public")
    op.execute("grant execute on function remove_audit to sw_engine")


def downgrade() -> None:
    op.execute("drop function remove_audit")
    op.drop_table("audit_checkpoints")
