"""A task that has one file transcribed, as short as it can be written, and what tests ask of it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from waiting.modes import to_the_end

from formant_provider.operators.transcription import FormantTranscribeOperator
from formant_provider.sandbox import Sandbox
from formant_provider.sandbox.faults import TRANSCRIBE, TRANSCRIPTION
from support.supervisor import FakeSupervisor
from support.task_run import TaskRun, run_task
from support.versions import HAS_STATE_STORE

AUDIO = b"RIFF" + bytes(range(256)) * 40
SAID = "Yes, I can talk."
PARKED = "clear this task with resubmit_if_unconfirmed=True"


def an_audio(folder: Path, name: str = "private-asha.wav") -> Path:
    path = folder / name
    path.write_bytes(AUDIO)
    return path


def an_operator(folder: Path, **options: Any) -> FormantTranscribeOperator:
    audio = folder / "private-asha.wav"
    if not audio.exists() and "audio" not in options:
        an_audio(folder)
    chosen = {"audio": str(audio), "output_uri": f"{folder}/said.json", "poll_interval": 0.05, "timeout": 5}
    return FormantTranscribeOperator(task_id="transcribe", **{**chosen, "retries": 3, **options})


def a_try(
    channel: FakeSupervisor,
    folder: Path,
    number: int = 1,
    *,
    state_store: bool = HAS_STATE_STORE,
    **options: Any,
) -> TaskRun:
    """One try, to its end; a deferred one is continued."""
    task, attempt = an_operator(folder, **options), {"try_number": number, "state_store": state_store}
    return to_the_end(task, channel, logical_date=datetime.now(UTC), **attempt)


def first_part(channel: FakeSupervisor, folder: Path, number: int = 1, **options: Any) -> TaskRun:
    """One try, to its end or its deferral."""
    task = an_operator(folder, **options)
    return run_task(task, channel, try_number=number, logical_date=datetime.now(UTC))


def posts(sandbox: Sandbox) -> int:
    return sum(request.endpoint == TRANSCRIBE for request in sandbox.requests)


def reads(sandbox: Sandbox) -> int:
    return sum(request.endpoint == TRANSCRIPTION for request in sandbox.requests)


def written(folder: Path, name: str = "said.json") -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / name).read_text(encoding="utf-8"))
    return content
