"""Number audit rows as they are sealed: the chain's order is the sealer's, because transactions commit in another order than ids."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "20261123_pre_audit_seal"
down_revision = "20261123_pre_gates"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("audit", sa.Column("seal", sa.BigInteger(), nullable=True))
    op.create_index("ix_audit_seal", "audit", ["seal"], unique=True)
    op.execute("create index ix_audit_unsealed on audit (id) where seal is null")
    op.execute("grant update (seal) on audit to sw_engine")


def downgrade() -> None:
    op.execute("drop index ix_audit_unsealed")
    op.drop_index("ix_audit_seal", "audit")
    op.drop_column("audit", "seal")
