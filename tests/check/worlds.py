"""Sandboxes as accounts in which things have happened, and what is observed in them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from formant_provider.api.config import ClientConfig
from formant_provider.check.questions.answers import Answer
from formant_provider.check.questions.catalogue import Outcome, outcomes
from formant_provider.check.questions.placing import Clock, request_for
from formant_provider.check.questions.reads import Reader, read_all
from formant_provider.check.questions.ringing import Rung, ring
from formant_provider.check.questions.watching import Pace
from formant_provider.hooks.formant import FormantHook
from formant_provider.sandbox import Sandbox
from support.supervisor import FakeSupervisor, supervised_by

from .conftest import KEY

AGENT = 456
OTHER_AGENT = 123
# The first is the longest, so that the list by the end is another one than that by the start.
ENDINGS = ("00", "01", "07", "02", "03", "04", "05", "06")


@contextmanager
def an_account(**settings: Any) -> Iterator[Sandbox]:
    """A sandbox whose clock stands still; an agent has called and was called, another has a batch call."""
    with Sandbox(**{"api_key": KEY, "speed": 0, "rate_limit": None, **settings}) as sandbox:
        for ending in ENDINGS:
            sandbox.place(f"+141555501{ending}", agent_id=AGENT)
            sandbox.advance(1)
        sandbox.place_batch(["+14155550100", "+14155550101", "+14155550106"], agent_id=OTHER_AGENT)
        sandbox.advance(3600)
        yield sandbox


def read(sandbox: Sandbox, agent_id: int = AGENT, inbound_id: str | None = None) -> dict[int, Outcome]:
    """Answer by reading alone; return what came of each question by its number."""
    config = ClientConfig(sandbox.base_url, KEY)
    reads = read_all(Reader(config, sandbox.advance), agent_id, inbound_id)
    return {outcome.question.number: outcome for outcome in outcomes(reads, None)}


def rung_in(sandbox: Sandbox, number: str, *, pace: Pace | None = None, extra: Any = None) -> Rung:
    """Place one call in a sandbox, whose clock moves while it is waited for."""
    clock = Clock(sandbox.now, sandbox.advance)
    call = request_for(number, AGENT, {"customer_name": "Asha"}, sandbox.now())
    connections = extra or {"formant_default": sandbox.connection_uri()}
    with supervised_by(FakeSupervisor(connections)):
        return ring(FormantHook(), call, clock, pace or Pace(poll_s=5, longest_s=300, after_s=120))


def answers_of(rung: Rung) -> dict[int, str]:
    """The answers that one call has given, by the numbers of their questions."""
    return {outcome.question.number: outcome.answer for outcome in outcomes(None, rung) if outcome.answers}


def says(answer: Answer | None) -> str | None:
    """What an answer says, if there is one."""
    return answer.says if answer else None
