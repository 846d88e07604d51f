"""The half of the operator that places its call: what Airflow knows of a task, and what the API needs."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args

import pendulum

from formant_provider.hooks.formant import FormantHook
from formant_provider.tasks.do_not_call import suppression
from formant_provider.tasks.options import one_of, redial_outcomes, seconds
from formant_provider.tasks.privacy import PrivateFields, mask_numbers, reveal
from formant_provider.tasks.run import TaskRun
from formant_provider.tasks.timing import TimingOptions
from formant_provider.tasks.waiting import GRACE

if TYPE_CHECKING:
    from airflow.sdk import Context

    from formant_provider.api.client import FormantClient
    from formant_provider.api.errors import FormantError
    from formant_provider.api.models import CallRequest
    from formant_provider.calling_window import CallingWindow
    from formant_provider.core.calls.placement import Placement, Rules
    from formant_provider.tasks.timing import When

OnUnconfirmed = Literal["succeed", "fail", "skip"]
# A server that keeps asking to wait is waited for no longer than its own keys last.
LONGEST_WAIT = timedelta(hours=24)


class PlacesACall(PrivateFields):
    """Mixed into an operator that has the fields of a call and the options of its placement."""

    private_fields: ClassVar[tuple[str, ...]] = ("parameters", "retry_context", "suppress")

    agent_id: Any
    parameters: Any
    scheduled_for: Any
    conversation_id: Any
    idempotency_key: Any
    metadata: Any
    retry_context: Any
    formant_conn_id: str
    region: str | None
    renumber: bool
    timing: TimingOptions
    calling_window: CallingWindow | None
    suppress: Any
    default_country: str | None
    deferrable: bool

    _stopped = False
    _give_up_at: datetime | None = None
    _doubt_since: datetime | None = None

    def set_placement_options(
        self,
        on_unconfirmed: OnUnconfirmed,
        lookup_timeout: float | timedelta,
        redial_on: Collection[str],
        max_inline_wait: float | timedelta,
    ) -> None:
        """Keep the options of the placement, which are documented at the operator.

        :raises ValueError: for what cannot be meant.
        """
        self.on_unconfirmed = one_of("on_unconfirmed", on_unconfirmed, get_args(OnUnconfirmed))
        self.lookup_timeout_s = seconds("lookup_timeout", lookup_timeout)
        self.redial_on = redial_outcomes(redial_on)
        self.max_inline_wait_s = seconds("max_inline_wait", max_inline_wait)

    def execute_after_limit(self, context: Context, event: Mapping[str, Any]) -> Any:
        """Go on after the API's rate limit: from what is written down, as every try does."""
        self._give_up_at = datetime.fromisoformat(event["give_up_at"])
        if event.get("doubt_since"):
            self._doubt_since = datetime.fromisoformat(event["doubt_since"])
        return self.execute(context)

    def on_kill(self) -> None:
        """Send nothing more. A call that was sent cannot be taken back: the vendor has no cancel."""
        self._stopped = True
        self.log.warning("Stopping: no further send. A call that was sent already cannot be taken back.")

    @property
    def hook(self) -> FormantHook:
        """What leads to the API; the connection is read when it is used."""
        return FormantHook(self.formant_conn_id, self.region)

    def build_call(self, context: Context) -> CallRequest:
        """Return the call that the rendered fields describe.

        :raises InvalidInput: with the name of the field at fault.
        """
        from formant_provider.core.calls.request import build_request
        from formant_provider.tasks.ledger import noting_nothing_sent

        run = self._run(context)
        with noting_nothing_sent(run):
            call = build_request(
                agent_id=self.agent_id,
                parameters=reveal(self.parameters),
                scheduled_for=self.scheduled_for,
                conversation_id=self.conversation_id,
                idempotency_key=self.idempotency_key,
                metadata=self.metadata,
                retry_context=reveal(self.retry_context),
                task=run.task_id,
                now=pendulum.now("UTC"),
                default_country=self.default_country,
                renumber=self.renumber,
            )
        mask_numbers(call.recipient)  # whose spelling may differ from the one that was masked
        return replace(call, idempotency_key=run.key_in_loop(call.idempotency_key))

    def place_call(self, call: CallRequest, context: Context) -> Placement:
        """Place the call, or find out that it was placed already; or defer until the API takes it.

        :raises FormantError: as :func:`~formant_provider.core.calls.placement.place` does.
        """
        from formant_provider.api.errors import RetryableError
        from formant_provider.tasks.ledger import noting_nothing_sent

        run = self._run(context)
        began = pendulum.now("UTC")
        try:
            with (
                noting_nothing_sent(run),
                self.ready_to_place(call, context) as (client, when),
            ):
                return self._place(call, client, context, when)
        except RetryableError as error:
            if error.maybe_placed:
                self._doubt_since = self._doubt_since or run.earliest_send(began)
            if self.deferrable and (error.retry_after_s or 0) > self.max_inline_wait_s:
                self._defer_to_limit(error)
            raise

    @contextmanager
    def ready_to_place(self, call: CallRequest, context: Context) -> Iterator[tuple[FormantClient, When]]:
        """Check what can be checked without asking the API; yield what leads there, and the timing.

        :raises InvalidInput: with the name of the field at fault.
        """
        from formant_provider.api.retry import RetryPolicy

        self._check_redial(context)
        when = self.timing.when(
            call.recipient,
            self.calling_window,
            suppression(
                call.recipient, self.suppress, given=self.given, default_country=self.default_country
            ),
            context,
        )
        with self.hook.get_conn(RetryPolicy(max_inline_wait_s=self.max_inline_wait_s)) as client:
            yield client, when

    def _place(self, call: CallRequest, client: FormantClient, context: Context, when: When) -> Placement:
        from formant_provider.core.calls.placement import place
        from formant_provider.tasks.ledger import ledger_for

        self._log_request(call, client.base_url)
        ledger = ledger_for(
            self._run(context),
            call.idempotency_key,
            former_key=call.former_key,
            doubt_since=self._doubt_since,
        )
        return place(call, client, ledger, self._rules(context, when))

    def _rules(self, context: Context, when: When) -> Rules:
        from formant_provider.core.calls.placement import Rules

        run = self._run(context)
        return Rules(
            taken_since=run.taken_since,
            look_since=run.look_since,
            own_traces=run.own_traces,
            was_cleared=run.was_cleared,
            lookup_timeout_s=self.lookup_timeout_s,
            now=lambda: pendulum.now("UTC"),
            sleep=time.sleep,
            redial_on=self.redial_on,
            keep_back=self._keep_back,
            when=when,
        )

    def _run(self, context: Context) -> TaskRun:
        return TaskRun(context, own_name=self.idempotency_key is not None)

    def _check_redial(self, context: Context) -> None:
        from formant_provider.api.errors import InvalidInput

        if self.redial_on and context.get("task_state_store") is None:
            raise InvalidInput("redial_on", "needs the task state store of Airflow 3.3 or later")

    def _keep_back(self) -> FormantError | None:
        from formant_provider.api.errors import SendAborted

        return SendAborted("The task was stopped before this send") if self._stopped else None

    def _defer_to_limit(self, error: FormantError) -> None:
        """Give the worker back until the API takes the call, unless we have waited long enough."""
        from formant_provider.triggers.wait import WaitTrigger

        now, wait = pendulum.now("UTC"), timedelta(seconds=error.retry_after_s or 0)
        give_up_at = self._give_up_at or now + LONGEST_WAIT
        if now + wait > give_up_at:
            return
        self.log.warning("%s. Going on at %s, without holding a worker.", error, now + wait)
        doubt_since = self._doubt_since.isoformat() if self._doubt_since else None
        self.defer(
            trigger=WaitTrigger((now + wait).isoformat(), give_up_at.isoformat(), doubt_since),
            method_name="execute_after_limit",
            timeout=wait + GRACE,
        )

    def _log_request(self, call: CallRequest, base_url: str) -> None:
        from formant_provider.core.validation import in_known_range

        if not in_known_range(call.recipient):
            self.log.warning("customer_phone lies in no range known to be in use. It is called all the same.")
        self.log.info(
            "Asking %s for a call by agent %s, %s, with idempotency key %s.",
            base_url,
            call.agent_id,
            f"wanted for {call.scheduled_for}" if call.scheduled_for else "wanted now",
            call.idempotency_key,
        )
