from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from formant_provider.api.client import CREATE_CALL, GET_CONVERSATION, LIST_CONVERSATIONS, FormantClient
from formant_provider.api.config import ClientConfig
from formant_provider.api.errors import ServerError
from formant_provider.api.listing import MAX_PAGES, PAGE_SIZE
from formant_provider.api.lookup import find_call
from formant_provider.api.models import CallReceipt, Conversation
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

    def find(self, since: datetime, trace_id: str | None = None) -> Conversation | None:
        return find_call(self.client, agent_id=AGENT, recipient=NUMBER, since=since, trace_id=trace_id)

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
@pytest.mark.parametrize("known", [True, False], ids=["trace id known", "trace id lost"])
def test_a_call_is_found_whatever_the_list_looks_like(
    known: bool, in_list: bool, order: str, world: Any
) -> None:
    """Order of the list and the trace id in it do not matter; what comes back is the whole record."""
    w = world(list_order=order, trace_id_in_list=in_list)
    w.calls(3, every=200)
    since = w.sandbox.now()
    receipt = w.call()
    w.sandbox.advance(200)
    w.calls(3, every=200)
    found = w.find(since, receipt.trace_id if known else None)
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
def test_of_several_calls_the_first_one_after_the_moment_is_taken(order: str, world: Any) -> None:
    """Our own first send caused it; what came later was somebody else's."""
    w = world(list_order=order)
    w.call()
    w.sandbox.advance(3600)
    since = w.sandbox.now()
    w.sandbox.advance(2)
    receipt = w.call()
    w.sandbox.advance(300)
    w.call()
    assert trace_of(w.find(since)) == receipt.trace_id


@ORDERS
def test_the_known_trace_id_decides_between_several_calls(order: str, world: Any) -> None:
    """With the id at hand, neither an earlier nor a later call to the same number is taken."""
    w = world(list_order=order)
    receipts = []
    for _ in range(3):
        receipts.append(w.call())
        w.sandbox.advance(300)
    assert [trace_of(w.find(NOON, receipt.trace_id)) for receipt in receipts] == [
        receipt.trace_id for receipt in receipts
    ]
    assert w.find(NOON, "nobody's trace id") is None


def test_a_trace_id_in_the_list_saves_reading_details(world: Any) -> None:
    """Records that say they are another call are not opened."""
    w = world(trace_id_in_list=True)
    for _ in range(5):
        receipt = w.call()
        w.sandbox.advance(300)
    assert trace_of(w.find(NOON, receipt.trace_id)) == receipt.trace_id
    assert w.asked(GET_CONVERSATION) == 1


@pytest.mark.parametrize(("seconds_early", "found"), [(0, True), (1, True), (59, True), (61, False)])
def test_a_record_may_begin_a_little_before_it_was_asked_for(
    seconds_early: int, found: bool, world: Any
) -> None:
    """The vendor's clock is not ours: up to a minute early is taken, more is another call."""
    w = world()
    w.call()
    assert (w.find(NOON + timedelta(seconds=seconds_early)) is not None) is found


@ORDERS
def test_a_record_after_the_moment_is_taken_before_one_that_is_a_little_early(order: str, world: Any) -> None:
    """The tolerance for clocks is for want of a better record."""
    w = world(list_order=order)
    w.call()
    w.sandbox.advance(30)
    since = w.sandbox.now()
    w.sandbox.advance(10)
    receipt = w.call()
    assert trace_of(w.find(since)) == receipt.trace_id


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
        return trace_of(find_call(w.client, agent_id=AGENT, recipient=number, since=NOON))

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


def look(server: ScriptedServer, trace_id: str | None = None) -> Conversation | None:
    with FormantClient(ClientConfig(server.base_url, "key")) as client:
        return find_call(client, agent_id=AGENT, recipient=NUMBER, since=NOON, trace_id=trace_id)


@pytest.mark.parametrize("written", ["14155550100", "+1 415 555 0100", "+1 (415) 555-0100", "1-415-555-0100"])
def test_a_number_is_the_same_however_it_is_written(written: str) -> None:
    """Plus sign, spaces and brackets are the writer's taste."""
    with ScriptedServer(telling({**RECORD, "contact_number": written})) as server:
        assert look(server) is not None


@pytest.mark.parametrize("written", [None, "", "+", "4155550100", "+141555501000"])
def test_no_number_or_another_is_not_the_call(written: str | None) -> None:
    """A part of the number is not the number."""
    with ScriptedServer(telling({**RECORD, "contact_number": written})) as server:
        assert look(server) is None


@pytest.mark.parametrize(
    "detail", [{"agent_id": 789}, {"contact_number": OTHER}, {"agent_id": None}, {"contact_number": None}]
)
def test_the_detail_has_the_last_word(detail: dict[str, Any]) -> None:
    """A list row that fits is not the call when its own record says otherwise."""
    with ScriptedServer(telling(RECORD, detail=detail)) as server:
        assert look(server) is None


def test_a_detail_with_another_trace_id_is_not_the_call() -> None:
    """The list did not say; the record does."""
    with ScriptedServer(telling(RECORD, detail={"trace_id": "t-2"})) as server:
        assert look(server, trace_id="t-1") is None
        assert look(server, trace_id="t-2") is not None


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
    """A server that always says there is more is believed so many times."""
    row = {**RECORD, "contact_number": OTHER}
    with ScriptedServer(telling(row, has_more=True)) as server:
        assert look(server) is None
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
