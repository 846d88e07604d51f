"""Where the rows of a list stand by what the ledger knows of earlier tries and wakes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from formant_provider.core.call_lists.board import Board
from formant_provider.core.call_lists.calls import REFUSED, UNKNOWN, Attempt
from formant_provider.core.call_lists.following import doubt_in, placed_in
from formant_provider.core.call_lists.judging import Judging, Wait
from formant_provider.core.ledger import Sent

if TYPE_CHECKING:
    from formant_provider.core.call_lists.calls import Known
    from formant_provider.core.call_lists.ledger import ListLedger


def restore(board: Board, ledger: ListLedger, judging: Judging) -> int:
    """Put all rows of a board where they stand; return how many of them the ledger knows.

    :raises SendAborted: the ledger cannot be read, so nothing may be sent.
    """
    restored = 0
    for some in board.named():
        known = ledger.known([key for _, key in some])
        restored += len(known)
        for place, key in some:
            if key in known:
                _restore(board, judging, place, known[key])
    board.close_barred()
    return restored


def _restore(board: Board, judging: Judging, place: int, known: Known) -> None:
    intent, ended = known.intent, known.ended
    tried = sum(each.status != REFUSED for each in ended)
    is_ended = bool(ended) and ended[-1].number >= intent.attempt
    placed = None if is_ended else placed_in(intent)
    if known.bound_to is not None:
        board.assign(place, known.bound_to)
    board.restore(place, ended, calls=tried + (placed is not None))
    if placed is not None or tried:
        judging.knows_as_placed(board.call(place).agent_id)
    if placed is not None:
        board.wait(place, 0, intent.attempt)
        board.place(place, placed, is_new=False)
    elif not is_ended and intent.sent is Sent.UNCLEAR:  # in doubt: sent again with its key, or looked for
        board.wait(place, 0, intent.attempt)
        if known.may_be_sent_by(board.call(place).agent_id):
            board.doubt(place, doubt_in(intent))
        else:
            board.end_attempt(place, Attempt(intent.attempt, UNKNOWN))
            board.close(place)
    elif ended:
        _decide(board, judging, place, known)


def _decide(board: Board, judging: Judging, place: int, known: Known) -> None:
    verdict = judging.after_attempt(board.call(place), known.ended)
    if isinstance(verdict, Wait):
        due_ms = round(verdict.due.timestamp() * 1000)
        board.wait(place, due_ms, verdict.attempt)
    else:
        board.close(place, verdict.reason, verdict.detail)
