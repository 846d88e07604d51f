"""Asks the API the open questions: by reading, and with a number by one call."""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from formant_provider.api.errors import FormantError, InvalidInput
from formant_provider.api.models import PHONE_PARAMETER, CallReceipt, CallRequest
from formant_provider.check.asking import confirmed, from_terminal
from formant_provider.check.findings import Finding, State
from formant_provider.check.questions.answers import word
from formant_provider.check.questions.catalogue import Outcome, outcomes
from formant_provider.check.questions.placing import Clock, request_for
from formant_provider.check.questions.reads import Reader, Reads, read_all
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

    :raises FormantError: the call was not placed, and ``maybe_placed`` tells; or there is none, and the API
        cannot be read.
    :raises Interrupted: somebody pressed Ctrl-C, and a call may have been placed.
    """
    pace = Pace(poll_s=options.poll_interval, after_s=options.watch_for)
    try:
        rung = ring(hook, call, _CLOCK, pace) if call is not None else None
        reads = _read(hook, options, has_rung=rung is not None)
    except KeyboardInterrupt:
        raise (Interrupted if call is not None else KeyboardInterrupt) from None
    found = outcomes(reads if isinstance(reads, Reads) else None, rung)
    report = as_markdown(
        found, base_url=hook.get_config().base_url, now=_CLOCK.now(), has_rung=rung is not None
    )
    return Live(_about(rung, reads, found), in_lines(found), report, as_data(found))


def _read(hook: FormantHook, options: argparse.Namespace, *, has_rung: bool) -> Reads | FormantError:
    """Read; what hinders that is returned after a call, whose answers are told all the same."""
    try:
        return read_all(Reader(hook.get_config()), options.agent_id, options.inbound)
    except FormantError as error:
        if not has_rung:
            raise
        return error


def _about(rung: Rung | None, reads: Reads | FormantError, found: list[Outcome]) -> list[Finding]:
    findings = [] if rung is None else [_about_call(rung)]
    if isinstance(reads, FormantError):
        to_do = "Ask for them later, with --live and without --ring."
        text = f"what takes no call could not be read: {reads}."
        findings.append(Finding("open questions", State.PROBLEM, text, to_do))
    answered = sum(bool(outcome.answers) for outcome in found)
    text = f"{answered} of {len(found)} are answered."
    return [*findings, Finding("open questions", State.OK, text)]


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
    if rung.error is not None:
        text = f"{when}; it could not be watched to its end: {rung.error}."
        return Finding(
            "call", State.PROBLEM, text, f"{look} The same command on the same day places no second."
        )
    if rung.seen.over_at is None:
        return Finding("call", State.WARNING, f"{when}; its end was not seen.", look)
    return Finding("call", State.OK, f"{when}; it ended as {word(rung.seen.first.get('status'))}.")
