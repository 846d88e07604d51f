"""Records of transcription jobs as they come back from the API.

Vendor page: https://docs.formantai.com/api-reference/transcription
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from formant_provider.api.models import without_numbers

COMPLETED = "completed"
# The vendor documents no word for a job that has failed. These are read as that; another one is waited for.
FAILURES = ("failed", "error", "cancelled", "canceled")
TranscriptFormat = Literal["standard", "code_mixed"]


@dataclass(frozen=True)
class TranscriptionJob:
    """One transcription job. What the API did not send, or not in its type, is ``None``.

    :param job_id: what the API calls ``id``.
    :param status: ``pending``, ``completed``, or a word the vendor does not document.
    :param engine: what transcribes.
    :param language: of what is spoken.
    :param text: what was said; private.
    :param utterances: who said what when: ``speaker``, ``text``, and ``start`` and ``end`` in seconds, as the
        API sent them; private.
    """

    job_id: str
    status: str | None
    engine: str | None = None
    language: str | None = None
    text: str | None = field(default=None, repr=False)
    utterances: list[Any] | None = field(default=None, repr=False)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> TranscriptionJob | None:
        """Read an answer; ``None`` when it has no id to go by."""
        job_id, utterances = data.get("id"), data.get("utterances")
        if not isinstance(job_id, str | int) or isinstance(job_id, bool) or job_id == "":
            return None
        texts = {name: data.get(name) for name in ("status", "engine", "language", "text")}
        if isinstance(texts["status"], str):
            texts["status"] = without_numbers(texts["status"])
        return cls(
            job_id=str(job_id),
            utterances=utterances if isinstance(utterances, list) else None,
            **{name: text if isinstance(text, str) else None for name, text in texts.items()},
        )
