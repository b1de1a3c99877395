"""Let a tenant owner's request store its intent in its own transaction: its rows only, by the setting `seawall.principal`."""

from __future__ import annotations

from alembic import op

revision = "20261123_pre_intents_of_tenants"
down_revision = "20261123_pre_walls"
branch_labels = None
depends_on = None

MINE = "principal = nullif(current_setting('seawall.principal', true), '')"


def upgrade() -> None:
    op.execute("alter table intents enable row level security")
    op.execute("alter table intents force row level security")
    op.execute(f"create policy principal_sees_its_own on intents to sw_tenant using ({MINE}) with check ({MINE})")
    op.execute("create policy fleet_sees_all on intents to sw_platform, current_user using (true) with check (true)")
    op.execute("grant select, insert, update, delete on intents to sw_tenant")


def downgrade() -> None:
    op.execute("revoke all on intents from sw_tenant")
    op.execute("drop policy principal_sees_its_own on intents")
    op.execute("drop policy fleet_sees_all on intents")
    op.execute("alter table intents no force row level security")
    op.execute("alter table intents disable row level security")
