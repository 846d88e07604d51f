"""What the receiver knows of its connections: read when needed, and remembered for a minute."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from formant_provider.api.errors import FormantError, InvalidInput
from formant_provider.hooks.formant import FormantHook
from formant_provider.webhooks.asking import Questions

if TYPE_CHECKING:
    from formant_provider.api.store_config import StoreConfig
    from formant_provider.api.webhook_config import WebhookConfig
    from formant_provider.store.store import Store

log = logging.getLogger(__name__)

REMEMBERED_FOR_S = 60.0
# Whoever sends what is not signed must not make us read a connection each time.
LEAST_PAUSE_S = 5.0
# Airflow says that a connection does not exist also while its own database is down. Webhooks are received
# meanwhile, as they are for so long after somebody has deleted a connection.
RELIED_ON_FOR_S = 3600.0
# It may also hang. So long an event waits for it, while there is something to rely on, and otherwise.
PATIENCE_S = 2.0
LONGEST_S = 30.0


@dataclass(frozen=True)
class Known:
    """What a connection says, or why that cannot be used.

    :param read_at: when Airflow was last asked, by the clock of :class:`Connections`.
    :param confirmed_at: when it last had an answer.
    """

    read_at: float
    confirmed_at: float
    webhooks: WebhookConfig | None = None
    store: StoreConfig | None = None
    problem: FormantError | None = None

    def usable(self) -> tuple[WebhookConfig, StoreConfig]:
        """Return what is needed to accept a webhook.

        :raises FormantError: the connection cannot be used, or has no secret.
        """
        if self.webhooks is None or self.store is None:
            raise self.problem or InvalidInput("webhook_secret", "is empty, so no webhook is accepted")
        return self.webhooks, self.store


class _Opened(NamedTuple):
    """An open store; the times are those of :class:`Known`."""

    read_at: float
    confirmed_at: float
    config: StoreConfig
    store: Store


class Connections:
    """The connections that webhooks are received for. All methods may be called in any thread.

    :param conn_ids: ids of formant connections; there are no others for whoever sends.
    :param clock: tells seconds, from any moment on.
    """

    def __init__(self, conn_ids: Sequence[str], clock: Callable[[], float] = time.monotonic) -> None:
        self.conn_ids = tuple(dict.fromkeys(conn_ids))
        self._clock = clock
        self._questions = Questions()
        self._known: dict[str, Known] = {}
        self._stores: dict[str, _Opened] = {}
        self._opening: dict[str, threading.Lock] = {}

    def remembered(self, conn_id: str, *, newest: bool = False) -> Known | None:
        """Return what is known of a connection, without reading it; ``None`` when it is to be read.

        :param newest: whether it may have been changed a moment ago.
        """
        known = self._known.get(conn_id)
        if known is None:
            return None
        lasts = LEAST_PAUSE_S if newest or known.problem or known.webhooks is None else REMEMBERED_FOR_S
        return known if self._clock() - known.read_at < lasts else None

    def read(self, conn_id: str, *, newest: bool = False) -> Known:
        """Return what is known of a connection, and read it if need be. It blocks, for a moment if it can.

        :param newest: as for :meth:`remembered`.
        """
        known = self.remembered(conn_id, newest=newest)
        if known is not None:
            return known
        before = self._relied_on(conn_id)
        read = partial(self._read, conn_id, newest)
        try:
            asked: Known = self._questions.ask(conn_id, read, PATIENCE_S if before else LONGEST_S)
        except TimeoutError:
            reason = InvalidInput(
                "conn_id", f"connection {conn_id!r} cannot be read: Airflow does not answer"
            )
            return before or Known(0, 0, problem=reason)
        return asked

    def _relied_on(self, conn_id: str) -> Known | None:
        """Return what may be used although it can now not be read."""
        known = self._known.get(conn_id)
        if known is None or known.problem or self._clock() - known.confirmed_at > RELIED_ON_FOR_S:
            return None
        return known

    def store(self, conn_id: str) -> Store:
        """Return the open call store of a connection. It blocks, for a moment if it can.

        :raises FormantError: the connection cannot be used, or its store does not answer.
        """
        _, config = self.read(conn_id).usable()
        known, now = self._stores.get(conn_id), self._clock()
        if known is not None and known.config != config:
            known = None
        if known is not None and now - known.read_at < REMEMBERED_FOR_S:
            return known.store
        before = known if known and now - known.confirmed_at <= RELIED_ON_FOR_S else None
        opened = partial(self._open, conn_id, config)
        try:
            asked: _Opened = self._questions.ask(
                (conn_id, config), opened, PATIENCE_S if before else LONGEST_S
            )
        except TimeoutError:
            if before is None:
                reason = f"connection {config.conn_id!r} cannot be opened: no answer came"
                raise InvalidInput("store_conn_id", reason) from None
            return before.store
        return asked.store

    def _open(self, conn_id: str, config: StoreConfig) -> _Opened:
        """Open a store, and remember it."""
        from formant_provider.store.opening import NoStoreConnection, open_store

        before = self._stores.get(conn_id)
        try:
            # Of several connections that name one store, one opens it.
            with self._opening.setdefault(config.conn_id, threading.Lock()):
                store = open_store(config)
            now = self._clock()
            opened = _Opened(now, now, config, store)
        except NoStoreConnection:
            now = self._clock()
            if before is None or before.config != config or now - before.confirmed_at > RELIED_ON_FOR_S:
                raise
            opened = before._replace(read_at=now)
        self._stores[conn_id] = opened
        return opened

    def stores(self) -> Iterator[Store]:
        """Yield each store that can be opened now, once, though several connections may name it."""
        seen = set()
        for conn_id in self.conn_ids:
            try:
                store = self.store(conn_id)
            except Exception as error:  # the receiver says so for each event that comes
                log.debug("The store of connection %r cannot be opened: %s", conn_id, type(error).__name__)
                continue
            if id(store.engine) not in seen:
                seen.add(id(store.engine))
                yield store

    def _read(self, conn_id: str, newest: bool) -> Known:
        """Read a connection, unless somebody has just done so, and remember it."""
        known = self.remembered(conn_id, newest=newest)
        if known is None:
            known = self._known[conn_id] = self._asked(conn_id)
        return known

    def _asked(self, conn_id: str) -> Known:
        try:
            config = FormantHook(conn_id).get_config()
        except InvalidInput as error:
            now = self._clock()
            return Known(now, now, problem=error)
        except Exception as error:  # whatever Airflow, its database or its secrets backend has to say
            kind = type(error).__name__
            reason = f"connection {conn_id!r} does not exist, or Airflow cannot read it ({kind})"
            # It may have taken long to say so: what is remembered lasts from here on.
            before, now = self._relied_on(conn_id), self._clock()
            if before is None:
                return Known(now, now, problem=InvalidInput("conn_id", reason))
            log.warning("What was known of it before is relied on: %s.", reason)
            return replace(before, read_at=now)
        now = self._clock()
        return Known(now, now, config.webhooks, config.store)
