"""Calls and batch calls in a store, as tasks leave them there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from formant_provider.api.batch_models import BatchCall
from formant_provider.api.models import CallReceipt
from formant_provider.core.batches.decision import BatchIntent
from formant_provider.core.calls.intent import Intent
from formant_provider.core.conversations.evidence import SendRecord
from formant_provider.core.keys import key_of
from formant_provider.core.ledger import Sent
from formant_provider.store.ledger import StoreLedger
from formant_provider.store.reservation import Reservation
from formant_provider.store.store import Store
from support.stores import NUMBER, asked, ledger_in

NUMBERS = ("+14155550110", "+14155550111", "+14155550112")


def a_call(
    store: Store, key: str, number: str = NUMBER, *, at: datetime | None = None, **fields: Any
) -> None:
    """Let a task place a call.

    :param at: when it does, by its own clock.
    """
    _place(_ledger(store, key, number, at, fields), _intent(key, at))


def a_doubt(store: Store, key: str, number: str = NUMBER, **fields: Any) -> None:
    """Let a process die while it places a call."""
    _ledger(store, key, number, None, fields).claim(_intent(key, None))


def a_redial(
    store: Store, key: str, number: str = NUMBER, *, at: datetime | None = None, **fields: Any
) -> None:
    """Let a task place a call, and one more."""
    a_call(store, key, number, at=at, **fields)
    a_further_call(store, key, number, at=at, **fields)


def a_further_call(
    store: Store, key: str, number: str = NUMBER, *, at: datetime | None = None, **fields: Any
) -> None:
    """Let a further try of a task redial."""
    ledger = _ledger(store, key, number, at, fields)
    _place(ledger, replace(_intent(key_of(first=key, attempt=2, spent=0), at), attempt=2))


def a_batch_call(
    store: Store, key: str, numbers: Sequence[str] = NUMBERS, *, at: datetime | None = None, **fields: Any
) -> None:
    """Let a task place a batch call."""
    ledger = ledger_in(store, BatchIntent, asked(key, None, **fields), now=lambda: at or datetime.now(UTC))
    ledger.read()
    intent = BatchIntent(key, ledger.now())
    ledger.write(intent)
    reservation = Reservation(store, None, ledger.now, ledger=ledger)
    reservation.begin()
    keys = [int(number) for number in numbers]
    reservation.suppressed(keys)
    reservation.admit(keys)
    reservation.end(upload_bytes=100)
    ledger.claim(replace(intent, sent=Sent.UNCLEAR))
    batch = BatchCall(7, "b", 456, "pending", len(keys), None)
    ledger.write(replace(intent, sent=Sent.UNCLEAR, receipt=batch))


def _ledger(
    store: Store, key: str, number: str, at: datetime | None, fields: dict[str, Any]
) -> StoreLedger[Intent]:
    ledger = ledger_in(store, Intent, asked(key, number, **fields), now=lambda: at or datetime.now(UTC))
    ledger.read()
    return ledger


def _intent(key: str, at: datetime | None) -> Intent:
    now = at or datetime.now(UTC)
    return Intent(key, now, Sent.UNCLEAR, sends=(SendRecord(now),))


def _place(ledger: StoreLedger[Intent], doubt: Intent) -> None:
    ledger.claim(doubt)
    ledger.write(
        replace(doubt, receipt=CallReceipt(456, f"trace-{ledger.asked.run_id}", "initiated", None, None))
    )
