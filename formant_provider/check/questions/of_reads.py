"""Answers that follow from what was read of conversations. ``None``: what there was does not tell."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from formant_provider.check.questions.answers import Answer, word, words
from formant_provider.check.questions.reads import PAGE_SIZE, Reads, Record
from formant_provider.core.conversations.statuses import FINAL

_E164 = re.compile(r"\+[0-9]{7,15}")
_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}(_[0-9]+)?")
_TIMES = ("start_timestamp", "end_timestamp")
_LEAST_TO_ORDER = 3


def trace_ids(reads: Reads) -> Answer | None:
    """Tell whether the list and the detail carry ``trace_id``."""
    if not reads.items or not reads.details:
        return None
    listed = _having(reads.items, "trace_id")
    detailed = _having(reads.details.values(), "trace_id")
    says = (
        f"in the list: {_how_many(listed, reads.items)}; in the detail: {_how_many(detailed, reads.details)}"
    )
    equal = [
        item["trace_id"] == reads.details[str(item.get("conversation_id"))].get("trace_id")
        for item in listed
        if str(item.get("conversation_id")) in reads.details
    ]
    same = f"; {sum(equal)} of {len(equal)} are the same in both" if equal else ""
    return Answer(
        says,
        f"{len(listed)} of {len(reads.items)} items, {len(detailed)} of {len(reads.details)} details{same}",
    )


def ids(reads: Reads) -> Answer | None:
    """Tell how the ids of attempts are made, and whether attempts share a trace id."""
    names = [str(item.get("conversation_id")) for item in reads.items]
    if not names:
        return None
    found = [match for match in map(_ID.fullmatch, names) if match]
    numbered = [match for match in found if match[2]]
    if len(found) < len(names):
        says = "not all are a UUID"
    else:
        says = "a UUID and a number" if len(numbered) == len(names) else "a UUID, not always with a number"
    chains = reads.chains
    if chains:
        says += f"; attempts of one conversation share the UUID{_shared_traces(reads, chains)}"
    return Answer(
        says, f"{len(numbered)} of {len(names)} ids end in a number; {len(chains)} chains of several attempts"
    )


def statuses(reads: Reads) -> Answer | None:
    """Tell which words are statuses."""
    seen = [item.get("status") for item in reads.items]
    if not seen:
        return None
    further = {status for status in seen if status not in FINAL}
    says = f"beyond the documented ones: {words(further)}"
    return Answer(says, f"{len(seen)} records; documented words among them: {words(set(seen) - further)}")


def transcripts(reads: Reads) -> Answer | None:
    """Tell what a transcript is."""
    found = [detail["transcript"] for detail in reads.details.values() if detail.get("transcript")]
    if not found:
        return None
    kinds = sorted({_kind_of(transcript) for transcript in found})
    roles = words(turn.get("role") for script in found for turn in _turns(script))
    return Answer(f"{' or '.join(kinds)}; roles: {roles}", f"{len(found)} transcripts")


def durations(reads: Reads) -> Answer | None:
    """Tell whether ``duration_seconds`` agrees with the times."""
    differ_by = [
        abs((record["end_timestamp"] - record["start_timestamp"]) / 1000 - record["duration_seconds"])
        for record in [*reads.items, *reads.details.values()]
        if all(isinstance(record.get(name), int | float) for name in (*_TIMES, "duration_seconds"))
    ]
    if not differ_by:
        return None
    agree = sum(seconds <= 1 for seconds in differ_by)
    says = "to the second" if agree == len(differ_by) else "not always"
    return Answer(
        says, f"{agree} of {len(differ_by)} records agree; the largest difference is {max(differ_by):.0f} s"
    )


def rate_limit(reads: Reads) -> Answer | None:
    """Tell whether good answers tell of the rate limit."""
    if reads.quota is None:
        return Answer("no", "a 200 of the list had no X-RateLimit-Remaining")
    limit = "no X-RateLimit-Limit" if reads.quota.limit is None else f"limit {reads.quota.limit}"
    reset = "no readable X-RateLimit-Reset" if reads.quota.reset_s is None else "a reset in ISO 8601"
    return Answer("yes", f"a 200 of the list had X-RateLimit-Remaining, {limit}, {reset}")


def recordings(reads: Reads) -> Answer | None:
    """Tell what a recording is."""
    if not reads.recordings:
        return None
    there = [kind for kind in reads.recordings if kind is not None]
    says = words(there) if there else "404"
    return Answer(says, f"{len(there)} of {len(reads.recordings)} completed calls have one")


def inbound(reads: Reads) -> Answer | None:
    """Tell whether calls that an agent received are in the list."""
    if reads.inbound is None:
        return None
    return Answer(
        "yes" if reads.inbound else "no", "the conversation of --inbound was looked for in its agent's list"
    )


def over_limit(reads: Reads) -> Answer | None:
    """Tell whether a limit above 100 is refused."""
    if reads.over_limit is None:
        return Answer("refused", f"limit={PAGE_SIZE + 1} was answered 400")
    if reads.total is None or reads.total <= PAGE_SIZE:
        return None
    says = "taken" if reads.over_limit > PAGE_SIZE else "cut"
    return Answer(
        says, f"limit={PAGE_SIZE + 1} was answered 200 with {reads.over_limit} items of {reads.total}"
    )


def order(reads: Reads) -> Answer | None:
    """Tell in which order the list is."""
    starts = [item.get("start_timestamp") for item in reads.items]
    ends = [item.get("end_timestamp") or float("inf") for item in reads.items]
    if len(set(starts)) < _LEAST_TO_ORDER or None in starts:
        return None
    fits = {
        "by start, newest first": _falls(starts),
        "by start, oldest first": _falls(starts[::-1]),
        "by end, newest first": _falls(ends),
        "by end, oldest first": _falls(ends[::-1]),
    }
    says = " or ".join(name for name, does in fits.items() if does) or "in none"
    return Answer(says, f"{len(starts)} items of one page")


def list_numbers(reads: Reads) -> Answer | None:
    """Tell whether the list gives numbers in full."""
    if not reads.items:
        return None
    given = [item["contact_number"] for item in reads.items if item.get("contact_number")]
    full = sum(bool(_E164.fullmatch(str(number))) for number in given)
    says = "no numbers" if not given else "in full" if full == len(given) else "in another form"
    return Answer(says, f"{len(given)} of {len(reads.items)} items have contact_number, {full} of them E.164")


def detail_times(reads: Reads) -> Answer | None:
    """Tell whether the detail carries the times."""
    ended = [detail for detail in reads.details.values() if detail.get("status") in FINAL]
    if not ended:
        return None
    there = [detail for detail in ended if all(detail.get(name) is not None for name in _TIMES)]
    return Answer(_how_many(there, ended), f"{len(there)} of {len(ended)} details have both times")


def _shared_traces(reads: Reads, chains: list[list[str]]) -> str:
    """Say whether the attempts of a conversation share a trace id, as far as the records have any."""
    known = {**{str(item.get("conversation_id")): item for item in reads.items}, **reads.details}
    for chain in chains:
        traces = [known[name]["trace_id"] for name in chain if known[name].get("trace_id")]
        if len(traces) > 1:
            return " and the trace id" if len(set(traces)) == 1 else ", with a trace id each"
    return ""


def _having(records: Any, name: str) -> list[Record]:
    return [record for record in records if record.get(name)]


def _how_many(some: Sequence[Any], every: Any) -> str:
    return "no" if not some else "yes" if len(some) == len(every) else "some"


def _falls(numbers: Sequence[Any]) -> bool:
    return all(before >= after for before, after in pairwise(numbers))


def _kind_of(transcript: Any) -> str:
    if isinstance(transcript, list):
        return f"a list of turns with {words(name for turn in _turns(transcript) for name in turn)}"
    return "text" if isinstance(transcript, str) else f"JSON of type {word(type(transcript).__name__)}"


def _turns(transcript: Any) -> list[Record]:
    return [turn for turn in transcript if isinstance(turn, dict)] if isinstance(transcript, list) else []
