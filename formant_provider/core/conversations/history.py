"""Reads the conversations that began within an interval: all of them, each once, the oldest first.

The list is read first and as fast as it goes, since it shifts while calls come in; its records wait on disk.
Then each is read in detail, if that is wanted and no webhook has told it. In memory, only ids and times grow
with their number.

Vendor page: https://docs.formantai.com/platform/conversations
"""

from __future__ import annotations

import calendar
import json
import logging
import re
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from formant_provider.api.errors import BadResponse, InvalidInput
from formant_provider.api.log_throttle import LogThrottle
from formant_provider.api.models import Conversation
from formant_provider.core.conversations.lookup import find_detail
from formant_provider.core.flows import run
from formant_provider.core.paging import MAX_PAGES, PAGE_SIZE, recent
from formant_provider.core.validation import to_moment

if TYPE_CHECKING:
    from formant_provider.api.client import FormantClient

log = logging.getLogger(__name__)

# What the list does not tell. It may tell the trace id, or not.
DETAIL_ONLY = frozenset({"failure_reason", "results", "transcript"})
# A list may be sorted by the end of a call. A long one that began before the interval then stands before
# shorter ones that began within it, so we continue until the list is further back than any call lasts.
LONGEST_CALL = timedelta(hours=3)
# Returns, by id, those of some conversations that webhooks have told, as their detail would have them; the
# second argument is whether the transcript is wanted.
Told = Callable[[Collection[str], bool], Mapping[str, Conversation]]
_AT_ONCE = 500
_SECOND_MS = 1000


@dataclass(frozen=True)
class Interval:
    """A span of time: from ``start`` on, up to and without ``end``. Both are aware."""

    start: datetime
    end: datetime

    @property
    def start_ms(self) -> int:
        """The first millisecond since 1970 that lies in it."""
        return _ms(self.start)

    @property
    def end_ms(self) -> int:
        """The first millisecond since 1970 that lies after it."""
        return _ms(self.end)


def to_interval(start: object, end: object) -> Interval:
    """Return the interval between two moments, each an aware datetime or ISO 8601 text with an offset.

    :raises InvalidInput: one is missing or cannot be read, or nothing lies between them.
    """
    for field, value in (("start", start), ("end", end)):
        if value is None:
            raise InvalidInput(field, f"is not given, and this DAG run has no data interval; {_REMEDY}")
    interval = Interval(to_moment("start", start), to_moment("end", end))
    if interval.end < interval.start:
        raise InvalidInput("end", "lies before start")
    if interval.end_ms == interval.start_ms:
        raise InvalidInput("end", f"is the same moment as start, and nothing lies between; {_REMEDY}")
    return interval


_REMEDY = (
    "give start and end, or give the DAG a schedule whose data intervals have a length, such as"
    " CronDataIntervalTimetable (in Airflow 3 a cron text or @daily makes intervals of no length)"
)


class History(ExitStack):
    """The conversations of an agent that began within an interval; to be used in a ``with`` block.

    :param max_pages: how many pages are read at most; a bound against one without an end.
    :param clock: tells seconds, from any moment on; progress is logged by it.
    :param told: what is known of conversations without asking the API.
    :ivar asked: how many conversations were read in detail.
    :ivar from_webhooks: how many were not, since webhooks had told them.
    """

    def __init__(
        self,
        client: FormantClient,
        agent_id: int,
        interval: Interval,
        *,
        max_pages: int = MAX_PAGES,
        clock: Callable[[], float] = time.monotonic,
        told: Told = lambda *_: {},
    ) -> None:
        super().__init__()
        self._client = client
        self._agent_id = agent_id
        self._interval = interval
        self._max_pages = max_pages
        self._places: dict[str, tuple[int, int]] = {}
        self._undated: set[str] = set()
        self._told = told
        self.asked, self.from_webhooks = 0, 0
        self._progress = LogThrottle(clock)
        self._records = self.enter_context(tempfile.TemporaryFile())  # noqa: SIM115

    def __len__(self) -> int:
        return len(self._places)

    @property
    def undated(self) -> int:
        """How many records do not say when they began, and so belong to no interval."""
        return len(self._undated)

    def read_list(self) -> None:
        """Find out which conversations there are.

        :raises BadResponse: the list has no end within reach, so that some may be missing.
        """
        since_ms = self._interval.start_ms - LONGEST_CALL // timedelta(milliseconds=1)
        flow = recent(self._agent_id, since_ms, self._take, max_pages=self._max_pages)
        if not run(flow, self._client):
            raise BadResponse(
                f"The list of conversations goes on beyond {self._max_pages * PAGE_SIZE} records, so some of"
                " the interval may be missing"
            )

    def records(self, fields: Collection[str]) -> Iterator[Conversation]:
        """Yield the conversations that :meth:`read_list` found, the oldest first.

        :param fields: what is wanted of them. If neither the list nor a webhook told it, each is read in
            detail.
        """
        places = sorted((start, conversation_id, at) for conversation_id, (start, at) in self._places.items())
        for first in range(0, len(places), _AT_ONCE):
            records = [self._kept(at) for _, _, at in places[first : first + _AT_ONCE]]
            wanted = [record.conversation_id for record in records if _lacks(record, fields)]
            told = self._told(wanted, "transcript" in fields) if wanted else {}
            for record in records:
                yield self._told_of(record, told) or self.complete(record, fields)

    def _take(self, record: Conversation) -> None:
        if self._progress.is_due():
            log.info("The list of conversations is being read: %s so far.", len(self))
        start = record.start_timestamp
        if start is None:
            self._undated.add(record.conversation_id)
        elif (
            self._interval.start_ms <= start < self._interval.end_ms
            and record.conversation_id not in self._places
        ):
            self._places[record.conversation_id] = (start, self._records.tell())
            self._records.write(json.dumps(asdict(record)).encode() + b"\n")

    def _kept(self, at: int) -> Conversation:
        self._records.seek(at)
        return Conversation(**json.loads(self._records.readline()))

    def complete(self, record: Conversation, fields: Collection[str]) -> Conversation:
        """Return the record with all that its detail tells, if the list did not tell the wanted fields."""
        if not _lacks(record, fields):
            return record
        detail = find_detail(self._client, record.conversation_id)
        self.asked += 1
        if self._progress.is_due():
            log.info("%s of %s conversations are read in detail.", self.asked, len(self))
        known = {name: value for name, value in asdict(detail).items() if value is not None} if detail else {}
        return replace(record, **known)

    def _told_of(self, record: Conversation, told: Mapping[str, Conversation]) -> Conversation | None:
        """Return what webhooks told of a record of the list, with its times; ``None`` if that is another's.

        Attempts may share an id, and of a call that came in, an event has our own number.
        """
        known = told.get(record.conversation_id)
        if known is None or _digits(known) != _digits(record):
            return None
        times = record.start_timestamp or 0, known.start_timestamp or 0
        if abs(times[0] - times[1]) >= _SECOND_MS:  # an event may leave out the fraction
            return None
        self.from_webhooks += 1
        return known.at_the_times_of(record)


def _lacks(record: Conversation, fields: Collection[str]) -> bool:
    """Whether a record of the list does not tell what is wanted."""
    return not DETAIL_ONLY.isdisjoint(fields) or ("trace_id" in fields and record.trace_id is None)


def _digits(record: Conversation) -> str:
    return re.sub(r"\D", "", record.contact_number or "")


def _ms(moment: datetime) -> int:
    """Return the first whole millisecond since 1970 that is not before the moment."""
    return calendar.timegm(moment.utctimetuple()) * 1000 - (-moment.microsecond // 1000)
