"""Asks with one real call what reading alone does not answer. It places exactly one, to a given number."""

from __future__ import annotations

import secrets
import string
from dataclasses import dataclass
from typing import TYPE_CHECKING

from formant_provider.api.client import CREATE_CALL
from formant_provider.api.errors import DuplicateRequest, FormantError, InvalidRequest
from formant_provider.api.models import CallReceipt, CallRequest
from formant_provider.check.questions.answers import word
from formant_provider.check.questions.placing import Clock, Placed, place
from formant_provider.check.questions.reads import Reader, start_ms
from formant_provider.check.questions.watching import Pace, Seen, Watch

if TYPE_CHECKING:
    from formant_provider.hooks.formant import FormantHook
    from formant_provider.store.store import Store


@dataclass(frozen=True)
class Rung:
    """What one call has shown.

    :param repeat: what a second request with the same key was answered; ``None`` when it was not sent.
    :param repeats_values: whether the message of a 400 repeats what was sent; ``None``: it is not known.
    :param error: what kept it from being watched to its end; ``None``: nothing did.
    """

    placed: Placed
    seen: Seen
    repeat: DuplicateRequest | CallReceipt | None = None
    repeats_values: bool | None = None
    error: FormantError | None = None


def ring(hook: FormantHook, call: CallRequest, clock: Clock, pace: Pace) -> Rung:
    """Place the call, watch it, and ask what can be asked without a second ring.

    The same request is sent once more with the same key, of which the vendor promises that it is refused for
    24 hours, and only if the call was placed just now. A request without a number follows: it cannot ring.

    :raises FormantError: the call was not placed, or ``maybe_placed`` says that it may have been.
    """
    reader = Reader(hook.get_config(), clock.sleep)
    before = reader.newest(call.agent_id)
    began = {str(item.get("conversation_id")): start_ms(item) for item in before}
    placed = place(hook, call, clock)
    if placed.receipt is None:
        return Rung(placed, Seen())
    # The record of an earlier run's call may have been there before.
    since_ms = placed.placement.since.timestamp() * 1000
    known = {name for name, at_ms in began.items() if placed.is_new or at_ms < since_ms}
    repeat = _repeated(hook, call) if placed.has_used_the_key else None
    watch, error = Watch(reader, clock, call, placed.receipt, known), None
    try:
        watch.run(pace)
    except FormantError as hindered:  # what the call has shown before is told all the same
        error = hindered
    _keep_outcome(hook, placed.receipt, watch.seen)
    return Rung(placed, watch.seen, repeat, _repeats_values(reader, call.agent_id), error)


def _keep_outcome(hook: FormantHook, receipt: CallReceipt, seen: Seen) -> None:
    """Let the call store know how the call ended, as it does of every other call."""
    from formant_provider.tasks.call_store import record_in_store

    over_at = seen.over_at
    if over_at is None or not hook.has_store:
        return
    from formant_provider.store.outcomes import record_outcome

    def write(store: Store) -> None:
        record_outcome(
            store,
            trace_id=receipt.trace_id,
            conversation_id=next(iter(seen.listed)),
            outcome=word(seen.first.get("status")),
            ended_at=over_at,
            now=over_at,
        )

    record_in_store(hook, write)


def _repeated(hook: FormantHook, call: CallRequest) -> DuplicateRequest | CallReceipt | None:
    """Send the same request with the same key once more."""
    with hook.get_conn() as client:
        try:
            return client.without_retries().create_call(call)
        except DuplicateRequest as error:
            return error
        except FormantError:  # it was not asked, or not answered: that tells nothing
            return None


def _repeats_values(reader: Reader, agent_id: int) -> bool | None:
    """Send a request that is refused, since it names no number, with a word that nobody else has."""
    from formant_provider.api.transport import Request

    # Letters alone: errors leave out what may be a number.
    marker = "".join(secrets.choice(string.ascii_lowercase) for _ in range(12))
    body = {"agent_id": agent_id, "parameters": [{"name": "check", "value": marker}]}
    try:
        reader.transport.without_retries().send(Request(CREATE_CALL, "/v1/call", body=body, places_call=True))
    except InvalidRequest as error:
        return marker in str(error)
    except FormantError:
        return None
    return None
