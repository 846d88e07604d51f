"""Work that is waited for only so long: it goes on in a thread that holds up no process's end."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


def started(work: Callable[[], T]) -> Future[T]:
    """Begin work in a thread of its own; return what will hold its result."""
    done: Future[T] = Future()

    def run() -> None:
        try:
            done.set_result(work())
        except BaseException as error:  # whatever it is, it belongs to who asked
            done.set_exception(error)

    context = contextvars.copy_context()  # where Airflow keeps whose log it is
    threading.Thread(target=context.run, args=(run,), name="formant-notifier", daemon=True).start()
    return done


def within(seconds: float, work: Callable[[], T]) -> T:
    """Return what work returns.

    :raises TimeoutError: it takes longer, and goes on.
    """
    return started(work).result(max(0.0, seconds))
