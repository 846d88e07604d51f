"""What webhooks bring, and how far its readers have come."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from formant_provider.store.migrations.making import DIGEST, NAME, TEXT, make_index, make_table

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Make them."""
    events = "formant_webhook_events"
    make_table(
        events,
        sa.Column("seq", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("event_key", DIGEST, nullable=False, unique=True),
        sa.Column("happening", DIGEST, unique=True),
        sa.Column("conn_id", NAME, nullable=False),
        sa.Column("event_type", NAME, nullable=False),
        sa.Column("agent_id", sa.BigInteger),
        sa.Column("trace_id", NAME),
        sa.Column("conversation_id", NAME),
        sa.Column("recipient", DIGEST),
        sa.Column("sent_at", sa.BigInteger, nullable=False),
        sa.Column("received_at", sa.BigInteger, nullable=False),
        sa.Column("body", TEXT, nullable=False),
    )
    make_index("formant_webhook_events_agent", events, ["agent_id", "seq"])
    make_index("formant_webhook_events_trace", events, ["trace_id"])
    make_index("formant_webhook_events_conversation", events, ["conversation_id"])
    make_index("formant_webhook_events_received", events, ["received_at"])
    make_table(
        "formant_cursors",
        sa.Column("name", NAME, primary_key=True),
        sa.Column("seq", sa.BigInteger, nullable=False),
    )
    cursors = sa.table("formant_cursors", sa.column("name"), sa.column("seq"))
    last = sa.select(cursors.c.seq).where(cursors.c.name == "last webhook event")
    if op.get_bind().execute(last).first() is None:
        op.bulk_insert(cursors, [{"name": "last webhook event", "seq": 0}])
