from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from formant_provider.api.client import CREATE_CALL, GET_CONVERSATION, LIST_CONVERSATIONS, FormantClient
from formant_provider.api.config import ClientConfig
from formant_provider.api.errors import CallOutcomeUnknown, ServerError
from formant_provider.api.models import CallReceipt, Conversation
from formant_provider.core.conversations.evidence import Span
from formant_provider.core.conversations.lookup import Search
from formant_provider.core.paging import MAX_PAGES, PAGE_SIZE
from formant_provider.sandbox import Fault, Sandbox
from support.ledgers import CALL, NOON, NUMBER, call_to
from support.scripted_server import Answer, ScriptedServer, Seen

AGENT = CALL.agent_id
OTHER = call_to("77").recipient


class World:
    """A sandbox that has seen calls, and somebody who looks for one of them."""

    def __init__(self, sandbox: Sandbox, client: FormantClient) -> None:
        self.sandbox = sandbox
        self.client = client
        self.placed = 0

    def call(self, number: str = NUMBER, agent_id: int = AGENT) -> CallReceipt:
        self.placed += 1
        parameters = (("customer_phone", number),)
        return self.client.create_call(
            replace(CALL, agent_id=agent_id, parameters=parameters, idempotency_key=f"key {self.placed}")
        )

    def calls(self, count: int, *, every: float, number: str = OTHER) -> None:
        for _ in range(count):
            self.call(number)
            self.sandbox.advance(every)

    def search(self, number: str = NUMBER) -> Search:
        return Search(self.client, AGENT, number, self.sandbox.now)

    def find(
        self, since: datetime, until: datetime | None = None, number: str = NUMBER
    ) -> Conversation | None:
        return self.search(number).find([Span(since, until or self.sandbox.now())]).record

    def asked(self, endpoint: str) -> int:
        return sum(seen.endpoint == endpoint for seen in self.sandbox.requests)


@pytest.fixture
def world() -> Iterator[Callable[..., World]]:
    """Start sandboxes whose clock stands at noon and whose records appear with the call."""
    with ExitStack() as running:

        def start(**settings: Any) -> World:
            chosen = {"speed": 0, "start_at": NOON, "rate_limit": None, "record_appears": "start", **settings}
            sandbox = running.enter_context(Sandbox(**chosen))
            config = ClientConfig(sandbox.base_url, sandbox.api_key)
            client = running.enter_context(FormantClient(config, sleep=sandbox.advance))
            return World(sandbox, client)

        yield start


ORDERS = pytest.mark.parametrize("order", ["newest_first", "oldest_first"])
TRACES = pytest.mark.parametrize("in_list", [True, False], ids=["trace id in list", "no trace id in list"])


def trace_of(record: Conversation | None) -> str | None:
    return record.trace_id if record else None


@ORDERS
@TRACES
def test_a_call_is_found_whatever_the_list_looks_like(in_list: bool, order: str, world: Any) -> None:
    """Order of the list and the trace id in it do not matter; what comes back is the whole record."""
    w = world(list_order=order, trace_id_in_list=in_list)
    w.calls(3, every=200)
    since = w.sandbox.now()
    receipt = w.call()
    w.sandbox.advance(200)
    w.calls(3, every=200)
    found = w.find(since)
    assert found is not None
    assert (found.trace_id, found.contact_number, found.agent_id) == (receipt.trace_id, NUMBER, AGENT)
    assert (found.status, found.results is None) == ("completed", False)


@ORDERS
@pytest.mark.parametrize("later", [0, 40, 120, 220])
def test_a_call_is_found_on_any_page(later: int, order: str, world: Any) -> None:
    """More than two pages of records, and the call on the first, in the middle or on the last."""
    w = world(list_order=order)
    w.calls(230 - later, every=1)
    since = w.sandbox.now()
    receipt = w.call()
    w.calls(later, every=1)
    assert trace_of(w.find(since)) == receipt.trace_id


@ORDERS
def test_a_call_that_is_not_there_is_looked_for_on_every_page_that_may_hold_it(
    order: str, world: Any
) -> None:
    """When all records are recent all are read, once; then the answer is no."""
    w = world(list_order=order)
    w.calls(230, every=1)
    assert w.find(NOON) is None
    assert w.asked(LIST_CONVERSATIONS) <= 4
    assert w.asked(GET_CONVERSATION) == 0


@pytest.mark.parametrize(("order", "most"), [("newest_first", 2), ("oldest_first", 3)])
def test_reading_stops_where_records_are_too_old(order: str, most: int, world: Any) -> None:
    """Of 330 records only the newest pages are read, in whichever order the list comes."""
    w = world(list_order=order)
    w.calls(310, every=10)
    w.sandbox.advance(3600)
    since = w.sandbox.now()
    w.calls(19, every=1)
    receipt = w.call()
    assert trace_of(w.find(since)) == receipt.trace_id
    assert w.asked(LIST_CONVERSATIONS) <= most


@ORDERS
def test_a_call_outside_of_the_time_is_another(order: str, world: Any) -> None:
    """Only what began within the span can have come of our send, whatever else there is."""
    w = world(list_order=order)
    w.call()
    w.sandbox.advance(3600)
    since = w.sandbox.now()
    receipt = w.call()
    w.sandbox.advance(300)
    w.call()
    assert trace_of(w.find(since, since + timedelta(seconds=15))) == receipt.trace_id
    finding = w.search().find([Span(since + timedelta(seconds=60), since + timedelta(seconds=200))])
    assert (finding.record, finding.others) == (None, 1)


@ORDERS
@TRACES
def test_of_two_calls_that_fit_none_is_taken(in_list: bool, order: str, world: Any) -> None:
    """Two candidates are no proof: the call stays unknown, and how many there were is told."""
    w = world(list_order=order, trace_id_in_list=in_list)
    w.call()
    w.sandbox.advance(5)
    w.call()
    finding = w.search().find([Span(NOON, NOON + timedelta(seconds=15))])
    assert (finding.record, finding.others) == (None, 2)


def test_a_trace_id_that_is_known_to_be_ours_decides(world: Any) -> None:
    """Of two that fit, the one whose trace id the task has told is the call's."""
    w = world()
    receipts = [w.call(), w.call()]
    spans = [Span(NOON, NOON)]
    for receipt in receipts:
        found = w.search().find(spans, own_traces=lambda trace_id=receipt.trace_id: [trace_id])
        assert trace_of(found.record) == receipt.trace_id


def test_conversations_that_are_known_to_be_others_are_passed_over(world: Any) -> None:
    """What was there before our send is not its doing."""
    w = world()
    w.call()
    (first,) = w.search().since(Span(NOON, NOON))
    receipt = w.call()
    found = w.search().find([Span(NOON, NOON)], other_than=[first.conversation_id])
    assert trace_of(found.record) == receipt.trace_id


@pytest.mark.parametrize("trace_id", ["same", "new"])
def test_attempts_with_one_trace_id_are_one_call(trace_id: str, world: Any) -> None:
    """The platform's redial is no second candidate if it bears the call's trace id; the first is the call."""
    w = world(platform_redials=1, platform_redial_after_seconds=60, redial_trace_id=trace_id)
    number = call_to("01").recipient
    receipt = w.call(number)
    w.sandbox.advance(600)
    assert trace_of(w.find(NOON, number=number)) == (receipt.trace_id if trace_id == "same" else None)


@pytest.mark.parametrize("ahead_s", [-7200, -90, 0, 90, 7200])
def test_the_vendor_s_clock_is_read_from_its_answers(ahead_s: int, world: Any) -> None:
    """However far our clock is off, the call is found, and one that began four minutes before it is not."""
    w = world()
    w.call()
    w.sandbox.advance(240)
    receipt = w.call()
    now = w.sandbox.now() - timedelta(seconds=ahead_s)
    search = Search(w.client, AGENT, NUMBER, lambda: now)
    assert trace_of(search.find([Span(now, now + timedelta(seconds=15))]).record) == receipt.trace_id


@pytest.mark.parametrize(("seconds_early", "found"), [(0, True), (2, True), (5, False)])
def test_a_record_may_begin_a_little_before_it_was_asked_for(
    seconds_early: int, found: bool, world: Any
) -> None:
    """The ``Date`` header is exact to a second or so: that much early is taken, more is another call."""
    w = world()
    w.call()
    w.sandbox.advance(60)
    assert (w.find(NOON + timedelta(seconds=seconds_early)) is not None) is found


def test_other_people_and_other_agents_are_not_the_call(world: Any) -> None:
    """Same agent and number, or nothing."""
    w = world()
    w.call(OTHER)
    w.call(NUMBER, agent_id=789)
    w.call(NUMBER[:-1])
    assert w.find(NOON) is None


@pytest.mark.parametrize("ending", ["00", "09"])
def test_a_record_that_appears_late_is_found_when_it_is_there(ending: str, world: Any) -> None:
    """Until the call is over, or a minute after it, there is nothing; then there is the call."""
    w = world(record_appears="end")
    number = call_to(ending).recipient
    receipt = w.call(number)

    def found() -> str | None:
        return trace_of(w.find(NOON, number=number))

    w.sandbox.advance(141)
    assert found() is None
    w.sandbox.advance(61)
    assert found() == receipt.trace_id


def test_a_record_that_is_listed_but_cannot_be_read_yet_is_not_there_yet(world: Any) -> None:
    """404 for the detail is no error; the next look finds it."""
    w = world()
    receipt = w.call()
    w.sandbox.inject(GET_CONVERSATION, Fault.NOT_FOUND)
    assert w.find(NOON) is None
    assert trace_of(w.find(NOON)) == receipt.trace_id


@pytest.mark.parametrize("endpoint", [LIST_CONVERSATIONS, GET_CONVERSATION])
def test_a_look_that_fails_is_not_a_look_that_found_nothing(endpoint: str, world: Any) -> None:
    """Errors that do not pass are raised."""
    w = world()
    w.call()
    w.sandbox.inject(endpoint, Fault.ERROR_500_BEFORE, times=4)
    with pytest.raises(ServerError):
        w.find(NOON)


def test_looking_rings_nobody(world: Any) -> None:
    """A look is made of reads."""
    w = world()
    w.calls(3, every=1, number=NUMBER)
    w.find(NOON)
    assert w.asked(CREATE_CALL) == 3


# Lists no sandbox writes: told by a server that says what it is told to say.

NOON_MS = int(NOON.timestamp() * 1000)
RECORD = {"conversation_id": "c-1", "agent_id": AGENT, "contact_number": NUMBER, "start_timestamp": NOON_MS}


def telling(*rows: Mapping[str, Any], detail: Mapping[str, Any] | None = None, **page: Any) -> Any:
    """Answer lists with these rows, and details with the row of that id or with ``detail``."""

    def answer(request: Seen) -> Answer:
        if request.path.startswith("/v1/conversations?"):
            return Answer(body={"data": rows, "has_more": False, "total": len(rows), **page})
        wanted = request.path.rsplit("/", 1)[1]
        (row,) = (row for row in rows if row["conversation_id"] == wanted)
        return Answer(body={"data": {**row, **(detail or {})}})

    return answer


def look(server: ScriptedServer) -> Conversation | None:
    with FormantClient(ClientConfig(server.base_url, "key")) as client:
        search = Search(client, AGENT, NUMBER, lambda: datetime.now(UTC))  # as the server's Date does
        return search.find([Span(NOON - timedelta(minutes=1), NOON + timedelta(minutes=1))]).record


SAME = ["14155550100", "+1 415 555 0100", "+1 (415) 555-0100", "1-415-555-0100"]
OTHERS = [None, "", "+", "4155550100", "+141555501000", "+1415*****00"]


@pytest.mark.parametrize("written", [*SAME, *OTHERS])
def test_a_number_is_the_same_however_it_is_written_and_a_part_of_it_is_not(written: str | None) -> None:
    """Plus sign, spaces and brackets do not matter; a part of it is another, if the detail tells no more."""
    with ScriptedServer(telling({**RECORD, "contact_number": written})) as server:
        assert (look(server) is not None) is (written in SAME)


@pytest.mark.parametrize("written", [None, "+1415*****00", "xxxxxxx0100"])
@pytest.mark.parametrize(("detail", "found"), [(NUMBER, True), (OTHER, False)])
def test_a_number_that_the_list_does_not_tell_is_read_in_the_detail(
    detail: str, found: bool, written: str | None
) -> None:
    """A list may leave numbers out, or mask them."""
    rows = telling({**RECORD, "contact_number": written}, detail={"contact_number": detail})
    with ScriptedServer(rows) as server:
        assert (look(server) is not None) is found


@pytest.mark.parametrize("name", ["agent_id", "contact_number", "start_timestamp", "trace_id"])
def test_what_a_detail_leaves_out_is_taken_from_the_list(name: str) -> None:
    """The vendor's own sample of a detail has no times."""
    with ScriptedServer(telling({**RECORD, "trace_id": "t-1"}, detail={name: None})) as server:
        found = look(server)
    assert found is not None
    assert (found.start_timestamp, found.trace_id) == (NOON_MS, "t-1")


@pytest.mark.parametrize("detail", [{"agent_id": 789}, {"contact_number": OTHER}])
def test_the_detail_has_the_last_word(detail: dict[str, Any]) -> None:
    """A list row that fits is not the call when its own record says otherwise."""
    with ScriptedServer(telling(RECORD, detail=detail)) as server:
        assert look(server) is None


def test_a_record_that_does_not_say_when_it_began_is_passed_over() -> None:
    """It may be last year's call; the one with a time is taken."""
    timeless = {**RECORD, "conversation_id": "c-0", "start_timestamp": None}
    bare = {"conversation_id": "c-2"}
    with ScriptedServer(telling(timeless, bare, RECORD)) as server:
        found = look(server)
    assert found is not None
    assert found.conversation_id == "c-1"
    with ScriptedServer(telling(timeless, bare)) as server:
        assert look(server) is None


def test_a_list_that_never_ends_is_not_read_for_ever() -> None:
    """A server that always says there is more is believed so many times; then nothing is known."""
    row = {**RECORD, "contact_number": OTHER}
    with ScriptedServer(telling(row, has_more=True)) as server, pytest.raises(CallOutcomeUnknown):
        look(server)
    assert len(server.seen) == MAX_PAGES


def test_an_oldest_first_list_without_a_total_is_read_to_its_end() -> None:
    """Where the end cannot be jumped to, it is walked to."""
    old = {**RECORD, "contact_number": OTHER, "start_timestamp": NOON_MS - 3_600_000}
    rows = [
        {**old, "conversation_id": f"c-{n}", "start_timestamp": old["start_timestamp"] + n}
        for n in range(2 * PAGE_SIZE)
    ]
    rows.append({**RECORD, "conversation_id": "c-last"})

    def answer(request: Seen) -> Answer:
        _, is_list, offset = request.path.rpartition("offset=")
        if not is_list:
            return Answer(body={"data": rows[-1]})
        page = rows[int(offset) : int(offset) + PAGE_SIZE]
        return Answer(body={"data": page, "has_more": int(offset) + PAGE_SIZE < len(rows)})

    with ScriptedServer(answer) as server:
        found = look(server)
    assert found is not None
    assert found.conversation_id == "c-last"
