"""Keeps a page in the call store of its connection, as any call, as long as that does not hold up the alarm.

A page is written down before it is sent, so that the history shows it and the caps of others count it. But
somebody has to be told: a store that is down, slow or set up wrongly keeps no page from being sent. It is
sent unrecorded then, and the vendor's key keeps it from ringing twice. Only with a ``call_cap`` of its own,
to which nobody can hold it without the store, is nothing sent.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, NoReturn

import pendulum

from formant_provider.notifications.threads import started

if TYPE_CHECKING:
    from formant_provider.api.errors import FormantError
    from formant_provider.api.models import CallReceipt, CallRequest
    from formant_provider.core.calls.intent import Intent
    from formant_provider.core.caps import CapRule
    from formant_provider.core.ledger import Sent
    from formant_provider.hooks.formant import FormantHook
    from formant_provider.notifications.event import Event
    from formant_provider.store.ledger import StoreLedger
    from formant_provider.store.store import Store

log = logging.getLogger(__name__)

STORE_TAKES_S = 3.0
# A page that was begun so long ago is not being sent any more.
_LEASE = timedelta(seconds=20)


def hook_for_page(hook: FormantHook, *, needs_store: bool) -> FormantHook:
    """Return a hook whose connection can be read, if need be without what it says of a call store.

    :raises InvalidInput: the rest of it is wrong; or all of it, where the store is needed.
    """
    from formant_provider.api.errors import InvalidInput

    try:
        hook.get_config()
    except InvalidInput as error:
        if needs_store:
            raise
        hook = hook.without_store()
        hook.get_config()
        _warn(error)
    return hook


@dataclass
class Recording:
    """What the call store is told of one page; nothing, where the connection names no store.

    :param rule: the cap that the page was given, if any.
    """

    hook: FormantHook
    call: CallRequest
    event: Event
    rule: CapRule | None
    _claimed: Future[_Claim] | None = field(default=None, init=False)

    def begin(self) -> None:
        """Write down that the page is sent now. It takes no longer than :data:`STORE_TAKES_S`.

        :raises Superseded: somebody was called about this event before, or is right now.
        :raises NotAdmitted: the person is on the do-not-call list, or was called as often as allowed.
        :raises FormantError: the page has a cap, and the store cannot be asked.
        """
        from formant_provider.api.errors import NotAdmitted, StoreUnavailable, Superseded

        config = self.hook.get_config().store
        if config is None:
            return
        try:
            from formant_provider.store.opening import opener

            # Not in the thread: Airflow's connections can be read only where it has called us.
            opens = opener(config)
            self._claimed = started(lambda: self._claim(opens()))
            self._claimed.result(STORE_TAKES_S)
        except (NotAdmitted, Superseded):
            raise
        except Exception as error:
            if self.rule is None:
                _warn(error)
            else:
                self._take_back()
                text = f"{_said(error)}. Without it nobody can tell whether call_cap allows a call"
                raise StoreUnavailable(text) from None

    def placed(self, receipt: CallReceipt, wait_s: float) -> None:
        """Write down what the API answered.

        :param wait_s: for how long to wait until it is written.
        """
        self._write(lambda claim: replace(claim.intent, receipt=receipt), wait_s)

    def failed(self, error: FormantError, wait_s: float) -> None:
        """Write down what became of all sends, with the error that ended them."""
        from formant_provider.core.ledger import outcome_of

        errors = [*error.earlier, error]
        self._write(lambda claim: replace(claim.intent, sent=outcome_of(claim.before, errors)), wait_s)

    def _claim(self, store: Store) -> _Claim:
        from formant_provider.api.errors import Superseded, may_have_been_placed
        from formant_provider.core.ledger import Sent

        ledger, now = self._ledger(store), _now()
        claim = _Claim(ledger, _first(self.call, now), Sent.NEVER)
        try:
            claim.make()
        except Superseded:
            known = ledger.read()
            if known is None:
                raise
            claim = _Claim(ledger, *_again(known, now))
            with may_have_been_placed() if claim.before is Sent.UNCLEAR else nullcontext():
                claim.make()
        ledger.sleep = time.sleep
        return claim

    def _ledger(self, store: Store) -> StoreLedger[Intent]:
        from formant_provider.core.calls.intent import Intent
        from formant_provider.store.admission import Admission
        from formant_provider.store.intents import Asked
        from formant_provider.store.ledger import StoreLedger

        event, config = self.event, self.hook.get_config()
        asked = Asked(
            self.call.idempotency_key,
            self.call.agent_id,
            self.call.recipient,
            event.dag_id,
            event.run_id,
            event.task_id,
            map_index=event.map_index,
            try_number=event.try_number,
            asked_by=f"page: {event.kind}" if event.kind else "page",
            account=store.digests.account(config.base_url, config.api_key),
        )
        return StoreLedger(store, Intent, asked, Admission(self.rule), _now, _wait_for_nobody, _LEASE)

    def _write(self, changed: Callable[[_Claim], Intent], wait_s: float) -> None:
        claimed = self._claimed
        if claimed is None or (claimed.done() and claimed.exception()):
            return  # it is sent unrecorded

        def write() -> None:
            claim = claimed.result()
            claim.ledger.write(changed(claim))

        try:
            started(write).result(max(0.0, wait_s))
        except Exception as error:
            log.warning("%s. In the call store it stays open whether this call was placed.", _said(error))

    def _take_back(self) -> None:
        """Let a claim that comes too late not count as a call."""
        claimed = self._claimed
        if claimed is not None:
            started(lambda: claimed.result().take_back())


@dataclass
class _Claim:
    """What is in the store while a page is being sent.

    :param before: what had become of earlier sends of the same.
    """

    ledger: StoreLedger[Intent]
    intent: Intent
    before: Sent

    def make(self) -> None:
        """Commit it.

        :raises NotAdmitted: the person must not be called.
        :raises Superseded: something else is known of this page.
        """
        from formant_provider.api.errors import NotAdmitted

        try:
            self.ledger.claim(self.intent)
        except NotAdmitted as error:
            if self.intent.attempt == 1:  # of a further one, the row tells of the one before
                self.take_back(error.reason)  # so that the history tells that it was asked for
            raise

    def take_back(self, why: str | None = None) -> None:
        """Write that this was not sent, and why, unless an earlier send may have been accepted."""
        from formant_provider.core.ledger import Sent, note

        if self.before is not Sent.UNCLEAR:
            note(self.ledger, replace(self.intent, sent=self.before, sends=(), refused=why))


def _first(call: CallRequest, now: datetime) -> Intent:
    from formant_provider.core.calls.intent import Intent
    from formant_provider.core.conversations.evidence import SendRecord
    from formant_provider.core.ledger import Sent

    return Intent(call.idempotency_key, now, sent=Sent.UNCLEAR, sends=(SendRecord(now),))


def _again(known: Intent, now: datetime) -> tuple[Intent, Sent]:
    """Return what is written when something is known of a page, and what had become of it before.

    As without a store a page rings once in 24 hours, for which the vendor's key protects: somebody who names
    it themselves expects to be called again after that.

    :raises Superseded: it was placed within that time.
    """
    from formant_provider.api.errors import Superseded
    from formant_provider.core.conversations.evidence import SendRecord, latest
    from formant_provider.core.ledger import Sent

    may_have_rung = known.receipt is not None or known.sent is Sent.UNCLEAR
    sends = (SendRecord(now),)
    if not may_have_rung:
        return replace(known, written_at=now, sent=Sent.UNCLEAR, sends=sends), known.sent
    if not known.key_protects(now):
        attempt = replace(known, written_at=now, attempt=known.attempt + 1, receipt=None, used_since=None)
        attempt = replace(attempt, last_receipt=known.receipt, last_at=known.written_at)
        return replace(attempt, sent=Sent.UNCLEAR, sends=sends), Sent.NEVER
    if known.receipt is not None:
        raise Superseded("The call store has a call about this event that was placed before")
    return replace(known, sends=latest([*known.sends, *sends])), Sent.UNCLEAR


def _wait_for_nobody(_seconds: float) -> NoReturn:
    """Leave a page to the process that is sending it at this moment."""
    from formant_provider.api.errors import Superseded

    raise Superseded("Another process calls about this event at this moment")


def _now() -> datetime:
    return pendulum.now("UTC")


def _warn(error: Exception) -> None:
    log.warning(
        "%s. The page is sent without the call store: neither its history nor its caps know of this call, and"
        " its do-not-call list was not asked.",
        _said(error),
    )


def _said(error: Exception) -> str:
    from formant_provider.api.errors import FormantError

    if isinstance(error, TimeoutError):
        return f"The call store did not answer within {STORE_TAKES_S:g} s"
    if isinstance(error, FormantError):
        return str(error).rstrip(".")
    # The text of an error that is not ours may hold anything.
    return f"The call store could not be used ({type(error).__name__})"
