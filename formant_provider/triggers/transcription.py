"""Waits for a transcription job in the triggerer, where all who use one connection share one poll."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from formant_provider.triggers.shared import WaitingTrigger, WaitResult

if TYPE_CHECKING:
    from formant_provider.core.polling.waits import Now
    from formant_provider.core.transcriptions.feed import (
        TranscriptionFeed,
        TranscriptionWaiter,
        TranscriptionWatch,
    )


@dataclass(frozen=True)
class TranscriptionEnd(WaitResult):
    """How the wait for a transcription job ended.

    :param job_id: of the job.
    :param status: as last seen; ``None`` when it was never seen.
    :param is_over: whether it was over before the time was up.
    """

    job_id: str
    status: str | None = None
    is_over: bool = False

    @classmethod
    def of(cls, waiter: TranscriptionWaiter, receipt: Mapping[str, Any]) -> TranscriptionEnd:
        """Return what a wait came to."""
        return cls(
            job_id=waiter.watch.job_id,
            status=waiter.status,
            is_over=waiter.outcome is not None,
            receipt=dict(receipt),
        )


class TranscriptionTrigger(WaitingTrigger):
    """Fire when a transcription job is over, or when the time is up.

    :param formant_conn_id: connection of type ``formant``.
    :param region: ``None`` means the connection's.
    :param watch: which job is waited for, as
        :meth:`~formant_provider.core.transcriptions.feed.TranscriptionWatch.to_json` writes it.
    :param deadline: ISO 8601 text with an offset.
    :param receipt: returned in the event: plain values, nothing private.
    """

    result = TranscriptionEnd
    continues = "The transcription job goes on: the vendor has no cancel."

    @property
    def subject(self) -> str:
        """The job."""
        return f"transcription job {self.watch['job_id']}"

    def feed(self, now: Now) -> TranscriptionFeed:
        """Share one poll with all who use this connection."""
        from formant_provider.core.transcriptions.feed import TranscriptionFeed

        return TranscriptionFeed(now)

    def watched(self) -> TranscriptionWatch:
        """Return which job is waited for."""
        from formant_provider.core.transcriptions.feed import TranscriptionWatch

        return TranscriptionWatch.from_json(self.watch)

    def failed(self, error: tuple[str, str]) -> TranscriptionEnd:
        """Return what is known of the job after an error."""
        return TranscriptionEnd(self.watch["job_id"], error=error, receipt=self.receipt)
