"""What is done with one request: who may send, whether it is signed, and what is answered.

Nothing private is logged: the connection, the type of the event, its size, and what was answered.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from formant_provider.api.errors import FormantError, InvalidInput
from formant_provider.api.log_throttle import LogThrottle
from formant_provider.api.telemetry import (
    WEBHOOKS_KNOWN,
    WEBHOOKS_RECEIVED,
    WEBHOOKS_REFUSED,
    WEBHOOKS_STORED,
)
from formant_provider.api.webhook_models import WebhookEvent
from formant_provider.api.webhook_signature import Verdict, verdict
from formant_provider.hooks.telemetry.measuring import count
from formant_provider.store.webhook_events import Delivery
from formant_provider.webhooks.bodies import Bodies, BodyRefused, Limits
from formant_provider.webhooks.writer import Writer

if TYPE_CHECKING:
    from formant_provider.api.webhook_config import WebhookConfig
    from formant_provider.webhooks.connections import Connections

log = logging.getLogger(__name__)

_PLAIN_TYPE = re.compile(r"[a-z_.]{1,60}", re.ASCII)


@dataclass(frozen=True)
class Answer:
    """What is answered.

    :param body: becomes JSON; tells whoever has signed what is wrong, and nobody else anything.
    :param reason: the same for the log.
    """

    status: int
    body: dict[str, str]
    reason: str = ""


NOT_FOUND = Answer(404, {"error": "not found"})
_STORED, _KNOWN = Answer(200, {"status": "stored"}), Answer(200, {"status": "known"})


class Receiver:
    """Accepts webhooks of connections.

    :param on_stored: called when something new was stored.
    :param now: the clock, aware.
    """

    def __init__(
        self,
        connections: Connections,
        *,
        on_stored: Callable[[], None] = lambda: None,
        limits: Limits | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._connections = connections
        self._limits = limits or Limits()
        self._bodies = Bodies(self._limits)
        self._now = now
        self._writers = {
            conn_id: Writer(conn_id, partial(connections.store, conn_id), on_stored)
            for conn_id in connections.conn_ids
        }
        self._throttles: dict[tuple[str, str], LogThrottle] = {}
        # Of its own: Airflow's API server uses the event loop's for other things.
        self._pool = ThreadPoolExecutor(2, thread_name_prefix="formant-webhooks-connections")

    def close(self) -> None:
        """Store what was accepted, and end all threads."""
        for writer in self._writers.values():
            writer.close()
        self._pool.shutdown(wait=False)

    async def receive(
        self, conn_id: str, signatures: Sequence[str], length: str | None, chunks: Any
    ) -> Answer:
        """Read a webhook, store it, and return what to answer.

        :param conn_id: as in the path.
        :param signatures: the values of the header; more than one is as bad as none.
        :param length: the header ``Content-Length``.
        :param chunks: an async generator of the body's bytes.
        """
        if conn_id not in self._writers:
            return NOT_FOUND
        count(conn_id, WEBHOOKS_RECEIVED)
        try:
            async with self._bodies.read(length, chunks) as body:
                answer = await self._answer(conn_id, body, ", ".join(signatures) or None)
        except BodyRefused as refused:
            answer = Answer(refused.status, {"error": "body"}, refused.reason)
        if answer.status >= 400:
            count(conn_id, WEBHOOKS_REFUSED, status=answer.status)
            self._warn(conn_id, answer)
        else:
            count(conn_id, WEBHOOKS_STORED if answer is _STORED else WEBHOOKS_KNOWN)
        return answer

    async def _answer(self, conn_id: str, body: bytes, signature: str | None) -> Answer:
        try:
            async with asyncio.timeout(self._limits.store_s):
                return await self._accept(conn_id, body, signature)
        except TimeoutError:
            reason = f"it was not stored within {self._limits.store_s:g} seconds"
        except FormantError as error:
            reason = str(error)
        return Answer(503, {"error": "not stored"}, reason)

    async def _accept(self, conn_id: str, body: bytes, signature: str | None) -> Answer:
        config = await self._config(conn_id)
        found = verdict(body, signature, config.secrets)
        if found is Verdict.WRONG:  # unless the secret was exchanged a moment ago
            config = await self._config(conn_id, newest=True)
            found = verdict(body, signature, config.secrets)
        if found is not Verdict.VALID:
            return Answer(401, {"error": "signature"}, f"its signature is {found}")
        now = self._now()
        try:
            event = WebhookEvent.from_body(body)
            _check_time(event, now, config)
        except InvalidInput as error:
            return Answer(400, {"error": str(error)}, str(error))
        is_new = await asyncio.wrap_future(self._writers[conn_id].submit(Delivery(event, conn_id, body, now)))
        kind = event.event_type if _PLAIN_TYPE.fullmatch(event.event_type) else "of another type"
        answer = _STORED if is_new else _KNOWN
        log.info(
            "Webhook for connection %r: %s, %d bytes, %s.", conn_id, kind, len(body), answer.body["status"]
        )
        return answer

    async def _config(self, conn_id: str, *, newest: bool = False) -> WebhookConfig:
        known = self._connections.remembered(conn_id, newest=newest)
        if known is None:
            read = partial(self._connections.read, conn_id, newest=newest)
            known = await asyncio.get_running_loop().run_in_executor(self._pool, read)
        return known.usable()[0]

    def _warn(self, conn_id: str, answer: Answer) -> None:
        throttle = self._throttles.setdefault((conn_id, answer.reason), LogThrottle(first_after_s=0))
        if throttle.is_due():
            log.warning("Webhook for connection %r: answered %d: %s.", conn_id, answer.status, answer.reason)


def _check_time(event: WebhookEvent, now: datetime, config: WebhookConfig) -> None:
    """Refuse what was recorded and is sent again later; its id is known only for as long as it is kept."""
    off = now - event.sent_at
    if abs(off) > config.tolerance:
        which = "in the past" if off > config.tolerance else "in the future"
        raise InvalidInput("timestamp", f"is more than {config.tolerance.total_seconds():g} seconds {which}")
