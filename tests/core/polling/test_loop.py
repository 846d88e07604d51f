"""A worker that waits: its pauses, its requests, and what goes wrong between them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import timedelta
from typing import Any

import pytest

from formant_provider.api.client import GET_CONVERSATION, LIST_CONVERSATIONS, FormantClient
from formant_provider.api.errors import AuthenticationFailed
from formant_provider.core.conversations.waiters import Waiter
from formant_provider.core.polling.loop import REFUSALS_TO_BELIEVE, SENDS_PER_REQUEST
from formant_provider.core.polling.waits import FIRST_LOOK
from formant_provider.sandbox import Fault
from support.feeds import AGENT, Board, Waiting, number, outcome_of, row, waiting
from support.ledgers import NOON
from support.scripted_server import Answer
from support.worker import HOUR
from support.worker import Worker as AnyWorker


class Worker(AnyWorker):
    """Waits for calls."""

    def __init__(self, world: Waiting, jitter: float = 0.0) -> None:
        super().__init__(world.feed, world.sandbox, jitter)
        self.world = world

    def wait(self, waiter: Waiter, timeout_s: float = HOUR) -> str | None:
        """Wait, and return the id of the conversation that ended it."""
        return outcome_of(self.wait_for(waiter, timeout_s))


@pytest.fixture
def start() -> Iterator[Callable[..., Worker]]:
    """Start workers, each with a sandbox of its own at noon."""
    with ExitStack() as running:
        world = running.enter_context(waiting())
        yield lambda jitter=0.0, **settings: Worker(world(**settings), jitter)


@pytest.mark.parametrize("ending", ["00", "01", "09"])
def test_a_wait_ends_with_the_call(ending: str, start: Any) -> None:
    """It looks every thirty seconds, and reads the detail once."""
    worker = start(record_appears="end")
    call = worker.world.place(ending)
    assert worker.wait(worker.world.join(call)) == call.conversation_id
    lists = worker.asked_at(LIST_CONVERSATIONS)
    assert lists == [30.0 * n for n in range(len(lists))]
    assert len(worker.asked_at(GET_CONVERSATION)) == 1


def test_a_call_whose_receipt_was_lost_is_recognised_by_its_recipient(start: Any) -> None:
    """With the key of the client that polls."""
    worker = start()
    call = worker.world.place()
    assert worker.wait(worker.world.join(call, trace_id=None)) == call.conversation_id


@pytest.mark.parametrize("interval", [1.0, 10.0, 60.0])
def test_the_poll_interval_is_kept(interval: float, start: Any) -> None:
    """What the user asked for, when the API has no objection."""
    worker = start()
    worker.wait(worker.world.join(worker.world.place(), poll_interval_s=interval))
    lists = worker.asked_at(LIST_CONVERSATIONS)
    assert lists == [interval * n for n in range(len(lists))]
    assert lists[-2] < 142 <= lists[-1] < 142 + interval


def test_a_wait_goes_on_to_its_deadline_and_no_longer(start: Any) -> None:
    """The last pause ends at the deadline."""
    worker = start()
    waiter = worker.world.join(trace_id="t-1")
    assert worker.wait(waiter, timeout_s=100) is None
    assert worker.asked_at() == [0, 30, 60, 90]
    assert worker.pauses == [30, 30, 30, 10]


@pytest.mark.parametrize("ago", [0, 1, 86_400])
def test_a_deadline_that_has_passed_still_leaves_one_look(ago: float, start: Any) -> None:
    """A call that was over long ago is found, and one that is not there is looked for once."""
    worker = start()
    call = worker.world.place()
    worker.sandbox.advance(HOUR)
    assert worker.wait(worker.world.join(call), timeout_s=-ago) == call.conversation_id
    assert worker.pauses == []
    other = start()
    assert other.wait(other.world.join(trace_id="t-1"), timeout_s=-ago) is None
    assert other.asked_at() == [0]


def test_the_one_look_after_the_deadline_is_not_waited_for_without_end(start: Any) -> None:
    """When the API cannot be asked, the wait ends a little later all the same."""
    worker = start()
    worker.sandbox.inject(LIST_CONVERSATIONS, Fault.ERROR_500_BEFORE, times=1000)
    assert worker.wait(worker.world.join(trace_id="t-1"), timeout_s=-5) is None
    assert sum(worker.pauses) == pytest.approx(FIRST_LOOK.total_seconds())


def test_nothing_is_asked_before_a_scheduled_call_can_begin(start: Any) -> None:
    """The first look is at its time, less the minute that clocks may differ."""
    worker = start()
    call = worker.world.place(scheduled_for=NOON + timedelta(hours=2, seconds=7))
    assert worker.wait(worker.world.join(call), timeout_s=3 * HOUR) == call.conversation_id
    assert worker.asked_at()[0] == 2 * HOUR + 7 - 60


ERRORS = [
    Fault.ERROR_500_BEFORE,
    Fault.ERROR_503_BEFORE,
    Fault.DROP_BEFORE,
    Fault.DROP_AFTER,
    Fault.GARBAGE,
    Fault.RATE_LIMIT_NO_HEADERS,
]


@pytest.mark.parametrize("endpoint", [LIST_CONVERSATIONS, GET_CONVERSATION])
@pytest.mark.parametrize("fault", ERRORS)
def test_errors_slow_a_wait_down_and_never_fail_it(fault: Fault, endpoint: str, start: Any) -> None:
    """Ten in a row: the pauses grow, and then the call is found."""
    worker = start()
    call = worker.world.place()
    worker.sandbox.advance(200)
    waiter = worker.world.join(call)
    worker.sandbox.inject(endpoint, fault, times=10)
    assert worker.wait(waiter, timeout_s=20 * HOUR) == call.conversation_id
    tries = worker.asked_at(endpoint)
    assert len(tries) == 11
    gaps = [later - earlier for earlier, later in itertools.pairwise(tries)]
    assert min(gaps) >= 15
    # A list that is read in between ends the doubling.
    assert max(worker.pauses) >= (60 if endpoint == LIST_CONVERSATIONS else 30)


def test_a_server_that_hangs_is_given_up_on_and_asked_again(start: Any) -> None:
    """A read timeout is a lost answer."""
    worker = start()
    call = worker.world.place()
    worker.sandbox.advance(200)
    worker.sandbox.inject(LIST_CONVERSATIONS, Fault.HANG_BEFORE, seconds=5)
    assert worker.wait(worker.world.join(call)) == call.conversation_id
    assert len(worker.asked_at(LIST_CONVERSATIONS)) == 2


def test_a_server_that_is_down_is_waited_for(start: Any) -> None:
    """No connection is no failure either."""
    worker = start()
    waiter = worker.world.join(worker.world.place())
    worker.sandbox.stop()
    assert worker.wait(waiter, timeout_s=HOUR) is None
    worker.sandbox.start()
    assert worker.wait(waiter, timeout_s=HOUR) is not None


@pytest.mark.parametrize("jitter", [0.0, 0.999])
@pytest.mark.parametrize("fault", [Fault.RATE_LIMIT, Fault.RATE_LIMIT_RESET_ONLY])
def test_nothing_is_asked_before_the_time_the_server_named(fault: Fault, jitter: float, start: Any) -> None:
    """A storm of refusals, for lists and details: every pause is as long as was asked for."""
    worker = start(jitter)
    call = worker.world.place()
    worker.sandbox.advance(200)
    waiter = worker.world.join(call)
    for endpoint in (LIST_CONVERSATIONS, GET_CONVERSATION):
        worker.sandbox.inject(endpoint, fault, times=8, retry_after=90)
    assert worker.wait(waiter) == call.conversation_id
    asked = worker.asked_at()
    refused = [n for n, each in enumerate(worker.sandbox.requests) if each.status == 429]
    assert len(refused) == 16
    for n in refused:
        # Whole seconds of the reset header, and of the Date that it is compared with.
        assert asked[n + 1] - asked[n] >= (90 if fault == Fault.RATE_LIMIT else 89)


def test_a_refused_poll_goes_on_where_it_was(start: Any) -> None:
    """Pages and details that were read are not read again when a limit is hit in between."""
    worker = start()
    calls = [worker.world.place() for _ in range(120)]
    waiters = [worker.world.join(call, since=NOON - timedelta(hours=1)) for call in calls]
    rows = [row(call.conversation_id, -n) for n, call in enumerate(calls)]
    board = Board(rows, details={call.conversation_id: {"trace_id": call.trace_id} for call in calls})
    answered: list[str] = []
    asked = 0

    def answer(request: Any) -> Answer:
        nonlocal asked
        asked += 1
        if asked % (SENDS_PER_REQUEST + 2):
            return Answer(429, headers={"Retry-After": "40"})
        answered.append(request.path)
        return board.answer(request)

    with worker.answered_by(answer):
        worker.wait(waiters[-1], timeout_s=100 * HOUR)
    offsets = [path.rpartition("=")[2] for path in answered if "?" in path]
    assert offsets == ["0", "100"]
    assert len(answered) == len(set(answered)) == 122
    assert set(worker.pauses) == {40}


@pytest.mark.parametrize("after", range(SENDS_PER_REQUEST))
@pytest.mark.parametrize("path", ["list", "detail"])
def test_the_time_a_503_names_is_kept_whichever_send_it_is(path: str, after: int, start: Any) -> None:
    """Also the last send of a request, after which something else is asked."""
    worker = start()
    rows = [row("c-1", trace_id=None), row("c-2", 1, trace_id=None)]
    board = Board(rows, details={name: {"trace_id": f"t-{name}"} for name in ("c-1", "c-2")})
    sends, asked = 0, []

    def answer(request: Any) -> Answer:
        nonlocal sends
        asked.append((worker.sandbox.now() - NOON).total_seconds())
        if ("?" in request.path) is (path == "list"):
            sends += 1
            if sends <= after + 1:
                named = {"Retry-After": "500"} if sends == after + 1 else {}
                asked[-1] = -asked[-1] - 1 if named else asked[-1]
                return Answer(503, headers=named)
        return board.answer(request)

    with worker.answered_by(answer):
        worker.wait(worker.world.join(trace_id="t-c-2", recipient=number("00")))
    (named_at,) = [-at - 1 for at in asked if at < 0]
    later = [at for at in asked if at > named_at]
    assert later
    assert min(later) >= named_at + 500


def test_polls_leave_a_part_of_the_limit_to_others(start: Any) -> None:
    """A limit of ten a minute is never used up by one who polls every second."""
    worker = start(rate_limit=10, rate_window_seconds=60)
    call = worker.world.place()
    assert worker.wait(worker.world.join(call, poll_interval_s=1.0)) == call.conversation_id
    assert {seen.status for seen in worker.sandbox.requests} == {200}
    asked = worker.asked_at()
    assert all(sum(at <= each < at + 59 for each in asked) <= 6 for at in asked)


@pytest.mark.parametrize("refusals", range(REFUSALS_TO_BELIEVE + 1))
def test_a_refused_key_is_believed_in_the_end(refusals: int, start: Any) -> None:
    """Once or twice may be a key that was just changed; the third time is an error, with pauses between."""
    worker = start()
    waiter = worker.world.join(worker.world.place())
    board = Board([row("c-1", trace_id=waiter.watch.trace_id)])
    if refusals:
        board.list_answer = Answer(401)

    def before_list() -> None:
        board.list_answer = Answer(401) if board.lists <= refusals else None

    board.before_list = before_list
    with worker.answered_by(board.answer):
        if refusals < REFUSALS_TO_BELIEVE:
            assert worker.wait(waiter) == "c-1"
            assert len(worker.pauses) >= refusals
        else:
            with pytest.raises(AuthenticationFailed):
                worker.wait(waiter)
            assert board.lists == REFUSALS_TO_BELIEVE
            assert sum(worker.pauses) >= 60


def test_refusals_are_counted_in_a_row(start: Any) -> None:
    """A key that is accepted in between is accepted."""
    worker = start()
    waiter = worker.world.join(trace_id="t-1")
    board = Board()

    def before_list() -> None:
        board.list_answer = None if board.lists % REFUSALS_TO_BELIEVE == 0 else Answer(401)

    board.before_list = before_list
    with worker.answered_by(board.answer):
        assert worker.wait(waiter, timeout_s=HOUR) is None
    assert board.lists > 5 * REFUSALS_TO_BELIEVE


def test_the_client_is_opened_anew_for_each_poll(start: Any) -> None:
    """A connection that was changed is used from the next poll on, and the old client is closed."""
    worker = start(other_keys=["new-key"])
    clients: list[FormantClient] = []
    opened = worker.open_client

    def open_client() -> FormantClient:
        clients.append(opened())
        return clients[-1]

    worker.open_client = open_client
    worker.wait(worker.world.join(worker.world.place()))
    assert len(clients) == len(worker.asked_at(LIST_CONVERSATIONS)) > 3


def test_others_in_the_feed_are_served_as_well(start: Any) -> None:
    """One who waits polls for all of them."""
    worker = start()
    calls = [worker.world.place("02"), worker.world.place("00")]
    waiters = [worker.world.join(call) for call in calls]
    worker.wait(waiters[1])
    assert [outcome_of(waiter) for waiter in waiters] == [call.conversation_id for call in calls]


def test_the_agent_is_named_in_every_list(start: Any) -> None:
    """No other agent's conversations are read."""
    worker = start()
    worker.wait(worker.world.join(worker.world.place()))
    lists = [seen for seen in worker.sandbox.requests if seen.endpoint == LIST_CONVERSATIONS]
    assert {seen.query["agent_id"] for seen in lists} == {str(AGENT)}


def test_errors_are_logged_with_what_follows_and_nothing_private(start: Any, caplog: Any) -> None:
    """One line for each refusal, which says when it is asked again."""
    worker = start()
    worker.sandbox.inject(LIST_CONVERSATIONS, Fault.RATE_LIMIT, retry_after=90)
    worker.wait(worker.world.join(worker.world.place()))
    (line,) = caplog.messages
    assert "answered 429" in line
    assert "90 s" in line
    assert number("00")[1:] not in line
