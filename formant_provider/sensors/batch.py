"""Waits for a batch call that another task, DAG or system has placed."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from formant_provider.hooks.formant import FormantHook
from formant_provider.tasks.batches.waiting import (
    BatchOptions,
    OnBelowThreshold,
    OnStalled,
    batch_result,
    batch_trigger_for,
    end_by_threshold,
)
from formant_provider.tasks.options import refuse_idle
from formant_provider.tasks.references import to_reference
from formant_provider.tasks.sensing import WaitingSensor
from formant_provider.tasks.telling import tell
from formant_provider.tasks.waiting import SHORTEST_POLL_INTERVAL_S, deferrable_or_default

if TYPE_CHECKING:
    from airflow.sdk import Context

    from formant_provider.core.batches.feed import BatchWaiter
    from formant_provider.tasks.failures import Activity
    from formant_provider.triggers.batch import BatchEnd, BatchTrigger

# What the last look saw, for the next process of a sensor in mode "reschedule".
ENTRY_PREFIX = "formant_batch_look:"


class FormantBatchCallSensor(WaitingSensor):
    """Wait until a batch call is over, and return its metrics. Places no call.

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
        the result, and is not sent. ``None`` means none. (templated)
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
    :raises ValueError: at parse time, an option is invalid.
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
        self._noted: dict[str, Any] | None = None

    def kind(self) -> tuple[Activity, type[BatchEnd]]:
        """Wait for a batch call."""
        from formant_provider.tasks.failures import WAITING_FOR_A_BATCH_CALL
        from formant_provider.triggers.batch import BatchEnd

        return WAITING_FOR_A_BATCH_CALL, BatchEnd

    def trigger(self, context: Context, deadline: datetime) -> BatchTrigger:  # noqa: ARG002
        """Return the trigger that waits for the batch call."""
        from formant_provider.core.validation import to_whole_number

        self.refuse_missing()
        to_reference(self.reference)
        total = self.total_recipients
        watch = self.waiting.watch(
            to_whole_number("batch_id", self.batch_id),
            None if total is None else to_whole_number("total_recipients", total),
        )
        return batch_trigger_for(self.hook, watch, deadline, {})

    def without_outcome(self, context: Context) -> dict[str, Any]:
        """Return its id and those of the row."""
        return {"batch_id": self.batch_id, **self.of_this_row(context)}

    def conclude(self, end: BatchEnd, context: Context) -> dict[str, Any]:
        """End the task by the success rate."""
        with self.waiting_for_it():
            result = batch_result(self.hook, end)
        result |= self.of_this_row(context)
        tell(context, result)
        end_by_threshold(self.waiting, result, context)
        return result

    def recall(self, waiter: BatchWaiter, context: Context) -> None:
        """Continue from when it last changed, or since when it is missing."""
        from formant_provider.core.batches.progress import MetricsSnapshot

        store = self._store(context)
        with suppress(Exception):  # then the time without a change is counted from zero
            noted = store.get(self._entry(waiter), default=None) if store else None
            if noted and noted["changed"]:
                waiter.progress.changed = MetricsSnapshot.from_json(noted["changed"])
            if noted and noted["missing_since"]:
                waiter.missing_since = datetime.fromisoformat(noted["missing_since"])
            self._noted = noted

    def remember(self, waiter: BatchWaiter, context: Context) -> None:
        """Write down when it last changed, or since when it is missing."""
        store, changed, since = self._store(context), waiter.progress.changed, waiter.missing_since
        noted = {
            "changed": changed.to_json() if changed else None,
            "missing_since": since.isoformat() if since else None,
        }
        if store is not None and any(noted.values()) and noted != self._noted:
            with suppress(Exception):
                store.set(self._entry(waiter), noted)

    def _store(self, context: Context) -> Any:
        return context.get("task_state_store") if self.mode == "reschedule" else None

    @staticmethod
    def _entry(waiter: BatchWaiter) -> str:
        return f"{ENTRY_PREFIX}{waiter.watch.batch_id}"
