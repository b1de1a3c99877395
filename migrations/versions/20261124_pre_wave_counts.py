"""How many targets of a wave stand where, as its driver last wrote it. Old code leaves it alone: readers then count afresh."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "20261124_pre_wave_counts"
down_revision = "20261124_pre_limits"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("waves", sa.Column("counts", postgresql.JSONB(astext_type=sa.Text()), nullable=True))


def downgrade() -> None:
    op.drop_column("waves", "counts")
