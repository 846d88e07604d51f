"""Refuses rows of a mapped task that would be the same batch call, or write the same file."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from formant_provider.tasks.privacy import reveal

if TYPE_CHECKING:
    from formant_provider.core.batches.request import BatchRequest
    from formant_provider.tasks.batches.fields import BatchTask
    from formant_provider.tasks.run import TaskRun


def reject_duplicates(task: BatchTask, request: BatchRequest, run: TaskRun, *, is_placed: bool) -> None:
    """Refuse two rows of a mapped task that would be one batch call, or write one file.

    One of the two would not be placed, or not be reported on.
    """
    from formant_provider.api.errors import InvalidInput

    if not run.is_mapped or not task.do_xcom_push:
        return
    contacts = _as_text(reveal(task.contacts), task.rules.phone_column)
    content = task.hook.fingerprints(request.agent_id).seal(contacts)
    files = {name: str(uri).strip() for name, uri in written_by(task).items() if uri is not None}
    run.publish_key(request.key, content, files)
    if is_placed:
        return
    shared = run.file_of_another(request.key, files)
    if run.has_duplicate(request.key, content):
        shared = "name" if task.idempotency_key is None else "idempotency_key"
    if shared:
        raise InvalidInput(shared, "is the same in another row of this mapped task; give each its own")


def written_by(task: BatchTask) -> dict[str, str | None]:
    """Return the files that a batch call writes, by the name of their field."""
    return {
        "rejects_uri": task.rejects_uri,
        "results_uri": task.results_uri,
        "summary_uri": task.summary_uri,
    }


def _as_text(contacts: Any, phone_column: str) -> str:
    """Write where contacts are, or what they are if they are in memory."""
    from formant_provider.core.tables.value_tables import frame_table

    frame = frame_table(contacts, "contacts", phone_column)
    if frame is not None:
        contacts = [frame.names, *frame.rows(range(len(frame.names)))]
    in_memory = isinstance(contacts, Iterable) and not isinstance(contacts, str | bytes)
    return json.dumps(list(contacts) if in_memory else contacts, sort_keys=True, default=str)
