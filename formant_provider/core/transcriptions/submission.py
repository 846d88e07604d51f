"""May audio be submitted, or submitted again? Decided here and nowhere else; and done.

The vendor knows no key for a transcription job, no name to put a marker in, and no list of jobs. So once one
may have been accepted, nothing tells of it but what we have written down, and nothing is submitted again
unless the user wishes so. The first line that applies:

================================================  =========================================================
What is known                                     What follows
================================================  =========================================================
the ledger has a receipt                          nothing is sent: that job
the result of an earlier try names its job        nothing is sent: that job
a job may have been accepted, in an earlier try,  :class:`TranscriptionOutcomeUnknown`, or with
for another row of a list that was cleared or     ``resubmit_if_unconfirmed`` it is submitted
has changed, or before a loop was cleared
otherwise                                         it is submitted, after the doubt was written down
================================================  =========================================================

Vendor page: https://docs.formantai.com/api-reference/transcription
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, ClassVar

from formant_provider.api.errors import FormantError, TranscriptionOutcomeUnknown
from formant_provider.api.models import utc_text
from formant_provider.core.ledger import BaseIntent, Ledger, Readers, Sent, note, outcome_of, write_doubt
from formant_provider.core.transcriptions.request import TranscriptionRequest

if TYPE_CHECKING:
    from formant_provider.api.client import FormantClient

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class JobReceipt:
    """What is kept of an accepted job. Nothing that was said."""

    job_id: str


@dataclass(frozen=True)
class TranscriptionIntent(BaseIntent):
    """What the ledger holds of one transcription job."""

    READERS: ClassVar[Readers] = {**BaseIntent.READERS, "receipt": lambda fields: JobReceipt(**fields)}
    WORDS: ClassVar[tuple[str, str]] = ("intent to transcribe", "receipt of a job that was submitted")

    receipt: JobReceipt | None = None


@dataclass(frozen=True)
class SubmissionPolicy:
    """What the user chose, and what is known of others. Values only.

    :param resubmit_if_unconfirmed: whether to submit what may have been submitted before.
    :param others_may_have: whether another row, or an iteration of the loop that a clear has replaced, may
        have submitted this audio, of which nothing tells here.
    """

    resubmit_if_unconfirmed: bool
    others_may_have: bool


@dataclass
class Submission:
    """One try to submit one job.

    :param find_result: returns the receipt of which the result of an earlier try tells; ``None``: of none.
    :param check_before_send: asked right before every send; the error it returns is raised instead.
    """

    request: TranscriptionRequest
    client: FormantClient
    ledger: Ledger[TranscriptionIntent]
    policy: SubmissionPolicy
    now: Callable[[], datetime]
    find_result: Callable[[], JobReceipt | None]
    check_before_send: Callable[[], FormantError | None]

    def run(self) -> JobReceipt:
        """Submit the job, or find out that it was submitted already.

        :raises TranscriptionOutcomeUnknown: it may have been submitted, and nobody knows under which id.
        :raises FormantError: it may be tried again; ``maybe_placed`` says whether it may have been accepted.
        """
        known = self.ledger.read()
        intent = known or TranscriptionIntent(self.request.key, self.now())
        if intent.receipt is not None:
            return intent.receipt
        in_doubt = intent.sent is Sent.UNCLEAR or (known is None and self.policy.others_may_have)
        found = self._result(is_needed=in_doubt) if known is None or in_doubt else None
        if found is not None:
            log.info("The result of an earlier try names its job: %s.", found.job_id)
            note(self.ledger, replace(intent, sent=Sent.UNCLEAR, receipt=found))
            return found
        if in_doubt:
            self._refuse_doubt(intent)
        if known is None:  # a try that dies before its first send leaves no doubt
            self.ledger.write(intent)
        return self._submit(intent)

    def _result(self, *, is_needed: bool) -> JobReceipt | None:
        """Look at the result of an earlier try; where nothing is in doubt, its storage may refuse that."""
        try:
            return self.find_result()
        except Exception:
            if is_needed:
                raise
            return None

    def _submit(self, intent: TranscriptionIntent) -> JobReceipt:
        """Upload the audio, and write down what came of it."""
        audio = self.request.fetch_audio()
        if intent.sent is not Sent.UNCLEAR:
            intent = replace(intent, written_at=self.now())
        doubt = replace(intent, sent=Sent.UNCLEAR)
        try:
            job = self.client.create_transcription_job(
                audio,
                languages=self.request.languages,
                diarize=self.request.diarize,
                format=self.request.format,
                before_send=lambda: write_doubt(self.ledger, doubt, self.check_before_send),
            )
        except FormantError as error:
            self._note_failure(intent, error)
            raise
        receipt = JobReceipt(job.job_id)
        note(self.ledger, replace(doubt, receipt=receipt))
        return receipt

    def _note_failure(self, intent: TranscriptionIntent, error: FormantError) -> None:
        intent = replace(intent, sent=outcome_of(intent.sent, [*error.earlier, error]))
        error.maybe_placed = intent.sent is Sent.UNCLEAR
        if error.maybe_placed:
            self._refuse_doubt(intent, error)
        else:
            note(self.ledger, intent)

    def _refuse_doubt(self, intent: TranscriptionIntent, error: FormantError | None = None) -> None:
        """Raise, unless the user wishes to submit what may have been submitted before."""
        if self.policy.resubmit_if_unconfirmed:
            return
        since = f"at {utc_text(intent.written_at)} or later" if intent.sent is Sent.UNCLEAR else "before"
        text = f"A job for this audio may have been accepted {since}, and FormantAI has no list of jobs"
        if error is not None:
            text = f"{error}. {text}"
        raise TranscriptionOutcomeUnknown(
            text, operation=error.operation if error else None, maybe_placed=True
        ) from None
