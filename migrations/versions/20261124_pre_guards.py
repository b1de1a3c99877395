"""A worker says whether it holds the lock that ends with its session. Old code leaves it false, which means: wait for its leases' end."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "20261124_pre_guards"
down_revision = "20261124_pre_timelines"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("workers", sa.Column("guarded", sa.Boolean(), server_default=sa.text("false"), nullable=False))


def downgrade() -> None:
    op.drop_column("workers", "guarded")
