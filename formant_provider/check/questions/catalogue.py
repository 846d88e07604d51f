"""The open questions: what the vendor's pages leave open and this package works with either way.

Each has a number that stays, and says by what it is answered. The sandbox has a switch for each that matters.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from formant_provider.check.questions import of_batches, of_call, of_reads
from formant_provider.check.questions.answers import Answer
from formant_provider.check.questions.reads import Reads
from formant_provider.check.questions.ringing import Rung

SeenT = TypeVar("SeenT")


@dataclass(frozen=True, kw_only=True)
class Question:
    """One question, and how its answer is found.

    :param text: the question.
    :param how: by what it is answered, or what a person can do where no request answers it.
    :param of_reads: finds the answer in what was read; ``None`` where reading does not tell.
    :param of_call: finds the answer in what one call has shown; ``None`` where that does not tell.
    """

    number: int
    text: str
    how: str
    of_reads: Callable[[Reads], Answer | None] | None = None
    of_call: Callable[[Rung], Answer | None] | None = None


@dataclass(frozen=True)
class Outcome:
    """A question with what was observed, which may be nothing."""

    question: Question
    answers: tuple[Answer, ...]

    @property
    def answer(self) -> str:
        """The answer; empty without one."""
        return "; ".join(answer.says for answer in self.answers)

    @property
    def evidence(self) -> str:
        """On what the answer rests; empty without one."""
        return "; ".join(answer.evidence for answer in self.answers)

    @property
    def why_open(self) -> str:
        """Why there is no answer."""
        if not (self.question.of_reads or self.question.of_call):
            return f"Not asked. {self.question.how}"
        return f"Not answered by what there was. {self.question.how}"


def outcomes(reads: Reads | None, rung: Rung | None) -> list[Outcome]:
    """Answer all questions, as far as what was read, and a call that was placed, tell.

    :param reads: ``None`` when nothing was read.
    :param rung: ``None`` when no call was placed.
    """
    return [Outcome(question, tuple(_answers(question, reads, rung))) for question in QUESTIONS]


def _answers(question: Question, reads: Reads | None, rung: Rung | None) -> list[Answer]:
    found = [
        _found(question.of_call, rung) if question.of_call and rung else None,
        _found(question.of_reads, reads) if question.of_reads and reads else None,
    ]
    return [answer for answer in found if answer is not None]


def _found(find: Callable[[SeenT], Answer | None], seen: SeenT) -> Answer | None:
    """Find an answer. What the API gave is of any form: one question that it puzzles costs no other one."""
    try:
        return find(seen)
    except Exception as error:  # its text may hold what was read
        says = "it cannot be told: records have another form than the vendor's pages say"
        return Answer(says, type(error).__name__)


QUESTIONS = (
    Question(
        number=1,
        text="Does the receipt of a call that starts now have a conversation_id?",
        how="By the receipt of a call (--ring), compared with the id of its record.",
        of_call=of_call.receipt_id,
    ),
    Question(
        number=2,
        text="Is trace_id the same in the receipt, the list and the detail?",
        how="By the fields of records; a call (--ring) compares them with its receipt.",
        of_reads=of_reads.trace_ids,
        of_call=of_call.trace_ids,
    ),
    Question(
        number=3,
        text="When does the record of a call appear?",
        how="By a call (--ring) that lasts longer than three looks (--poll-interval).",
        of_call=of_call.appearance,
    ),
    Question(
        number=4,
        text="Does the platform redial by itself?",
        how="By a call (--ring) that does not end as completed, watched as long as --watch-for says.",
        of_call=of_call.redials,
    ),
    Question(
        number=5,
        text="How are the ids of attempts made, and do the attempts at one call share a trace_id?",
        how="By the ids in the list, and the details of a conversation with several attempts.",
        of_reads=of_reads.ids,
        of_call=of_call.redial_traces,
    ),
    Question(
        number=6,
        text="Which words, other than the documented ones, are statuses of a conversation?",
        how="By the words in the list: the more of it is read, the more there are.",
        of_reads=of_reads.statuses,
    ),
    Question(
        number=7,
        text="What is a transcript, and what are the speakers called?",
        how="By the details of conversations that have one.",
        of_reads=of_reads.transcripts,
    ),
    Question(
        number=8,
        text="Is every webhook signed?",
        how="The receiver answers 401 to one that is not, and logs it.",
    ),
    Question(
        number=9,
        text="Is the header X-FormantAI-Timestamp in seconds or in milliseconds?",
        how="A proxy in front of the receiver can log the header.",
    ),
    Question(
        number=10,
        text="Has an event the same event_id at two targets of one agent?",
        how="Two targets in the dashboard, and a proxy that logs X-FormantAI-Event-Id, tell.",
    ),
    Question(
        number=11,
        text="Is duration_seconds the time from start_timestamp to end_timestamp?",
        how="By records that have all three.",
        of_reads=of_reads.durations,
    ),
    Question(
        number=12,
        text="Do the counts of a batch call add up, and of what is success_rate the rate?",
        how="By the metrics of a batch call of which nothing is in progress.",
        of_reads=of_batches.metrics,
    ),
    Question(
        number=13,
        text="Do good answers carry the X-RateLimit headers?",
        how="By the headers of one answer.",
        of_reads=of_reads.rate_limit,
    ),
    Question(
        number=14,
        text="Does the message of an error repeat what was sent?",
        how="By a call without a number, which is refused with 400 (--ring).",
        of_call=of_call.echo,
    ),
    Question(
        number=15,
        text="Where can metadata be read again?",
        how="By the record of a call that had some (--ring).",
        of_call=of_call.metadata,
    ),
    Question(
        number=16,
        text="Does the answer to a used idempotency key name the call that used it?",
        how="By the same request once more with the same key (--ring), which the vendor promises to refuse.",
        of_call=of_call.repeated_key,
    ),
    Question(
        number=17,
        text="When is there a recording, and of which type is it?",
        how="By the recordings of completed calls; a call (--ring) tells how soon there is one.",
        of_reads=of_reads.recordings,
        of_call=of_call.recording,
    ),
    Question(
        number=18,
        text="In which time zone is a scheduled_for without an offset?",
        how="Asking would ring at an hour that nobody knows. The provider always sends UTC.",
    ),
    Question(
        number=19,
        text="Are calls that an agent received in the conversation list?",
        how="By the conversation that --inbound names: of a call that somebody has made to the agent.",
        of_reads=of_reads.inbound,
    ),
    Question(
        number=20,
        text="Is a limit above 100 refused, or cut to 100?",
        how="By a page of 101; only an account with more than 100 conversations tells whether it was cut.",
        of_reads=of_reads.over_limit,
    ),
    Question(
        number=21,
        text="In which order is the conversation list?",
        how="By the times of at least three conversations.",
        of_reads=of_reads.order,
    ),
    Question(
        number=22,
        text="Does the conversation list give numbers in full?",
        how="By contact_number in the list.",
        of_reads=of_reads.list_numbers,
    ),
    Question(
        number=23,
        text="Does the detail of a conversation have start_timestamp and end_timestamp?",
        how="By the details of conversations that are over.",
        of_reads=of_reads.detail_times,
    ),
    Question(
        number=24,
        text="How soon after the end of a call are there results and a transcript?",
        how="By a call (--ring) that is completed.",
        of_call=of_call.results,
    ),
    Question(
        number=25,
        text="Does a request that was answered 429 or 5xx use up its idempotency key?",
        how="By a call (--ring) whose first send fails so; nobody can ask for that.",
        of_call=of_call.failed_keys,
    ),
    Question(
        number=26,
        text="How soon is a new batch call in the list of batch calls?",
        how="Asking would upload a batch call, and ring.",
    ),
    Question(
        number=27,
        text="Which words are statuses of a batch call, and does one say that it is over?",
        how="By the list of batch calls and their metrics.",
        of_reads=of_batches.statuses,
    ),
)
