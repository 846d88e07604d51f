"""The threads of a call list: what may block is done there, and what came of it is told in one place."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from formant_provider.core.call_lists.threads import Threads


class Client:
    """A client of which is only known whether it is closed."""

    def __init__(self) -> None:
        self.is_closed = False

    def close(self) -> None:
        self.is_closed = True


@pytest.fixture
def opened() -> list[Client]:
    return []


@pytest.fixture
def threads(opened: list[Client]) -> Iterator[Threads]:
    def open_client() -> Any:
        opened.append(Client())
        return opened[-1]

    threads = Threads(3, open_client)
    yield threads
    threads.close()


def take_until(threads: Threads, is_done: Callable[[], Any]) -> None:
    until = time.monotonic() + 10
    while not is_done() and time.monotonic() < until:
        threads.take(0.05)
    assert is_done()


def test_work_is_done_elsewhere_and_told_where_it_is_taken(threads: Threads) -> None:
    """Whoever is called back needs no lock: it is in their own thread."""
    told: list[tuple[int, int]] = []
    threads.carry_out(threading.get_ident, lambda who: told.append((who, threading.get_ident())))
    take_until(threads, lambda: told)
    [(worker, caller)] = told
    assert worker != caller == threading.get_ident()


def test_an_error_is_told_as_what_came_of_it(threads: Threads) -> None:
    """The thread is free for the next work."""
    came: list[Any] = []

    def fail() -> None:
        raise LookupError("not here")

    for _ in range(5):
        threads.carry_out(fail, came.append)
    take_until(threads, lambda: len(came) == 5)
    assert all(isinstance(error, LookupError) for error in came)


def test_all_that_has_come_is_told_at_once(threads: Threads) -> None:
    """One look is enough for many answers."""
    came: list[int] = []
    done = threading.Barrier(4)
    for number in range(3):
        threads.carry_out(lambda number=number: (done.wait(5), number)[1], came.append)  # type: ignore[misc] # a default names it
    done.wait(5)
    time.sleep(0.05)
    threads.take(1.0)
    assert sorted(came) == [0, 1, 2]


def test_nothing_to_take_is_waited_for_and_no_longer(threads: Threads) -> None:
    """Whoever takes looks after other things meanwhile."""
    began = time.monotonic()
    threads.take(0.02)
    assert time.monotonic() - began < 5


def test_a_client_is_used_by_one_at_a_time_and_kept(threads: Threads, opened: list[Client]) -> None:
    """As many are opened as are in use together."""
    assert threads.with_client(lambda client: client) is threads.with_client(lambda client: client)
    assert len(opened) == 1
    threads.with_client(lambda _: threads.with_client(lambda _: None))
    assert len(opened) == 2
    assert not any(client.is_closed for client in opened)


def test_a_client_whose_use_has_failed_is_not_used_again(threads: Threads, opened: list[Client]) -> None:
    """Nobody knows in what state it is."""

    def fail(_: Any) -> None:
        raise LookupError

    with pytest.raises(LookupError):
        threads.with_client(fail)
    threads.with_client(lambda _: None)
    assert [client.is_closed for client in opened] == [True, False]


def test_clients_that_are_forgotten_are_closed_and_new_ones_opened(
    threads: Threads, opened: list[Client]
) -> None:
    """With the key that is in force then."""
    threads.with_client(lambda _: None)
    threads.forget_clients()
    threads.with_client(lambda _: None)
    assert [client.is_closed for client in opened] == [True, False]


def test_a_client_that_is_in_use_when_all_are_forgotten_is_closed_afterwards(
    threads: Threads, opened: list[Client]
) -> None:
    """What is begun afterwards does not use the key before again."""
    threads.with_client(lambda _: threads.forget_clients())
    threads.with_client(lambda _: None)
    assert [client.is_closed for client in opened] == [True, False]


def test_closing_waits_for_what_is_under_way_and_closes_all(threads: Threads, opened: list[Client]) -> None:
    """No request is cut off."""
    done: list[int] = []
    threads.carry_out(
        lambda: threads.with_client(lambda _: (time.sleep(0.1), done.append(1))), lambda _: None
    )
    threads.close()
    assert done == [1]
    assert [client.is_closed for client in opened] == [True]
