"""Places a batch call at most once: does what the decision says, until it is done.

::

    read the ledger ─► decide ─┬─ Look ──► search the list, and decide again
                               ├─ Send ──► make the file, write the doubt ─► upload ─┬─ 200 ─► PLACED
                               │                                                     └─ error: decide again
                               ├─ Done ──► PLACED or FOUND
                               └─ Refuse ► raised

When another process has the batch call in hand, the ledger is read again instead of an upload.

Whether it may be uploaded is decided in :mod:`formant_provider.core.batches.decision`. The doubt is written
right before every send, and a ledger that cannot be written aborts it.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

from formant_provider.api.batch_models import BatchCall
from formant_provider.api.errors import BatchOutcomeUnknown, FormantError, Superseded
from formant_provider.api.telemetry import BATCHES_FOUND, PLACE_BATCH_CALL
from formant_provider.core.batches.decision import (
    BatchIntent,
    BatchPolicy,
    Done,
    Facts,
    Look,
    Refuse,
    Send,
    decide,
)
from formant_provider.core.batches.request import BatchRequest
from formant_provider.core.flows import run
from formant_provider.core.ledger import Ledger, Sent, note, outcome_of, write_doubt
from formant_provider.core.paging import recent_batches
from formant_provider.core.placing import Callbacks, Result

if TYPE_CHECKING:
    from formant_provider.api.client import FormantClient

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class BatchPlacement:
    """Where a batch call stands.

    :param result: ``placed``: the receipt is the API's own; ``found``: an earlier upload had placed it, or
        another task.
    :param name: that the vendor sees.
    :param total_recipients: rows of its file, by the vendor; ``None`` when it did not say.
    :param since: when its conversations can begin at the earliest, aware.
    """

    result: Result
    batch_id: int
    name: str
    total_recipients: int | None
    since: datetime


@dataclass
class BatchPlacing:
    """One try to place one batch call."""

    request: BatchRequest
    client: FormantClient
    ledger: Ledger[BatchIntent]
    policy: BatchPolicy
    callbacks: Callbacks

    def run(self) -> BatchPlacement:
        """Place the batch call, or find out that it was placed already. Never places it twice.

        :raises RequestRefused: the API said no.
        :raises BatchOutcomeUnknown: an upload may have been accepted, and the batch call is not in the list.
        :raises SendAborted: it was stopped right before a send.
        :raises FormantError: it may be tried again; ``maybe_placed`` says whether it may have been placed.
        :raises OSError: the file cannot be opened; nothing was sent.
        """
        agent_id, telemetry = self.request.agent_id, self.client.telemetry
        with telemetry.span(PLACE_BATCH_CALL, agent_id=agent_id) as span:
            placement = self._run()
            span.set(placement=placement.result.value, batch_id=placement.batch_id)
        if placement.result is Result.FOUND:
            telemetry.count(BATCHES_FOUND, agent_id=agent_id)
        return placement

    def _run(self) -> BatchPlacement:
        intent, facts = self._read()
        while True:
            match decide(intent, self.policy, facts):
                case Look() as look:
                    facts = self._look(look, intent, facts)
                case Send():
                    try:
                        intent, facts = self._send(intent, facts)
                    except Superseded:  # this try has sent nothing
                        intent, facts = self._read()
                case Done(result=result, batch=batch):
                    return self._done(result, intent, batch)
                case Refuse(error=error):
                    raise error

    def _read(self) -> tuple[BatchIntent, Facts]:
        known = self.ledger.read()
        name = f"agent {self.request.agent_id} with {self.request.marker} in its name"
        intent = known or BatchIntent(self.request.key, self.callbacks.now())
        return intent, Facts(name, is_fresh=known is None)

    def _send(self, intent: BatchIntent, facts: Facts) -> tuple[BatchIntent, Facts]:
        if facts.is_fresh:  # a try that dies before its first send leaves no doubt
            self.ledger.write(intent)
        intent, error = self._upload(intent)
        return intent, Facts(facts.name, is_fresh=False, upload_error=error)

    def _look(self, look: Look, intent: BatchIntent, facts: Facts) -> Facts:
        if facts.upload_error is not None:
            log.warning("%s. Looking for the batch call.", facts.upload_error)
        batch, error = self.callbacks.search(lambda: self._find(look.since), look.timeout_s)
        if error is not None:
            error.maybe_placed = intent.sent is Sent.UNCLEAR
        return replace(facts, has_looked=True, batch=batch, look_error=error)

    def _upload(self, intent: BatchIntent) -> tuple[BatchIntent, FormantError | None]:
        """Upload, and write down what came of it; return what is known then, and the error if any."""
        file = self.request.write_file()
        if intent.sent is not Sent.UNCLEAR:
            intent = replace(intent, written_at=self.callbacks.now())
        doubt = replace(intent, sent=Sent.UNCLEAR)
        # The file may have taken long to make. A connection that died meanwhile would leave a needless doubt.
        self.client.close()
        try:
            batch = self.client.create_batch_call(
                self.request.agent_id,
                self.request.full_name,
                file,
                before_send=lambda: write_doubt(self.ledger, doubt, self.callbacks.check_before_send),
            )
        except FormantError as error:
            if isinstance(error, Superseded) and not error.earlier:
                raise
            intent = replace(intent, sent=outcome_of(intent.sent, [*error.earlier, error]))
            error.maybe_placed = intent.sent is Sent.UNCLEAR
            if intent.sent is not Sent.UNCLEAR:
                note(self.ledger, intent)
            return intent, error
        if batch.name is not None and self.request.marker not in batch.name:
            log.warning("The API gave the batch call another name: without its id it could not be found.")
        intent = replace(doubt, receipt=batch)
        note(self.ledger, intent)
        return intent, None

    def _done(self, result: Result, intent: BatchIntent, batch: BatchCall) -> BatchPlacement:
        if result is Result.FOUND:
            log.info("The batch call was placed before, with id %s.", batch.batch_id)
            note(self.ledger, replace(intent, sent=Sent.UNCLEAR, receipt=batch))
        if self.ledger.is_of_others:
            result = Result.FOUND
        since = min(intent.written_at, batch.created or intent.written_at)
        name = batch.name or self.request.full_name
        return BatchPlacement(result, batch.batch_id, name, batch.total_recipients, since)

    def _find(self, since: datetime) -> BatchCall | None:
        """Return the batch call with our marker in its name; ``None`` when the list has none yet.

        Of several the first is taken: others were made by hand from it.
        """
        agent_id, marker, found = self.request.agent_id, self.request.marker, dict[int, BatchCall]()

        def take(batch: BatchCall) -> None:
            if marker in (batch.name or ""):
                found[batch.batch_id] = batch

        is_whole = run(recent_batches(agent_id, int(since.timestamp() * 1000), take), self.client)
        if not found and not is_whole:
            text = f"There are too many batch calls of agent {agent_id} to find the one with {marker} in"
            raise BatchOutcomeUnknown(f"{text} its name", maybe_placed=True)
        if len(found) > 1:
            log.warning("The batch calls %s all have %s in their names.", sorted(found), marker)
        return found[min(found)] if found else None
