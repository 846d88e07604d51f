"""The half of the campaign's operator that places its batch call."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import timedelta
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pendulum

from formant_provider.hooks.formant import FormantHook
from formant_provider.tasks.batches.contact_options import ContactRules
from formant_provider.tasks.batches.contacts import ContactFiles, read_numbers
from formant_provider.tasks.batches.outputs import check_outputs
from formant_provider.tasks.batches.report import ReportOptions
from formant_provider.tasks.batches.row_list import recipients_uri
from formant_provider.tasks.do_not_call import refuse_lost_list
from formant_provider.tasks.dry_run import DRY_RUN, checked, tell_openings
from formant_provider.tasks.lateness import lateness_s, refuse_late
from formant_provider.tasks.options import seconds
from formant_provider.tasks.privacy import PrivateFields, reveal
from formant_provider.tasks.references import reference_or_none
from formant_provider.tasks.results import NOT_KNOWN, a_result_in_any_case, not_called, of_row, push
from formant_provider.tasks.run import TaskRun

if TYPE_CHECKING:
    from airflow.sdk import Context

    from formant_provider.api.errors import FormantError
    from formant_provider.calling_window import CallingWindow
    from formant_provider.core.batches.placement import BatchPlacement, BatchPolicy, Callbacks
    from formant_provider.core.batches.request import BatchRequest


RECEIPT_FIELDS = (
    "batch_id",
    "name",
    "agent_id",
    "total_recipients",
    "placement",
    "placed_at",
    "contacts",
    "status",
)


class PlacesABatch(PrivateFields):
    """Mixed into an operator that has the fields of a batch call and the options of its placement."""

    private_fields = ("contacts", "suppress")
    masks_numbers = False

    agent_id: Any
    name: Any
    contacts: Any
    idempotency_key: Any
    reference: Any
    rejects_uri: str | None
    results_uri: str | None
    formant_conn_id: str
    region: str | None
    rules: ContactRules
    report_options: ReportOptions
    calling_window: CallingWindow | None
    on_closed: str
    suppress: Any
    max_lateness_s: float | None
    lookup_timeout_s: float
    resubmit_if_missing: bool

    _stopped = False

    def set_placement_options(
        self,
        max_lateness: float | timedelta | None,
        lookup_timeout: float | timedelta,
        *,
        resubmit_if_missing: bool,
    ) -> None:
        """Keep the options of the placement, which are documented at the operator.

        :raises ValueError: for an invalid option.
        """
        self.max_lateness_s = lateness_s(max_lateness)
        self.lookup_timeout_s = seconds("lookup_timeout", lookup_timeout)
        self.resubmit_if_missing = resubmit_if_missing

    def on_kill(self) -> None:
        """Send nothing more. A batch call that was sent cannot be taken back: the vendor has no cancel."""
        self._stopped = True
        self.log.warning("Stopping: no upload any more. A batch call that was sent cannot be taken back.")

    @cached_property
    def hook(self) -> FormantHook:
        """What leads to the API; the connection is read when it is used."""
        return FormantHook(self.formant_conn_id, self.region)

    def open_files(self, folder: Path) -> ContactFiles:
        """Check where files shall go, before anything is sent; return the contacts, not read yet.

        :param folder: for what is needed while the task runs.
        :raises InvalidInput: with the name of the field at fault.
        """
        contacts, suppress = reveal(self.contacts), reveal(self.suppress)
        check_outputs(contacts, suppress, self.rejects_uri, self.results_uri)
        return ContactFiles(
            folder,
            contacts,
            suppress,
            self.rules,
            rejects_uri=self.rejects_uri,
            recipients_uri=None if self.results_uri is None else recipients_uri(self.results_uri),
            carried=self.report_options.carried,
            on_closed=self.on_closed,
        )

    def build_batch(self, files: ContactFiles, context: Context) -> BatchRequest:
        """Return the batch call that the rendered fields describe.

        :raises InvalidInput: with the name of the field at fault.
        """
        from formant_provider.core.hours.openings import Openings

        def write_file() -> Path:
            # Asked of what would ring anew alone: a campaign that was placed is not too late.
            refuse_late(context, self.max_lateness_s, now=pendulum.now("UTC"))
            refuse_lost_list(self.given)
            if self.calling_window is not None:
                files.openings = Openings(self.calling_window.hours, pendulum.now("UTC"))
            return files.write()

        request = self._request(write_file, context)
        files.marker = request.marker
        return request

    def marker(self, context: Context) -> str:
        """Return what tells this campaign from all others, in every try the same."""
        return self._request(Path, context).marker

    def _request(self, write_file: Callable[[], Path], context: Context) -> BatchRequest:
        from formant_provider.core.batches.request import build_batch_request

        run = self._run(context)
        request = build_batch_request(
            agent_id=self.agent_id,
            name=self.name,
            idempotency_key=self.idempotency_key,
            write_file=write_file,
            task=run.task_id,
            is_mapped=run.is_mapped,
        )
        return replace(request, key=run.key_in_loop(request.key))

    def _run(self, context: Context) -> TaskRun:
        return TaskRun(context, own_name=self.idempotency_key is not None)

    def rehearse(self, files: ContactFiles, context: Context) -> dict[str, Any]:
        """Do all that comes before the upload, and return what would be uploaded.

        :raises FormantError: as placing it would, unless the task would be skipped for it.
        """
        from formant_provider.tasks.ledger import BATCHES_ENTRY, note_nothing_sent

        files.recipients_uri = None  # there is no report to come
        request = self.build_batch(files, context)
        with self.hook.get_conn():
            clean, reason = checked(request.write_file)
        note_nothing_sent(TaskRun(context), BATCHES_ENTRY)
        report, openings = files.report, files.openings
        push(context, "batch_id", NOT_KNOWN)
        return {
            **dict.fromkeys(RECEIPT_FIELDS),
            **self.of_row(context),
            "name": request.full_name,
            "agent_id": request.agent_id,
            "total_recipients": report.accepted if clean and report else 0,
            "contacts": report.counts() if report else None,
            "status": DRY_RUN,
            "reason": reason,
            "by_opening": tell_openings(openings, read_numbers(Path(clean)) if clean else ()),
        }

    def place_batch(self, request: BatchRequest, context: Context) -> BatchPlacement:
        """Place the batch call, or find out that it was placed already.

        :raises FormantError: as :func:`~formant_provider.core.batches.placement.place_batch` does.
        """
        from formant_provider.core.batches.placement import place_batch
        from formant_provider.tasks.ledger import batch_ledger_for

        ledger = batch_ledger_for(TaskRun(context), request.key)
        known = ledger.read()
        self._refuse_twins(request, context, is_placed=known is not None and known.receipt is not None)
        self.log.info("Batch call of agent %s, named %r.", request.agent_id, request.full_name)
        with self.hook.get_conn() as client:
            return place_batch(request, client, ledger, self._policy(context), self._callbacks())

    def hand_on_receipt(
        self, placement: BatchPlacement, agent_id: int, files: ContactFiles, context: Context
    ) -> dict[str, Any]:
        """Hand the id downstream; return the receipt."""
        self.log.info(
            "The batch call is %s: id %s, %s recipients.",
            placement.result,
            placement.batch_id,
            placement.total_recipients,
        )
        push(context, "batch_id", placement.batch_id)
        return {
            **dict.fromkeys(RECEIPT_FIELDS),
            **self.of_row(context),
            "batch_id": placement.batch_id,
            "name": placement.name,
            "agent_id": agent_id,
            "total_recipients": placement.total_recipients,
            "placement": placement.result.value,
            "placed_at": placement.since.isoformat(),
            "contacts": files.report.counts() if files.report else None,
        }

    def leaving_a_result(self, context: Context) -> AbstractContextManager[None]:
        """Leave a result also when nobody is called."""

        def nothing() -> dict[str, Any]:
            return {**dict.fromkeys(RECEIPT_FIELDS), **self.of_row(context)}

        return a_result_in_any_case(
            context, nothing, partial(not_called, skipped="skipped"), apart=["batch_id"]
        )

    def of_row(self, context: Context) -> dict[str, Any]:
        """Return by what this result is told from those of other rows."""
        return of_row(context, reference_or_none(self.reference))

    def _refuse_twins(self, request: BatchRequest, context: Context, *, is_placed: bool) -> None:
        """Refuse two rows of a mapped list that would be one batch call, or write one file.

        One of the two would not be made, or not be reported on.
        """
        from formant_provider.api.errors import InvalidInput

        run = TaskRun(context)
        if not run.is_mapped or not self.do_xcom_push:
            return
        content = self.hook.fingerprints(request.agent_id).seal(
            _as_text(reveal(self.contacts), self.rules.phone_column)
        )
        files = self._written()
        run.publish_key(request.key, content, files)
        if is_placed:
            return
        if run.has_duplicate(request.key, content):
            field = "name" if self.idempotency_key is None else "idempotency_key"
            raise InvalidInput(field, "is the same in another row of this mapped task; give each its own")
        if taken := run.file_of_another(request.key, files):
            raise InvalidInput(taken, "is the same in another row of this mapped task; give each its own")

    def _written(self) -> dict[str, str]:
        """Return where files go, by the name of the field."""
        places = {"rejects_uri": self.rejects_uri, "results_uri": self.results_uri}
        return {name: str(uri).strip() for name, uri in places.items() if uri is not None}

    def _policy(self, context: Context) -> BatchPolicy:
        from formant_provider.core.batches.placement import BatchPolicy

        run = self._run(context)
        return BatchPolicy(
            taken_since=run.batch_taken_since,
            lookup_timeout_s=self.lookup_timeout_s,
            resubmit_if_missing=self.resubmit_if_missing,
            was_cleared=run.was_cleared,
        )

    def _callbacks(self) -> Callbacks:
        from formant_provider.core.batches.placement import Callbacks

        return Callbacks(lambda: pendulum.now("UTC"), time.sleep, self._check_before_send)

    def _check_before_send(self) -> FormantError | None:
        from formant_provider.api.errors import SendAborted

        return SendAborted("The task was stopped before the upload") if self._stopped else None


def _as_text(contacts: Any, phone_column: str) -> str:
    """Write where contacts are, or what they are if they are in memory."""
    from formant_provider.core.tables.value_tables import frame_table

    frame = frame_table(contacts, "contacts", phone_column)
    if frame is not None:
        contacts = [frame.names, *frame.rows(range(len(frame.names)))]
    in_memory = isinstance(contacts, Iterable) and not isinstance(contacts, str | bytes)
    return json.dumps(list(contacts) if in_memory else contacts, sort_keys=True, default=str)
