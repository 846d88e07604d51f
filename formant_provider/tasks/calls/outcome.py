"""Waits for the conversation of a call that was placed, and ends the task as it went.

What a trigger returns holds ids alone, so the worker reads the record once more before it pushes it: from an
event of the call store if there is one, or else from the API.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal

from airflow.providers.common.compat.sdk import AirflowFailException, AirflowSkipException

from formant_provider.tasks.call_store import record_in_store
from formant_provider.tasks.calls.ids import APART, push_ids
from formant_provider.tasks.calls.waiting import WaitOptions, trigger_for, watch_for
from formant_provider.tasks.results import push_result, storable
from formant_provider.tasks.run import TaskRun
from formant_provider.tasks.telling import tell
from formant_provider.tasks.waiting import defer_wait, now, wait_here

if TYPE_CHECKING:
    from airflow.sdk import Context

    from formant_provider.api.models import CallRequest, Conversation
    from formant_provider.core.calls.placement import Placement
    from formant_provider.hooks.formant import FormantHook
    from formant_provider.store.store import Store
    from formant_provider.triggers.conversation import WaitEnd

log = logging.getLogger(__name__)

# A record that is in the list may be missed by its id for a moment.
READ_AGAIN_AFTER_S = (1.0, 2.0, 4.0)
# In the receipt of a wait: the row in the call store of a call that is unconfirmed, a digest of its key.
STORE_ROW = "store_row"
OnTimeout = Literal["fail", "skip", "return"]
OnUnconfirmed = Literal["succeed", "fail", "skip"]
# What a task pushes of a conversation, besides its ids. The number is not in it.
RECORD_FIELDS = (
    "status",
    "start_timestamp",
    "end_timestamp",
    "started_at",
    "ended_at",
    "duration_seconds",
    "failure_reason",
    "results",
)


@dataclass(frozen=True)
class CallWait:
    """How a task waits for the conversation of its call."""

    hook: FormantHook
    options: WaitOptions
    timeout_s: float
    on_timeout: OnTimeout
    on_unconfirmed: OnUnconfirmed
    redial_on: frozenset[str]
    deferrable: bool

    def wait(
        self,
        call: CallRequest,
        placement: Placement,
        receipt: dict[str, Any],
        context: Context,
        store_row: str | None,
    ) -> dict[str, Any]:
        """Wait, here or in the triggerer; return the result.

        :param store_row: of the call in its call store, if there is one.
        """
        from formant_provider.tasks.failures import WAITING_FOR_A_CALL, ending_the_task

        watch = watch_for(self.hook, call, placement, receipt, self.options)
        deadline = max(now(), placement.since) + timedelta(seconds=self.timeout_s)
        log.info("Waiting until %s for the conversation of trace_id %s.", deadline, watch.trace_id)
        if placement.receipt is None and store_row is not None:  # there is no other id of it
            receipt = {**receipt, STORE_ROW: store_row}
        trigger = trigger_for(self.hook, call.agent_id, watch, deadline, receipt)
        if self.deferrable:
            defer_wait(context["task"], trigger, deadline)
        with ending_the_task(WAITING_FOR_A_CALL, self.hook):
            end = wait_here(self.hook, trigger)
        return self.conclude(end, context)

    def conclude(self, end: WaitEnd, context: Context) -> dict[str, Any]:
        """End the task as the conversation, the time or an error has it."""
        from formant_provider.tasks.failures import WAITING_FOR_A_CALL, end_unconfirmed, ending_the_task

        store_row = end.receipt.pop(STORE_ROW, None)
        with ending_the_task(WAITING_FOR_A_CALL, self.hook):
            end.raise_error()
            tell(context, end.receipt)
            if end.conversation_id is None:
                if end.receipt["placement"] == "unconfirmed":
                    _warn_unproven(end)
                    end_unconfirmed(self.on_unconfirmed)
                else:
                    _end_timed_out(self.on_timeout, end)
                return end.receipt
            result = push_outcome(self.hook, end, context, self.options, store_row=store_row)
        end_as_it_ended(self.options, result, context, redial_on=self.redial_on)
        return result


def push_outcome(
    hook: FormantHook, end: WaitEnd, context: Context, options: WaitOptions, *, store_row: str | None = None
) -> dict[str, Any]:
    """Read the record of a conversation that is over; push its ids, and return it with the receipt.

    :param store_row: as for :meth:`CallWait.wait`, when the store knows no other id of the call.
    """
    from formant_provider.core.conversations.statuses import moment_text

    record = _read(hook, end, include_transcript=options.include_transcript)
    result = {**end.receipt, "conversation_id": record.conversation_id}
    result["trace_id"] = record.trace_id or result.get("trace_id")
    result["agent_id"] = record.agent_id or result.get("agent_id")
    moments = {"started_at": record.start_timestamp, "ended_at": record.end_timestamp}
    result |= {
        name: moment_text(moments[name]) if name in moments else getattr(record, name)
        for name in RECORD_FIELDS
    }
    result["status"] = record.status or end.status
    if options.include_transcript:
        result["transcript"] = record.transcript
    result = {name: storable(value) for name, value in result.items()}
    talk = f"{record.duration_seconds} s" if record.duration_seconds is not None else "nobody was connected"
    text = "The conversation %s is over: %s, %s. A %s told."
    source = "webhook" if end.was_heard else "poll"
    log.info(text, record.conversation_id, result["status"], talk, source)
    _record(hook, result, record, store_row)
    _trace(hook, result)
    push_ids(hook, result, context)
    return result


def _trace(hook: FormantHook, result: Mapping[str, Any]) -> None:
    """Let the conversation be a span of its own, from its first to its last moment."""
    from formant_provider.api.telemetry import CONVERSATION

    began, ended = result["start_timestamp"], result["end_timestamp"]
    if isinstance(began, int) and isinstance(ended, int):
        ids = {name: result[name] for name in ("agent_id", *APART)}
        hook.telemetry.past_span(CONVERSATION, began, ended, **ids)


def _record(
    hook: FormantHook, result: Mapping[str, Any], record: Conversation, store_row: str | None
) -> None:
    """Let the call store know how the call ended."""

    def write(store: Store) -> None:
        from formant_provider.api.models import iso_moment
        from formant_provider.store.outcomes import record_outcome

        record_outcome(
            store,
            trace_id=result["trace_id"],
            conversation_id=record.conversation_id,
            outcome=str(result["status"]),
            ended_at=iso_moment(result["ended_at"]),
            now=now(),
            intent_id=store_row,
        )

    record_in_store(hook, write)


def _read(hook: FormantHook, end: WaitEnd, *, include_transcript: bool) -> Conversation:
    """Read the record in detail. Whatever hinders it, what the wait has found out is pushed."""
    from formant_provider.api.errors import FormantError
    from formant_provider.api.models import Conversation

    known = Conversation(str(end.conversation_id), agent_id=None, status=end.status, **end.known)
    told = _told(hook, known, include_transcript=include_transcript)
    if told is not None:
        return told.filled_from(known)
    try:
        record = _read_with_the_key_of_now(hook, known.conversation_id)
    except Exception as error:  # the call is over, whatever it is
        what = str(error) if isinstance(error, FormantError) else type(error).__name__
        log.warning(
            "%s. Continuing with what is known of the conversation %s, without its results.",
            what,
            known.conversation_id,
        )
        return known
    return record.filled_from(known)


def _told(hook: FormantHook, known: Conversation, *, include_transcript: bool) -> Conversation | None:
    """Return the record as an event of the call store has it; ``None`` when the API has to be asked."""
    try:
        store = hook.get_store()
        if store is None:
            return None
        from formant_provider.store.webhook_records import record_of_attempt

        found = record_of_attempt(store, known, needs_transcript=include_transcript)
    except Exception as error:  # the API is there to be asked
        log.warning("The call store could not be read (%s).", type(error).__name__)
        return None
    return found


def _read_with_the_key_of_now(hook: FormantHook, conversation_id: str) -> Conversation:
    """Read a record; once more where its key was changed since the last poll, which may be long ago."""
    from formant_provider.api.errors import AuthenticationFailed

    try:
        return _read_patiently(hook, conversation_id)
    except AuthenticationFailed:
        return _read_patiently(hook.reread(), conversation_id)


def _read_patiently(hook: FormantHook, conversation_id: str) -> Conversation:
    """Read a record, for some minutes if the API asks for them; the task is over but for that."""
    from formant_provider.api.errors import NotFound
    from formant_provider.api.retry import LAST_READ

    with hook.get_conn(LAST_READ) as client:
        for pause_s in READ_AGAIN_AFTER_S:
            try:
                return client.get_conversation(conversation_id)
            except NotFound as error:
                log.warning("%s. The conversation %s is over, but not on record yet.", error, conversation_id)
            time.sleep(pause_s)
        return client.get_conversation(conversation_id)


def _warn_unproven(end: WaitEnd) -> None:
    """Say why an unconfirmed call was not found among the conversations of its time."""
    if end.candidates > 1:
        log.warning(
            "%s calls to or from this recipient began when this one can have begun, and nothing tells which"
            " of them it is: another task, another system or the person may have called. None is taken.",
            end.candidates,
        )
    elif end.candidates == 0:
        log.warning("No conversation with this recipient began when this call can have begun.")


def _end_timed_out(choice: OnTimeout, end: WaitEnd) -> None:
    """End a task whose conversation was not over in time: ``"return"`` only warns."""
    text = (
        "The time to wait is up, and no conversation of this call is over and on record. A call may have"
        " been placed, or be placed yet; this task places no further one. Clear this task to wait once more,"
        " or look for the call in the FormantAI dashboard."
    )
    if end.others:
        text += (
            f" Conversations with this recipient that ended meanwhile under other trace ids: {end.others}."
        )
    if choice == "fail":
        raise AirflowFailException(text)
    if choice == "skip":
        raise AirflowSkipException(text)
    log.warning("%s", text)


def end_as_it_ended(
    options: WaitOptions, result: dict[str, Any], context: Context, *, redial_on: Collection[str] = ()
) -> None:
    """End a task as its user wants it to end after this outcome.

    :param redial_on: outcomes after which a further try calls again, so that the task is left its retries.
        With ``"succeed"`` and ``"skip"`` the last try ends so.
    :raises CallUnsuccessful: when a retry is of use.
    """
    from formant_provider.api.errors import CallUnsuccessful

    status, choice = str(result["status"]), options.on_unsuccessful
    if options.endings.is_success(status):
        return
    error = CallUnsuccessful(status)
    if status in redial_on and TaskRun(context).has_tries_left:
        push_result(context, result)
        raise error
    if choice == "succeed":
        log.warning("%s.", error)
        return
    push_result(context, result)
    if choice == "skip":
        raise AirflowSkipException(str(error))
    if status in redial_on:
        raise error
    raise AirflowFailException(f"{error}. A retry would place no further call; see redial_on.") from error
