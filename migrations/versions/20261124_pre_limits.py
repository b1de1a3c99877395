"""The breaker of a budget, and what each move of a budget took, for the independent checker.

Old code never writes or reads these columns, so it may go on serving; it does not obey a breaker.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from migrations.columns import json, text

revision = "20261124_pre_limits"
down_revision = "20261124_pre_notices"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("budgets", text("breaker", ""))
    op.add_column(
        "budgets",
        json("breaker_detail"),
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
