"""Keep what is known of each environment's drift beside its health."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "20261124_pre_drift"
down_revision = "20261124_pre_asks"
branch_labels = None
depends_on = None


def upgrade() -> None:
    kind = postgresql.JSONB(astext_type=sa.Text())
    op.add_column("environments", sa.Column("drift", kind, server_default=sa.text("'{}'::jsonb"), nullable=False))


def downgrade() -> None:
    op.drop_column("environments", "drift")
