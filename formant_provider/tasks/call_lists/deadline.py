"""Until when a call list may place calls. Once that is past, it stays so for retries, until a clear."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import pendulum

from formant_provider.tasks.ledger import keep, kept
from formant_provider.tasks.run import TaskRun

EXPIRED_ENTRY = "formant_call_list_expired"


@dataclass
class Deadline:
    """Until when one try of a list may place calls.

    :param until: aware.
    """

    run: TaskRun
    until: datetime
    _is_kept: bool | None = field(default=None, init=False)

    @classmethod
    def of(cls, run: TaskRun, known: datetime | None, timeout_s: float) -> Deadline:
        """Return the deadline of a wake.

        :param known: that of the try, aware; ``None`` in its first wake.
        :raises SendAborted: Airflow does not tell whether the time was up in an earlier try.
        """
        return cls(run, known or _expired_before(run) or pendulum.now("UTC") + timedelta(seconds=timeout_s))

    def is_over(self) -> bool:
        """Tell whether nothing may be placed any more, and let a retry know once it is so."""
        is_over = pendulum.now("UTC") >= self.until
        if is_over and self._is_kept is None:
            self._is_kept = self._keep()
        return is_over

    @property
    def is_known_to_a_retry(self) -> bool:
        """Whether a retry calls nobody: the time is not up, or that it is was written down."""
        return self._is_kept is not False

    def _keep(self) -> bool:
        with suppress(Exception):  # whatever Airflow answers, nobody is called
            told = {"until": self.until.isoformat(), "max_tries": self.run.max_tries}
            keep(self.run.store, EXPIRED_ENTRY, told)
            return True
        return False


def _expired_before(run: TaskRun) -> datetime | None:
    """Return the deadline of an earlier try that had come to it, if the task was not cleared since."""
    if run.store is None or run.try_number == 1:
        return None
    told = kept(run, EXPIRED_ENTRY)
    is_retry = isinstance(told, dict) and told.get("max_tries") == run.max_tries
    return datetime.fromisoformat(told["until"]) if is_retry else None
