"""Serves all who wait for transcription jobs with one poll: each job is read once, whoever waits.

Vendor page: https://docs.formantai.com/api-reference/transcription
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from formant_provider.api.transcription_models import COMPLETED, FAILURES, TranscriptionJob
from formant_provider.core.flows import Flow
from formant_provider.core.polling.by_id import DEFAULT_MISSING_TIMEOUT_S, ByIdFeed, ByIdWaiter
from formant_provider.core.polling.waits import DEFAULT_POLL_INTERVAL_S, Now

log = logging.getLogger(__name__)

PENDING = "pending"


@dataclass(frozen=True, slots=True)
class TranscriptionWatch:
    """Which job is waited for. Nothing private.

    :param failure_statuses: what ends the wait besides ``completed``.
    :param poll_interval_s: seconds between two looks, if the API's limits allow it.
    :param missing_timeout_s: seconds after which one that the API does not know is taken not to exist.
    """

    job_id: str
    failure_statuses: tuple[str, ...] = FAILURES
    poll_interval_s: float = DEFAULT_POLL_INTERVAL_S
    missing_timeout_s: float = DEFAULT_MISSING_TIMEOUT_S

    def to_json(self) -> dict[str, Any]:
        """Return what :meth:`from_json` makes the same watch of: plain values."""
        return {**asdict(self), "failure_statuses": list(self.failure_statuses)}

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> TranscriptionWatch:
        """Read what :meth:`to_json` wrote."""
        return cls(**{**fields, "failure_statuses": tuple(fields["failure_statuses"])})


@dataclass(eq=False, slots=True)
class TranscriptionWaiter(ByIdWaiter):
    """Somebody who waits for a job.

    Its outcome is the status that ended the wait; the text is read by the task itself, and stays out of
    events. A status that is not known ends no wait.

    :ivar status: as last seen.
    """

    watch: TranscriptionWatch
    status: str | None = None

    @property
    def watched_id(self) -> str:
        """The id of the job."""
        return self.watch.job_id

    @property
    def subject(self) -> str:
        """The job."""
        return f"transcription job {self.watch.job_id}"

    def see(self, job: TranscriptionJob) -> None:
        """Take in what a look brought; the wait may end with it."""
        self.missing_since = None
        if job.status != self.status:
            known = {COMPLETED, PENDING, *self.watch.failure_statuses}
            aside = "" if job.status in known else ", which is not a known end; waiting continues"
            self.tell(log.info, "The status of %s is %r%s.", self.subject, job.status, aside)
        self.status = job.status
        if job.status == COMPLETED or job.status in self.watch.failure_statuses:
            self.end(job.status)


class TranscriptionFeed(ByIdFeed[TranscriptionWaiter]):
    """All who wait for transcription jobs of one account."""

    def __init__(self, now: Now) -> None:
        super().__init__(TranscriptionWaiter, now)

    def look_at(self, watched_id: str) -> Flow[None]:
        """Read one job."""
        job: TranscriptionJob | None = yield from self.if_there(
            watched_id, lambda client: client.get_transcription_job(watched_id)
        )
        for waiter in self.waiting()[watched_id]:
            waiter.looks += 1
            if job is not None:
                waiter.see(job)
