"""The tables of the call store, as the newest migration leaves them.

No table holds a number, a parameter, an idempotency key or anything that was said in a form that can be read
without the ``store_secret``. A recipient is a keyed digest, and so is a key: it is made of DAG, run, task,
agent and number alone, so whoever reads the first four could try all numbers of a country until one gives the
key. What a webhook brought is encrypted.

Times are milliseconds since 1970, UTC, since databases differ in what they make of a time.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
)

DIGEST_LENGTH = 32
NAME_LENGTH = 250

metadata = MetaData()

_digest = String(DIGEST_LENGTH)
_name = String(NAME_LENGTH)

store = Table(
    "formant_store",
    metadata,
    Column("name", String(32), primary_key=True),
    Column("value", Text, nullable=False),
)
"""What is known of the store as a whole: its digest key, wrapped, and since when it knows of all calls."""

intents = Table(
    "formant_intents",
    metadata,
    Column("id", _digest, primary_key=True),  # of the idempotency key of the first attempt
    Column("kind", String(16), nullable=False),
    Column("agent_id", BigInteger, nullable=False),
    Column("recipient", _digest),  # none for a batch call
    Column("dag_id", _name, nullable=False),
    Column("run_id", _name, nullable=False),
    Column("task_id", _name, nullable=False),
    Column("map_index", Integer, nullable=False),
    Column("reference", Text),
    Column("asked_by", _name),
    Column("account", _digest),  # of the vendor, whose limits hold for it
    Column("asked_at", BigInteger, nullable=False),
    Column("knew_all", Boolean, nullable=False),  # then: the store, of what its run had asked for before
    Column("state", String(16), nullable=False),  # never, refused, unclear or placed
    Column("call_at", BigInteger, nullable=False),  # when the person is called, by the newest attempt
    Column("trace_id", _name),
    Column("conversation_id", _name),
    Column("batch_id", BigInteger),
    Column("outcome", _name),
    Column("outcome_at", BigInteger),
    Column("intent", Text, nullable=False),  # JSON, without the key
    Column("try_number", Integer, nullable=False),
    Column("sending_by", _digest),
    Column("sending_until", BigInteger),
    Column("version", Integer, nullable=False),
    Index("formant_intents_recipient", "recipient", "call_at"),
    Index("formant_intents_trace", "trace_id"),
    Index("formant_intents_conversation", "conversation_id"),
    Index("formant_intents_asked", "asked_at"),
    Index("formant_intents_run", "dag_id", "run_id"),
    Index("formant_intents_account", "account", "call_at"),
    # All that the calls of a day are counted by, so that to count them reads no row.
    Index("formant_intents_called", "call_at", "kind", "state", "agent_id", "outcome", "dag_id"),
)
"""One row for each call, or batch call, that was asked for."""

calls = Table(
    "formant_calls",
    metadata,
    Column("intent_id", _digest, nullable=False),
    Column("recipient", _digest, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("call_at", BigInteger, nullable=False),
    Column("counted", Boolean, nullable=False),  # it may have been placed
    Column("upload", Integer),  # the newest that they are in, of a batch call
    PrimaryKeyConstraint("intent_id", "recipient", "attempt"),
    Index("formant_calls_recipient", "recipient", "call_at"),
)
"""Calls that have no row of their own above: of each person of a batch call, and attempts before redials."""

call_lists = Table(
    "formant_lists",
    metadata,
    Column("id", _digest, primary_key=True),  # of the task and its row
    Column("dag_id", _name, nullable=False),
    Column("run_id", _name, nullable=False),
    Column("task_id", _name, nullable=False),
    Column("map_index", Integer, nullable=False),
    Column("reference", Text),
    Column("told_at", BigInteger, nullable=False),
    Column("resumes_at", BigInteger),  # none: it is being worked off, or over
    Column("status", _name),  # how it ended; none: it has not
    Column("row_count", Integer, nullable=False),
    Column("rejected", Integer, nullable=False),
    Column("waiting", Integer, nullable=False),
    Column("in_progress", Integer, nullable=False),
    Column("reached", Integer, nullable=False),
    Column("closed", Integer, nullable=False),
    Index("formant_lists_told", "told_at"),
)
"""How each call list stood when its task last said so. Counts alone, for people to look at: nothing that
places calls reads them, and they are no part of the chain."""

people = Table(
    "formant_people",
    metadata,
    Column("recipient", _digest, primary_key=True),
    Column("suppressed_at", BigInteger),  # none: may be called
    Column("reason", _name),  # of the last change, also of a removal; and who made it
    Column("suppressed_by", _name),
    Column("asked_at", BigInteger),  # when somebody on the list last asked for it again
)
"""Who must not be called. A row is also the lock under which the calls of one person are counted."""

pace = Table(
    "formant_pace",
    metadata,
    Column("account", _digest, primary_key=True),
    Column("tail_at", BigInteger, nullable=False),
    Column("gate_at", BigInteger, nullable=False),
    Column("looked_at", BigInteger, nullable=False),
)
"""Where the queue of an account stands; see ``core.pace``. A row is the lock under which its turns are given.
``looked_at`` is when the API was last asked which calls have ended."""

turns = Table(
    "formant_turns",
    metadata,
    Column("intent_id", _digest, primary_key=True),
    Column("account", _digest, nullable=False),
    Column("turn_at", BigInteger),  # in the queue for calls_per_minute
    Column("is_exact", Boolean, nullable=False),
    Column("came_at", BigInteger),  # to the queue for max_concurrent_calls
    Column("back_at", BigInteger),  # when it asks again at the latest, unless it is dead
    Column("asked_at", BigInteger, nullable=False),  # last, or when its turn comes if that is later
    Index("formant_turns_account", "account", "came_at"),
)
"""Who waits to be called: the place of a call in the queue outlives the process that asked for it."""

events = Table(
    "formant_events",
    metadata,
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("at", BigInteger, nullable=False),
    Column("kind", String(32), nullable=False),
    Column("subject", _digest, nullable=False),  # id of an intent, or digest of a recipient
    Column("payload", Text, nullable=False),  # JSON: the row as it was from then on
    Column("hash", String(64), nullable=False),
    Index("formant_events_subject", "subject"),
)
"""All that happened, each hash made of the one before: what is edited, deleted or moved is found."""

chain = Table(
    "formant_chain",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("seq", BigInteger, nullable=False),
    Column("hash", String(64), nullable=False),
    Column("base_seq", BigInteger, nullable=False),
    Column("base_hash", String(64), nullable=False),
)
"""One row: where the chain ends, and where it begins since the last purge. It is the lock of the chain."""

webhook_events = Table(
    "formant_webhook_events",
    metadata,
    Column("seq", BigInteger, primary_key=True, autoincrement=False),  # in the order of their commits
    Column("event_key", _digest, nullable=False, unique=True),  # of its connection and its id
    Column("happening", _digest, unique=True),  # of what it tells, which two targets tell under two ids
    Column("conn_id", _name, nullable=False),
    Column("event_type", _name, nullable=False),
    Column("agent_id", BigInteger),
    Column("trace_id", _name),
    Column("conversation_id", _name),
    Column("recipient", _digest),
    Column("sent_at", BigInteger, nullable=False),  # as the vendor has signed it
    Column("received_at", BigInteger, nullable=False),
    Column("body", Text, nullable=False),  # as it came, encrypted
    Index("formant_webhook_events_agent", "agent_id", "seq"),
    Index("formant_webhook_events_trace", "trace_id"),
    Index("formant_webhook_events_conversation", "conversation_id"),
    Index("formant_webhook_events_received", "received_at"),
)
"""What the vendor's webhooks have brought, once each. They are no part of the chain, and deleted when old."""

cursors = Table(
    "formant_cursors",
    metadata,
    Column("name", _name, primary_key=True),
    Column("seq", BigInteger, nullable=False),
)
"""How far each reader of the webhook events has come, and, as :data:`LAST_EVENT`, where they end: that row is
the lock under which events are numbered, so that none appears before one that was read already."""

LAST_EVENT = "last webhook event"
