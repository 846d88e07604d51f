"""Places a batch call at most once: look for it, write the doubt, upload; and when in doubt, look again.

::

    ledger has a receipt ─────────────────────────────────────► PLACED, nothing is sent
    it may be there already ─► look ─┬─ found ────────────────► FOUND
                                     ├─ not found, in doubt ──► BatchOutcomeUnknown; or, if wished, upload
                                     └─ not found ────────────► upload
    make the file ─► write doubt ─► upload ─┬─ 200 ───────────► write receipt, PLACED
                                            ├─ refused ───────► note it; raised
                                            └─ unclear ─► look ─┬─ found ──► FOUND
                                                                └─ not ────► BatchOutcomeUnknown

The vendor knows no key for a batch call and would ring everybody a second time. So once an upload may have
been accepted, nothing is uploaded again unless the user wishes so: the list of batch calls is searched for
the marker in the name. A list may lag behind, so not finding it proves nothing; a later try looks again.

The doubt is written right before every send, and a ledger that cannot be written keeps it back: a process
that is no longer the task's own is told so by the write alone.

Vendor page: https://docs.formantai.com/api-reference/batch-calls
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from formant_provider.api.batch_models import BatchCall
from formant_provider.api.errors import BatchOutcomeUnknown, FormantError, SendAborted
from formant_provider.api.models import utc_text
from formant_provider.api.retry import is_unclear
from formant_provider.core.batches.intent import BatchIntent
from formant_provider.core.batches.request import BatchRequest
from formant_provider.core.calls.placement import Result
from formant_provider.core.conversations.lookup import look_for
from formant_provider.core.flows import run
from formant_provider.core.ledger import Ledger, Sent, became_of
from formant_provider.core.paging import recent_batches

if TYPE_CHECKING:
    from formant_provider.api.client import FormantClient

log = logging.getLogger(__name__)

# How much older than the intent a batch call may seem to be: clocks differ, and its list is short.
SKEW = timedelta(days=1)
# For so long is looked for what another row, or another task, may have placed: a list may lag a little.
LOOK_FOR_OTHERS_S = 5.0


@dataclass(frozen=True)
class BatchPlacement:
    """Where a batch call stands.

    :param result: ``placed``: the receipt is the API's own; ``found``: an earlier upload had placed it.
    :param name: that the vendor sees.
    :param total_recipients: rows of its file, by the vendor; ``None`` when it did not say.
    :param since: when its conversations can begin at the earliest, aware.
    """

    result: Result
    batch_id: int
    name: str
    total_recipients: int | None
    since: datetime


@dataclass(frozen=True)
class BatchRules:
    """What the user chose, and what the caller knows.

    :param taken_since: when somebody else can have placed the batch call at the earliest, aware; ``None``:
        nobody else can have.
    :param lookup_timeout_s: seconds to look for a batch call that may have been placed.
    :param resubmit_if_missing: whether a further try uploads again what may have been placed and was not
        found. Where the list lags behind by more than the look lasts, everybody is rung twice.
    :param now: tells the current time, aware.
    :param sleep: waits for so many seconds.
    :param was_cleared: whether the run was cleared, so that others are likely to have placed it.
    :param keep_back: asked right before every send; the error it returns is raised instead.
    """

    taken_since: datetime | None
    lookup_timeout_s: float
    resubmit_if_missing: bool
    now: Callable[[], datetime]
    sleep: Callable[[float], None]
    was_cleared: bool = False
    keep_back: Callable[[], FormantError | None] | None = None


def place_batch(
    request: BatchRequest, client: FormantClient, ledger: Ledger[BatchIntent], rules: BatchRules
) -> BatchPlacement:
    """Place the batch call, or find out that it was placed already. Never places it twice.

    :raises RequestRefused: the API said no.
    :raises BatchOutcomeUnknown: an upload may have been accepted, and the batch call is not in the list.
    :raises SendAborted: it was kept back.
    :raises FormantError: it may be tried again; ``maybe_placed`` says whether phones may have rung.
    :raises OSError: the file cannot be opened; nothing was sent.
    """
    return _Flow(request, client, ledger, rules).run()


@dataclass
class _Flow:
    """One placement: the drawing above, step by step."""

    request: BatchRequest
    client: FormantClient
    ledger: Ledger[BatchIntent]
    rules: BatchRules

    def run(self) -> BatchPlacement:
        known = self.ledger.read()
        if known is not None and known.receipt is not None:
            return self._placement(Result.PLACED, known, known.receipt)
        intent = known or BatchIntent(self.request.key, self.rules.now())
        if known is not None or self.rules.taken_since is not None:
            batch = self._look(intent)
            if batch is not None:
                return self._adopt(intent, batch)
            if intent.sent is Sent.UNCLEAR and not self.rules.resubmit_if_missing:
                raise self._parked(intent)
        if known is None:  # a try that dies before its first send leaves no doubt
            self.ledger.write(intent)
        return self._upload(intent)

    def _upload(self, intent: BatchIntent) -> BatchPlacement:
        file = self.request.write_file()
        if intent.sent is not Sent.UNCLEAR:
            intent = replace(intent, written_at=self.rules.now())
        # The file may have taken long to make. A connection that died meanwhile would leave a needless doubt.
        self.client.close()
        try:
            batch = self.client.create_batch_call(
                self.request.agent_id,
                self.request.full_name,
                file,
                before_send=lambda: self._before_send(intent),
            )
        except FormantError as error:
            return self._after_error(intent, error)
        if batch.name is not None and self.request.marker not in batch.name:
            log.warning("The API gave the batch call another name: without its id it could not be found.")
        return self._keep(Result.PLACED, intent, batch)

    def _before_send(self, intent: BatchIntent) -> FormantError | None:
        """Write down the doubt. From here on this process may die at any moment."""
        try:
            self.ledger.write(replace(intent, sent=Sent.UNCLEAR))
        except SendAborted as error:
            return error
        return self.rules.keep_back() if self.rules.keep_back else None

    def _after_error(self, intent: BatchIntent, error: FormantError) -> BatchPlacement:
        intent = replace(intent, sent=became_of(intent.sent, [*error.earlier, error]))
        error.maybe_placed = intent.sent is Sent.UNCLEAR
        if intent.sent is not Sent.UNCLEAR:
            self._note(intent)
        if not is_unclear(error):
            raise error
        log.warning("%s. Looking for the batch call.", error)
        batch = self._look(intent)
        if batch is not None:
            return self._adopt(intent, batch)
        # A wish to upload again is for the next try, so that the list has time to catch up.
        raise error if self.rules.resubmit_if_missing else self._parked(intent)

    def _look(self, intent: BatchIntent) -> BatchCall | None:
        """Look for the batch call: for a while when it may well be there, and otherwise for a moment or once.

        :raises FormantError: what hindered the last look.
        """
        in_doubt = intent.sent is Sent.UNCLEAR
        since = min(intent.written_at, self.rules.taken_since or intent.written_at) - SKEW
        others_s = LOOK_FOR_OTHERS_S if self.rules.taken_since else 0.0
        longest_s = math.inf if in_doubt or self.rules.was_cleared else others_s
        batch, trouble = look_for(
            lambda: find_batch(self.client, self.request.agent_id, self.request.marker, since),
            min(self.rules.lookup_timeout_s, longest_s),
            self.rules.sleep,
        )
        if batch is None and trouble is not None:
            trouble.maybe_placed = in_doubt
            raise trouble
        return batch

    def _adopt(self, intent: BatchIntent, batch: BatchCall) -> BatchPlacement:
        log.info("The batch call was placed before, with id %s.", batch.batch_id)
        return self._keep(Result.FOUND, intent, batch)

    def _keep(self, result: Result, intent: BatchIntent, batch: BatchCall) -> BatchPlacement:
        intent = replace(intent, sent=Sent.UNCLEAR, receipt=batch)
        self._note(intent)
        return self._placement(result, intent, batch)

    def _placement(self, result: Result, intent: BatchIntent, batch: BatchCall) -> BatchPlacement:
        since = min(intent.written_at, batch.created or intent.written_at)
        return BatchPlacement(
            result, batch.batch_id, batch.name or self.request.full_name, batch.total_recipients, since
        )

    def _parked(self, intent: BatchIntent) -> BatchOutcomeUnknown:
        return BatchOutcomeUnknown(
            f"An upload at {utc_text(intent.written_at)} or later may have been accepted, and the list has no"
            f" batch call of agent {self.request.agent_id} with {self.request.marker} in its name",
            maybe_placed=True,
        )

    def _note(self, intent: BatchIntent) -> None:
        """Write what is good to know but no condition for sending."""
        try:
            self.ledger.write(intent)
        except SendAborted as error:
            log.warning("%s. The next try will ask the API instead.", error)


def find_batch(client: FormantClient, agent_id: int, marker: str, since: datetime) -> BatchCall | None:
    """Return the batch call with a marker in its name; ``None`` when the list does not have it, or not yet.

    Of several the first is taken: others were made by hand from it.

    :param since: older ones are not looked at, aware.
    """
    found: dict[int, BatchCall] = {}

    def take(batch: BatchCall) -> None:
        if marker in (batch.name or ""):
            found[batch.batch_id] = batch

    is_whole = run(recent_batches(agent_id, int(since.timestamp() * 1000), take), client)
    if not found and not is_whole:
        text = f"There are too many batch calls of agent {agent_id} to find the one with {marker} in its name"
        raise BatchOutcomeUnknown(text, maybe_placed=True)
    if len(found) > 1:
        log.warning("The batch calls %s all have %s in their names.", sorted(found), marker)
    return found[min(found)] if found else None
