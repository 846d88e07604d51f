"""Many redials whose looks share one reading of the list: each as safe as one that reads it alone."""

from __future__ import annotations

from dataclasses import replace

from formant_provider.api.client import CREATE_CALL, LIST_CONVERSATIONS
from formant_provider.core.calls.placement import Result
from formant_provider.core.conversations.shared_listing import DEFAULT_FRESH_S, SharedListing
from formant_provider.sandbox import Fault
from support.ledgers import CALL, MemoryLedger, Start, Tries, call_to

PEOPLE = 30


def placed(start: Start) -> list[Tries]:
    """Calls to many who are not reached, placed ten minutes ago."""
    first = start(redial_on=frozenset({"no_answer"}), sandbox={"record_appears": "start"})
    tasks = [replace(first, call=call_to(f"{n:02}01"), ledger=MemoryLedger()) for n in range(PEOPLE)]
    tasks = [replace(task, call=replace(task.call, idempotency_key=f"{n}")) for n, task in enumerate(tasks)]
    assert [task.place().result for task in tasks] == [Result.PLACED] * PEOPLE
    first.sandbox.advance(600)
    return tasks


def listing_of(task: Tries) -> SharedListing:
    return SharedListing(task.client(), CALL.agent_id, task.sandbox.now)


def lists(task: Tries) -> int:
    return sum(seen.endpoint == LIST_CONVERSATIONS for seen in task.sandbox.requests)


def test_redials_share_one_reading_of_the_list(start: Start) -> None:
    """Thirty people are called once more each, and the list is read once for that."""
    tasks = placed(start)
    before = lists(tasks[0])
    with listing_of(tasks[0]) as listing:
        assert [task.place(listing=listing).result for task in tasks] == [Result.PLACED] * PEOPLE
    assert [task.rings for task in tasks] == [2] * PEOPLE
    assert lists(tasks[0]) == before + 1


def test_who_is_called_by_others_meanwhile_is_not_called_again(start: Start) -> None:
    """Somebody else's call has begun since the list was read last, and is not over."""
    first, second, *_ = placed(start)
    with listing_of(first) as listing:
        first.place(listing=listing)
        first.sandbox.place(second.call.recipient)
        first.sandbox.advance(DEFAULT_FRESH_S + 1)
        second.place(listing=listing)
    assert (first.rings, second.rings) == (2, 2)  # the second one by somebody else


def test_a_call_whose_answer_was_lost_is_found(start: Start) -> None:
    """A redial is accepted, and the connection drops: its record is found in the list once it is there."""
    task, *_ = placed(start)
    task.sandbox.inject(CREATE_CALL, Fault.DROP_AFTER)
    with listing_of(task) as listing:
        placement = task.place(listing=listing)
    assert (placement.result, task.rings) == (Result.FOUND, 2)
