"""Watches one call from its placement until after its end: the list, the details and the recording."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime

from formant_provider.api.models import CallReceipt, CallRequest
from formant_provider.check.questions.placing import Clock
from formant_provider.check.questions.reads import Reader, Record
from formant_provider.core.conversations.statuses import COMPLETED, FINAL
from formant_provider.core.numbers.in_text import digits_of


@dataclass(frozen=True)
class Pace:
    """How a call is watched.

    :param poll_s: seconds between two looks.
    :param longest_s: seconds to wait for its end.
    :param after_s: seconds to watch on after its end.
    """

    poll_s: float = 5.0
    longest_s: float = 900.0
    after_s: float = 120.0


@dataclass
class Seen:
    """What was seen of the call. Moments are those of looks, by our clock.

    :ivar listed: the last list items of its attempts, by their ids, in the order in which they appeared.
    :ivar details: their last details.
    :ivar looks_before: how many looks there were before the first that showed it.
    :ivar appeared_running: whether it was still going on at that look; ``None`` while there was none.
    :ivar over_at: the first look at which its first attempt was over.
    :ivar results_at: the first at which that had a transcript or results.
    :ivar recording_at: the first at which that had a recording.
    :ivar last_at: the last look.
    """

    listed: dict[str, Record] = field(default_factory=dict)
    details: dict[str, Record] = field(default_factory=dict)
    looks_before: int = 0
    appeared_running: bool | None = None
    over_at: datetime | None = None
    results_at: datetime | None = None
    recording_at: datetime | None = None
    last_at: datetime | None = None

    @property
    def first(self) -> Record:
        """The record of the first attempt; empty while there is none."""
        for name, item in self.listed.items():
            return {**item, **self.details.get(name, {})}
        return {}

    @property
    def watched_s(self) -> float:
        """For how many seconds it was watched after its end."""
        return (self.last_at - self.over_at).total_seconds() if self.last_at and self.over_at else 0.0


@dataclass
class Watch:
    """Looks for the attempts of one call until there is no more to see.

    :param known: ids of conversations that were there before it was placed.
    """

    reader: Reader
    clock: Clock
    call: CallRequest
    receipt: CallReceipt
    known: Collection[str]
    seen: Seen = field(default_factory=Seen, init=False)
    _others: set[str] = field(default_factory=set, init=False)

    def run(self, pace: Pace) -> Seen:
        """Look until the time is up, or everything was seen that a completed call can show.

        :raises FormantError: the API cannot be read any more.
        """
        began = self.clock.now()
        while True:
            self._look()
            seen, now = self.seen, self.clock.now()
            limit_s = pace.longest_s if seen.over_at is None else pace.after_s
            since = seen.over_at or began
            if (now - since).total_seconds() >= limit_s or self._has_seen_all():
                return seen
            self.clock.sleep(pace.poll_s)

    def _has_seen_all(self) -> bool:
        seen = self.seen
        is_completed = seen.over_at is not None and seen.first.get("status") == COMPLETED
        return is_completed and None not in (seen.results_at, seen.recording_at)

    def _look(self) -> None:
        seen = self.seen
        seen.last_at = self.clock.now()
        for item in self.reader.newest(self.call.agent_id):
            name = str(item.get("conversation_id"))
            if name not in self.known and name not in self._others:
                self._take(name, item)
        if not seen.listed:
            seen.looks_before += 1
        else:
            self._about_first()

    def _take(self, name: str, item: Record) -> None:
        detail = self.reader.conversation(name)
        if detail is None:  # the list may have it first
            return
        if not self._is_ours({**item, **detail}):
            self._others.add(name)
            return
        self.seen.listed[name], self.seen.details[name] = item, detail

    def _is_ours(self, record: Record) -> bool:
        """Whether a record is of this call, or of a redial of it, which may have a trace id of its own."""
        trace, number = record.get("trace_id"), digits_of(record.get("contact_number"))
        if number:
            return number == digits_of(self.call.recipient)
        return trace is not None and trace == self.receipt.trace_id

    def _about_first(self) -> None:
        seen = self.seen
        first, now = seen.first, seen.last_at
        is_over = str(first.get("status")) in FINAL or first.get("end_timestamp") is not None
        if seen.appeared_running is None:
            seen.appeared_running = not is_over
        if not is_over:
            return
        seen.over_at = seen.over_at or now
        if first.get("transcript") or first.get("results"):
            seen.results_at = seen.results_at or now
        if seen.recording_at is None and first.get("status") == COMPLETED:
            name = next(iter(seen.listed))
            seen.recording_at = now if self.reader.recording_type(name) is not None else None
