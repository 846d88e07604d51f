"""Rows of call lists for tests: as they were read, as they are on a board, and what came of them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from formant_provider.core.call_lists.board import Board
from formant_provider.core.call_lists.calls import Attempt, ListedCall
from formant_provider.core.call_lists.placing import Came, listed_of
from formant_provider.core.call_lists.rows import Row, Wanted
from formant_provider.core.call_lists.standing import About, Call

AGENT = 456


def number(ending: int) -> str:
    """Return a number of San Francisco; its last two digits say how its call ends."""
    return f"+1415555{ending:04}"


def a_call(place: int = 1, *, attempt: int = 1, ended: Sequence[Attempt] = (), **fields: Any) -> Call:
    """Return a row that is called."""
    plain = {"reference": None, "zone": None, "has_own_name": False, "metadata": None, "placed": None}
    recipient = number(100 + place)
    parameters = (("customer_phone", recipient),)
    known = {"number": recipient, "agent_id": AGENT, "key": f"key {place}", "parameters": parameters}
    return Call(place=place, attempt=attempt, ended=tuple(ended), **{**plain, **known, **fields})


def came(error: Any = None, call: Call | None = None, **fields: Any) -> Came:
    """Return what came of placing a call that was not placed."""
    listed: ListedCall = listed_of(call or a_call())
    return Came(listed, error=error, **fields)


def add_call(board: Board, row: int, asked: datetime | None = None, **about: Any) -> bool:
    """Put a row on a board that is to be called; return whether it was added."""
    recipient = about.pop("number", number(row))
    wanted = Wanted(
        AGENT, about.pop("key", f"key {row}"), False, (("customer_phone", recipient),), None, asked
    )
    known = About(**{"reference": None, "carried": {}, "zone": None, **about})
    return board.add(Row(row, None, recipient, None, None, [recipient]), wanted, known)


def add_reject(board: Board, row: int, reason: str = "not_e164") -> None:
    """Put a row on a board that cannot be called."""
    board.add(Row(row, None, "nobody", reason, None, ["nobody"]), None, About(None, {}, None))


def not_reached(attempt: int = 1, status: str = "no_answer", **fields: Any) -> Attempt:
    """Return an attempt that is over, and has reached nobody."""
    return Attempt(attempt, status, **fields)
