"""Whatever calls there are and however the list shows them: everybody ends with his own call, and cheaply."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from formant_provider.api.client import FormantClient
from formant_provider.api.config import ClientConfig
from formant_provider.core.conversations.statuses import FINAL
from formant_provider.core.conversations.waiters import Waiter
from support.feeds import LIST_ORDERS, ONCE, Board, Reader, number, outcome_of, row
from support.ledgers import NOON
from support.scripted_server import Answer, ScriptedServer

POLLS_AT = [0, 30, 61, 100, 200, 450, 500]


@dataclass(frozen=True)
class Made:
    """A call: when it begins and ends, in seconds after noon, and when its record can be seen.

    :param waits: who waits for it: with its trace id, without (the receipt was lost), or nobody here.
    :param seen: when its record appears: with the call, with its end, or so many seconds after that.
    :param detail_fails: how often its detail cannot be read.
    """

    starts: int
    lasts: int
    to: int
    status: str
    waits: str
    seen: str | int
    detail_fails: int

    def seen_from(self) -> int:
        if self.seen == "start":
            return self.starts
        return self.starts + self.lasts + (self.seen if isinstance(self.seen, int) else 0)


@dataclass
class Model:
    """The vendor, as simple as it can be."""

    calls: list[Made]
    order: str
    in_list: bool
    old: int
    now: int = 0

    def __post_init__(self) -> None:
        self.names = {call: f"c-{n}" for n, call in enumerate(self.calls)}
        self.by_name = {name: call for call, name in self.names.items()}
        self.fails_left = {name: call.detail_fails for name, call in self.by_name.items()}
        self.read: set[str] = set()

    def name(self, call: Made) -> str:
        return self.names[call]

    def rows(self) -> list[dict[str, Any]]:
        """Write the list as it is now."""
        visible = [call for call in self.calls if call.seen_from() <= self.now]
        rows = [self._row(call) for call in visible]
        rows += [row(f"old-{n}", -3600 - n, **self._trace(f"old-{n}")) for n in range(self.old)]
        if self.order == "unordered":
            return sorted(rows, key=lambda each: hashlib.sha256(each["conversation_id"].encode()).digest())
        field_name = "end_timestamp" if self.order == "newest_end_first" else "start_timestamp"
        return sorted(
            rows, key=lambda each: each[field_name] or math.inf, reverse=self.order != "oldest_first"
        )

    def _row(self, call: Made) -> dict[str, Any]:
        over = call.starts + call.lasts <= self.now
        made = row(
            self.name(call),
            call.starts,
            contact_number=number(f"{call.to:02}"),
            status=call.status if over else "in_progress",
        )
        made["end_timestamp"] = made["start_timestamp"] + 1000 * call.lasts if over else None
        return made | self._trace(self.name(call))

    def _trace(self, name: str) -> dict[str, str]:
        return {"trace_id": f"t-{name}"} if self.in_list else {}

    def details(self) -> dict[str, Any]:
        return {
            name: Answer(404) if self.fails_left.get(name) else {"trace_id": f"t-{name}"}
            for name in map(self.name, self.calls)
        }


calls_made = st.builds(
    Made,
    starts=st.integers(0, 300),
    lasts=st.integers(1, 90),
    to=st.integers(0, 3),
    status=st.sampled_from(sorted(FINAL)),
    waits=st.sampled_from(["trace", "trace", "lost", "nobody"]),
    seen=st.sampled_from(["start", "end", 20]),
    detail_fails=st.sampled_from([0, 0, 0, 1]),
)


@settings(max_examples=50, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    calls=st.lists(calls_made, min_size=1, max_size=14, unique=True),
    order=st.sampled_from(LIST_ORDERS),
    in_list=st.booleans(),
    old=st.sampled_from([0, 95, 230]),
    crowd=st.sampled_from([0, 0, 120]),
)
def test_everybody_ends_with_his_own_call(
    calls: list[Made], order: str, in_list: bool, old: int, crowd: int
) -> None:
    """Who knows his trace id gets that record and no other, and no two get the same; each poll is cheap."""
    crowd_of = [Made(n, 5, n % 9, "busy", "nobody", "end", 0) for n in range(crowd)]
    calls = list(dict.fromkeys(calls + crowd_of))
    model = Model(calls, order, in_list, old)
    board = Board()
    with (
        ScriptedServer(board.answer) as server,
        FormantClient(ClientConfig(server.base_url, "key"), retry_policy=ONCE) as client,
    ):
        reader = Reader(board, client)
        waiters: dict[str, Waiter] = {}
        for model.now in POLLS_AT:
            reader.now = NOON + timedelta(seconds=model.now)
            join(model, reader, waiters)
            poll(model, reader)
            check(model, waiters)
    for name, waiter in waiters.items():
        if waiter.watch.trace_id:
            assert outcome_of(waiter) == name


def join(model: Model, reader: Reader, waiters: dict[str, Waiter]) -> None:
    """Let those wait whose calls have begun; those who are served leave."""
    for waiter in [each for each in reader.feed.waiters if each.outcome]:
        reader.feed.leave(waiter)
    if not reader.feed.waiters:
        model.read = set()
    for number_of, call in enumerate(model.calls):
        name = model.name(call)
        if call.waits != "nobody" and call.starts <= model.now and name not in waiters:
            trace = f"t-{name}" if call.waits == "trace" else None
            # No two tasks begin to wait at the same moment; one that does so is the same one, started again.
            since = NOON + timedelta(seconds=call.starts, microseconds=-number_of)
            waiters[name] = reader.join(trace, recipient=number(f"{call.to:02}"), since=since)


def poll(model: Model, reader: Reader) -> None:
    """Poll once, and see that it did not cost more than it may."""
    board = reader.board
    board.rows, board.details = model.rows(), model.details()
    lists, asked = board.lists, len(board.asked_details)
    waiting = [each.watch.due_at for each in reader.feed.waiters]
    reader.poll()
    lists, details = board.lists - lists, board.asked_details[asked:]
    since_ms = min(waiting, default=NOON).timestamp() * 1000
    window = sum(each["start_timestamp"] >= since_ms for each in board.rows)
    # A window that ends with a page is seen to end on the next one.
    pages = (window if order_tells(model) else len(board.rows)) // 100 + 1
    assert lists <= (pages + (model.order != "newest_first") if waiting else 0)
    assert len(details) == len(set(details))
    assert model.read.isdisjoint(details)
    for name in details:
        call = model.by_name[name]
        assert call.starts + call.lasts <= model.now
        if not model.fails_left[name]:
            model.read.add(name)
        model.fails_left[name] = 0
    assert not (model.in_list and details)


def order_tells(model: Model) -> bool:
    return model.order in {"newest_first", "oldest_first"}


def check(model: Model, waiters: dict[str, Waiter]) -> None:
    taken = [waiter.record.conversation_id for waiter in waiters.values() if waiter.record]
    assert len(taken) == len(set(taken))
    with_trace = {name for name, waiter in waiters.items() if waiter.watch.trace_id}
    for name, waiter in waiters.items():
        if not waiter.record:
            continue
        if waiter.watch.trace_id:
            assert waiter.record.conversation_id == name
        else:
            assert waiter.record.contact_number == number(f"{model.by_name[name].to:02}")
            assert waiter.record.conversation_id not in with_trace
        assert waiter.record.status in FINAL
