"""How tasks that only read end on an error, and how long they bear with the API.

A read can be repeated at any time, so it may wait long; it places no call and its errors speak of none.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from formant_provider.api.errors import (
    AuthenticationFailed,
    FormantError,
    InvalidInput,
    NotFound,
    RequestRefused,
)
from formant_provider.api.retry import RetryPolicy
from formant_provider.tasks.failures import ending_the_task

# A nightly job rather waits for the rate limit than fails: an hour for one request, if the API names times.
PATIENT = RetryPolicy(max_attempts=8, max_inline_wait_s=3600.0, max_total_wait_s=3600.0)
# What a wait has ended with is read once more. Many tasks may go on at once, and the rate limit let them
# through one by one; but a task that can do without waits for some minutes alone.
LAST_READ = RetryPolicy(max_attempts=8, max_inline_wait_s=300.0, max_total_wait_s=300.0)
_ADVICE: tuple[tuple[type[FormantError], str], ...] = (
    (InvalidInput, "Correct the field named above."),
    (AuthenticationFailed, "Check the API key and the region of the connection."),
    (NotFound, "Check that it exists in this region and belongs to this API key's account."),
    (RequestRefused, "A retry would be refused again; what the API said tells what to correct."),
    (FormantError, "No file was left half written. A retry of this task reads again from the start."),
)


@contextmanager
def reading() -> Iterator[None]:
    """Let errors of reading end the task as they should.

    :raises AirflowFailException: for what a retry cannot mend.
    """
    with ending_the_task(_explain):
        yield


def _explain(error: FormantError) -> str:
    return f"{error}. {next(advice for kind, advice in _ADVICE if isinstance(error, kind))}"
