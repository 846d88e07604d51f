"""The board of a call list: where each row stands, what is due next, and what came of each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from formant_provider.core.call_lists.board import Board
from formant_provider.core.call_lists.calls import Attempt
from formant_provider.core.call_lists.tally import Tally
from support.list_rows import AGENT, add_call, add_reject, not_reached, number

PLACED = {"since": "2026-03-18T12:00:00+00:00", "until": None, "trace_id": "t1", "conversation_id": None}
NOW_MS = 1_000_000
DONE = Attempt(1, "completed", "t1", "c1", 1, 2, 90)


@pytest.fixture
def board(tmp_path: Path) -> Iterator[Board]:
    with Board(tmp_path, {"completed"}) as board:
        yield board


def due(board: Board, limit: int = 100) -> list[int]:
    return [call.place for call in board.due(NOW_MS, limit)]


def sent(board: Board, place: int) -> None:
    board.send([place])
    board.place(place, PLACED)


def ended(board: Board, place: int, attempt: Attempt) -> None:
    sent(board, place)
    board.end_attempt(place, attempt)


def test_a_row_keeps_all_that_its_call_needs(board: Board) -> None:
    """It is read back as it was added."""
    asked = datetime(2026, 3, 18, 12, tzinfo=UTC)
    add_call(board, 1, asked, reference="loan 1", zone="Europe/Berlin", carried={"city": "Köln"})
    call = board.call(1)
    assert (call.number, call.agent_id, call.key, call.attempt) == (number(1), AGENT, "key 1", 1)
    assert (call.reference, call.zone, call.ended, call.placed) == ("loan 1", "Europe/Berlin", (), None)
    assert call.parameters == (("customer_phone", number(1)),)
    assert board.next_due_ms() == round(asked.timestamp() * 1000)
    [result] = board.results()
    assert result.carried == {"city": "Köln"}


def test_a_second_row_with_the_same_key_is_not_added(board: Board) -> None:
    """One call is asked for once, and rows that are no calls are as many as there are."""
    assert add_call(board, 1)
    assert not add_call(board, 2, key="key 1")
    add_reject(board, 3)
    add_reject(board, 4)
    assert board.tally().rows == 3


def test_what_is_due_longest_comes_first_and_then_the_order_of_the_list(board: Board) -> None:
    """Nobody is left behind by others who are asked for again and again."""
    for row in range(1, 6):
        add_call(board, row)
    board.wait(2, NOW_MS - 1, 1)
    board.wait(4, NOW_MS - 5, 2)
    board.wait(5, NOW_MS + 1, 1)
    assert due(board) == [1, 3, 4, 2]
    assert due(board, 2) == [1, 3]
    assert board.next_due_ms() == 0


def test_a_row_that_is_sent_is_not_due(board: Board) -> None:
    """Nor one that is in progress, over, or rejected."""
    for row in range(1, 5):
        add_call(board, row)
    add_reject(board, 5)
    board.send([1])
    sent(board, 2)
    board.close(3)
    assert due(board) == [4]
    assert [call.place for call in board.in_progress()] == [2]
    assert [call.place for call in board.waiting()] == [4]


def test_nothing_is_due_when_all_is_over(board: Board) -> None:
    """Then there is no next moment."""
    add_call(board, 1)
    board.close(1)
    assert board.next_due_ms() is None
    assert due(board) == []


def test_rows_that_wait_again_have_their_attempt_and_reason(board: Board) -> None:
    """What was known of the placement before is of that one."""
    add_call(board, 1)
    ended(board, 1, not_reached())
    board.wait(1, NOW_MS, 2, "capped")
    call = board.call(1)
    assert (call.attempt, call.placed) == (2, None)
    assert [each.status for each in call.ended] == ["no_answer"]
    [result] = board.results()
    assert (result.status, result.reason) == ("waiting", "capped")


def test_every_row_is_counted_in_one_place(board: Board) -> None:
    """Rejected, waiting, in progress, reached or closed: together they are all rows."""
    for row in range(1, 8):
        add_call(board, row)
    add_reject(board, 8)
    sent(board, 1)
    ended(board, 2, DONE)
    board.close(2)
    ended(board, 3, not_reached())
    board.close(3, "attempts_used")
    board.close(4, "suppressed")
    board.end_attempt(5, Attempt(1, "refused", in_try=1))
    board.close(5, "refused", "404")
    board.send([6])
    tally = board.tally()
    assert tally == Tally(
        rows=8,
        rejected=3,
        waiting=2,
        in_progress=1,
        reached=1,
        closed=1,
        calls=3,
        ended=2,
        failed=1,
        seconds=90,
        by_reason=tally.by_reason,
        by_status=tally.by_status,
    )
    assert dict(tally.by_reason) == {"not_e164": 1, "suppressed": 1, "refused": 1}
    assert dict(tally.by_status) == {"completed": 1, "no_answer": 1}


def test_further_attempts_are_counted_as_calls_and_people_once(board: Board) -> None:
    """Seconds are those of all conversations; the status is that of the last."""
    add_call(board, 1)
    ended(board, 1, not_reached(duration_s=5))
    board.wait(1, 0, 2)
    ended(board, 1, replace(DONE, number=2))
    board.close(1)
    tally = board.tally()
    assert (tally.rows, tally.reached, tally.calls, tally.ended, tally.failed) == (1, 1, 2, 2, 1)
    assert (tally.seconds, dict(tally.by_status)) == (95, {"completed": 1})
    assert board.ended() == 2


def test_a_call_that_may_have_been_placed_is_counted_as_placed(board: Board) -> None:
    """What a list may have spent is not made smaller than it was."""
    add_call(board, 1)
    board.end_attempt(1, Attempt(1, "unknown"))
    board.close(1)
    tally = board.tally()
    assert (tally.calls, tally.ended, tally.closed) == (1, 1, 1)


def test_a_call_that_is_known_from_an_earlier_wake_is_not_counted_again(board: Board) -> None:
    """Restored counts are those of all wakes."""
    add_call(board, 1)
    board.restore(1, [not_reached()], calls=2)
    board.place(1, PLACED, is_new=False)
    tally = board.tally()
    assert (tally.calls, tally.ended, tally.failed, tally.in_progress) == (2, 1, 1, 1)


def test_closing_those_who_wait_leaves_all_others(board: Board) -> None:
    """Who is in progress, or in hand, is followed; who is over keeps its reason."""
    for row in range(1, 6):
        add_call(board, row)
    sent(board, 1)
    board.close(2, "suppressed")
    board.send([3])
    assert board.close_waiting("stopped") == []
    assert [row.status for row in board.results()] == [
        "in_progress",
        "rejected",
        "waiting",
        *["rejected"] * 2,
    ]
    assert [row.reason for row in board.results()] == [None, "suppressed", None, *["stopped"] * 2]


def test_closing_those_who_wait_lets_calls_in_doubt_be_followed(board: Board) -> None:
    """They may have been placed: they are in progress, with the reason why they are not called again."""
    for row in (1, 2):
        add_call(board, row)
    board.doubt(1, {"since": "2026-03-18T12:00:00+00:00"})
    (followed,) = board.close_waiting("stopped")
    assert (followed.place, followed.barred) == (1, "stopped")
    assert [row.status for row in board.results()] == ["in_progress", "rejected"]


def test_results_come_in_the_order_of_the_list(board: Board) -> None:
    """Whatever became of the rows, and whenever; each has its own row."""
    add_call(board, 1)
    add_reject(board, 2)
    add_call(board, 3)
    ended(board, 3, DONE)
    board.close(3)
    assert [(row.row_number, row.status) for row in board.results()] == [
        (1, "waiting"),
        (2, "rejected"),
        (3, "completed"),
    ]


def test_an_attempt_that_the_api_refused_is_none_in_the_results(board: Board) -> None:
    """Nobody was called: the row is rejected, with the reason."""
    add_call(board, 1)
    board.end_attempt(1, Attempt(1, "refused", in_try=1))
    board.close(1, "refused", "404")
    [row] = board.results()
    assert (row.status, row.reason, row.detail, row.attempts) == ("rejected", "refused", "404", ())


def test_a_refused_further_attempt_keeps_the_one_that_was_made(board: Board) -> None:
    """Whoever was called once was called, whatever the API says later."""
    add_call(board, 1)
    ended(board, 1, not_reached())
    board.wait(1, 0, 2)
    board.end_attempt(1, Attempt(2, "refused", in_try=1))
    board.close(1, "refused", "404")
    [row] = board.results()
    assert (row.status, row.reason) == ("no_answer", "refused")
    assert board.tally().rejected == 0
    assert board.tally().closed == 1


def test_agents_are_counted_by_whom_they_called(board: Board) -> None:
    """People, not calls; whoever was not called counts for nobody."""
    for row in range(1, 5):
        add_call(board, row)
    for place, agent_id, attempt in ((1, 456, DONE), (2, 456, not_reached()), (3, 789, DONE)):
        board.assign(place, agent_id)
        ended(board, place, attempt)
        board.close(place)
    assert sorted(board.by_agent()) == [(456, False, 1), (456, True, 1), (789, True, 1)]


def test_all_that_are_called_are_named_some_at_a_time(board: Board) -> None:
    """As many as a ledger is asked about at once; each of them once."""
    for row in range(1, 1201):
        add_call(board, row)
    add_reject(board, 1201)
    portions = list(board.named())
    assert [len(some) for some in portions] == [500, 500, 200]
    assert [key for some in portions for _, key in some] == [f"key {row}" for row in range(1, 1201)]
