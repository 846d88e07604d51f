"""The first tables."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_DIGEST = sa.String(32)
_NAME = sa.String(250)


def upgrade() -> None:
    """Make them."""
    _store()
    _intents()
    _calls()
    _people()
    _events()
    _chain()
    _pace()
    _turns()


def _store() -> None:
    op.create_table(
        "formant_store",
        sa.Column("name", sa.String(32), primary_key=True),
        sa.Column("value", sa.Text, nullable=False),
    )


def _intents() -> None:
    op.create_table(
        "formant_intents",
        sa.Column("id", _DIGEST, primary_key=True),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("agent_id", sa.BigInteger, nullable=False),
        sa.Column("recipient", _DIGEST),
        sa.Column("dag_id", _NAME, nullable=False),
        sa.Column("run_id", _NAME, nullable=False),
        sa.Column("task_id", _NAME, nullable=False),
        sa.Column("map_index", sa.Integer, nullable=False),
        sa.Column("reference", sa.Text),
        sa.Column("asked_by", _NAME),
        sa.Column("account", _DIGEST),
        sa.Column("asked_at", sa.BigInteger, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("call_at", sa.BigInteger, nullable=False),
        sa.Column("trace_id", _NAME),
        sa.Column("conversation_id", _NAME),
        sa.Column("batch_id", sa.BigInteger),
        sa.Column("outcome", _NAME),
        sa.Column("outcome_at", sa.BigInteger),
        sa.Column("intent", sa.Text, nullable=False),
        sa.Column("try_number", sa.Integer, nullable=False),
        sa.Column("sending_by", _DIGEST),
        sa.Column("sending_until", sa.BigInteger),
        sa.Column("version", sa.Integer, nullable=False),
    )
    op.create_index("formant_intents_recipient", "formant_intents", ["recipient", "call_at"])
    op.create_index("formant_intents_trace", "formant_intents", ["trace_id"])
    op.create_index("formant_intents_asked", "formant_intents", ["asked_at"])
    op.create_index("formant_intents_account", "formant_intents", ["account", "call_at"])


def _calls() -> None:
    op.create_table(
        "formant_calls",
        sa.Column("intent_id", _DIGEST, nullable=False),
        sa.Column("recipient", _DIGEST, nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("call_at", sa.BigInteger, nullable=False),
        sa.Column("counted", sa.Boolean, nullable=False),
        sa.PrimaryKeyConstraint("intent_id", "recipient", "attempt"),
    )
    op.create_index("formant_calls_recipient", "formant_calls", ["recipient", "call_at"])


def _people() -> None:
    op.create_table(
        "formant_people",
        sa.Column("recipient", _DIGEST, primary_key=True),
        sa.Column("suppressed_at", sa.BigInteger),
        sa.Column("reason", _NAME),
        sa.Column("suppressed_by", _NAME),
    )


def _events() -> None:
    op.create_table(
        "formant_events",
        sa.Column("seq", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("subject", _DIGEST, nullable=False),
        sa.Column("payload", sa.Text, nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
    )
    op.create_index("formant_events_subject", "formant_events", ["subject"])


def _chain() -> None:
    op.create_table(
        "formant_chain",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("seq", sa.BigInteger, nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
        sa.Column("base_seq", sa.BigInteger, nullable=False),
        sa.Column("base_hash", sa.String(64), nullable=False),
    )


def _pace() -> None:
    op.create_table(
        "formant_pace",
        sa.Column("account", _DIGEST, primary_key=True),
        sa.Column("tail_at", sa.BigInteger, nullable=False),
        sa.Column("gate_at", sa.BigInteger, nullable=False),
        sa.Column("looked_at", sa.BigInteger, nullable=False),
    )


def _turns() -> None:
    op.create_table(
        "formant_turns",
        sa.Column("intent_id", _DIGEST, primary_key=True),
        sa.Column("account", _DIGEST, nullable=False),
        sa.Column("turn_at", sa.BigInteger),
        sa.Column("is_exact", sa.Boolean, nullable=False),
        sa.Column("came_at", sa.BigInteger),
        sa.Column("back_at", sa.BigInteger),
        sa.Column("asked_at", sa.BigInteger, nullable=False),
    )
    op.create_index("formant_turns_account", "formant_turns", ["account", "came_at"])
