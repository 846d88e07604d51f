"""When an idempotency key counts as used, and the 409 that a request with a used key gets.

- An accepted POST /v1/call uses its key for 24 hours of virtual time. Keys count per API key and agent.
- Until then each further call with that key is answered 409 ``duplicate_request``, whatever else it says.
  Nothing rings, the error names no id of the first call, and the 24 hours do not start again.
- A 400, 401, 404 or 409 does not use the key, and neither does a request that a fault dropped or held before
  it was accepted.
- After a 429, or a 500 or 503 fault before acceptance, the vendor's pages leave it open. By default the key
  stays free; with ``Settings.failed_request_uses_key`` it is used, if the request was valid.
- Calls without a key are never duplicates, and batch calls have no key.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime, timedelta

from formant_provider.sandbox.faults import Fault
from formant_provider.sandbox.request_schemas import CreateCall, read_call
from formant_provider.sandbox.responses import ApiError

KEY_LIFETIME = timedelta(hours=24)

FAILING_FAULTS = {
    Fault.ERROR_500_BEFORE,
    Fault.ERROR_503_BEFORE,
    Fault.RATE_LIMIT,
    Fault.RATE_LIMIT_RESET_ONLY,
    Fault.RATE_LIMIT_NO_HEADERS,
    Fault.CONCURRENCY_LIMIT,
}
"""Faults that answer 429, 500 or 503 before the request is accepted."""


class IdempotencyKeys:
    """The keys that were used.

    :param failures_use_keys: whether a valid request that failed has used its key.
    """

    def __init__(self, *, failures_use_keys: bool) -> None:
        self._failures_use_keys = failures_use_keys
        self._used_at: dict[tuple[str, int, str], datetime] = {}

    def refuse_used(self, tenant: str, call: CreateCall, now: datetime) -> None:
        """Do nothing if the key of a call is free, or if it has none.

        :raises ApiError: 409, the key is used.
        """
        if self._used(tenant, call, now):
            raise ApiError(409, "duplicate_request", "idempotency key already used")

    def use(self, tenant: str, call: CreateCall, now: datetime) -> None:
        """Mark the key of a call as used. A key that is used already keeps its time."""
        if call.idempotency_key is not None and not self._used(tenant, call, now):
            self._used_at[tenant, call.agent_id, call.idempotency_key] = now

    def use_after_failure(self, tenant: str, content_type: str, body: bytes, now: datetime) -> None:
        """Mark the key of a POST /v1/call that was answered 429, 500 or 503, if failures use keys here."""
        if self._failures_use_keys:
            # A request that would have been a 400 has not used its key.
            with suppress(ApiError):
                self.use(tenant, read_call(content_type, body, now), now)

    def _used(self, tenant: str, call: CreateCall, now: datetime) -> bool:
        if call.idempotency_key is None:
            return False
        used_at = self._used_at.get((tenant, call.agent_id, call.idempotency_key))
        return used_at is not None and now - used_at < KEY_LIFETIME
