"""One call, tried again and again against a sandbox, with a ledger that fails and processes that die."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import pytest

from formant_provider.api.client import CREATE_CALL, FormantClient
from formant_provider.api.config import ClientConfig
from formant_provider.api.errors import FormantError, SendAborted
from formant_provider.api.models import CallRequest
from formant_provider.api.retry import RetryPolicy
from formant_provider.core.calls.intent import Intent
from formant_provider.core.calls.placement import CallCallbacks, CallPlacing, Placement, Policy
from formant_provider.sandbox import Fault, Sandbox

NOON = datetime(2026, 3, 18, 12, 0, tzinfo=UTC)
NUMBER = "+14155550100"
CALL = CallRequest(
    agent_id=456,
    parameters=(("customer_phone", NUMBER), ("customer_name", "Rahul Sharma")),
    idempotency_key="0f3c8b5e-8f52-5d0e-9a3c-1d2e3f4a5b6c",
)
LIMITS = [Fault.RATE_LIMIT, Fault.RATE_LIMIT_RESET_ONLY, Fault.RATE_LIMIT_NO_HEADERS, Fault.CONCURRENCY_LIMIT]
LOST_BEFORE = [Fault.ERROR_500_BEFORE, Fault.ERROR_503_BEFORE, Fault.DROP_BEFORE]
LOST_AFTER = [Fault.ERROR_500_AFTER, Fault.ERROR_503_AFTER, Fault.DROP_AFTER, Fault.GARBAGE]


def call_to(ending: str, **fields: Any) -> CallRequest:
    """Return the call to the number whose last two digits say how it ends."""
    number = NUMBER[:-2] + ending
    return replace(CALL, parameters=(("customer_phone", number), *CALL.parameters[1:]), **fields)


class Died(BaseException):
    """The process is gone: nothing of it runs any more, and no ``except Exception`` sees it."""


class MemoryLedger:
    """Keeps JSON, as Airflow's store does. Writes are counted from 1, over all tries.

    :param fails_at: writes that are refused.
    :param dies_before: writes in which the process dies, and nothing is written.
    :param dies_after: writes after which the process dies.
    :param kind: what is kept.
    """

    is_durable = True
    is_guess = False
    is_of_others = False

    def __init__(
        self,
        *,
        fails_at: Collection[int] = (),
        dies_before: Collection[int] = (),
        dies_after: Collection[int] = (),
        kind: type[Any] = Intent,
    ) -> None:
        self.fails_at, self.dies_before, self.dies_after = set(fails_at), set(dies_before), set(dies_after)
        self.kind = kind
        self.history: list[str] = []
        self.writes = 0

    def read(self) -> Any:
        return self.kind.from_json(json.loads(self.history[-1])) if self.history else None

    def write(self, intent: Any) -> None:
        self.writes += 1
        if self.writes in self.dies_before:
            raise Died
        if self.writes in self.fails_at:
            raise SendAborted("The ledger cannot be written")
        self.history.append(json.dumps(intent.to_json()))
        if self.writes in self.dies_after:
            raise Died

    claim = write

    def ids_of_others(self) -> Collection[str]:
        return ()

    @property
    def last(self) -> Any:
        """What a next try will read."""
        intent = self.read()
        assert intent is not None, "nothing was written"
        return intent


class StaleLedger:
    """What a process sees whose task was given to another one: nothing to read, and no write."""

    is_durable = True
    is_guess = False
    is_of_others = False

    def read(self) -> None:
        return None

    def write(self, intent: Any) -> None:
        raise SendAborted(f"Not this process's to write: {intent.key}")

    claim = write

    def ids_of_others(self) -> Collection[str]:
        return ()


class BaseTries:
    """What the tries of a call and those of a batch call have in common."""

    sandbox: Sandbox
    ledger: Any
    read_timeout_s: float
    sends: int
    api_key: str | None
    base_url: str | None
    place: Callable[..., Any]
    oversleeps_s: float = 0.0

    def client(self) -> FormantClient:
        key = self.api_key or self.sandbox.api_key
        config = ClientConfig(self.base_url or self.sandbox.base_url, key, read_timeout_s=self.read_timeout_s)
        policy = RetryPolicy(max_attempts=self.sends)
        return FormantClient(config, retry_policy=policy, sleep=self._sleep)

    def _sleep(self, seconds: float) -> None:
        self.sandbox.advance(seconds + self.oversleeps_s)

    def fail(self, **rules: Any) -> FormantError:
        """One try that ends in an error, which is returned."""
        with pytest.raises(FormantError) as caught:
            self.place(**rules)
        return caught.value

    def die(self, **rules: Any) -> None:
        """One try in which the process dies."""
        with pytest.raises(Died):
            self.place(**rules)

    def meet(self, faults: Mapping[str, Iterable[Fault]], mishap: tuple[str, int] | None) -> None:
        """Let the next try meet faults by endpoint, and a mishap at the n-th write of its ledger."""
        for endpoint, kinds in faults.items():
            for fault in kinds:
                self.sandbox.inject(endpoint, fault)
        for name in ("fails_at", "dies_before", "dies_after"):
            writes = [self.ledger.writes + mishap[1]] if mishap and mishap[0] == name else []
            setattr(self.ledger, name, set(writes))

    def wake_stale_process(self) -> FormantError:
        """One try of a process that is no longer the task's own: it sends nothing, and ends in this error."""
        own, self.ledger, before = self.ledger, StaleLedger(), self._posts
        error = self.fail()
        self.ledger = own
        assert self._posts == before
        return error

    @property
    def _posts(self) -> int:
        return sum(seen.method == "POST" for seen in self.sandbox.requests)


@dataclass
class Tries(BaseTries):
    """The tries of one call. All waiting is done on the sandbox's clock.

    :param taken_since: when somebody else can have used the key; ``None`` means: from now on.
    :param sends: how often one try sends one key.
    :param api_key: ``None`` means the one that the sandbox takes.
    :param base_url: ``None`` means the sandbox's; another server's keeps the sandbox as a clock.
    :param oversleeps_s: how much longer every pause between two sends lasts than it was meant to.
    :param try_number: of the last try, counted.
    """

    sandbox: Sandbox
    call: CallRequest
    ledger: Any = field(default_factory=MemoryLedger)
    taken_since: datetime | None = None
    lookup_timeout_s: float = 300.0
    read_timeout_s: float = 30.0
    sends: int = 4
    redial_on: frozenset[str] = frozenset()
    api_key: str | None = None
    base_url: str | None = None
    oversleeps_s: float = 0.0
    try_number: int = 0

    def __post_init__(self) -> None:
        self.taken_since = self.taken_since or self.sandbox.now()

    def place(self, **chosen: Any) -> Placement:
        """One try, in a process of its own."""
        self.try_number += 1
        policy: dict[str, Any] = {
            "taken_since": self.taken_since,
            "lookup_timeout_s": self.lookup_timeout_s,
            "redial_on": self.redial_on,
            "try_number": self.try_number,
        }
        callbacks: dict[str, Any] = {"now": self.sandbox.now, "sleep": self.sandbox.advance}
        for name, value in chosen.items():
            (policy if name in Policy.__dataclass_fields__ else callbacks)[name] = value
        with self.client() as client:
            given = Policy(**policy), CallCallbacks(**callbacks)
            return CallPlacing(self.call, client, self.ledger, *given).run()

    @property
    def rings(self) -> int:
        """How often the phone of this call rang."""
        return self.sandbox.rings[self.call.recipient]

    @property
    def keys(self) -> list[str]:
        """The keys of all POSTs the sandbox saw, in order."""
        return [body["idempotency_key"] for body in self.bodies]

    @property
    def bodies(self) -> list[dict[str, Any]]:
        """The bodies of all POSTs the sandbox saw, in order."""
        return [seen.body for seen in self.sandbox.requests if seen.endpoint == CREATE_CALL]


Start = Callable[..., Tries]


@contextmanager
def starting() -> Iterator[Start]:
    """Start sandboxes at noon, each ready for the tries of one call, and stop them at the end."""
    with ExitStack() as running:

        def start(
            call: CallRequest = CALL, ledger: Any = None, sandbox: dict[str, Any] | None = None, **tries: Any
        ) -> Tries:
            settings = {"speed": 0, "start_at": NOON, "rate_limit": None, **(sandbox or {})}
            world = running.enter_context(Sandbox(**settings))
            return Tries(world, call, ledger or MemoryLedger(), **tries)

        yield start


def on_ask(number: int, outcome: BaseException) -> Callable[[], FormantError | None]:
    """Return a ``check`` that dies of, or answers with, ``outcome`` when asked for the n-th time."""
    asked = 0

    def check() -> FormantError | None:
        nonlocal asked
        asked += 1
        if asked != number:
            return None
        if isinstance(outcome, FormantError):
            return outcome
        raise outcome

    return check
