"""How patient tasks that only read are with the API.

A read can be repeated at any time, so it may wait long; it places no call and its errors speak of none.
"""

from __future__ import annotations

from formant_provider.api.retry import RetryPolicy

# A nightly job rather waits for the rate limit than fails: an hour for one request, if the API names times.
PATIENT = RetryPolicy(max_attempts=8, max_inline_wait_s=3600.0, max_total_wait_s=3600.0)
# What a wait has ended with is read once more. Many tasks may continue at once, and the rate limit let them
# through one by one; but a task that can do without waits for some minutes alone.
LAST_READ = RetryPolicy(max_attempts=8, max_inline_wait_s=300.0, max_total_wait_s=300.0)
