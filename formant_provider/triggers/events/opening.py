"""The call store in a triggerer: opened and asked in a thread for each connection, and not in the event loop.

So a store that does not answer holds up nobody who asks another.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TYPE_CHECKING, TypeVar

from formant_provider.hooks.formant import FormantHook

if TYPE_CHECKING:
    from formant_provider.store.store import Store

T = TypeVar("T")


async def aopen_store(conn_id: str) -> Store:
    """Return the call store that a formant connection names.

    :raises InvalidInput: it names none, or one that cannot be used; the error says what to do.
    :raises SendAborted: its database does not answer.
    """
    from formant_provider.api.errors import InvalidInput

    store = await in_thread(conn_id, FormantHook(conn_id).get_store)
    if store is None:
        reason = f"of connection {conn_id!r} is missing: events of webhooks are read from its call store"
        raise InvalidInput("store_conn_id", reason)
    return store


async def in_thread(conn_id: str, work: Callable[[], T]) -> T:
    """Run what blocks, in the one thread of a connection.

    It may read Airflow's connections, as on 3.1 work in no other kind of thread may.
    """
    from asgiref.sync import sync_to_async

    return await sync_to_async(work, thread_sensitive=False, executor=_thread(conn_id))()


@cache
def _thread(conn_id: str) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, f"formant-store-{conn_id}")
