"""The first tables."""

from __future__ import annotations

import sqlalchemy as sa

from formant_provider.store.migrations.making import DIGEST, NAME, TEXT, make_index, make_table

revision = "0001"
down_revision = None


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
    make_table(
        "formant_store",
        sa.Column("name", sa.String(32), primary_key=True),
        sa.Column("value", TEXT, nullable=False),
    )


def _intents() -> None:
    make_table(
        "formant_intents",
        sa.Column("id", DIGEST, primary_key=True),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("agent_id", sa.BigInteger, nullable=False),
        sa.Column("recipient", DIGEST),
        sa.Column("dag_id", NAME, nullable=False),
        sa.Column("run_id", NAME, nullable=False),
        sa.Column("task_id", NAME, nullable=False),
        sa.Column("map_index", sa.Integer, nullable=False),
        sa.Column("reference", TEXT),
        sa.Column("asked_by", NAME),
        sa.Column("account", DIGEST),
        sa.Column("asked_at", sa.BigInteger, nullable=False),
        sa.Column("knew_all", sa.Boolean, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("call_at", sa.BigInteger, nullable=False),
        sa.Column("trace_id", NAME),
        sa.Column("conversation_id", NAME),
        sa.Column("batch_id", sa.BigInteger),
        sa.Column("outcome", NAME),
        sa.Column("outcome_at", sa.BigInteger),
        sa.Column("intent", TEXT, nullable=False),
        sa.Column("try_number", sa.Integer, nullable=False),
        sa.Column("sending_by", DIGEST),
        sa.Column("sending_until", sa.BigInteger),
        sa.Column("version", sa.Integer, nullable=False),
    )
    make_index("formant_intents_recipient", "formant_intents", ["recipient", "call_at"])
    make_index("formant_intents_trace", "formant_intents", ["trace_id"])
    make_index("formant_intents_conversation", "formant_intents", ["conversation_id"])
    make_index("formant_intents_asked", "formant_intents", ["asked_at"])
    make_index("formant_intents_run", "formant_intents", ["dag_id", "run_id"])
    make_index("formant_intents_account", "formant_intents", ["account", "call_at"])


def _calls() -> None:
    make_table(
        "formant_calls",
        sa.Column("intent_id", DIGEST, nullable=False),
        sa.Column("recipient", DIGEST, nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("call_at", sa.BigInteger, nullable=False),
        sa.Column("counted", sa.Boolean, nullable=False),
        sa.Column("upload", sa.Integer),
        sa.PrimaryKeyConstraint("intent_id", "recipient", "attempt"),
    )
    make_index("formant_calls_recipient", "formant_calls", ["recipient", "call_at"])


def _people() -> None:
    make_table(
        "formant_people",
        sa.Column("recipient", DIGEST, primary_key=True),
        sa.Column("suppressed_at", sa.BigInteger),
        sa.Column("reason", NAME),
        sa.Column("suppressed_by", NAME),
        sa.Column("asked_at", sa.BigInteger),
    )


def _events() -> None:
    make_table(
        "formant_events",
        sa.Column("seq", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("subject", DIGEST, nullable=False),
        sa.Column("payload", TEXT, nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
    )
    make_index("formant_events_subject", "formant_events", ["subject"])


def _chain() -> None:
    make_table(
        "formant_chain",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("seq", sa.BigInteger, nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
        sa.Column("base_seq", sa.BigInteger, nullable=False),
        sa.Column("base_hash", sa.String(64), nullable=False),
    )


def _pace() -> None:
    make_table(
        "formant_pace",
        sa.Column("account", DIGEST, primary_key=True),
        sa.Column("tail_at", sa.BigInteger, nullable=False),
        sa.Column("gate_at", sa.BigInteger, nullable=False),
        sa.Column("looked_at", sa.BigInteger, nullable=False),
    )


def _turns() -> None:
    make_table(
        "formant_turns",
        sa.Column("intent_id", DIGEST, primary_key=True),
        sa.Column("account", DIGEST, nullable=False),
        sa.Column("turn_at", sa.BigInteger),
        sa.Column("is_exact", sa.Boolean, nullable=False),
        sa.Column("came_at", sa.BigInteger),
        sa.Column("back_at", sa.BigInteger),
        sa.Column("asked_at", sa.BigInteger, nullable=False),
    )
    make_index("formant_turns_account", "formant_turns", ["account", "came_at"])
