"""One poll an agent tells all who wait; when it may be sent, the pace says."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest

from formant_provider.api.client import FormantClient
from formant_provider.api.config import ClientConfig
from formant_provider.api.errors import InvalidInput
from formant_provider.api.retry import Quota
from formant_provider.core.call_lists.listening import Clients, Listening
from formant_provider.core.call_lists.pace import Pace
from formant_provider.core.conversations.waiters import Watch
from formant_provider.sandbox import Fault, Sandbox
from formant_provider.sandbox.faults import LIST
from support.feeds import ONCE
from support.ledgers import NOON
from support.list_rows import number

POLL_S = 60.0


class World:
    """A list on a moved clock, whose requests are sent when a test takes them."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self.pace = Pace(sandbox.now, jitter=lambda: 0.0)
        self.fails: list[Exception] = []
        self.jobs: list[tuple[Callable[[], Any], Callable[[Any], None]]] = []
        clients = Clients(self._open, lambda: None, (InvalidInput,))
        self.listening = Listening(clients, self.pace, sandbox.now, lambda *job: self.jobs.append(job))

    def call(self, place: int, ending: int = 100, agent_id: int = 456, timeout_s: float = 3600) -> None:
        """Somebody else's request has placed it; the list waits for it."""
        call = self.sandbox.place(number(place * 1000 % 9000 + ending), agent_id=agent_id)
        watch = Watch(call.starts_at, call.trace_id, poll_interval_s=POLL_S, has_begun=True)
        self.listening.join(place, agent_id, watch, self.sandbox.now() + timedelta(seconds=timeout_s))

    def settle(self) -> list[int]:
        """Take all steps that can be taken now; return the rows whose call is over."""
        self.listening.advance()
        while self.jobs:
            work, came = self.jobs.pop(0)
            came(work())
            self.listening.advance()
        return [place for place, _ in self.listening.over()]

    def after(self, seconds: float) -> list[int]:
        self.sandbox.advance(seconds)
        return self.settle()

    def after_each(self, *seconds: float) -> None:
        for each in seconds:
            self.after(each)

    def lists(self) -> int:
        return sum(seen.endpoint == LIST for seen in self.sandbox.requests)

    def _open(self) -> FormantClient:
        if self.fails:
            raise self.fails.pop(0)
        config = ClientConfig(self.sandbox.base_url, self.sandbox.api_key)
        return FormantClient(config, retry_policy=ONCE)


@pytest.fixture
def world() -> Iterator[World]:
    settings: dict[str, Any] = {"record_appears": "start", "trace_id_in_list": True}
    with Sandbox(speed=0, start_at=NOON, rate_limit=None, **settings) as sandbox:
        yield World(sandbox)


def test_one_poll_tells_all_who_wait(world: World) -> None:
    """However many they are; each row is told of once."""
    for place in range(1, 31):
        world.call(place)
    assert world.settle() == []
    assert sorted(world.after(600)) == list(range(1, 31))
    assert world.lists() == 2
    assert (len(world.listening), world.settle()) == (0, [])


def test_who_was_given_up_during_a_poll_is_not_told_of_by_it(world: World) -> None:
    """Its row may be called again by then; the others are told of."""
    world.call(1, timeout_s=100)
    world.call(2)
    assert world.settle() == []
    world.sandbox.advance(600)
    world.listening.advance()
    assert len(world.jobs) == 1
    assert [place for place, _ in world.listening.over()] == [1]
    world.call(1)
    assert world.settle() == [2]
    assert len(world.listening) == 1
    assert world.after(600) == [1]


def test_a_poll_pauses_until_its_time(world: World) -> None:
    """Whoever waits for it knows until when; nothing is sent before."""
    world.call(1)
    world.settle()
    due = world.listening.next_step_at()
    assert due is not None
    assert 0 < (due - world.sandbox.now()).total_seconds() <= POLL_S
    world.after(1)
    assert world.lists() == 1
    world.after(POLL_S)
    world.after(0)
    assert world.lists() == 2


def test_nobody_polls_when_nobody_waits(world: World) -> None:
    """Neither before the first call, nor after the last."""
    world.settle()
    assert (world.lists(), world.listening.next_step_at()) == (0, None)
    world.call(1)
    world.settle()
    assert world.after(600) == [1]
    asked = world.lists()
    assert world.after(600) == []
    assert (world.lists(), world.listening.next_step_at()) == (asked, None)


def test_each_agent_has_a_poll_of_its_own(world: World) -> None:
    """One that is not answered holds up no other."""
    world.call(1, agent_id=456)
    world.call(2, agent_id=789)
    world.settle()
    assert world.lists() == 2
    world.sandbox.inject(LIST, Fault.ERROR_500_BEFORE)
    told = world.after(600)
    told += world.after(5)
    assert sorted(told) == [1, 2]


def test_while_the_list_is_to_wait_no_poll_is_sent(world: World) -> None:
    """Polls keep to the pace of the list as calls do."""
    world.pace.pause(30)
    world.call(1)
    world.settle()
    assert world.lists() == 0
    world.after(31)
    world.after(0)
    assert world.lists() == 1


def test_while_a_request_is_under_way_there_is_nothing_to_wait_for(world: World) -> None:
    """Its answer wakes whoever waits."""
    world.call(1)
    world.listening.advance()
    assert len(world.jobs) == 1
    assert world.listening.next_step_at() is None
    world.listening.advance()
    assert len(world.jobs) == 1, "it is asked once"


def test_when_no_calls_are_left_polls_hurry(world: World) -> None:
    """Their pauses beside calls were longer than they need be then."""
    world.pace.begin()
    world.pace.end()
    world.pace.on_success(Quota(50, 60.0, 50))
    world.pace.is_busy = True
    world.call(1)
    world.settle()
    world.after(POLL_S + 1)
    asked, due = world.lists(), world.listening.next_step_at()
    assert due is not None
    world.pace.is_busy = False
    world.listening.hurry()
    world.settle()
    hurried = world.listening.next_step_at()
    assert world.lists() > asked or (hurried is not None and hurried <= due)


def test_a_call_without_an_end_is_given_up_in_its_time_and_not_before_it_was_looked_for(world: World) -> None:
    """A wake that comes after the time is up still finds what is on record."""
    world.call(1, ending=100, timeout_s=-5)
    world.call(2, ending=101, timeout_s=90)
    assert [place for place, _ in world.listening.over()] == []
    world.settle()
    assert world.after(11) == [1], "it was looked for, and is in progress; its time is up"
    assert world.after(10) == []
    assert world.after(90) == [2]


def test_a_call_that_is_given_up_has_no_outcome(world: World) -> None:
    """Whoever takes it knows that it was looked for."""
    world.call(1, timeout_s=-5)
    world.listening.advance()
    work, came = world.jobs.pop()
    came(work())
    [(place, waiter)] = world.listening.over()
    assert (place, waiter.outcome, waiter.looks) == (1, None, 1)


def test_a_connection_that_cannot_be_read_for_a_moment_is_asked_again(world: World) -> None:
    """A secrets backend may be away; whoever waits waits on."""
    world.fails = [ConnectionError("vault is sealed")]
    world.call(1)
    world.settle()
    assert world.lists() == 0
    world.after(POLL_S + 1)
    told = world.after(600)
    assert told == [1]


def test_a_connection_that_is_gone_ends_the_list(world: World) -> None:
    """Five times in a row it was not there."""
    world.fails = [InvalidInput("formant_conn_id", "is not defined")] * 5
    world.call(1)
    with pytest.raises(InvalidInput):
        world.after_each(*[POLL_S] * 10)


def test_after_the_end_nothing_is_sent(world: World) -> None:
    """Polls are given up where they are."""
    world.call(1)
    world.settle()
    world.listening.close()
    assert world.lists() == 1


@pytest.mark.parametrize(("is_busy", "ended"), [(False, 9), (True, 4)])
def test_a_poll_ends_some_waits_before_it_uses_up_a_small_limit(is_busy: bool, ended: int) -> None:
    """Else a worker that is given back until there is room again would find out nothing, ever.

    Beside calls, which use up most of it, a poll is shorter still: a list may be stopped by what it finds.
    """
    with Sandbox(speed=0, start_at=NOON, rate_limit=20, rate_window_seconds=3600) as sandbox:
        world = World(sandbox)
        world.pace = world.listening.pace = Pace(sandbox.now, share_of_polls=0.25, jitter=lambda: 0.0)
        for place in range(1, 31):
            world.call(place)
        sandbox.advance(600)
        world.pace.is_busy = is_busy
        assert len(world.settle()) == ended
        assert len(world.listening) == 30 - ended
