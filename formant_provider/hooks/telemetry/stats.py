"""Sends a metric through the Stats of this Airflow, from whichever process: worker, triggerer, API server.

Airflow 3.2 and later have two of them, one of the task SDK and one of the core, and set up only that which
they use in a process themselves; to the other one metrics are lost. See
https://airflow.apache.org/docs/apache-airflow/stable/administration-and-deployment/logging-monitoring/metrics.html
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import sys
import threading
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from queue import Full, Queue
from typing import Any, Literal

from airflow.providers.common.compat.sdk import conf

log = logging.getLogger(__name__)

_OTHER_THAN_PLAIN = re.compile(r"[^A-Za-z0-9_.-]+")
# What is measured in event loops waits for a thread; more than this is lost, and takes no memory.
_MOST_WAITING = 10_000

_Sent = tuple[Literal["incr", "gauge"], str, int, dict[str, str]]


def emit(method: Literal["incr", "gauge"], name: str, value: int, tags: Mapping[str, object]) -> None:
    """Send a metric; whatever hinders it is logged once, and raises nothing.

    An event loop is not held up: from there a thread sends it, since a host name may have to be looked up.
    """
    metric = method, name, value, {key: _plain(each) for key, each in tags.items() if each is not None}
    if not _is_in_event_loop():
        _send(metric)
        return
    try:
        _waiting().put_nowait(metric)
    except Full:
        _warn_once("too many are waiting to be sent")
    except RuntimeError:  # the machine is short of threads, or the process is about to end
        _warn_once("no thread can be started")


def _plain(value: object) -> str:
    """Return a tag as all backends take it: with a character that one of them refuses, nothing is sent."""
    return _OTHER_THAN_PLAIN.sub("_", str(value)).strip("_")


def _is_in_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _send(metric: _Sent) -> None:
    method, name, value, tags = metric
    try:
        getattr(_stats(), method)(name, value, tags=tags)
    except Exception as error:  # of any backend: no task fails over a number
        _warn_once(type(error).__name__)


@cache
def _warn_once(why: str) -> None:
    log.warning("Metrics of this provider are not sent from this process (%s).", why)


@cache
def _waiting() -> Queue[_Sent]:
    """Return the queue of what a thread sends."""
    queue: Queue[_Sent] = Queue(_MOST_WAITING)

    def send_all() -> None:
        while True:
            _send(queue.get())

    threading.Thread(target=send_all, name="formant-metrics", daemon=True).start()
    return queue


# A forked process has no threads but one.
os.register_at_fork(after_in_child=_waiting.cache_clear)


@cache
def _stats() -> Any:
    """Return the Stats that is set up in this process; if none is, set up that of the task SDK."""
    from airflow.providers.common.compat.sdk import Stats

    if _is_set_up(Stats):
        return Stats
    try:
        core = import_module("airflow.observability.stats").Stats
    except ImportError:
        core = None
    if core is not None and _is_set_up(core):
        return core
    _set_up(Stats)
    return Stats


def _is_set_up(stats: Any) -> bool:
    """Return whether a Stats knows its backend: up to 3.2 its class says so, and then its module."""
    module = sys.modules[stats.__module__]
    return (getattr(module, "_factory", None) or getattr(stats, "factory", None)) is not None


def _set_up(stats: Any) -> None:
    """Let a Stats know its backend, as Airflow does where it starts a process of its own."""
    utils = import_module("airflow.sdk.observability.metrics.stats_utils")
    if hasattr(stats, "factory"):  # Airflow 3.2
        stats.initialize(factory=utils.get_stats_factory(stats))
        return
    legacy = conf.getboolean("metrics", "legacy_names_on", fallback=True)
    stats.initialize(factory=utils.get_stats_factory(), export_legacy_names=legacy)
