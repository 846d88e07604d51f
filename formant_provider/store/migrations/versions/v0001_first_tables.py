"""The first tables."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_DIGEST = sa.String(32)
_NAME = sa.String(250)
_TEXT = sa.Text().with_variant(sa.Text(2**24 - 1), "mysql")  # where a text has 64 KB at most
# Ids of others differ in case alone, which MySQL's own collations take for the same.
_OF_MYSQL: dict[str, Any] = {
    "mysql_engine": "InnoDB",
    "mysql_charset": "utf8mb4",
    "mysql_collate": "utf8mb4_bin",
}


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
    _table(
        "formant_store",
        sa.Column("name", sa.String(32), primary_key=True),
        sa.Column("value", _TEXT, nullable=False),
    )


def _intents() -> None:
    _table(
        "formant_intents",
        sa.Column("id", _DIGEST, primary_key=True),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("agent_id", sa.BigInteger, nullable=False),
        sa.Column("recipient", _DIGEST),
        sa.Column("dag_id", _NAME, nullable=False),
        sa.Column("run_id", _NAME, nullable=False),
        sa.Column("task_id", _NAME, nullable=False),
        sa.Column("map_index", sa.Integer, nullable=False),
        sa.Column("reference", _TEXT),
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
        sa.Column("intent", _TEXT, nullable=False),
        sa.Column("try_number", sa.Integer, nullable=False),
        sa.Column("sending_by", _DIGEST),
        sa.Column("sending_until", sa.BigInteger),
        sa.Column("version", sa.Integer, nullable=False),
    )
    _index("formant_intents_recipient", "formant_intents", ["recipient", "call_at"])
    _index("formant_intents_trace", "formant_intents", ["trace_id"])
    _index("formant_intents_conversation", "formant_intents", ["conversation_id"])
    _index("formant_intents_asked", "formant_intents", ["asked_at"])
    _index("formant_intents_run", "formant_intents", ["dag_id", "run_id"])
    _index("formant_intents_account", "formant_intents", ["account", "call_at"])


def _calls() -> None:
    _table(
        "formant_calls",
        sa.Column("intent_id", _DIGEST, nullable=False),
        sa.Column("recipient", _DIGEST, nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("call_at", sa.BigInteger, nullable=False),
        sa.Column("counted", sa.Boolean, nullable=False),
        sa.PrimaryKeyConstraint("intent_id", "recipient", "attempt"),
    )
    _index("formant_calls_recipient", "formant_calls", ["recipient", "call_at"])


def _people() -> None:
    _table(
        "formant_people",
        sa.Column("recipient", _DIGEST, primary_key=True),
        sa.Column("suppressed_at", sa.BigInteger),
        sa.Column("reason", _NAME),
        sa.Column("suppressed_by", _NAME),
        sa.Column("asked_at", sa.BigInteger),
    )


def _events() -> None:
    _table(
        "formant_events",
        sa.Column("seq", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("subject", _DIGEST, nullable=False),
        sa.Column("payload", _TEXT, nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
    )
    _index("formant_events_subject", "formant_events", ["subject"])


def _chain() -> None:
    _table(
        "formant_chain",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("seq", sa.BigInteger, nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
        sa.Column("base_seq", sa.BigInteger, nullable=False),
        sa.Column("base_hash", sa.String(64), nullable=False),
    )


def _pace() -> None:
    _table(
        "formant_pace",
        sa.Column("account", _DIGEST, primary_key=True),
        sa.Column("tail_at", sa.BigInteger, nullable=False),
        sa.Column("gate_at", sa.BigInteger, nullable=False),
        sa.Column("looked_at", sa.BigInteger, nullable=False),
    )


def _turns() -> None:
    _table(
        "formant_turns",
        sa.Column("intent_id", _DIGEST, primary_key=True),
        sa.Column("account", _DIGEST, nullable=False),
        sa.Column("turn_at", sa.BigInteger),
        sa.Column("is_exact", sa.Boolean, nullable=False),
        sa.Column("came_at", sa.BigInteger),
        sa.Column("back_at", sa.BigInteger),
        sa.Column("asked_at", sa.BigInteger, nullable=False),
    )
    _index("formant_turns_account", "formant_turns", ["account", "came_at"])


# MySQL keeps each table that was made before an upgrade died; the next one makes the others.


def _table(name: str, *columns: Any) -> None:
    if not sa.inspect(op.get_bind()).has_table(name):
        op.create_table(name, *columns, **_OF_MYSQL)


def _index(name: str, table: str, columns: list[str]) -> None:
    if all(index["name"] != name for index in sa.inspect(op.get_bind()).get_indexes(table)):
        op.create_index(name, table, columns)
