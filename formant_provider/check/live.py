"""Asks the API the open questions: by reading, and with a number by one call."""

from __future__ import annotations

import argparse
import time
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from formant_provider.api.errors import InvalidInput, may_have_been_placed
from formant_provider.api.models import PHONE_PARAMETER, CallReceipt, CallRequest
from formant_provider.check.asking import confirmed, from_terminal
from formant_provider.check.findings import Finding, State
from formant_provider.check.questions.answers import word
from formant_provider.check.questions.catalogue import Outcome, outcomes
from formant_provider.check.questions.placing import Clock, request_for
from formant_provider.check.questions.reads import Reader, read_all
from formant_provider.check.questions.ringing import Rung, ring
from formant_provider.check.questions.watching import Pace
from formant_provider.check.report import as_data, as_markdown, in_lines

if TYPE_CHECKING:
    from formant_provider.hooks.formant import FormantHook

_CLOCK = Clock(lambda: datetime.now(UTC), time.sleep)


class Interrupted(KeyboardInterrupt):
    """Somebody pressed Ctrl-C when a call may have been placed."""


@dataclass(frozen=True)
class Live:
    """What came of it, in the forms in which it is told."""

    findings: list[Finding]
    text: str
    markdown: str
    questions: list[dict[str, Any]]


def prepared(options: argparse.Namespace) -> CallRequest:
    """Return the call that ``--ring`` asks for, checked and confirmed. Nothing is sent.

    :raises InvalidInput: it is not confirmed, or a field of it is wrong.
    """
    if options.agent_id is None:
        raise InvalidInput("--agent-id", "must name the agent that calls")
    parameters = dict(options.parameter)
    if PHONE_PARAMETER in parameters:
        raise InvalidInput("--parameter", f"must not hold {PHONE_PARAMETER}, which --ring names")
    request_for(options.ring[0], options.agent_id, parameters, _CLOCK.now())  # before anybody is asked
    number = confirmed(options.ring, from_terminal)
    return request_for(number, options.agent_id, parameters, _CLOCK.now())


def ask(hook: FormantHook, options: argparse.Namespace, call: CallRequest | None) -> Live:
    """Place the call, if there is one, and read.

    :raises FormantError: the call was not placed, or the API cannot be read; ``maybe_placed`` tells.
    :raises Interrupted: somebody pressed Ctrl-C, and a call may have been placed.
    """
    pace = Pace(poll_s=options.poll_interval, after_s=options.watch_for)
    try:
        rung = ring(hook, call, _CLOCK, pace) if call is not None else None
        with may_have_been_placed() if rung else nullcontext():
            reads = read_all(Reader(hook.get_config()), options.agent_id, options.inbound)
    except KeyboardInterrupt:
        raise (Interrupted if call is not None else KeyboardInterrupt) from None
    found = outcomes(reads, rung)
    report = as_markdown(
        found, base_url=hook.get_config().base_url, now=_CLOCK.now(), has_rung=rung is not None
    )
    return Live(_about(rung, found), in_lines(found), report, as_data(found))


def _about(rung: Rung | None, found: list[Outcome]) -> list[Finding]:
    answered = sum(bool(outcome.answers) for outcome in found)
    findings = [Finding("open questions", State.OK, f"{answered} of {len(found)} are answered.")]
    if rung is not None:
        findings.insert(0, _about_call(rung))
    return findings


def _about_call(rung: Rung) -> Finding:
    look = "Look for it in the FormantAI dashboard."
    if rung.placed.receipt is None:
        return Finding(
            "call", State.PROBLEM, "it may have been placed; no conversation is proven to be its.", look
        )
    if isinstance(rung.repeat, CallReceipt):
        text = "a second request with the same idempotency key was accepted: the number may be called twice."
        return Finding("call", State.PROBLEM, text, "Tell FormantAI: its pages promise a 409.")
    when = "placed" if rung.placed.is_new else "placed earlier on this day, and not again"
    if rung.seen.over_at is None:
        return Finding("call", State.WARNING, f"{when}; its end was not seen.", look)
    return Finding("call", State.OK, f"{when}; it ended as {word(rung.seen.first.get('status'))}.")
