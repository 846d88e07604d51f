"""Waits for a batch call that another task, DAG or system has placed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from datetime import datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

import pendulum
from airflow.providers.common.compat.sdk import (
    AirflowSensorTimeout,
    AirflowSkipException,
    BaseSensorOperator,
    PokeReturnValue,
)

from formant_provider.hooks.formant import FormantHook
from formant_provider.tasks.batches.waiting import (
    BatchOptions,
    OnBelowThreshold,
    OnStalled,
    batch_calls,
    batch_trigger_for,
    end_by_threshold,
    hand_on_batch,
)
from formant_provider.tasks.options import refuse_idle
from formant_provider.tasks.privacy import PrivateFields
from formant_provider.tasks.references import reference_or_none, to_reference
from formant_provider.tasks.results import a_result_in_any_case, no_outcome, of_row
from formant_provider.tasks.waiting import GRACE, SHORTEST_POLL_INTERVAL_S, Look, deferrable_or_default

if TYPE_CHECKING:
    from airflow.sdk import Context

    from formant_provider.core.batches.feed import BatchWaiter, BatchWatch
    from formant_provider.core.batches.progress import Sight
    from formant_provider.triggers.batch import BatchEnd

# What the last change was, for the next process of a sensor in mode "reschedule".
ENTRY_PREFIX = "formant_batch_look:"
# Since when it is not to be found.
MISSING_PREFIX = "formant_batch_missing:"


class FormantBatchCallSensor(PrivateFields, BaseSensorOperator):
    """Wait until a batch call is over, and hand its metrics downstream. Rings nobody.

    It is over when nobody is being talked to, nobody is to be called again, and all recipients are processed.
    Telephony failures may be in no count of the vendor's, so that the numbers never add up: then it is over
    when nothing has changed for ``stall_timeout``. If somebody is still to be called then, the task fails.

    Waits in all three ways of Airflow's sensors: ``mode="poke"``, ``mode="reschedule"`` and
    ``deferrable=True``, where all who use one connection share one poll. ``poke_interval`` is the time
    between two looks, ``timeout`` and ``soft_fail`` mean what they mean for every sensor. What may pass (429,
    5xx, lost connections) puts the next look off, by as much as the API asks, and fails nothing. A batch call
    that the API does not know is waited for as well, for ``missing_timeout``.

    XCom: ``return_value``, a dict of ``batch_id``, ``name``, ``total_recipients``, ``status`` (the vendor's
    word, which it does not document), ``metrics`` (by the vendor's names), ``stalled``, ``reason``,
    ``map_index`` and ``reference``. A wait that comes to nothing leaves a result as well, with a ``reason``
    such as ``timeout``.

    Vendor page: https://docs.formantai.com/platform/batch-calls

    :param batch_id: of the batch call: an integer, or a template that renders to digits. (templated)
    :param total_recipients: how many recipients it has. ``None`` asks the API. (templated)
    :param reference: your own name of the batch call: text or an integer, and never a phone number. It is in
        the result and goes nowhere else. ``None`` means none. (templated)
    :param formant_conn_id: connection of type ``formant``. (templated)
    :param region: ``"global"`` or ``"in"``; ``None`` means the connection's region. (templated)
    :param stall_timeout: it is over when nothing has changed for so long, in seconds or as a ``timedelta``.
        With ``mode="reschedule"`` this needs Airflow 3.3: before, nothing outlives a look.
    :param min_success_rate: percent of all recipients that must be a success, as the vendor counts, from 0
        to 100. ``None`` asks for none.
    :param on_below_threshold: how the task ends when fewer are, or when nobody knows: ``"fail"`` (without
        retries) or ``"succeed"``.
    :param on_stalled: how it ends when nothing has changed for ``stall_timeout`` though somebody is still to
        be called: ``"fail"`` (without retries) or ``"succeed"``.
    :param missing_timeout: how long the API may not know the batch call, in seconds or as a ``timedelta``;
        after that there is none, and the task fails.
    :param deferrable: whether to wait in the triggerer. ``None`` means Airflow's
        ``[operators] default_deferrable``.
    :raises ValueError: at parse time, for options that cannot be meant.
    """

    template_fields: Sequence[str] = (
        "batch_id",
        "total_recipients",
        "reference",
        "formant_conn_id",
        "region",
    )
    # A receipt has None when the API did not say; then it is asked again.
    may_be_missing = ("total_recipients",)
    ui_color = "#d9e6ef"

    def __init__(
        self,
        *,
        batch_id: int | str,
        total_recipients: int | str | None = None,
        reference: str | int | None = None,
        formant_conn_id: str = FormantHook.default_conn_name,
        region: str | None = None,
        stall_timeout: float | timedelta = 3600,
        min_success_rate: float | None = None,
        on_below_threshold: OnBelowThreshold = "fail",
        on_stalled: OnStalled = "fail",
        missing_timeout: float | timedelta = 300,
        deferrable: bool | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.batch_id = batch_id
        self.total_recipients = total_recipients
        self.reference = reference
        self.formant_conn_id = formant_conn_id
        self.region = region
        poll_interval = max(self.poke_interval, SHORTEST_POLL_INTERVAL_S)
        self.waiting = BatchOptions(
            poll_interval, stall_timeout, min_success_rate, on_below_threshold, on_stalled, missing_timeout
        )
        self.deferrable = deferrable_or_default(deferrable)
        refuse_idle(self.given, ["on_below_threshold"], "min_success_rate", met=min_success_rate is not None)
        self._look: Look | None = None
        self._waiter: BatchWaiter | None = None
        self._recalled: Sight | None = None

    @cached_property
    def hook(self) -> FormantHook:
        """What leads to the API; the connection is read when it is used."""
        return FormantHook(self.formant_conn_id, self.region)

    def execute(self, context: Context) -> Any:
        """Wait in the way that was chosen."""
        with self._leaving_a_result(context):
            return self._defer() if self.deferrable else super().execute(context)

    def _defer(self) -> Any:
        from formant_provider.tasks.failures import WAITING_FOR_A_BATCH_CALL, ending_the_task

        with ending_the_task(WAITING_FOR_A_BATCH_CALL, self.hook):
            watch = self._watch()
        deadline = pendulum.now("UTC") + timedelta(seconds=self.timeout)
        return self.defer(
            trigger=batch_trigger_for(self.hook, watch, deadline, {}),
            method_name="execute_complete",
            timeout=timedelta(seconds=self.timeout) + GRACE,
        )

    def poke(self, context: Context) -> PokeReturnValue | bool:
        """Look once."""
        from formant_provider.tasks.failures import WAITING_FOR_A_BATCH_CALL, ending_the_task
        from formant_provider.triggers.batch import BatchEnd

        with ending_the_task(WAITING_FOR_A_BATCH_CALL, self.hook):
            look, waiter = self._begin(context)
            look.once()
            if waiter.trouble:
                raise waiter.trouble
        if waiter.outcome is None:
            self._remember(waiter, context)
            return False
        return PokeReturnValue(is_done=True, xcom_value=self._conclude(BatchEnd.of(waiter, {}), context))

    def execute_complete(self, context: Context, event: Mapping[str, Any]) -> dict[str, Any]:
        """Go on after the wait in the triggerer."""
        from formant_provider.tasks.failures import WAITING_FOR_A_BATCH_CALL, ending_the_task
        from formant_provider.triggers.batch import BatchEnd

        end = BatchEnd.from_event(event)
        with self._leaving_a_result(context):
            with ending_the_task(WAITING_FOR_A_BATCH_CALL, self.hook):
                end.raise_trouble()
            if not end.is_over:
                text = f"The batch call {end.batch_id} was not over within {self.timeout:g} s"
                raise AirflowSkipException(text) if self.soft_fail else AirflowSensorTimeout(text)
            return self._conclude(end, context)

    def _leaving_a_result(self, context: Context) -> AbstractContextManager[None]:
        """Leave a result also when the wait comes to nothing."""

        def nothing() -> dict[str, Any]:
            return {"batch_id": self.batch_id, **of_row(context, reference_or_none(self.reference))}

        return a_result_in_any_case(context, nothing, no_outcome)

    def _conclude(self, end: BatchEnd, context: Context) -> dict[str, Any]:
        from formant_provider.tasks.failures import WAITING_FOR_A_BATCH_CALL, ending_the_task

        with ending_the_task(WAITING_FOR_A_BATCH_CALL, self.hook):
            result = hand_on_batch(self.hook, end)
        result |= of_row(context, reference_or_none(self.reference))
        end_by_threshold(self.waiting, result, context)
        return result

    def _watch(self) -> BatchWatch:
        """Check the rendered fields; return what is waited for."""
        from formant_provider.core.validation import to_whole_number

        self.refuse_missing()
        to_reference(self.reference)
        total = self.total_recipients
        return self.waiting.watch(
            to_whole_number("batch_id", self.batch_id),
            None if total is None else to_whole_number("total_recipients", total),
        )

    def _begin(self, context: Context) -> tuple[Look, BatchWaiter]:
        """Begin to wait, once in each process; a process that follows another goes on where that one was."""
        if self._look is None or self._waiter is None:
            feed = batch_calls()
            self._waiter, self._look = feed.join(self._watch()), Look(self.hook, feed)
            self._waiter.progress.changed = self._recalled = self._recall(self._waiter, context)
            self._waiter.missing_since = self._recall_missing(self._waiter, context)
        return self._look, self._waiter

    def _remember(self, waiter: BatchWaiter, context: Context) -> None:
        store, changed = self._store(context), waiter.progress.changed
        if store is not None and changed is not None and changed is not self._recalled:
            with suppress(Exception):  # then the time without a change is counted anew
                store.set(self._entry(waiter), changed.to_json())
        if store is not None and waiter.missing_since is not None:
            with suppress(Exception):
                store.set(self._missing_entry(waiter), waiter.missing_since.isoformat())

    def _recall(self, waiter: BatchWaiter, context: Context) -> Sight | None:
        from formant_provider.core.batches.progress import Sight

        store = self._store(context)
        with suppress(Exception):
            return Sight.from_json(store.get(self._entry(waiter), default=None)) if store else None
        return None

    def _recall_missing(self, waiter: BatchWaiter, context: Context) -> datetime | None:
        """Return since when it is missing, unless it was seen after that."""
        store, seen = self._store(context), waiter.progress.changed
        with suppress(Exception):
            since = datetime.fromisoformat(store.get(self._missing_entry(waiter), default=None))
            return since if seen is None or seen.seen_at < since else None
        return None

    def _store(self, context: Context) -> Any:
        return context.get("task_state_store") if self.mode == "reschedule" else None

    @staticmethod
    def _entry(waiter: BatchWaiter) -> str:
        return f"{ENTRY_PREFIX}{waiter.watch.batch_id}"

    @staticmethod
    def _missing_entry(waiter: BatchWaiter) -> str:
        return f"{MISSING_PREFIX}{waiter.watch.batch_id}"

    def _get_next_poke_interval(self, *args: Any, **kwargs: Any) -> float:
        """Put the next look off for as long as the API asks."""
        asked_s = self._look.wait_s if self._look else 0.0
        interval_s: float = super()._get_next_poke_interval(*args, **kwargs)
        return max(interval_s, asked_s)
