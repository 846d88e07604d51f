"""Somebody who waits for calls, against a sandbox or against a list that is written by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from email.utils import format_datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

from formant_provider.api.client import GET_CONVERSATION, LIST_CONVERSATIONS, FormantClient
from formant_provider.api.config import ClientConfig
from formant_provider.api.fingerprints import Fingerprints
from formant_provider.api.models import Conversation
from formant_provider.api.retry import RetryPolicy
from formant_provider.core.conversations.feed import Feed
from formant_provider.core.conversations.waiters import Waiter, Watch
from formant_provider.core.flows import run
from formant_provider.sandbox import Sandbox
from formant_provider.sandbox.calls import Call
from support.ledgers import CALL, NOON, NUMBER
from support.scripted_server import Answer, ScriptedServer, Seen

AGENT = CALL.agent_id
NOON_MS = int(NOON.timestamp() * 1000)
ONCE = RetryPolicy(max_attempts=1)
LIST_ORDERS = ["newest_first", "oldest_first", "newest_end_first", "unordered"]


def number(ending: str) -> str:
    """Return the number whose last two digits say how its call ends."""
    return NUMBER[:-2] + ending


class Waiting:
    """A feed, its waiters and the sandbox they look at."""

    def __init__(self, sandbox: Sandbox, client: FormantClient) -> None:
        self.sandbox = sandbox
        self.client = client
        self.feed = Feed(AGENT, sandbox.now)

    def watch(self, call: Call | None = None, **fields: Any) -> Watch:
        """Watch a call as its receipt and its task know it; ``recipient`` is given as a number."""
        chosen: dict[str, Any] = {"since": self.sandbox.now()}
        if call:
            chosen = {"since": call.starts_at, "trace_id": call.trace_id, "recipient": call.customer_phone}
        chosen |= fields
        chosen["recipient"] = self.client.fingerprints(AGENT).mark(chosen.get("recipient"))
        return Watch(**chosen)

    def join(self, call: Call | None = None, **fields: Any) -> Waiter:
        return self.feed.join(self.watch(call, **fields))

    def place(self, ending: str = "00", **fields: Any) -> Call:
        return self.sandbox.place(number(ending), **fields)

    def poll(self, after: float = 0.0) -> dict[str, int]:
        """Let time pass, poll once, and return how many lists and details it took."""
        self.sandbox.advance(after)
        before = len(self.sandbox.requests)
        self.feed.use(self.client)
        run(self.feed.poll(), self.client)
        seen = [request.endpoint for request in self.sandbox.requests[before:]]
        return {"lists": seen.count(LIST_CONVERSATIONS), "details": seen.count(GET_CONVERSATION)}


@contextmanager
def waiting() -> Iterator[Callable[..., Waiting]]:
    """Start sandboxes at noon, whose records appear with the call, and a feed for each."""
    with ExitStack() as running:

        def start(**settings: Any) -> Waiting:
            chosen = {"speed": 0, "start_at": NOON, "rate_limit": None, "record_appears": "start", **settings}
            sandbox = running.enter_context(Sandbox(**chosen))
            config = ClientConfig(sandbox.base_url, sandbox.api_key)
            return Waiting(sandbox, running.enter_context(FormantClient(config, retry_policy=ONCE)))

        yield start


def outcome_of(waiter: Waiter) -> str | None:
    """Return the id of the conversation a wait ended with."""
    return waiter.outcome.conversation_id if waiter.outcome else None


def row(name: str, start_s: float = 0.0, **fields: Any) -> dict[str, Any]:
    """Write a record that began so many seconds after noon, and is over."""
    return {
        "conversation_id": name,
        "agent_id": AGENT,
        "contact_number": NUMBER,
        "status": "completed",
        "start_timestamp": NOON_MS + int(start_s * 1000),
        "end_timestamp": NOON_MS + int(start_s * 1000) + 1000,
        **fields,
    }


@dataclass
class Board:
    """Lists and details as they are written on it.

    :param rows: the list, in its order.
    :param details: what a detail says besides its row, or the whole answer.
    :param before_list: called before each list is answered.
    :param page: what a page says besides its rows; ``None`` leaves a field out.
    :param date: the vendor's clock; ``None`` leaves the date out of answers.
    """

    rows: list[Any] = field(default_factory=list)
    details: dict[str, dict[str, Any] | Answer] = field(default_factory=dict)
    before_list: Callable[[], None] | None = None
    page: dict[str, Any] = field(default_factory=dict)
    list_answer: Answer | None = None
    date: Callable[[], datetime] | None = None
    lists: int = 0
    asked_details: list[str] = field(default_factory=list)

    def answer(self, request: Seen) -> Answer:
        """Answer as the vendor does."""
        answer = self._answer(request)
        dated = {"Date": format_datetime(self.date(), usegmt=True)} if self.date else {}
        return replace(answer, headers={**dated, **answer.headers})

    def _answer(self, request: Seen) -> Answer:
        url = urlsplit(request.path)
        if url.path == "/v1/conversations":
            return self._list(parse_qs(url.query))
        name = url.path.rsplit("/", 1)[1]
        self.asked_details.append(name)
        detail = self.details.get(name, {})
        if isinstance(detail, Answer):
            return detail
        for each in self.rows:
            if each["conversation_id"] == name:
                return Answer(body={"data": {**each, **detail}})
        return Answer(404, {"error": {"type": "not_found"}})

    def _list(self, query: dict[str, list[str]]) -> Answer:
        self.lists += 1
        if self.before_list:
            self.before_list()
        if self.list_answer:
            return self.list_answer
        offset, limit = int(query["offset"][0]), int(query["limit"][0])
        page = self.rows[offset : offset + limit]
        body = {"has_more": offset + len(page) < len(self.rows), "total": len(self.rows), **self.page}
        return Answer(
            body={"data": page, **{name: value for name, value in body.items() if value is not None}}
        )


class Reader:
    """A feed that reads a board, on a clock of its own that begins at noon."""

    def __init__(self, board: Board, client: FormantClient, agent_id: int | None = AGENT) -> None:
        self.board = board
        self.client = client
        self.now = NOON
        self.feed = Feed(agent_id, lambda: self.now)

    def join(self, trace_id: str | None = None, *, recipient: str | None = NUMBER, **fields: Any) -> Waiter:
        mark = Fingerprints("key", AGENT).mark(recipient)
        return self.feed.join(Watch(**{"since": NOON, "trace_id": trace_id, "recipient": mark, **fields}))

    def poll(self, after: float = 0.0) -> None:
        self.now += timedelta(seconds=after)
        self.feed.use(self.client)
        run(self.feed.poll(), self.client)


@contextmanager
def reading(board: Board, agent_id: int | None = AGENT) -> Iterator[Reader]:
    """Serve a board, and read it."""
    with (
        ScriptedServer(board.answer) as server,
        FormantClient(ClientConfig(server.base_url, "key"), retry_policy=ONCE) as client,
    ):
        yield Reader(board, client, agent_id)


def read_all(client: FormantClient, flow: Callable[..., Any], since: datetime) -> set[str]:
    """Return the ids of the records that a flow takes."""
    taken: list[Conversation] = []
    run(flow(AGENT, int(since.timestamp() * 1000), taken.append), client)
    return {record.conversation_id for record in taken}
