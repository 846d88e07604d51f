"""Questions to Airflow, which may hang: each is asked once at a time, and nobody has to wait to the end."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from typing import Any, NamedTuple


class _Question(NamedTuple):
    """One that is being asked; the time is that of ``time.monotonic``."""

    answer: Future[Any]
    asked_at: float


class Questions:
    """Asks each question in a thread of its own, which ends with the process if there is never an answer."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: dict[Hashable, _Question] = {}

    def ask(self, key: Hashable, question: Callable[[], Any], within_s: float) -> Any:
        """Return the answer to a question, which is not asked again while it is being asked.

        :param key: equal for the same question.
        :param question: is called in another thread; what it raises is raised here.
        :param within_s: seconds from when it was asked, so that only the first have to wait.
        :raises TimeoutError: there is no answer yet.
        """
        with self._lock:
            asked = self._open.get(key)
            if asked is None or asked.answer.done():
                asked = self._open[key] = _Question(Future(), time.monotonic())
                threading.Thread(
                    target=_answer, args=(asked.answer, question), name="formant-question", daemon=True
                ).start()
        return asked.answer.result(max(0.0, asked.asked_at + within_s - time.monotonic()))


def _answer(answer: Future[Any], question: Callable[[], Any]) -> None:
    try:
        answer.set_result(question())
    except BaseException as error:  # whoever waits raises it
        answer.set_exception(error)
