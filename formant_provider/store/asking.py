"""What the store would say if a call were placed now, for a dry run: it writes nothing, and locks nobody."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from sqlalchemy import select

from formant_provider.core.calls.intent import Intent
from formant_provider.store.intents import intent_of
from formant_provider.store.schema import intents

if TYPE_CHECKING:
    from formant_provider.api.models import CallReceipt
    from formant_provider.store.admission import Admission
    from formant_provider.store.intents import Asked
    from formant_provider.store.store import Store


@dataclass(frozen=True)
class CallAsking:
    """Asks about one call."""

    store: Store
    asked: Asked
    admission: Admission

    def placed(self) -> tuple[CallReceipt | None, bool]:
        """Return the receipt of the call if it was placed, and whether another task or row asked for it.

        :raises SendAborted: the store does not answer.
        """
        with self.store.reading() as conn:
            row = conn.execute(select(intents).where(intents.c.id == self._id)).mappings().first()
        if row is None:
            return None, False
        place = tuple(row[name] for name in ("dag_id", "run_id", "task_id", "map_index"))
        known = intent_of(dict(row), Intent, self.asked.key)
        return known.receipt or known.last_receipt, place != self.asked.place

    def refuse(self, call_at: datetime, *, now: datetime) -> None:
        """Refuse a call that would not be placed for this moment.

        :raises NotAdmitted: the person is on the do-not-call list, or is called as often as allowed.
        :raises SendAborted: the store does not answer.
        """
        recipient = self.store.digests.recipient(str(self.asked.recipient))
        with self.store.reading() as conn:
            self.admission.ask(conn, recipient, call_at, now=now, other_than=self._id)

    @property
    def _id(self) -> str:
        return self.store.digests.idempotency_key(self.asked.key)
