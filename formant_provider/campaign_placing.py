"""The half of the campaign's operator that places its batch call."""

from __future__ import annotations

import time
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pendulum

from formant_provider.campaign_report import recipients_uri
from formant_provider.contact_files import ContactFiles, ContactRules
from formant_provider.do_not_call import MindsTheList
from formant_provider.hooks.formant import FormantHook
from formant_provider.privacy import HidesFields, reveal
from formant_provider.timing import refuse_late

if TYPE_CHECKING:
    from airflow.sdk import Context

    from formant_provider.api.batch_placement import BatchPlacement, BatchRules
    from formant_provider.api.batch_request import BatchRequest
    from formant_provider.api.errors import FormantError


class PlacesABatch(MindsTheList, HidesFields):
    """Mixed into an operator that has the fields of a batch call and the options of its placement."""

    private_fields = ("contacts", "suppress")
    masks_numbers = False

    agent_id: Any
    name: Any
    contacts: Any
    idempotency_key: Any
    rejects_uri: str | None
    results_uri: str | None
    formant_conn_id: str
    region: str | None
    rules: ContactRules
    max_lateness_s: float | None
    lookup_timeout_s: float
    resubmit_if_missing: bool

    _stopped = False

    def on_kill(self) -> None:
        """Send nothing more. A batch call that was sent cannot be taken back: the vendor has no cancel."""
        self._stopped = True
        self.log.warning("Stopping: no upload any more. A batch call that was sent cannot be taken back.")

    @property
    def hook(self) -> FormantHook:
        """What leads to the API; the connection is read when it is used."""
        return FormantHook(self.formant_conn_id, self.region)

    def open_files(self, folder: Path) -> ContactFiles:
        """Check where files shall go, before anything is sent; return the contacts, not read yet.

        :param folder: for what is needed while the task runs.
        :raises InvalidInput: with the name of the field at fault.
        """
        from formant_provider.campaign_report import report_format
        from formant_provider.files import to_file

        for name in ("rejects_uri", "results_uri"):
            if getattr(self, name) is not None:
                to_file(name, getattr(self, name))
        if self.results_uri is not None:
            report_format(self.results_uri)
        return ContactFiles(
            folder,
            reveal(self.contacts),
            reveal(self.suppress),
            self.rules,
            rejects_uri=self.rejects_uri,
            recipients_uri=None if self.results_uri is None else recipients_uri(self.results_uri),
        )

    def build_batch(self, files: ContactFiles, context: Context) -> BatchRequest:
        """Return the batch call that the rendered fields describe.

        :raises InvalidInput: with the name of the field at fault.
        """
        from formant_provider.api.batch_request import build_batch_request

        def write_file() -> Path:
            # Asked of what would ring anew alone: a campaign that was placed is not too late.
            refuse_late(context, self.max_lateness_s, now=pendulum.now("UTC"))
            self.refuse_lost_list(context)
            return files.write()

        ti = context["ti"]
        return build_batch_request(
            agent_id=self.agent_id,
            name=self.name,
            idempotency_key=self.idempotency_key,
            write_file=write_file,
            task=(ti.dag_id, ti.run_id, ti.task_id),
            is_mapped=(ti.map_index or 0) >= 0,
        )

    def place_batch(self, request: BatchRequest, context: Context) -> BatchPlacement:
        """Place the batch call, or find out that it was placed already.

        :raises FormantError: as :func:`~formant_provider.api.batch_placement.place_batch` does.
        """
        from formant_provider.api.batch_placement import place_batch
        from formant_provider.state import announce, batch_ledger_for

        ledger = batch_ledger_for(context, request.key)
        announce(context, request.key)
        known = ledger.read()
        if known is None or known.receipt is None:
            self._refuse_twins(request, context)
        self.log.info("Batch call of agent %s, named %r.", request.agent_id, request.full_name)
        with self.hook.get_conn() as client:
            return place_batch(request, client, ledger, self._rules(context))

    def _refuse_twins(self, request: BatchRequest, context: Context) -> None:
        """Refuse two rows of a mapped list that would be one batch call: one of them would not be made."""
        from formant_provider.api.errors import InvalidInput
        from formant_provider.state import is_ours_alone

        ti: Any = context["ti"]
        if ti.map_index >= 0 and self.do_xcom_push and not is_ours_alone(context, request.key):
            field = "name" if self.idempotency_key is None else "idempotency_key"
            raise InvalidInput(field, "is the same in another row of this mapped task; give each its own")

    def _rules(self, context: Context) -> BatchRules:
        from formant_provider.api.batch_placement import BatchRules

        return BatchRules(
            taken_since=self._taken_since(context),
            lookup_timeout_s=self.lookup_timeout_s,
            resubmit_if_missing=self.resubmit_if_missing,
            now=lambda: pendulum.now("UTC"),
            sleep=time.sleep,
            keep_back=self._keep_back,
        )

    def _taken_since(self, context: Context) -> datetime | None:
        """Return when somebody whom the ledger does not know of can have placed it; ``None``: nobody can."""
        from formant_provider.state import batch_taken_since, run_began

        own_name = self.idempotency_key is not None
        ti: Any = context["ti"]
        if own_name or (ti.map_index >= 0 and not self.do_xcom_push):  # then rows cannot refuse their twins
            return batch_taken_since(context, own_name=own_name)
        # An earlier try can, if somebody has deleted what it wrote down.
        return run_began(context) if ti.try_number > 1 else None

    def _keep_back(self) -> FormantError | None:
        from formant_provider.api.errors import NotSent

        return NotSent("The task was stopped before the upload") if self._stopped else None
