"""Places the call of a task: brings together the request, the ledger, and what the user chose."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Self

import pendulum

from formant_provider.tasks.privacy import mask_numbers, reveal
from formant_provider.tasks.waiting import defer_wait

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator

    from formant_provider.api.errors import FormantError, RetryableError
    from formant_provider.api.models import CallRequest
    from formant_provider.core.calls.intent import Intent
    from formant_provider.core.calls.placement import Placement
    from formant_provider.core.ledger import Ledger
    from formant_provider.core.pace import PaceExceeded
    from formant_provider.hooks.formant import FormantHook
    from formant_provider.store.admission import Admission
    from formant_provider.store.asking import CallAsking
    from formant_provider.store.intents import Asked
    from formant_provider.tasks.call_store import CallStore
    from formant_provider.tasks.calls.outcome import OnUnconfirmed
    from formant_provider.tasks.capping import CapOptions
    from formant_provider.tasks.run import TaskRun
    from formant_provider.tasks.timing import When
    from formant_provider.triggers.wait import WaitTrigger

log = logging.getLogger(__name__)

# The fields of a task that make up the request.
CALL_FIELDS = (
    "agent_id",
    "parameters",
    "scheduled_for",
    "conversation_id",
    "idempotency_key",
    "metadata",
    "retry_context",
)
# A server that keeps asking to wait is waited for no longer than its own keys last.
LONGEST_WAIT = timedelta(hours=24)


@dataclass(frozen=True)
class PlacingOptions:
    """What a user chose of the placement. See the operator."""

    on_unconfirmed: OnUnconfirmed
    lookup_timeout_s: float
    redial_on: frozenset[str]
    max_inline_wait_s: float


@dataclass(frozen=True)
class LimitWait:
    """What a task has to know when it continues after the API's rate limit."""

    give_up_at: datetime | None = None  # None before its first wait
    doubt_since: datetime | None = None  # when a send whose answer was lost may have left

    @classmethod
    def from_event(cls, event: Mapping[str, Any]) -> Self:
        """Read what the trigger returned."""
        moments = (event["give_up_at"], event.get("doubt_since"))
        return cls(*(datetime.fromisoformat(text) if text else None for text in moments))

    def trigger(self, wait: timedelta, *, is_bounded: bool = True) -> WaitTrigger | None:
        """Return what waits without a worker; ``None`` when that takes too long in all.

        :param is_bounded: whether there is a "too long".
        """
        from formant_provider.triggers.wait import WaitTrigger

        now = pendulum.now("UTC")
        give_up_at = self.give_up_at or now + LONGEST_WAIT
        if is_bounded and now + wait > give_up_at:
            return None
        doubt_since = self.doubt_since.isoformat() if self.doubt_since else None
        return WaitTrigger((now + wait).isoformat(), give_up_at.isoformat(), doubt_since)


def call_of(task: BaseOperator, run: TaskRun, *, default_country: str | None, renumber: bool) -> CallRequest:
    """Return the call that the rendered :data:`CALL_FIELDS` of a task describe.

    :raises InvalidInput: with the name of the field at fault.
    """
    from formant_provider.core.calls.request import build_request

    call = build_request(
        **{name: reveal(getattr(task, name)) for name in CALL_FIELDS},
        task=run.task_id,
        now=pendulum.now("UTC"),
        default_country=default_country,
        renumber=renumber,
    )
    mask_numbers(call.recipient)  # whose spelling may differ from the one that was masked
    return replace(call, idempotency_key=run.key_in_loop(call.idempotency_key))


@dataclass
class CallPlacer:
    """Places one call, once. A doubt that this try leaves is added to ``limit``.

    :ivar store_row: of the call in its call store, if there is one.
    """

    call: CallRequest
    run: TaskRun
    hook: FormantHook
    options: PlacingOptions
    cap: CapOptions
    when: When
    limit: LimitWait
    is_stopped: Callable[[], bool]
    reference: object = None
    store_row: str | None = field(default=None, init=False)
    _is_logged: bool = field(default=False, init=False)

    def check(self) -> None:
        """Check what can be checked without asking the API.

        :raises InvalidInput: with the name of the field at fault.
        """
        from formant_provider.api.errors import InvalidInput

        config = self.hook.get_config()
        if self.options.redial_on and self.run.store is None and config.store is None:
            raise InvalidInput(
                "redial_on", "needs the task state store of Airflow 3.3 or later, or a call store"
            )
        self.cap.check(self.hook)

    def place(self, *, deferrable: bool) -> Placement:
        """Place the call, or find out that it was placed already."""
        from formant_provider.api.errors import RetryableError
        from formant_provider.api.retry import RetryPolicy
        from formant_provider.core.calls.facts import CallCallbacks, Policy
        from formant_provider.core.calls.placement import CallPlacing
        from formant_provider.core.pace import PaceExceeded
        from formant_provider.tasks.call_store import call_store_of
        from formant_provider.tasks.ledger import CALLS_ENTRY

        began, call, run = pendulum.now("UTC"), self.call, self.run
        self.check()
        store = call_store_of(self.hook, run, CALLS_ENTRY)
        knows_all = store is not None and store.knows_all
        policy = Policy(
            # A name of the user's own may have been used by a connection without this store.
            taken_since=None if knows_all and not run.own_name else run.taken_since,
            look_since=None if knows_all else run.look_since,
            was_cleared=run.was_cleared,
            redial_on=self.options.redial_on,
            try_number=run.try_number,
            lookup_timeout_s=self.options.lookup_timeout_s,
        )
        callbacks = CallCallbacks(
            now=lambda: pendulum.now("UTC"),
            sleep=time.sleep,
            check_before_send=self._check_before_send,
            when=self.when,
            own_traces=run.own_traces,
        )
        ledger = self._ledger(store)
        try:
            with self.hook.get_conn(RetryPolicy(max_inline_wait_s=self.options.max_inline_wait_s)) as client:
                return CallPlacing(call, client, ledger, policy, callbacks).run()
        except (PaceExceeded, RetryableError) as error:
            if error.maybe_placed:
                doubt_since = self.limit.doubt_since or run.earliest_send(began)
                self.limit = replace(self.limit, doubt_since=doubt_since)
            if deferrable or isinstance(error, PaceExceeded):  # a turn may be hours away: it holds no worker
                self._defer_to_limit(error)
            raise

    def _ledger(self, store: CallStore | None) -> Ledger[Intent]:
        """Return the ledger of this call: in the call store, or as durable as this Airflow allows."""
        from formant_provider.core.calls.intent import Intent
        from formant_provider.tasks.ledger import ledger_for

        key, doubt_since = self.call.idempotency_key, self.limit.doubt_since
        ledger = ledger_for(self.run, Intent, key, doubt_since=doubt_since)
        if store is None:
            return ledger
        was_deferred = self.limit.give_up_at is not None
        longest_s = self.options.max_inline_wait_s
        pace = store.pace(self.hook, max_inline_wait_s=longest_s, was_deferred=was_deferred)
        kept = store.ledger(Intent, *self._asks(), ledger, pace)
        self.store_row = kept.id
        return kept

    def asking(self) -> CallAsking | None:
        """Return what asks the call store and places nothing; ``None`` without a store."""
        store = self.hook.get_store()
        if store is None:
            return None
        from formant_provider.store.asking import CallAsking

        return CallAsking(store, *self._asks())

    def _asks(self) -> tuple[Asked, Admission]:
        """Return what is asked of the store."""
        from formant_provider.store.admission import Admission
        from formant_provider.tasks.call_store import asked_for

        call = self.call
        asked = asked_for(
            self.run,
            key=call.idempotency_key,
            agent_id=call.agent_id,
            recipient=call.recipient,
            reference=self.reference,
        )
        return asked, Admission(self.cap.in_force(self.hook), self.cap.on_capped)

    def _defer_to_limit(self, error: PaceExceeded | RetryableError) -> None:
        """Wait in the triggerer, unless a worker may be held, or the task has waited long enough."""
        from formant_provider.core.pace import PaceExceeded

        wait, waits_for_turn = timedelta(seconds=error.retry_after_s or 0), isinstance(error, PaceExceeded)
        is_long = waits_for_turn or wait.total_seconds() > self.options.max_inline_wait_s
        trigger = self.limit.trigger(wait, is_bounded=not waits_for_turn) if is_long else None
        if trigger is not None:
            log.warning("%s. The task waits without holding a worker.", error)
            until = datetime.fromisoformat(trigger.until)
            defer_wait(self.run.context["task"], trigger, until, "execute_after_limit")

    def _check_before_send(self) -> FormantError | None:
        """Say that the call is sent now, unless the task was stopped."""
        from formant_provider.api.errors import SendAborted

        if not (self._is_logged or self.is_stopped()):
            self._is_logged = True
            self._log_send()
        # Last of all: a task may be stopped at any moment.
        return SendAborted("The task was stopped before this send") if self.is_stopped() else None

    def _log_send(self) -> None:
        from formant_provider.core.numbers.recipient import Recipient

        call, config = self.call, self.hook.get_config()
        if not Recipient.of(call.recipient).is_in_use:
            log.warning("customer_phone lies in no range known to be in use. It is called all the same.")
        log.info(
            "Asking %s for a call by agent %s, %s, with idempotency key %s.",
            config.base_url,
            call.agent_id,
            call.scheduled_for or "now",
            call.idempotency_key,
        )
        if config.store is not None:
            log.info("The call is written down in the call store of connection %r.", config.store.conn_id)
