"""What a feed can hear without asking the vendor, and from whom: events that somebody else has received.

The rules know no store; whoever runs a feed gives it an object that answers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Protocol

from formant_provider.api.errors import FormantError
from formant_provider.api.models import Conversation
from formant_provider.api.webhook_models import Attempt


@dataclass(frozen=True)
class Told:
    """What an event tells of one attempt to talk.

    :param record: as if it had been read in detail, less what was said.
    :param from_phone: who called; private.
    :param sent_at: when the vendor wrote the event, aware.
    :param seq: the number of the event, for the log.
    """

    record: Conversation
    attempt: Attempt
    from_phone: str | None = field(repr=False)
    sent_at: datetime
    seq: int = 0


@dataclass(frozen=True)
class Question:
    """What a feed asks, whatever the number of those who wait.

    :param agent_id: whose events; ``None`` means those of ``conversation_ids``, whoever's they are.
    :param after: the number after which to read on; ``None`` means that only ``since`` says where.
    :param since: read what came since then as well, aware: somebody has joined. ``None`` means nobody has.
    :param asks_heard: whether to say when the agent was last heard from.
    """

    agent_id: int | None
    conversation_ids: frozenset[str] = frozenset()
    after: int | None = None
    since: datetime | None = None
    asks_heard: bool = False


@dataclass(frozen=True)
class Answer:
    """What has come.

    :param seq: the number after which to read on.
    :param heard_at: when the newest event came of which this answer knows, aware.
    """

    told: Sequence[Told] = ()
    seq: int = 0
    heard_at: datetime | None = None

    def in_parts(self, size: int) -> Iterator[Answer]:
        """Return the same as answers that tell so much each, and one if nothing is told."""
        for first in range(0, max(len(self.told), 1), size):
            yield replace(self, told=self.told[first : first + size])


class News(Protocol):
    """Answers in a moment, and may block for it."""

    def read(self, question: Question) -> Answer:
        """Return what has come.

        :raises FormantError: it is not known now.
        """


class Unanswered:
    """News of which is known why there are none."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def read(self, _: Question) -> Answer:
        """Raise what keeps them away."""
        raise self._error.with_traceback(None)


@dataclass(frozen=True)
class AskNews:
    """A step of polling: ask, in a thread where others must not be held up."""

    news: News
    question: Question

    def ask(self) -> Answer | str:
        """Return the answer, or why there is none."""
        try:
            return self.news.read(self.question)
        except FormantError as error:
            return str(error)
        except Exception as error:  # the text of an error that is not ours may hold anything
            return f"The call store could not be read ({type(error).__name__})"
