"""Places the one call that ``--ring`` asks for, with what protects a call of an operator.

Its idempotency key is made of the day, the agent and the number: whoever asks again on the same day, after a
crash or on another machine, is led to the same call. It goes through the ledger and the rules of
:class:`~formant_provider.core.calls.placement.CallPlacing`, and with a call store through its do-not-call
list, its cap and its pace.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from formant_provider.api.client import CREATE_CALL
from formant_provider.api.errors import DuplicateRequest, FormantError
from formant_provider.api.models import PHONE_PARAMETER, CallReceipt, CallRequest
from formant_provider.api.retry import RetryPolicy, Stop, Wait
from formant_provider.core.calls.facts import CallCallbacks, Policy
from formant_provider.core.calls.intent import Intent
from formant_provider.core.calls.placement import CallPlacing, Placement
from formant_provider.core.calls.request import build_request
from formant_provider.core.ledger import Ledger
from formant_provider.core.placing import Result

if TYPE_CHECKING:
    from formant_provider.api.client import FormantClient
    from formant_provider.hooks.formant import FormantHook

NAME = "formant_provider.check"
METADATA = "formant-provider-check"
PLACE = (NAME, "check", "ring")
LOOKUP_TIMEOUT_S = 60
_MARGIN = timedelta(seconds=15)


@dataclass(frozen=True)
class Clock:
    """Time, for whoever places a call and watches it.

    :param now: tells the current time, aware.
    :param sleep: waits for so many seconds.
    """

    now: Callable[[], datetime]
    sleep: Callable[[float], None]


@dataclass(frozen=True)
class _Noting(RetryPolicy):
    """The usual policy, which keeps the errors that it is asked about."""

    errors: list[FormantError] = field(default_factory=list)

    def decide(self, *, error: FormantError, **options: Any) -> Wait | Stop:
        if error.operation == CREATE_CALL:
            self.errors.append(error)
        return super().decide(error=error, **options)


@dataclass
class Placed:
    """What came of the placement.

    :param placement: where the call stands.
    :param errors: what its sends failed with before, in order.
    :param is_new: whether it was placed just now, and not by an earlier run on this day.
    """

    placement: Placement
    errors: list[FormantError]
    is_new: bool

    @property
    def receipt(self) -> CallReceipt | None:
        """The API's answer; ``None`` where it was lost and the call is not known for sure."""
        return self.placement.receipt

    @property
    def has_used_the_key(self) -> bool:
        """Whether the key of the call is the one that was just accepted, for sure."""
        return self.is_new and not any(isinstance(error, DuplicateRequest) for error in self.errors)


def request_for(number: str, agent_id: int, parameters: Mapping[str, str], now: datetime) -> CallRequest:
    """Return the call, checked as that of an operator is.

    :param parameters: what the agent needs besides the number.
    :raises InvalidInput: with the name of the field at fault, without its value.
    """
    return build_request(
        agent_id=agent_id,
        parameters={**parameters, PHONE_PARAMETER: number},
        scheduled_for=None,
        conversation_id=None,
        idempotency_key=f"{NAME} {now:%Y-%m-%d}",
        metadata=METADATA,
        retry_context=None,
        task=PLACE,
        now=now,
    )


def place(hook: FormantHook, call: CallRequest, clock: Clock) -> Placed:
    """Place the call, or find that of an earlier run.

    :raises FormantError: it was not placed, or ``maybe_placed`` says that it may have been.
    """
    policy, sends = _Noting(max_inline_wait_s=LOOKUP_TIMEOUT_S, max_total_wait_s=2 * LOOKUP_TIMEOUT_S), []

    def noted() -> None:
        sends.append(clock.now())

    since = clock.now().replace(hour=0, minute=0, second=0, microsecond=0)
    rules = Policy(taken_since=since, lookup_timeout_s=LOOKUP_TIMEOUT_S)
    callbacks = CallCallbacks(now=clock.now, sleep=clock.sleep, check_before_send=noted)
    with hook.get_conn(policy) as client:
        ledger = _ledger(hook, call, client, clock)
        placement = CallPlacing(call, client, ledger, rules, callbacks).run()
    is_new = bool(sends) and placement.result is Result.PLACED
    return Placed(placement, policy.errors, is_new)


def _ledger(hook: FormantHook, call: CallRequest, client: FormantClient, clock: Clock) -> Ledger[Intent]:
    """Return the ledger in the call store; without one, what this process remembers."""
    from formant_provider.tasks.capping import CapOptions
    from formant_provider.tasks.ledger import InMemoryLedger

    config, store = hook.get_config(), hook.get_store()
    if store is None or config.store is None:
        return InMemoryLedger(None)
    from formant_provider.core.conversations.over import over
    from formant_provider.store.admission import Admission
    from formant_provider.store.intents import Asked
    from formant_provider.store.ledger import StoreLedger
    from formant_provider.store.pace import Pace

    account = store.digests.account(config.base_url, config.api_key)
    key, recipient = call.idempotency_key, call.recipient
    asked = Asked(key, call.agent_id, recipient, *PLACE, asked_by="check", account=account)
    limits = config.store.calls_per_minute, config.store.max_concurrent_calls
    ended = partial(over, client)
    pace = Pace(account, *limits, max_inline_wait_s=LOOKUP_TIMEOUT_S, has_waited=False, ended=ended)
    admission = Admission(CapOptions(None, "fail").in_force(hook), "fail")
    lease = timedelta(seconds=config.connect_timeout_s + config.read_timeout_s) + _MARGIN
    turn = None if limits == (None, None) else pace
    return StoreLedger(store, Intent, asked, admission, clock.now, clock.sleep, lease, pace=turn)
