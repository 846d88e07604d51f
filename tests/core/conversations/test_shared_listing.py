"""One reading of a list for all who look: how seldom it is read, and that nothing is overlooked for that."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta
from typing import Any

import pytest

from formant_provider.api.client import FormantClient
from formant_provider.api.config import ClientConfig
from formant_provider.api.errors import RateLimited, ServerError
from formant_provider.core.conversations.evidence import Span
from formant_provider.core.conversations.lookup import Search
from formant_provider.core.conversations.shared_listing import SharedListing
from support.feeds import AGENT, NOON_MS, ONCE, Board, row
from support.ledgers import NOON
from support.scripted_server import Answer, ScriptedServer

PAUSE_S = 11  # longer than a reading is fresh for


def person(n: int) -> str:
    return f"+1415{5550000 + n}"


def call(n: int, start_s: float, **fields: Any) -> dict[str, Any]:
    return row(f"c-{n}", start_s, contact_number=person(n), trace_id=f"t-{n}", **fields)


class Looks:
    """A list that is written by hand, newest first, and who looks in it."""

    def __init__(self, board: Board, base_url: str, running: ExitStack) -> None:
        self.board = board
        self.now, self.asked = NOON, 0
        self._config, self._running = ClientConfig(base_url, "key"), running
        self.listing = running.enter_context(SharedListing(self.client(), AGENT, self.clock))

    def clock(self) -> datetime:
        self.asked += 1
        return self.now

    def client(self) -> FormantClient:
        return self._running.enter_context(FormantClient(self._config, retry_policy=ONCE))

    def write(self, *rows: dict[str, Any]) -> None:
        written = [*self.board.rows, *rows]
        self.board.rows = sorted(written, key=lambda each: each["start_timestamp"], reverse=True)

    def found(self, n: int, since_s: float = -3600) -> list[str]:
        """Look for a person, and return the names of the conversations with them."""
        search = Search(self.client(), AGENT, person(n), lambda: self.now, self.listing)
        span = Span(NOON + timedelta(seconds=since_s), self.now, is_exact=False)
        return [record.conversation_id for record in search.since(span)]

    def lists(self, looks: int = 1, after: float = PAUSE_S) -> int:
        """Return how many pages it takes to look for so many people, a while later."""
        self.now += timedelta(seconds=after)
        before = self.board.lists
        for n in range(looks):
            self.found(n)
        return self.board.lists - before


@pytest.fixture
def looks() -> Iterator[Looks]:
    with looking() as each:
        yield each


@contextmanager
def looking(**board: Any) -> Iterator[Looks]:
    written = Board(**board)
    with ScriptedServer(written.answer) as server, ExitStack() as running:
        each = Looks(written, server.base_url, running)
        written.date = lambda: each.now
        yield each


def test_one_reading_serves_all_who_look(looks: Looks) -> None:
    """A hundred look for a hundred people: the ten pages of the list are read once."""
    looks.write(*(call(n, -n) for n in range(1000)))
    assert looks.lists(looks=100) == 10
    assert looks.found(7) == ["c-7"]
    assert looks.lists(looks=100, after=5) == 0


def test_a_later_reading_reads_what_is_new(looks: Looks) -> None:
    """Of a thousand calls within the hour the page with the new ones is read, and no other."""
    looks.write(*(call(n, -n) for n in range(1000)))
    looks.lists()
    looks.write(*(call(2000 + n, 5 + n / 100) for n in range(30)))
    assert looks.lists() == 1
    assert looks.found(2029) == ["c-2029"]
    assert looks.lists() == 1


def test_who_goes_on_talking_is_read_again(looks: Looks) -> None:
    """A record that was not over is read until it is, on whatever page; then no more."""
    talking = call(500, -500, status="in_progress", end_timestamp=None)
    looks.write(*(call(n, -n) for n in range(1000) if n != 500), talking)
    looks.lists()
    assert looks.lists() == 6
    talking |= {"status": "busy", "end_timestamp": NOON_MS}
    assert (looks.lists(), looks.lists()) == (6, 1)


@pytest.mark.parametrize("page", [{}, {"total": None}], ids=["total", "no total"])
def test_a_record_that_appears_late_is_not_overlooked(page: dict[str, Any]) -> None:
    """A call of two hours is listed when it is over, behind hundreds that began later."""
    with looking(page=page) as looks:
        looks.write(*(call(n, -10 * n) for n in range(1000)))
        looks.lists()
        assert looks.found(5000, -9000) == []
        looks.write(call(5000, -7200))
        looks.now += timedelta(seconds=PAUSE_S)
        assert looks.found(5000, -9000) == ["c-5000"]


def test_a_long_call_in_a_list_by_the_end_hides_nothing(looks: Looks) -> None:
    """The last record of a page began hours before those on the next one."""
    long = call(500, -9000, end_timestamp=NOON_MS - 200_000)
    looks.board.rows = [*(call(n, -n) for n in range(99)), long, call(600, -300)]
    assert looks.found(600) == ["c-600"]


def test_a_total_that_counts_something_else_is_not_relied_on_for_long() -> None:
    """It stays the same whatever comes: after some minutes a late record is seen all the same."""
    with looking(page={"total": 10_000}) as looks:
        looks.write(*(call(n, -10 * n) for n in range(1000)))
        assert looks.found(5000, -9000) == []
        looks.write(call(5000, -7200))
        looks.now += timedelta(minutes=6)
        assert looks.found(5000, -9000) == ["c-5000"]


def test_who_looks_farther_back_and_farther_costs_a_few_readings(looks: Looks) -> None:
    """Of a hundred that look each a little farther back than the one before, few read it all again."""
    looks.write(*(call(n, -60 * n) for n in range(200)))
    for n in range(0, 200, 2):
        assert looks.found(n, -60 * n) == [f"c-{n}"]
    assert looks.board.lists < 20


def test_numbers_that_the_list_masks_are_read_in_detail_once_for_all(looks: Looks) -> None:
    """Forty people, each looked for twice: forty details to tell whose they are, and each one's own."""
    looks.write(*(call(n, -n) | {"contact_number": "+1415*****00"} for n in range(40)))
    looks.board.details = {f"c-{n}": {"contact_number": person(n)} for n in range(40)}
    assert [looks.found(n) for n in range(40)] == [[f"c-{n}"] for n in range(40)]
    looks.lists(looks=40)
    assert len(looks.board.asked_details) == 40 + 2 * 40


def test_threads_that_look_at_once_share_one_reading(looks: Looks) -> None:
    """Eight threads, of which each finds its own."""
    looks.write(*(call(n, -n) for n in range(500)))
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(looks.found, range(80))) == [[f"c-{n}"] for n in range(80)]
    assert looks.board.lists == 5


def test_who_waited_for_a_reading_that_failed_does_not_repeat_it(looks: Looks) -> None:
    """While the API is down, one waits for it and not each in turn; whoever comes later asks again."""
    looks.write(call(1, -1))
    waiting: list[Any] = []

    def fail_when_all_wait() -> None:
        asked = looks.asked
        waiting.extend(pool.submit(looks.found, 1) for _ in range(6))
        while looks.asked < asked + 6:
            time.sleep(0.01)
        time.sleep(0.1)
        looks.board.before_list = None

    looks.board.list_answer, looks.board.before_list = Answer(500), fail_when_all_wait
    with ThreadPoolExecutor(8) as pool:
        with pytest.raises(ServerError):
            looks.found(1)
        errors = [each.exception() for each in waiting]
    assert [type(error) for error in errors] == [ServerError] * 6
    assert len(set(map(id, errors))) == 6
    assert looks.board.lists == 1
    looks.board.list_answer = None
    assert looks.found(1) == ["c-1"]


def test_a_reading_that_broke_off_is_not_taken_for_whole(looks: Looks) -> None:
    """The third page fails: what lies there is found by the next look."""
    looks.write(*(call(n, -n) for n in range(300)))

    def fail_from_the_third_on() -> None:
        looks.board.list_answer = Answer(500) if looks.board.lists > 2 else None

    looks.board.before_list = fail_from_the_third_on
    with pytest.raises(ServerError):
        looks.found(250)
    looks.board.before_list = looks.board.list_answer = None
    assert looks.found(250) == ["c-250"]


def test_a_reading_that_a_limit_breaks_off_goes_on_in_the_next_window(looks: Looks) -> None:
    """A list of more pages than a limit allows at once is read to its end; nothing is lost meanwhile."""
    looks.write(*(call(n, -n) for n in range(700)))
    allowed = 0

    def refuse_beyond_the_limit() -> None:
        looks.board.list_answer = Answer(429) if looks.board.lists > allowed else None

    looks.board.before_list = refuse_beyond_the_limit
    for window in range(1, 4):
        allowed = looks.board.lists + 3
        looks.now += timedelta(minutes=1)
        looks.write(call(1000 + window, 60 * window))
        if window < 3:
            with pytest.raises(RateLimited):
                looks.found(650)
    assert looks.found(650) == ["c-650"]
    assert looks.found(1003) == ["c-1003"]


def test_a_clock_that_is_set_back_does_not_stop_the_reading(looks: Looks) -> None:
    """Then it is read again, and not only when the clock has caught up."""
    looks.write(call(1, -1))
    looks.lists()
    looks.now -= timedelta(hours=1)
    looks.write(call(2, -2))
    assert looks.found(2) == ["c-2"]


def test_a_listing_of_another_agent_is_refused(looks: Looks) -> None:
    """In it a call would be overlooked, and placed a second time."""
    with pytest.raises(ValueError, match="listing"):
        Search(looks.client(), AGENT + 1, person(1), lambda: looks.now, looks.listing)


MEASURED = """
import resource
from formant_provider.api.models import Conversation
from formant_provider.core.conversations.listed_records import ListedRecords

records, most = ListedRecords(), lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
before = most()
for n in range(100_000):
    number = f"+1415{5000000 + n}"
    id_ = f"e36853de-9cbb-441e-ad75-{n:012}_1"
    records.take(Conversation(id_, 456, "busy", number, id_, n, n + 1, transcript="..." * 999))
assert len(records) == 100_000
assert [each.start_timestamp for each in records.with_number("+14155000777", 0)] == [777]
print(most() - before)
"""


def test_a_hundred_thousand_conversations_fit_into_little_memory() -> None:
    """Less than 60 MB, and what was said is not kept."""
    done = subprocess.run([sys.executable, "-c", MEASURED], check=True, capture_output=True, text=True)
    assert int(done.stdout) < 60_000
