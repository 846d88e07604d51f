"""The call store in a triggerer: opened and asked in a few threads, so that no event loop is blocked."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TYPE_CHECKING, TypeVar

from formant_provider.hooks.formant import FormantHook

if TYPE_CHECKING:
    from formant_provider.store.store import Store

T = TypeVar("T")

MOST_THREADS = 2


async def aopen_store(conn_id: str) -> Store:
    """Return the call store that a formant connection names.

    :raises InvalidInput: it names none, or one that cannot be used; the error says what to do.
    :raises SendAborted: its database does not answer.
    """
    from formant_provider.api.errors import InvalidInput

    store = await in_thread(FormantHook(conn_id).get_store)
    if store is None:
        reason = f"of connection {conn_id!r} is missing: events of webhooks are read from its call store"
        raise InvalidInput("store_conn_id", reason)
    return store


async def in_thread(work: Callable[[], T]) -> T:
    """Run what blocks. It may read Airflow's connections, as on 3.1 work in no other kind of thread may."""
    from asgiref.sync import sync_to_async

    return await sync_to_async(work, thread_sensitive=False, executor=_threads())()


@cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(MOST_THREADS, "formant-store")
