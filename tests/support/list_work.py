"""One wake of a call list against a sandbox, over a ledger that a test lets fail as it wants."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from formant_provider.api.client import FormantClient
from formant_provider.api.config import ClientConfig
from formant_provider.api.errors import FormantError, InvalidInput, SendAborted
from formant_provider.api.fingerprints import Fingerprints
from formant_provider.core.call_lists.attempting import AttemptRule
from formant_provider.core.call_lists.board import Board
from formant_provider.core.call_lists.calls import Attempt, Known, ListedCall
from formant_provider.core.call_lists.control import Control, Rest
from formant_provider.core.call_lists.following import Following
from formant_provider.core.call_lists.judging import Judging
from formant_provider.core.call_lists.listening import Clients
from formant_provider.core.call_lists.listings import Listings
from formant_provider.core.call_lists.pace import Pace
from formant_provider.core.call_lists.placing import CallPlacer, When
from formant_provider.core.call_lists.work import ListWork
from formant_provider.core.calls.facts import Policy
from formant_provider.core.conversations.statuses import Endings
from formant_provider.sandbox import Sandbox
from support.feeds import ONCE
from support.ledgers import MemoryLedger

SUCCESS = frozenset({"completed"})


def now() -> datetime:
    """Return the time of the sandbox and of the list."""
    return datetime.now(UTC)


class ListBook:
    """A ledger of a list that is kept in memory, and fails as often as it is told to.

    :ivar fails: errors by the name of what is to fail, each of them once.
    :ivar prepared: keys in the order in which they were prepared.
    :ivar open: keys that are prepared and not finished; no more than ``at_once`` are at any time.
    :ivar asides: by the name of a method, what is carried out when it is called.
    """

    def __init__(self, at_once: int = 50) -> None:
        self.at_once = at_once
        self.fails: dict[str, list[Exception]] = {}
        self.asides: dict[str, Callable[[], None]] = {}
        self.books: dict[str, MemoryLedger] = {}
        self.prepared: list[str] = []
        self.open: set[str] = set()
        self.noted: list[tuple[str, Attempt]] = []
        self.written: list[tuple[str, Attempt]] = []
        self.flushes = 0

    def known(self, keys: Sequence[str]) -> Mapping[str, Known]:  # noqa: ARG002 - a ledger's
        return {}

    def prepare(self, calls: Sequence[ListedCall]) -> Sequence[ListedCall]:
        self._fail("prepare")
        for call in calls:
            assert call.key not in self.open, "it is prepared already"
            self.open.add(call.key)
            self.prepared.append(call.key)
        assert len(self.open) <= self.at_once, "a crash would cost a look at more than was promised"
        return calls

    def ledger_of(self, call: ListedCall) -> Any:
        assert call.key in self.open, "nothing may be sent that was not prepared"
        self._fail("ledger_of")
        return self.books.setdefault(call.key, _Noticed(self))

    def finish(self, call: ListedCall) -> None:
        self.open.remove(call.key)

    def note(self, ended: Iterable[tuple[str, Attempt]]) -> None:
        self.noted += ended
        self._fail("note")
        self.written = list(self.noted)

    def flush(self) -> None:
        self.flushes += 1
        self._fail("flush")
        self.written = list(self.noted)

    def receipts(self) -> set[str]:
        """The keys of calls that are known to be placed."""
        return {key for key, book in self.books.items() if book.history and book.last.receipt}

    def _fail(self, what: str) -> None:
        self.asides.get(what, lambda: None)()
        if errors := self.fails.get(what):
            raise errors.pop(0)


class _Noticed(MemoryLedger):
    """The ledger of one call, whose claims the list's book hears of."""

    def __init__(self, book: ListBook) -> None:
        super().__init__()
        self._book = book

    def claim(self, intent: Any) -> None:
        self._book._fail("claim")  # the two are one thing
        self.write(intent)


@dataclass
class ListWorld:
    """A list, whatever it needs, and the switches of its user.

    :ivar held: who holds it; ``over``: why it is to end; both as a :class:`Control` says it.
    :ivar api_keys: keys of the connection, each in force until the next ``reread``.
    """

    board: Board
    sandbox: Sandbox
    book: ListBook = field(default_factory=ListBook)
    rule: AttemptRule = field(default_factory=AttemptRule)
    when: When = lambda asked, _: asked
    concurrency: int | None = None
    longest_wait: timedelta = timedelta(minutes=1)
    base_url: str | None = None
    api_keys: list[str] = field(default_factory=list)
    redial_on: Collection[str] = ()
    is_stopped: bool = False
    held: str | None = None
    over: tuple[str, str] | None = None
    rereads: int = 0
    tells: int = 0

    def __post_init__(self) -> None:
        self.pace = Pace(now, self.concurrency, jitter=lambda: 0.0)
        clients = Clients(self.open_client, lambda: None, (InvalidInput,), self._reread)
        self.work = ListWork(
            self.board,
            self.book,
            CallPlacer(
                lambda _: Policy(None, lookup_timeout_s=0),
                lambda _: self.when,
                self._check_before_send,
                now,
                Listings(self.open_client, now),
                self.redial_on,
            ),
            Judging(self.rule, SUCCESS, 1, now, lambda: self.pace.answers),
            Following(
                lambda agent_id, number: Fingerprints(self._key(), agent_id).mark(number),
                Endings(),
                poll_interval_s=0.05,
                safety_interval_s=0.05,
                timeout=timedelta(hours=1),
            ),
            clients,
            self.pace,
            Control(lambda: self.is_stopped, lambda: self.held, lambda: self.over, self._tell),
            now,
            self.longest_wait,
        )

    def run(self) -> Rest | None:
        """Work until there is nothing to do; nothing is left under way, however that ends."""
        try:
            return self.work.run()
        finally:
            assert not self.book.open, "what was prepared was not finished"

    def statuses(self) -> list[str]:
        """What came of each row, in their order."""
        return [row.status for row in self.board.results()]

    def open_client(self) -> FormantClient:
        config = ClientConfig(self.base_url or self.sandbox.base_url, self._key())
        return FormantClient(config, retry_policy=ONCE)

    def _key(self) -> str:
        return self.api_keys[0] if self.api_keys else self.sandbox.api_key

    def _reread(self) -> None:
        self.rereads += 1
        if len(self.api_keys) > 1:
            self.api_keys.pop(0)

    def _check_before_send(self) -> FormantError | None:
        return SendAborted("The list is stopped, or held") if self.is_stopped or self.held else None

    def _tell(self) -> None:
        self.tells += 1
