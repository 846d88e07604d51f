"""Waits for a batch call and ends a task as it went: what the operator and the sensor share."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal, get_args

from airflow.providers.common.compat.sdk import AirflowFailException

from formant_provider.tasks.call_store import record_in_store
from formant_provider.tasks.options import one_of, percent, seconds
from formant_provider.tasks.results import push_result, storable
from formant_provider.tasks.waiting import now

if TYPE_CHECKING:
    from airflow.sdk import Context

    from formant_provider.core.batches.feed import BatchWatch
    from formant_provider.hooks.formant import FormantHook
    from formant_provider.store.store import Store
    from formant_provider.triggers.batch import BatchEnd, BatchTrigger

log = logging.getLogger(__name__)

OnBelowThreshold = Literal["fail", "succeed"]
OnStalled = Literal["fail", "succeed"]


@dataclass(frozen=True)
class BatchOptions:
    """What a user chose of the wait for a batch call, checked when the DAG file is parsed.

    :param poll_interval: between two looks, in seconds or as a ``timedelta``.
    :param stall_timeout: it is over when nothing has changed for so long, in seconds or as a ``timedelta``.
    :param min_success_rate: percent of all recipients; ``None`` asks for none.
    :param on_below_threshold: how the task ends when fewer were a success.
    :param on_stalled: how it ends when nothing has changed for ``stall_timeout`` though somebody is still to
        be called.
    :param missing_timeout: how long a batch call may be unknown to the API, in seconds or as a ``timedelta``.
    :raises ValueError: for an invalid option.
    """

    poll_interval: float | timedelta
    stall_timeout: float | timedelta
    min_success_rate: float | None
    on_below_threshold: OnBelowThreshold
    on_stalled: OnStalled = "fail"
    missing_timeout: float | timedelta = 300

    def __post_init__(self) -> None:
        one_of("on_stalled", self.on_stalled, get_args(OnStalled))
        seconds("missing_timeout", self.missing_timeout)
        one_of("on_below_threshold", self.on_below_threshold, get_args(OnBelowThreshold))
        for name in ("poll_interval", "stall_timeout"):
            if seconds(name, getattr(self, name)) <= 0:
                raise ValueError(f"{name} must be above 0; not {getattr(self, name)!r}")
        percent("min_success_rate", self.min_success_rate)

    def watch(self, batch_id: int, total_recipients: int | None) -> BatchWatch:
        """Return what is waited for; where the total is not known the API is asked."""
        from formant_provider.core.batches.feed import BatchWatch

        stall_timeout_s = seconds("stall_timeout", self.stall_timeout)
        poll_interval_s = seconds("poll_interval", self.poll_interval)
        missing_timeout_s = seconds("missing_timeout", self.missing_timeout)
        return BatchWatch(batch_id, total_recipients, stall_timeout_s, poll_interval_s, missing_timeout_s)


def batch_trigger_for(
    hook: FormantHook, watch: BatchWatch, deadline: datetime, receipt: dict[str, Any]
) -> BatchTrigger:
    """Return the trigger for a batch call; its receipt holds plain values and nothing private."""
    from formant_provider.triggers.batch import BatchTrigger

    return BatchTrigger(
        formant_conn_id=hook.formant_conn_id,
        region=hook.region,
        watch=watch.to_json(),
        deadline=deadline.isoformat(),
        receipt=receipt,
    )


def batch_result(hook: FormantHook, end: BatchEnd) -> dict[str, Any]:
    """Return the result of a task that has waited for a batch call.

    :return: the receipt, and ``batch_id``, ``name``, ``total_recipients``, ``status`` (the vendor's word,
        which it does not document), ``metrics`` and ``stalled``.
    """
    from formant_provider.api.errors import FormantError
    from formant_provider.api.retry import LAST_READ

    _log_end(end)
    name = status = agent_id = None
    try:
        with hook.get_conn(LAST_READ) as client:
            batch = client.get_batch_call(end.batch_id)
        name, status, agent_id = batch.name, batch.status, batch.agent_id
    except Exception as error:  # what matters is known already
        what = str(error) if isinstance(error, FormantError) else type(error).__name__
        log.warning("%s. Continuing without name and status of batch call %s.", what, end.batch_id)
    result = {
        **end.receipt,
        "batch_id": end.batch_id,
        "name": name or end.receipt.get("name"),
        "total_recipients": end.total_recipients,
        "status": status,
        "metrics": end.metrics,
        "stalled": end.is_stalled,
    }
    if end.is_over:
        _record(hook, result, end.receipt.get("agent_id") or agent_id)
    return {name: storable(value) for name, value in result.items()}


def _record(hook: FormantHook, result: Mapping[str, Any], agent_id: int | None) -> None:
    """Let the call store know how the batch call ended: by the vendor's word, unless it stands still."""
    outcome = "stalled" if stands_still(result) else str(result["status"] or "over")

    def write(store: Store) -> None:
        from formant_provider.store.outcomes import record_batch_outcome

        record_batch_outcome(
            store, batch_id=result["batch_id"], agent_id=agent_id, outcome=outcome, now=now()
        )

    record_in_store(hook, write)


def _log_end(end: BatchEnd) -> None:
    from formant_provider.api.batch_models import BatchMetrics
    from formant_provider.core.batches.progress import has_people_left, in_words

    metrics = BatchMetrics.from_json(end.metrics) if end.metrics else None
    is_over = "is over" if end.is_over else "is not over"
    log.info("Batch call %s %s: %s.", end.batch_id, is_over, in_words(metrics, end.total_recipients))
    if end.is_stalled and not (metrics and has_people_left(metrics)):
        log.warning(
            "In it nothing has changed for as long as stall_timeout says, so it is taken to be over. The"
            " vendor counts no telephony failures, so its numbers may never add up."
        )


def end_by_threshold(options: BatchOptions, result: dict[str, Any], context: Context) -> None:
    """End a task as its user wants it to end when it stalled, or when too few recipients were a success.

    :param result: from :func:`batch_result`; it goes to XCom in any case.
    :raises AirflowFailException: somebody is still to be called, or the threshold was missed, or nobody
        knows; a retry would place no further call.
    """
    from formant_provider.api.batch_models import BatchMetrics
    from formant_provider.core.batches.progress import success_rate

    _end_stalled(options, result, context)
    if options.min_success_rate is None:
        return
    rate = success_rate(BatchMetrics.from_json(result["metrics"] or {}), result["total_recipients"])
    if rate is not None and rate >= options.min_success_rate:
        log.info("%.1f %% of the recipients were a success.", rate)
        return
    known = "unknown" if rate is None else f"{rate:.1f} %"
    expected = f"{options.min_success_rate:g} %"
    text = f"The success rate of batch call {result['batch_id']} is {known}, and {expected} were asked for"
    _end(options.on_below_threshold, text, "A retry would place no further call.", result, context)


def _end(choice: str, text: str, advice: str, result: dict[str, Any], context: Context) -> None:
    """End a task as its user chose; its result goes to XCom in any case."""
    if choice == "succeed":
        log.warning("%s.", text)
        return
    push_result(context, result)
    raise AirflowFailException(f"{text}. {advice}")


def stands_still(result: Mapping[str, Any]) -> bool:
    """Whether nothing has changed for ``stall_timeout`` though somebody is still to be called."""
    from formant_provider.api.batch_models import BatchMetrics
    from formant_provider.core.batches.progress import has_people_left

    return bool(result["stalled"]) and has_people_left(BatchMetrics.from_json(result["metrics"] or {}))


def _end_stalled(options: BatchOptions, result: dict[str, Any], context: Context) -> None:
    """End a task whose batch call stands still though somebody is still to be called."""
    from formant_provider.api.batch_models import BatchMetrics
    from formant_provider.core.batches.progress import in_words

    if not stands_still(result):
        return
    metrics = BatchMetrics.from_json(result["metrics"] or {})
    text = (
        f"Batch call {result['batch_id']} is not over, and nothing has changed in it for as long as"
        f" stall_timeout says: {in_words(metrics, result['total_recipients'])}. It may continue, such as when"
        " the hours for calling begin"
    )
    advice = (
        "This task places no further call. Clear it to wait longer, with a longer stall_timeout if there are"
        " such hours."
    )
    _end(options.on_stalled, text, advice, result, context)
