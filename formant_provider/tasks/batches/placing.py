"""Places the batch call of a task: brings together the request, the ledger, and what the user chose."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pendulum

from formant_provider.tasks.batches.contacts import ContactFiles
from formant_provider.tasks.batches.duplicates import reject_duplicates, written_by
from formant_provider.tasks.batches.outputs import check_outputs, check_written_outputs, recipients_uri
from formant_provider.tasks.capping import CapOptions
from formant_provider.tasks.do_not_call import refuse_lost_list
from formant_provider.tasks.lateness import lateness_s, refuse_late
from formant_provider.tasks.options import refuse_idle, seconds
from formant_provider.tasks.privacy import reveal

if TYPE_CHECKING:
    from formant_provider.api.errors import FormantError
    from formant_provider.core.batches.decision import BatchIntent
    from formant_provider.core.batches.placement import BatchPlacement
    from formant_provider.core.batches.request import BatchRequest
    from formant_provider.core.ledger import Ledger
    from formant_provider.store.reservation import Reservation
    from formant_provider.tasks.batches.fields import BatchTask
    from formant_provider.tasks.call_store import CallStore
    from formant_provider.tasks.run import TaskRun

log = logging.getLogger(__name__)


def check_fields(task: BatchTask, *, is_row: bool) -> None:
    """Refuse fields that are invalid whatever the templates render to, when the DAG file is parsed.

    :param is_row: whether the task is a row of a mapped one, and so is checked when it runs.
    """
    at_the_end = {"min_success_rate": task.waiting.min_success_rate, **written_by(task)}
    for name, value in at_the_end.items():
        if name != "rejects_uri" and value is not None and not task.wait_for_completion:
            raise ValueError(f"{name} needs wait_for_completion=True: it is known only at the end")
    if is_row:  # other rows may have the file
        return
    report = ("results_fields", "recipients", "keep_recipients")
    refuse_idle(task.given, report, "results_uri", met=task.results_uri is not None)
    # The rejects have all columns of the contacts in any case.
    is_written = task.results_uri is not None or task.rejects_uri is not None
    refuse_idle(task.given, ("reference_column", "keep_columns"), "results_uri", met=is_written)
    check_written_outputs(_read(task), written_by(task))
    refuse_idle(task.given, ["on_closed"], "calling_window", met=task.calling_window is not None)


def _open_files(task: BatchTask, folder: Path) -> ContactFiles:
    """Check where files are to be written, before anything is sent; return the contacts, not read yet."""
    read = _read(task)
    check_outputs(read, written_by(task))
    return ContactFiles(
        folder,
        read["contacts"],
        read["suppress"],
        task.rules,
        rejects_uri=task.rejects_uri,
        recipients_uri=None if task.results_uri is None else recipients_uri(task.results_uri),
        carried=task.report_options.carried,
        on_closed=task.on_closed,
        on_capped=task.on_capped,
    )


def _read(task: BatchTask) -> dict[str, Any]:
    return {"contacts": reveal(task.contacts), "suppress": reveal(task.suppress)}


def build_batch(task: BatchTask, run: TaskRun, write_file: Callable[[], Path] = Path) -> BatchRequest:
    """Return the batch call that the rendered fields of a task describe.

    :param write_file: writes the file that is uploaded; left out where only the name is of interest.
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
    """Places the batch call of a task, once, unless the task is stopped before the upload."""

    task: BatchTask
    run: TaskRun
    folder: Path
    is_stopped: Callable[[], bool]
    cap: CapOptions = field(init=False)
    files: ContactFiles = field(init=False)
    request: BatchRequest = field(init=False)
    _reservation: Reservation | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self.cap = CapOptions(self.task.call_cap, self.task.on_capped)
        self.files = _open_files(self.task, self.folder)
        self.request = build_batch(self.task, self.run, self._write_file)
        self.files.marker = self.request.marker

    def place(self) -> BatchPlacement:
        """Place the batch call, or find out that it was placed already."""
        from formant_provider.core.batches.decision import BatchPolicy
        from formant_provider.core.batches.placement import BatchPlacing
        from formant_provider.core.placing import Callbacks
        from formant_provider.tasks.call_store import call_store_of
        from formant_provider.tasks.ledger import BATCHES_ENTRY

        self.cap.check(self.task.hook)
        request, options, run = self.request, self.task.placing, self.run
        store = call_store_of(self.task.hook, run, BATCHES_ENTRY, began=run.run_began)
        ledger = self._ledger(store)
        known = ledger.read()
        is_placed = known is not None and known.receipt is not None and not ledger.is_of_others
        reject_duplicates(self.task, request, run, is_placed=is_placed)
        log.info("Batch call of agent %s, named %r.", request.agent_id, request.full_name)
        # Somebody may have used a name of the user's before there was a store.
        knows_all = store is not None and store.knows_all and not run.own_name
        policy = BatchPolicy(
            # Later on a look costs little, and nothing else keeps an upload from being made twice.
            taken_since=None if knows_all and run.is_first else run.batch_taken_since,
            lookup_timeout_s=seconds("lookup_timeout", options.lookup_timeout),
            resubmit_if_missing=options.resubmit_if_missing,
            was_cleared=run.was_cleared and not knows_all,
        )
        callbacks = Callbacks(lambda: pendulum.now("UTC"), time.sleep, self._check_before_send)
        try:
            with self.task.hook.get_conn() as client:
                return BatchPlacing(request, client, ledger, policy, callbacks).run()
        finally:
            if self._reservation is not None:
                self._reservation.release()

    def check_contacts(self) -> Path:
        """Write the file that would be uploaded, and reserve nobody.

        :raises CallNotAllowed: nobody would be called now.
        """
        from formant_provider.store.reservation import Asking

        store = self.task.hook.get_store()
        if store is not None:
            rule = self.cap.in_force(self.task.hook)
            self.files.people = Asking(store, rule, lambda: pendulum.now("UTC"))
        return self._write_file()

    def _ledger(self, store: CallStore | None) -> Ledger[BatchIntent]:
        """Return the ledger of this batch call; in a call store, its people are reserved there as well."""
        from formant_provider.core.batches.decision import BatchIntent
        from formant_provider.tasks.ledger import ledger_for

        request, run = self.request, self.run
        ledger = ledger_for(run, BatchIntent, request.key)
        if store is None:
            return ledger
        from formant_provider.store.admission import Admission
        from formant_provider.store.reservation import Reservation
        from formant_provider.tasks.call_store import asked_for

        asked = asked_for(
            run,
            key=request.key,
            agent_id=request.agent_id,
            recipient=None,
            reference=self.task.reference,
        )
        kept = store.ledger(BatchIntent, asked, Admission(), ledger)
        rule = self.cap.in_force(self.task.hook)
        self._reservation = Reservation(store.store, rule, kept.now, ledger=kept)
        self.files.people = self._reservation
        return kept

    def _write_file(self) -> Path:
        from formant_provider.core.hours.openings import Openings

        task, now = self.task, pendulum.now("UTC")
        # Checked only before an upload: a batch call that was placed before is not too late.
        refuse_late(self.run.context, lateness_s(task.placing.max_lateness), now=now)
        refuse_lost_list(task.given)
        if task.calling_window is not None:
            self.files.openings = Openings(task.calling_window.hours, now)
        if self._reservation is None:
            return self.files.write()
        self._reservation.begin()
        clean = self.files.write()
        self._reservation.end(clean.stat().st_size)
        return clean

    def _check_before_send(self) -> FormantError | None:
        from formant_provider.api.errors import SendAborted

        return SendAborted("The task was stopped before the upload") if self.is_stopped() else None
