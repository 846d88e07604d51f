"""A batch call to three people, as short as it can be written, and what tests ask of it."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from waiting.modes import to_the_end

from formant_provider.operators.batch import FormantCreateBatchCallOperator
from formant_provider.sandbox import Sandbox
from formant_provider.sandbox.faults import BATCH
from support.supervisor import FakeSupervisor
from support.task_run import TaskRun, run_task

AGENT = 456
# Answered, answered, nobody picked up.
NUMBERS = ("+14155550120", "+14155550121", "+14155550101")
NAME, AMOUNT = "Asha-the-private", "2900071"
PEOPLE = [{"customer_phone": number, "customer_name": NAME, "due_amount": AMOUNT} for number in NUMBERS]
ONE_RING_EACH = dict.fromkeys(NUMBERS, 1)
WAIT: Mapping[str, Any] = {"wait_for_completion": True, "poll_interval": 0.05, "timeout": 5}


def a_batch_call(contacts: Any = PEOPLE, **options: Any) -> FormantCreateBatchCallOperator:
    chosen = {"task_id": "batch_call", "agent_id": AGENT, "name": "March", "lookup_timeout": 0, **options}
    return FormantCreateBatchCallOperator(contacts=contacts, **chosen)


def place(channel: FakeSupervisor, contacts: Any = PEOPLE, **options: Any) -> TaskRun:
    """Place a batch call, and do not wait for it."""
    return run_task(a_batch_call(contacts, **options), channel)


def wait_for(channel: FakeSupervisor, contacts: Any = PEOPLE, **options: Any) -> TaskRun:
    """Place a batch call and wait for it, to the end of its task."""
    return to_the_end(a_batch_call(contacts, **{**WAIT, **options}), channel)


def posts(sandbox: Sandbox) -> int:
    return asked(sandbox, BATCH)


def asked(sandbox: Sandbox, endpoint: str) -> int:
    return sum(request.endpoint == endpoint for request in sandbox.requests)


def uploaded(sandbox: Sandbox) -> list[dict[str, str]]:
    """The rows of the one batch call, as the API has them."""
    (batch,) = sandbox.batches
    return list(batch.rows())


def write_csv(path: Path, rows: Iterable[Sequence[object]], **form: Any) -> str:
    """Write rows to a CSV file, and return its path as text."""
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, **form).writerows(rows)
    return str(path)


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def people_file(path: Path, **form: Any) -> str:
    """Write the three people to a CSV file, and return its path as text."""
    return write_csv(path, [list(PEOPLE[0]), *(list(person.values()) for person in PEOPLE)], **form)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())
