"""A ready-made retry policy for tasks that place calls (Airflow 3.3 and later)."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

try:
    from airflow.providers.common.compat.sdk import RetryDecision, RetryPolicy
except ImportError as error:
    raise ImportError(
        "formant_provider.retries needs Airflow 3.3 or later. Before, tasks take no retry_policy: leave it"
        " out; what a retry cannot mend fails at once all the same"
    ) from error

from formant_provider.api.errors import FormantError

if TYPE_CHECKING:
    from airflow.sdk import Context


class FormantRetryPolicy(RetryPolicy):
    """Retry when the API said it would take the call, and fail at once on what cannot get better.

    The wait the API asks for is capped at an hour. Without a word from the API the task's own
    ``retry_delay`` applies. How often is decided by the task's ``retries``.
    """

    def evaluate(
        self,
        exception: BaseException,
        try_number: int,  # noqa: ARG002 - Airflow's signature
        max_tries: int,  # noqa: ARG002
        context: Context | None = None,  # noqa: ARG002
    ) -> RetryDecision:
        """Decide for one failure; Airflow calls this in the worker."""
        if not isinstance(exception, FormantError):
            return RetryDecision.default()
        if exception.is_final:
            return RetryDecision.fail(reason=str(exception))
        if exception.retry_after_s is None:
            return RetryDecision.default()
        delay = timedelta(seconds=exception.retry_after_s)
        return RetryDecision.retry(delay, reason=f"the API asked to wait {exception.retry_after_s:.0f} s")


FORMANT_RETRY_POLICY = FormantRetryPolicy()
