"""Whoever looks in a shared list finds what he would find alone, whatever the list looks like."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from formant_provider.api.client import FormantClient
from formant_provider.api.config import ClientConfig
from formant_provider.api.models import Conversation
from formant_provider.core.conversations.evidence import Span
from formant_provider.core.conversations.lookup import Finding, Search
from formant_provider.core.conversations.shared_listing import DEFAULT_FRESH_S, SharedListing
from support.feeds import AGENT, LIST_ORDERS, ONCE, Board, number, row
from support.ledgers import NOON
from support.scripted_server import Answer, ScriptedServer

PEOPLE = 3
HIDDEN: dict[str, dict[str, Any]] = {
    "told": {},
    "left out": {"contact_number": None},
    "masked": {"contact_number": "+1415*****00"},
}


@dataclass(frozen=True)
class Made:
    """A call: when it begins, how long it lasts, and what is seen of it when, in seconds after noon.

    :param appears: when its record appears: with the call, or so many seconds after its end.
    :param number: how the list shows it, at once or while the call is in progress.
    :param detail_late: for so many seconds its record has no detail yet.
    """

    starts: int
    lasts: int
    to: int
    status: str
    appears: int | None
    number: str
    tells_later: bool
    detail_late: int
    has_start: bool

    @property
    def ends(self) -> int:
        return self.starts + self.lasts

    @property
    def seen_from(self) -> int:
        return self.starts if self.appears is None else self.ends + self.appears

    def row(self, name: str, now: int, ahead_s: int) -> dict[str, Any]:
        is_over = self.ends <= now
        made = row(name, self.starts + ahead_s, contact_number=number(f"{self.to:02}"), trace_id=f"t-{name}")
        made["status"] = self.status if is_over else "in_progress"
        made["end_timestamp"] = made["start_timestamp"] + 1000 * self.lasts if is_over else None
        made["start_timestamp"] = made["start_timestamp"] if self.has_start else None
        return made


calls_made = st.builds(
    Made,
    starts=st.integers(0, 4 * 3600),
    lasts=st.sampled_from([1, 60, 1800, 7000]),
    to=st.integers(0, PEOPLE - 1),
    status=st.sampled_from(["completed", "busy", "voicemail_reached"]),
    appears=st.sampled_from([None, 0, 90]),
    number=st.sampled_from([*HIDDEN, "told"]),
    tells_later=st.booleans(),
    detail_late=st.sampled_from([0, 0, 8000]),
    has_start=st.sampled_from([True, True, True, False]),
)
# What is asked, and how long after the one before: less than a list is fresh for, or more.
looks_made = st.tuples(
    st.sampled_from([0, 0, 0, int(DEFAULT_FRESH_S) + 1, 400, 3000]),
    st.integers(0, PEOPLE - 1),
    st.integers(-600, 5 * 3600),
    st.sampled_from([15, 600, 20_000]),
)


@dataclass
class Vendor:
    """Lists calls as they are at one moment.

    :param crowd: calls with others, one every half a minute, which fill pages.
    """

    calls: list[Made]
    order: str
    crowd: int
    ahead_s: int
    tells_total: bool
    now: int = 0
    board: Board = field(default_factory=Board)

    def __post_init__(self) -> None:
        self.board.date = lambda: self.time() + timedelta(seconds=self.ahead_s)
        self.board.page = {} if self.tells_total else {"total": None}

    def time(self) -> datetime:
        return NOON + timedelta(seconds=self.now)

    def advance(self, seconds: int) -> None:
        """Let time pass, and write on the board what there is then."""
        self.now += seconds
        shown = [(f"c-{n}", call) for n, call in enumerate(self.calls) if call.seen_from <= self.now]
        rows = []
        for name, call in shown:
            made = call.row(name, self.now, self.ahead_s)
            has_detail = self.now >= call.seen_from + call.detail_late
            self.board.details[name] = dict(made) if has_detail else Answer(404)
            is_hidden = not call.tells_later or call.ends > self.now
            rows.append(made | (HIDDEN[call.number] if is_hidden else {}))
        begun = [n for n in range(self.crowd) if 30 * n - 7200 <= self.now]
        rows += [row(f"o-{n}", 30 * n - 7200 + self.ahead_s, contact_number=number("77")) for n in begun]
        self.board.rows = sorted(rows, key=self._place, reverse=self.order != "oldest_first")

    def _place(self, made: dict[str, Any]) -> Any:
        if self.order == "unordered":
            return hashlib.sha256(made["conversation_id"].encode()).digest()
        name = "end_timestamp" if self.order == "newest_end_first" else "start_timestamp"
        return made[name] or math.inf, made["conversation_id"]


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    vendor=st.builds(
        Vendor,
        calls=st.lists(calls_made, max_size=12, unique_by=lambda call: call.starts),
        order=st.sampled_from(LIST_ORDERS),
        crowd=st.sampled_from([0, 0, 350]),
        ahead_s=st.sampled_from([0, 0, -7200, 90]),
        tells_total=st.booleans(),
    ),
    begins_at=st.sampled_from([0, 3000, 15_000]),
    looks=st.lists(looks_made, min_size=1, max_size=8),
)
def test_a_look_finds_what_it_would_find_alone(
    vendor: Vendor, begins_at: int, looks: list[tuple[int, int, int, int]]
) -> None:
    """If the list has not changed within ``fresh_s``, a shared reading changes nothing but who reads."""
    if vendor.order == "newest_end_first":  # where a long call ends a page, who reads alone stops too early
        vendor.crowd = 0
    if vendor.crowd:  # a record without a time is read by who comes across its page, wherever that is
        vendor.calls = [call for call in vendor.calls if call.has_start]
    vendor.advance(begins_at)
    with ScriptedServer(vendor.board.answer) as server:
        config = ClientConfig(server.base_url, "key")
        with (
            FormantClient(config, retry_policy=ONCE) as client,
            FormantClient(config, retry_policy=ONCE) as its_own,
            SharedListing(its_own, AGENT, vendor.time) as listing,
        ):
            for pause_s, person, since_s, lasts_s in looks:
                vendor.advance(pause_s)
                begin = NOON + timedelta(seconds=since_s)
                span = Span(begin, begin + timedelta(seconds=lasts_s))
                searches = [
                    Search(client, AGENT, number(f"{person:02}"), vendor.time, shared)
                    for shared in (listing, None)
                ]
                found, expected = (look(search, span) for search in searches)
                assert found == expected


def look(search: Search, span: Span) -> tuple[Finding, list[Conversation]]:
    """Look in both ways; nothing says in which order those come that do not say when they began."""
    found, since = search.find([span]), search.since(span)
    return found, sorted(since, key=lambda each: (each.start_timestamp or 0, each.conversation_id))
