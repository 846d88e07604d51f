"""What a task makes of a conversation that is over, or is not over in time.

What a trigger returns holds ids alone, so the worker reads the record once more before it pushes it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any, Literal

from airflow.providers.common.compat.sdk import AirflowFailException, AirflowSkipException

from formant_provider.core.conversations.statuses import moment_text
from formant_provider.links import CONVERSATION_LINK_XCOM
from formant_provider.tasks.results import push, push_apart, push_result, storable
from formant_provider.tasks.run import TaskRun

if TYPE_CHECKING:
    from airflow.sdk import Context

    from formant_provider.api.models import Conversation
    from formant_provider.hooks.formant import FormantHook
    from formant_provider.tasks.calls.waiting import WaitOptions
    from formant_provider.triggers.conversation import WaitEnd

log = logging.getLogger(__name__)

# A record that is in the list may be missed by its id for a moment.
READ_AGAIN_AFTER_S = (1.0, 2.0, 4.0)
# Fields of a result that are XComs of their own as well.
APART = ("trace_id", "conversation_id", "status")
OnTimeout = Literal["fail", "skip", "return"]
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


def push_outcome(
    hook: FormantHook, end: WaitEnd, context: Context, options: WaitOptions, *, push: bool
) -> dict[str, Any]:
    """Read the record of a conversation that is over, and push it.

    :param push: whether ids and status go to XCom on their own keys.
    :return: the receipt, and of the record :data:`RECORD_FIELDS` and the ids.
    """
    record = _read(hook, end)
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
    log.info("The conversation %s is over: %s, %s.", record.conversation_id, result["status"], talk)
    if push:
        push_ids(hook, result, context)
    return result


def _read(hook: FormantHook, end: WaitEnd) -> Conversation:
    """Read the record in detail. Whatever hinders it, what the wait has found out is pushed."""
    from formant_provider.api.errors import FormantError
    from formant_provider.api.models import Conversation

    known = Conversation(str(end.conversation_id), agent_id=None, status=end.status, **end.known)
    try:
        record = _read_patiently(hook, known.conversation_id)
    except Exception as error:  # the call is over, whatever it is
        what = str(error) if isinstance(error, FormantError) else type(error).__name__
        log.warning(
            "%s. Continuing with what is known of the conversation %s, without its results.",
            what,
            known.conversation_id,
        )
        return known
    return record.filled_from(known)


def _read_patiently(hook: FormantHook, conversation_id: str) -> Conversation:
    """Read a record, for some minutes if the API asks for them; the task is over but for that.

    :raises FormantError: it cannot be read.
    """
    from formant_provider.api.errors import NotFound
    from formant_provider.tasks.reads import LAST_READ

    with hook.get_conn(LAST_READ) as client:
        for pause_s in READ_AGAIN_AFTER_S:
            try:
                return client.get_conversation(conversation_id)
            except NotFound as error:
                log.warning("%s. The conversation %s is over, but not on record yet.", error, conversation_id)
            time.sleep(pause_s)
        return client.get_conversation(conversation_id)


def push_ids(hook: FormantHook, result: Mapping[str, Any], context: Context) -> None:
    """Push ids and status on their own keys, and the address for the button in the UI."""
    push_apart(context, result, APART)
    show_link(hook, result, context)


def show_link(hook: FormantHook, ids: Mapping[str, Any], context: Context) -> None:
    """Let the button in the UI lead to the conversation, if the connection says where that is.

    What hinders it is logged: for a button no task fails whose call was placed.
    """
    task: Any = context["task"]
    try:
        url = hook.get_config().conversation_url(
            agent_id=ids["agent_id"], conversation_id=ids["conversation_id"], trace_id=ids["trace_id"]
        )
    except Exception as error:  # a secrets backend may raise anything
        log.warning(
            "No link to the conversation: the connection could not be read (%s).", type(error).__name__
        )
        return
    task.conversation_url = url
    if url:
        push(context, CONVERSATION_LINK_XCOM, url)


def warn_unproven(end: WaitEnd) -> None:
    """Say why an unconfirmed call was not found among the conversations of its time."""
    if end.candidates > 1:
        log.warning(
            "%s calls to or from this recipient began when this one can have begun, and nothing tells which"
            " of them it is: another task, another system or the person may have called. None is taken.",
            end.candidates,
        )
    elif end.candidates == 0:
        log.warning("No conversation with this recipient began when this call can have begun.")


def end_timed_out(choice: str, end: WaitEnd) -> None:
    """End a task whose conversation was not over in time as its user chose.

    :param choice: ``"return"`` warns and returns; ``"fail"``, without retries, and ``"skip"`` raise.
    """
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

    :param redial_on: outcomes after which a further try rings again, so that the task is left its retries.
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
