"""Whether a call list is held. The only place that decides it.

Whoever may place the next call asks; that is often, so an answer counts for two seconds. What cannot be read
leaves the answer as it was: a hold is not over because a database is. Where there was none yet, the list is
held: in doubt nobody is called.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from threading import Lock
from typing import TYPE_CHECKING

from formant_provider.api.errors import FormantError, InvalidInput

if TYPE_CHECKING:
    from formant_provider.store.store import Store

log = logging.getLogger(__name__)

COUNTS_FOR_S = 2.0
_WORDS = {"true": True, "on": True, "1": True, "false": False, "off": False, "0": False, "": False}
# Returns who holds, in words; ``None`` when nobody does.
Look = Callable[[], str | None]


class _Unreadable(Exception):
    """A place could not be read: its text says which, and why."""


class Hold:
    """What may hold a call list: an option of the task, an Airflow Variable, and the call store.

    Threads may share it.

    :param value: the option, rendered: see :func:`to_hold`.
    :param variable: name of an Airflow Variable, whose value is one of the same words. One that is missing
        holds nobody; any other value holds as well, since it was set for a purpose.
    :param store: the call store, if there is one.
    :param clock: seconds that only go forward.
    :raises InvalidInput: the option is none of the words.
    """

    def __init__(
        self,
        value: object = None,
        variable: str | None = None,
        store: Store | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        looks: list[Look] = []
        if to_hold(value):
            looks.append(lambda: "the option hold of the task")
        if variable:
            looks.append(lambda: _of_variable(variable))
        if store is not None:
            looks.append(lambda: _of_store(store))
        self._places = [_Place(look) for look in looks]
        self._clock, self._lock = clock, Lock()
        self._looked_at: float | None = None
        self._who: str | None = None

    def is_on(self) -> bool:
        """Return whether no call may be placed now."""
        return self.who() is not None

    def who(self) -> str | None:
        """Return who holds the list, in words; ``None`` when nobody does."""
        with self._lock:
            now = self._clock()
            if self._looked_at is None or now - self._looked_at >= COUNTS_FOR_S:
                self._look()
                self._looked_at = self._clock()
            return self._who

    def _look(self) -> None:
        told = [place.look() for place in self._places]
        before, self._who = self._who, "; ".join(filter(None, told)) or None
        if self._who and self._who != before:
            log.warning(
                "The list is held: %s. No further call is placed; calls in progress continue.", self._who
            )
        elif before and not self._who:
            log.info("The list is not held any more. Calls are placed again.")


class _Place:
    """One place where a hold may be set, and what it said last."""

    def __init__(self, look: Look) -> None:
        self._look = look
        self._said: str | None = None
        self._was_read = self._is_warned = False

    def look(self) -> str | None:
        """Return who holds, as far as is known."""
        try:
            self._said, self._was_read = self._look(), True
        except _Unreadable as error:
            if not self._is_warned:
                kept = (
                    "what it said last counts" if self._was_read else "the list is held until it can be read"
                )
                log.warning("%s: %s.", error, kept)
            if not self._was_read:
                self._said = str(error)
            self._is_warned = True
        else:
            self._is_warned = False
        return self._said


def to_hold(value: object) -> bool:
    """Return what the option means: a boolean, ``true``, ``on``, ``1``, ``false``, ``off``, ``0``, or blank.

    :raises InvalidInput: it is something else.
    """
    is_on = False if value is None else _read(value)
    if is_on is None:
        raise InvalidInput("hold", "must be true or false, on or off, 1 or 0")
    return is_on


def _read(value: object) -> bool | None:
    return _WORDS.get(str(value).strip().lower())


def _of_variable(name: str) -> str | None:
    from airflow.sdk import Variable

    try:
        value = Variable.get(name, default=None)
        if value is None:
            value = _asked_again(name)
    except Exception as error:
        raise _Unreadable(f"Airflow Variable {name!r} cannot be read ({type(error).__name__})") from None
    is_on = False if value is None else _read(value)
    if is_on is None:
        return f"Airflow Variable {name!r}, which is neither on nor off"
    return f"Airflow Variable {name!r}" if is_on else None


def _asked_again(name: str) -> object:
    """Return what Airflow has in a variable; ``None`` if there is none.

    To who asks as users do, a server that does not answer looks as if there were no variable.
    """
    from airflow.sdk.execution_time import task_runner
    from airflow.sdk.execution_time.comms import GetVariable

    answer = task_runner.SUPERVISOR_COMMS.send(GetVariable(key=name))
    error = getattr(answer, "error", None)
    if error is not None and getattr(error, "name", None) != "VARIABLE_NOT_FOUND":
        raise ConnectionError(str(error))
    return getattr(answer, "value", None)


def _of_store(store: Store) -> str | None:
    from formant_provider.store.holding import held

    try:
        is_held = held(store)
    except FormantError as error:
        raise _Unreadable(str(error)) from None
    return None if is_held is None else f"the call store, {is_held}"
