"""Keep what an event's sender may start and its trace; one delivery per event and webhook."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

from migrations.columns import moment

revision = "20261123_pre_events"
down_revision = "20261123_pre_intents_of_tenants"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("inbound_events", sa.Column("apps", JSONB(none_as_null=True), nullable=True))
    op.add_column("inbound_events", sa.Column("trace", JSONB(), nullable=False, server_default=sa.text("'{}'::jsonb")))
    op.add_column("inbound_events", moment("ended_at"))
    op.create_index("ix_inbound_events_content", "inbound_events", ["source", "digest"])
    op.create_index(
        "ix_inbound_events_dead", "inbound_events", ["ended_at"], postgresql_where=sa.text("state = 'dead'")
    )
    op.create_index("ix_deliveries_dead", "deliveries", ["ended_at"], postgresql_where=sa.text("state = 'dead'"))
    op.create_unique_constraint("delivery_once", "deliveries", ["webhook", "subject_kind", "subject_id", "seq"])


def downgrade() -> None:
    op.drop_constraint("delivery_once", "deliveries")
    op.drop_index("ix_deliveries_dead", "deliveries")
    op.drop_index("ix_inbound_events_dead", "inbound_events")
    op.drop_index("ix_inbound_events_content", "inbound_events")
    for column in ("ended_at", "trace", "apps"):
        op.drop_column("inbound_events", column)
