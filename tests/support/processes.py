"""Processes that run beside a test, and may die: forks, which know what the test knows."""

from __future__ import annotations

import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any

from sqlalchemy import Engine, event


def start(work: Callable[[], Any]) -> int:
    """Run ``work`` in a process of its own; return its id."""
    if pid := os.fork():
        return pid
    code = 1
    try:
        work()
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)  # closes nothing that is the parent's


def ended(pid: int) -> int:
    """Wait for a process; return its exit code, or minus the signal that killed it."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def kill(pid: int) -> None:
    """Kill a process as the kernel does when memory is short."""
    os.kill(pid, signal.SIGKILL)
    ended(pid)


def until(reached: Callable[[], bool], seconds: float = 60) -> None:
    """Wait for something."""
    deadline = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def at_transaction(number: int, act: Callable[[], Any]) -> None:
    """Do something in this process right before the n-th transaction from now on, of reads too."""
    begun = 0

    def begin(_: Any) -> None:
        nonlocal begun
        begun += 1
        if begun == number:
            act()

    event.listen(Engine, "begin", begin)


def die() -> None:
    """Kill this process."""
    os.kill(os.getpid(), signal.SIGKILL)
