"""A wait that is moved to another triggerer: what of it is known there, and what begins anew."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from formant_provider.core.conversations.feed import Feed
from formant_provider.core.conversations.statuses import Endings
from support.feeds import AGENT, Board, outcome_of, reading, row

SEVEN_MINUTES = Endings(settle_for=timedelta(minutes=7))
HOUR = Endings(settle_for=timedelta(hours=1))


def move(w: Any) -> None:
    """Let another triggerer take over: it has what is stored of the waits, and nothing else."""
    w.feed = Feed(AGENT, w.sandbox.now)


@pytest.mark.parametrize("in_list", [True, False], ids=["trace id in list", "trace id in detail"])
def test_settling_goes_on_in_another_triggerer_where_it_was(in_list: bool, world: Any) -> None:
    """The time counts from the end that the record tells, and not from when the wait was moved."""
    w = world(trace_id_in_list=in_list)
    call = w.place("01")
    w.join(call, endings=HOUR)
    w.poll(30)
    move(w)
    waiter = w.join(call, endings=HOUR)
    w.poll((call.ends_at + timedelta(minutes=59) - w.sandbox.now()).total_seconds())
    assert waiter.outcome is None
    w.poll(61)
    assert outcome_of(waiter) == call.conversation_id


def test_settling_begins_anew_if_the_record_does_not_tell_its_end() -> None:
    """Nobody else knows when it was first seen to be over: the wait ends later, and never too early."""
    board = Board([row("c-1", trace_id="t-1", status="no_answer", end_timestamp=None)])
    with reading(board) as reader:
        reader.join("t-1", endings=SEVEN_MINUTES)
        reader.poll(60)
        reader.feed = Feed(AGENT, lambda: reader.now)
        waiter = reader.join("t-1", endings=SEVEN_MINUTES)
        reader.poll(6 * 60)
        reader.poll(6 * 60)
        assert waiter.outcome is None
        reader.poll(2 * 60)
    assert outcome_of(waiter) == "c-1"


def test_a_redial_of_the_call_is_seen_wherever_it_is_waited_for(world: Any) -> None:
    """A success after the move ends the wait at once."""
    w = world(platform_redials=1)
    call = w.place("01")
    w.join(call, endings=HOUR)
    w.poll(30)
    move(w)
    waiter = w.join(call, endings=HOUR)
    w.poll(310)
    w.poll(142)
    assert outcome_of(waiter) == w.sandbox.redials[-1].conversation_id
