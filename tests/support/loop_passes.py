"""An event loop that measures how much CPU each of its passes takes, however busy the machine is."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any


class MeasuredLoop(asyncio.SelectorEventLoop):
    """Passes of this loop take the CPU of its thread, without that of Python's collector.

    The collector looks at all that a process holds, and when it does depends on what was made before.

    :ivar longest_s: what the longest pass took.
    """

    longest_s = 0.0
    collecting_s = 0.0

    def _run_once(self) -> None:
        began, self.collecting_s = time.thread_time(), 0.0
        super()._run_once()  # type: ignore[misc]  # not in the type stubs
        self.longest_s = max(self.longest_s, time.thread_time() - began - self.collecting_s)


@contextmanager
def _collector_is_watched(loop: MeasuredLoop) -> Iterator[None]:
    began = 0.0

    def note(phase: str, _: dict[str, int]) -> None:
        nonlocal began
        if phase == "start":
            began = time.thread_time()
        else:
            loop.collecting_s += time.thread_time() - began

    gc.callbacks.append(note)
    try:
        yield
    finally:
        gc.callbacks.remove(note)


def longest_pass_s(story: Coroutine[Any, Any, None]) -> float:
    """Run a story; return the CPU that the longest pass of its event loop took."""
    with asyncio.Runner(loop_factory=MeasuredLoop) as runner:
        loop = runner.get_loop()
        assert isinstance(loop, MeasuredLoop)
        with _collector_is_watched(loop):
            runner.run(story)
        return loop.longest_s
