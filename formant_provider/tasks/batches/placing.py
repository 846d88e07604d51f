"""Places the batch call of a task: brings together the request, the ledger, and what the user chose."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pendulum

from formant_provider.tasks.batches.contacts import ContactFiles
from formant_provider.tasks.batches.outputs import check_outputs
from formant_provider.tasks.batches.row_list import recipients_uri
from formant_provider.tasks.do_not_call import refuse_lost_list
from formant_provider.tasks.lateness import lateness_s, refuse_late
from formant_provider.tasks.options import seconds
from formant_provider.tasks.privacy import reveal

if TYPE_CHECKING:
    from formant_provider.api.errors import FormantError
    from formant_provider.core.batches.placement import BatchPlacement
    from formant_provider.core.batches.request import BatchRequest
    from formant_provider.tasks.batches.task import BatchTask
    from formant_provider.tasks.run import TaskRun

log = logging.getLogger(__name__)


def open_files(task: BatchTask, folder: Path) -> ContactFiles:
    """Check where files are to be written, before anything is sent; return the contacts, not read yet.

    :param folder: for what is needed while the task runs.
    :raises InvalidInput: with the name of the field at fault.
    """
    contacts, suppress = reveal(task.contacts), reveal(task.suppress)
    check_outputs(contacts, suppress, task.rejects_uri, task.results_uri)
    return ContactFiles(
        folder,
        contacts,
        suppress,
        task.rules,
        rejects_uri=task.rejects_uri,
        recipients_uri=None if task.results_uri is None else recipients_uri(task.results_uri),
        carried=task.report_options.carried,
        on_closed=task.on_closed,
    )


def build_batch(task: BatchTask, run: TaskRun, write_file: Callable[[], Path] = Path) -> BatchRequest:
    """Return the batch call that the rendered fields of a task describe.

    :param write_file: writes the file that is uploaded; left out where only the name is of interest.
    :raises InvalidInput: with the name of the field at fault.
    """
    from formant_provider.core.batches.request import build_batch_request

    request = build_batch_request(
        agent_id=task.agent_id,
        name=task.name,
        idempotency_key=task.idempotency_key,
        write_file=write_file,
        task=run.task_id,
        is_mapped=run.is_mapped,
    )
    return replace(request, key=run.key_in_loop(request.key))


@dataclass
class BatchPlacer:
    """Places the batch call of a task, once.

    :param files: its contacts, not read yet.
    :param is_stopped: whether the task was stopped, so that nothing more is sent.
    """

    task: BatchTask
    run: TaskRun
    files: ContactFiles
    is_stopped: Callable[[], bool]
    request: BatchRequest = field(init=False)

    def __post_init__(self) -> None:
        self.request = build_batch(self.task, self.run, self._write_file)
        self.files.marker = self.request.marker

    def place(self) -> BatchPlacement:
        """Place the batch call, or find out that it was placed already.

        :raises FormantError: as :func:`~formant_provider.core.batches.placement.place_batch` does.
        """
        from formant_provider.core.batches.placement import BatchPolicy, Callbacks, place_batch
        from formant_provider.tasks.ledger import batch_ledger_for

        request, options, run = self.request, self.task.placing, self.run
        ledger = batch_ledger_for(run, request.key)
        known = ledger.read()
        reject_duplicates(self.task, request, run, is_placed=known is not None and known.receipt is not None)
        log.info("Batch call of agent %s, named %r.", request.agent_id, request.full_name)
        policy = BatchPolicy(
            taken_since=run.batch_taken_since,
            lookup_timeout_s=seconds("lookup_timeout", options.lookup_timeout),
            resubmit_if_missing=options.resubmit_if_missing,
            was_cleared=run.was_cleared,
        )
        callbacks = Callbacks(lambda: pendulum.now("UTC"), time.sleep, self._check_before_send)
        with self.task.hook.get_conn() as client:
            return place_batch(request, client, ledger, policy, callbacks)

    def _write_file(self) -> Path:
        from formant_provider.core.hours.openings import Openings

        task, now = self.task, pendulum.now("UTC")
        # Checked only before an upload: a batch call that was placed before is not too late.
        refuse_late(self.run.context, lateness_s(task.placing.max_lateness), now=now)
        refuse_lost_list(task.given)
        if task.calling_window is not None:
            self.files.openings = Openings(task.calling_window.hours, now)
        return self.files.write()

    def _check_before_send(self) -> FormantError | None:
        from formant_provider.api.errors import SendAborted

        return SendAborted("The task was stopped before the upload") if self.is_stopped() else None


def reject_duplicates(task: BatchTask, request: BatchRequest, run: TaskRun, *, is_placed: bool) -> None:
    """Refuse two rows of a mapped task that would be one batch call, or write one file.

    One of the two would not be placed, or not be reported on.

    :raises InvalidInput: with the name of the field that both share.
    """
    from formant_provider.api.errors import InvalidInput

    if not run.is_mapped or not task.do_xcom_push:
        return
    contacts = _as_text(reveal(task.contacts), task.rules.phone_column)
    content = task.hook.fingerprints(request.agent_id).seal(contacts)
    outputs = {"rejects_uri": task.rejects_uri, "results_uri": task.results_uri}
    files = {name: str(uri).strip() for name, uri in outputs.items() if uri is not None}
    run.publish_key(request.key, content, files)
    if is_placed:
        return
    shared = run.file_of_another(request.key, files)
    if run.has_duplicate(request.key, content):
        shared = "name" if task.idempotency_key is None else "idempotency_key"
    if shared:
        raise InvalidInput(shared, "is the same in another row of this mapped task; give each its own")


def _as_text(contacts: Any, phone_column: str) -> str:
    """Write where contacts are, or what they are if they are in memory."""
    from formant_provider.core.tables.value_tables import frame_table

    frame = frame_table(contacts, "contacts", phone_column)
    if frame is not None:
        contacts = [frame.names, *frame.rows(range(len(frame.names)))]
    in_memory = isinstance(contacts, Iterable) and not isinstance(contacts, str | bytes)
    return json.dumps(list(contacts) if in_memory else contacts, sort_keys=True, default=str)
