"""Transcription jobs: accepted at once, and over after a while. No audio is understood here."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from formant_provider.sandbox.settings import Settings
from formant_provider.sandbox.transcription_form import CreateJob

ENGINE, PENDING, COMPLETED = "sarvam", "pending", "completed"
DETECTED = "hi-IN"
UTTERANCES = (
    # Not ASCII on purpose, so that a client's decoding is tested.
    {"speaker": "0", "text": "नमस्ते, this is the sandbox.", "start": 0.2, "end": 2.8},
    {"speaker": "1", "text": "Yes, I can talk.", "start": 3.1, "end": 4.6},
)


@dataclass(frozen=True)
class Transcription:
    """One accepted job.

    :param job_id: the ``id`` in the API.
    :param request: what was asked, and size and checksum of the audio.
    """

    tenant: str
    job_id: str
    created_at: datetime
    request: CreateJob

    def receipt(self) -> dict[str, Any]:
        """Return the response to its creation. It is bare: there is no ``data`` around it."""
        return {"id": self.job_id, "engine": ENGINE, "status": PENDING}

    def record(self, now: datetime, settings: Settings) -> dict[str, Any]:
        """Return the job as it can be read. What there is not, or not yet, is null."""
        is_over = now >= self.created_at + timedelta(seconds=settings.transcription_seconds)
        status = settings.transcription_ends_as if is_over else PENDING
        said = self._said() if status == COMPLETED else dict.fromkeys(("text", "language", "utterances"))
        return {**self.receipt(), "status": status, **said}

    def _said(self) -> dict[str, Any]:
        request = self.request
        names = {} if request.diarize else {"speaker": "0"}
        return {
            "text": " ".join(str(each["text"]) for each in UTTERANCES),
            "language": request.languages[0] if request.languages else DETECTED,
            "utterances": [{**each, **names} for each in UTTERANCES],
        }


class Transcriptions:
    """Every accepted job."""

    def __init__(self) -> None:
        self._by_id: dict[str, Transcription] = {}

    def __iter__(self) -> Iterator[Transcription]:
        return iter(self._by_id.values())

    def accept(self, tenant: str, request: CreateJob, now: datetime) -> Transcription:
        """Accept a job without any check."""
        job = Transcription(tenant, f"job_{uuid.uuid4().hex[:12]}", now, request)
        self._by_id[job.job_id] = job
        return job

    def find(self, tenant: str, job_id: str) -> Transcription | None:
        """Return the tenant's job by its id."""
        job = self._by_id.get(job_id)
        return job if job is not None and job.tenant == tenant else None
