"""Waits for a batch call in the triggerer, where all who use one connection share one poll."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from formant_provider.hooks.formant import FormantHook
from formant_provider.triggers.shared import End, shared_poller, trouble_of

if TYPE_CHECKING:
    from formant_provider.core.batches.feed import BatchWaiter, BatchWatch
    from formant_provider.core.polling.async_poller import Poller


@dataclass(frozen=True)
class BatchEnd(End):
    """How the wait for a batch call ended.

    :param batch_id: of the batch call.
    :param total_recipients: as far as it is known.
    :param metrics: as last seen, by the vendor's names; ``None`` when they were never seen.
    :param is_over: whether it was over before the time was up.
    :param is_stalled: whether it is taken to be over since nothing has changed for long.
    """

    batch_id: int
    total_recipients: int | None = None
    metrics: dict[str, Any] | None = None
    is_over: bool = False
    is_stalled: bool = False

    @classmethod
    def of(cls, waiter: BatchWaiter, receipt: Mapping[str, Any]) -> BatchEnd:
        """Tell what a wait came to."""
        progress = waiter.progress
        return cls(
            batch_id=waiter.watch.batch_id,
            total_recipients=progress.total_recipients,
            metrics=asdict(progress.metrics) if progress.metrics else None,
            is_over=waiter.outcome is not None,
            is_stalled=progress.is_stalled,
            receipt=dict(receipt),
        )


class BatchTrigger(BaseTrigger):
    """Fire when a batch call is over, or when the time is up.

    May be started again anywhere: the deadline is a moment, and nothing else is remembered. The time for
    which nothing has changed is counted anew.

    :param formant_conn_id: connection of type ``formant``.
    :param region: ``None`` means the connection's.
    :param watch: which batch call is waited for, as
        :meth:`~formant_provider.core.batches.feed.BatchWatch.to_json` writes it.
    :param deadline: ISO 8601 text with an offset.
    :param receipt: handed back in the event: plain values, nothing private.
    """

    def __init__(
        self,
        formant_conn_id: str,
        region: str | None,
        watch: dict[str, Any],
        deadline: str,
        receipt: dict[str, Any],
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow's
        self.formant_conn_id = formant_conn_id
        self.region = region
        self.watch = watch
        self.deadline = deadline
        self.receipt = receipt

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return class path and arguments: ids, counts and moments."""
        names = ("formant_conn_id", "region", "watch", "deadline", "receipt")
        return f"{type(self).__module__}.{type(self).__name__}", {name: getattr(self, name) for name in names}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait. Whatever happens, the task goes on: a trigger that fails would use up none of its retries."""
        from formant_provider.core.batches.feed import BatchWatch

        batch_id = self.watch["batch_id"]
        self.log.info("Waiting until %s for batch call %s.", self.deadline, batch_id)
        try:
            watch, deadline = BatchWatch.from_json(self.watch), datetime.fromisoformat(self.deadline)
            waiter = await self._poller().wait(watch, deadline)
        except Exception as error:
            yield BatchEnd(batch_id, trouble=trouble_of(error), receipt=self.receipt).to_event()
        else:
            yield BatchEnd.of(waiter, self.receipt).to_event()

    async def on_kill(self) -> None:
        """Say that the batch call goes on (Airflow 3.3 and later asks on a user's action alone)."""
        self.log.warning(
            "No longer waiting for batch call %s. It goes on: the vendor has no cancel, so all its recipients"
            " are called.",
            self.watch["batch_id"],
        )

    def _poller(self) -> Poller[BatchWatch, BatchWaiter]:
        from formant_provider.core.batches.feed import BatchFeed
        from formant_provider.core.polling.async_poller import utc_now

        hook = FormantHook(self.formant_conn_id, self.region)
        return shared_poller(hook, "batch calls", lambda: BatchFeed(utc_now))
