"""The breaker of a budget, and what each move of a budget took, for the independent checker.

Old code never writes or reads these columns, so it may go on serving; it does not obey a breaker.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "20261124_pre_limits"
down_revision = "20261124_pre_notices"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("budgets", sa.Column("breaker", sa.String(), server_default=sa.text("''"), nullable=False))
    op.add_column(
        "budgets",
        sa.Column("breaker_detail", postgresql.JSONB(), server_default=sa.text("'{}'::jsonb"), nullable=False),
    )
    op.create_check_constraint("budget_breaker", "budgets", "breaker in ('','open','halfOpen','probing')")
    op.add_column("budget_moves", sa.Column("taken", sa.Numeric(), server_default=sa.text("0"), nullable=False))
    op.add_column("budget_moves", sa.Column("closed", sa.Boolean(), server_default=sa.text("false"), nullable=False))


def downgrade() -> None:
    op.drop_column("budget_moves", "closed")
    op.drop_column("budget_moves", "taken")
    op.drop_constraint("budget_breaker", "budgets")
    op.drop_column("budgets", "breaker_detail")
    op.drop_column("budgets", "breaker")
