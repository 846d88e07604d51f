"""Writes what is available of one conversation to files: its record, its transcript, its recording.

The record comes first. It says whether the conversation is over; before that, nothing else is complete. What
is not available may come later or never: the API gives the same answer in both cases.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING

from formant_provider.api.errors import NotFound
from formant_provider.core.conversations.lookup import find_detail
from formant_provider.core.conversations.statuses import UNSUCCESSFUL, Endings
from formant_provider.hooks.storage.writing import Written, write_file
from formant_provider.tasks.storage.tables import COLUMNS, CONTACT_NUMBER, NumberDisplay, as_json, row

if TYPE_CHECKING:
    from airflow.sdk import ObjectStoragePath

    from formant_provider.api.client import FormantClient
    from formant_provider.api.models import Conversation

PARTS = ("record", "transcript", "recording")
# Suffixes of recordings that are not WAV, as all of the vendor's samples are.
_SUFFIXES = {"audio/mpeg": "mp3", "audio/mp3": "mp3", "audio/ogg": "ogg"}
_RECORD_FIELDS = tuple(name for name in COLUMNS if name != "transcript")


@dataclass
class Archive:
    """The files of one conversation, in a folder of its own.

    :ivar written: the files that are written so far.
    :ivar record: as it was read last; ``None`` when there is none, or not yet.
    """

    client: FormantClient
    conversation_id: str
    folder: ObjectStoragePath
    include: Sequence[str] = PARTS
    recipients: NumberDisplay = "masked"
    written: dict[str, Written] = field(default_factory=dict)
    record: Conversation | None = None

    @property
    def missing(self) -> list[str]:
        """The parts to write that are not written yet."""
        return [part for part in PARTS if part in self.include and part not in self.written]

    @property
    def nobody_connected(self) -> bool:
        """Whether it is over and nobody was connected, so that nothing can have been recorded."""
        return (
            self.record is not None
            and self.record.status in UNSUCCESSFUL
            and not self.record.duration_seconds
        )

    def look(self, *, last: bool) -> bool:
        """Write what is available by now and not written yet; return whether a further look may find more.

        :param last: take the record and what comes with it as they are, over or not. The vendor's list of
            statuses is open, so a word that we do not know may be final.
        """
        self.record = find_detail(self.client, self.conversation_id) or self.record
        if self.record is not None and (last or Endings().is_over(self.record.status)):
            for part in self.missing:
                written = self._write(part, self.record)
                if written is not None:
                    self.written[part] = written
        return bool(self.missing) and not self.nobody_connected

    def _write(self, part: str, record: Conversation) -> Written | None:
        if part == "recording":
            return self._write_recording()
        if part == "record":
            fields = [name for name in _RECORD_FIELDS if (name, self.recipients) != (CONTACT_NUMBER, "none")]
            return self._write_json("record.json", as_json(row(record, fields, recipients=self.recipients)))
        return self._write_json("transcript.json", as_json(record.transcript)) if record.transcript else None

    def _write_recording(self) -> Written | None:
        def fill(file: IO[bytes]) -> str:
            recording = self.client.download_recording(self.conversation_id, file)
            return f"recording.{_SUFFIXES.get(recording.content_type, 'wav')}"

        try:
            return write_file(self.folder, fill)
        except NotFound:
            return None

    def _write_json(self, name: str, content: bytes) -> Written:
        def fill(file: IO[bytes]) -> str:
            file.write(content + b"\n")
            return name

        return write_file(self.folder, fill)
