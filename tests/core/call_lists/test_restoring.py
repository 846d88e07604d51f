"""Where rows stand by what is known of earlier tries and wakes: one test for each kind of knowledge."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from formant_provider.api.models import CallReceipt
from formant_provider.core.call_lists.attempting import AttemptRule
from formant_provider.core.call_lists.board import Board
from formant_provider.core.call_lists.calls import Attempt, Known
from formant_provider.core.call_lists.judging import Judging
from formant_provider.core.call_lists.restoring import restore
from formant_provider.core.calls.intent import Intent
from formant_provider.core.ledger import Sent
from support.list_rows import AGENT, add_call, add_reject, not_reached

NOW = datetime(2026, 3, 18, 12, tzinfo=UTC)
NOW_MS = int(NOW.timestamp() * 1000)
RECEIPT = CallReceipt(AGENT, "t1", "initiated")
DONE = Attempt(1, "completed", "t1", "c1", NOW_MS - 90_000, NOW_MS, 90)


class Ledger:
    """Knows what a test says."""

    def __init__(self, known: Mapping[str, Known]) -> None:
        self._known = known

    def known(self, keys: list[str]) -> Mapping[str, Known]:
        return {key: self._known[key] for key in keys if key in self._known}


def intent(sent: Sent = Sent.UNCLEAR, *, attempt: int = 1, receipt: CallReceipt | None = None) -> Intent:
    return Intent("key 1", NOW - timedelta(minutes=5), sent, receipt, attempt=attempt)


@pytest.fixture
def board(tmp_path: Path) -> Iterator[Board]:
    with Board(tmp_path, {"completed"}) as board:
        add_call(board, 1)
        yield board


def restored(board: Board, known: Known | None, *, try_number: int = 2, most: int = 3) -> Any:
    """Return the one call of a board, with its state in the results."""
    rule = AttemptRule(most, {"no_answer": timedelta(hours=2)})
    judging = Judging(rule, frozenset({"completed"}), try_number, lambda: NOW, lambda: 0)
    ledger: Any = Ledger({} if known is None else {"key 1": known})
    assert restore(board, ledger, judging) == (known is not None)
    return board.call(1)


def status(board: Board) -> tuple[str, str | None]:
    [row] = board.results()
    return row.status, row.reason


def test_a_row_of_which_nothing_is_known_is_to_be_called(board: Board) -> None:
    """It was added, or nothing has happened yet."""
    call = restored(board, None)
    assert (call.attempt, status(board)) == (1, ("waiting", None))
    assert board.tally().calls == 0


@pytest.mark.parametrize("sent", [Sent.NEVER, Sent.REFUSED])
def test_a_call_that_was_not_accepted_is_to_be_called(board: Board, sent: Sent) -> None:
    """Its ledger knows how; to the list it is as new."""
    call = restored(board, Known(AGENT, intent(sent)))
    assert (call.attempt, status(board), board.next_due_ms()) == (1, ("waiting", None), 0)
    assert board.tally().calls == 0


def test_a_call_in_doubt_is_due_at_once(board: Board) -> None:
    """It is sent again with its key, or looked for; it is not counted until it is known."""
    call = restored(board, Known(AGENT, intent(Sent.UNCLEAR)))
    assert (call.attempt, board.next_due_ms(), status(board)) == (1, 0, ("waiting", None))
    assert board.tally().calls == 0


def test_a_call_that_was_placed_is_in_progress(board: Board) -> None:
    """It is followed by what its receipt says, and counted once."""
    call = restored(board, Known(AGENT, intent(receipt=RECEIPT)))
    assert status(board) == ("in_progress", None)
    assert call.placed["trace_id"] == "t1"
    assert call.placed["since"] == (NOW - timedelta(minutes=5)).isoformat()
    assert (board.tally().calls, board.tally().in_progress) == (1, 1)


def test_a_person_who_was_reached_is_over(board: Board) -> None:
    """Their conversation is counted as it was."""
    restored(board, Known(AGENT, intent(receipt=RECEIPT), (DONE,)))
    tally = board.tally()
    assert status(board) == ("completed", None)
    assert (tally.reached, tally.calls, tally.ended, tally.seconds) == (1, 1, 1, 90)


def test_a_person_who_was_not_reached_waits_for_the_next_attempt(board: Board) -> None:
    """From the end of the last one, by the rule of today."""
    ended = not_reached(end_ms=NOW_MS - 3_600_000)
    call = restored(board, Known(AGENT, intent(receipt=RECEIPT), (ended,)))
    assert (call.attempt, board.next_due_ms()) == (2, NOW_MS + 3_600_000)
    assert (board.tally().calls, board.tally().failed) == (1, 1)


def test_a_person_who_was_called_often_enough_is_over(board: Board) -> None:
    """Also where the DAG has been changed to fewer attempts meanwhile."""
    ended = not_reached(1), not_reached(2)
    restored(board, Known(AGENT, intent(receipt=RECEIPT, attempt=2), ended), most=2)
    assert status(board) == ("no_answer", "attempts_used")
    assert board.tally().calls == 2


def test_a_further_attempt_in_doubt_is_due_at_once(board: Board) -> None:
    """With its own number; the one before stays as it ended."""
    call = restored(board, Known(AGENT, intent(Sent.UNCLEAR, attempt=2), (not_reached(),)))
    assert (call.attempt, board.next_due_ms(), [each.number for each in call.ended]) == (2, 0, [1])
    assert board.tally().calls == 1


def test_a_further_attempt_that_was_placed_is_in_progress(board: Board) -> None:
    """Both are counted."""
    call = restored(board, Known(AGENT, intent(receipt=RECEIPT, attempt=2), (not_reached(),)))
    assert (call.attempt, status(board)) == (2, ("in_progress", None))
    assert (board.tally().calls, board.tally().ended) == (2, 1)


def test_a_further_attempt_that_was_not_sent_waits_as_the_rule_says(board: Board) -> None:
    """It was prepared, or refused for the moment; it is not due before its time."""
    ended = not_reached(end_ms=NOW_MS)
    call = restored(board, Known(AGENT, intent(Sent.NEVER, attempt=2), (ended,)))
    assert (call.attempt, board.next_due_ms()) == (2, NOW_MS + 2 * 3_600_000)


@pytest.mark.parametrize(
    ("try_number", "told"), [(1, ("rejected", "refused")), (2, ("waiting", None))], ids=["same", "next"]
)
def test_a_call_that_the_api_refused_is_asked_for_again_in_a_further_try(
    board: Board, try_number: int, told: tuple[str, str | None]
) -> None:
    """Not after each wait of the same one; and it is no call that was placed."""
    known = Known(AGENT, intent(Sent.REFUSED), (Attempt(1, "refused", in_try=1),))
    restored(board, known, try_number=try_number)
    assert status(board) == told
    assert (board.tally().calls, board.tally().ended) == (0, 0)


def test_a_call_that_may_have_been_placed_and_was_given_up_stays_so(board: Board) -> None:
    """No further try sends it again; it is counted once."""
    restored(board, Known(AGENT, intent(Sent.UNCLEAR), (Attempt(1, "unknown"),)))
    assert status(board) == ("unknown", None)
    assert (board.tally().calls, board.tally().closed) == (1, 1)


def test_a_person_keeps_the_agent_who_was_first_asked_for(board: Board) -> None:
    """Whatever weights or columns say today; where nothing tells, they do."""
    assert restored(board, Known(789, intent(receipt=RECEIPT))).agent_id == 789
    assert restored(board, Known(None, intent(receipt=RECEIPT))).agent_id == 789


def test_rows_that_are_no_calls_are_not_asked_about(board: Board) -> None:
    """They have no key."""
    add_reject(board, 2)
    restored(board, None)
    assert [row.status for row in board.results()] == ["waiting", "rejected"]
