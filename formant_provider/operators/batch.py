"""The operator that places a batch call: everybody in a table is called once."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from airflow.providers.common.compat.sdk import BaseOperator

from formant_provider.hooks.formant import FormantHook
from formant_provider.tasks.batches.completion import conclude, wait
from formant_provider.tasks.batches.fields import OnBatchTimeout, PlacingOptions
from formant_provider.tasks.batches.placing import BatchPlacer, check_fields
from formant_provider.tasks.batches.receipts import dry_run_result, leaving_a_result, push_receipt
from formant_provider.tasks.batches.report import DEFAULT_REPORT_COLUMNS, ReportOptions
from formant_provider.tasks.batches.waiting import BatchOptions, OnBelowThreshold, OnStalled
from formant_provider.tasks.capping import OnCappedUpload, check_cap
from formant_provider.tasks.contact_rules import ContactRules, InvalidRows, Numbers, OnEmpty
from formant_provider.tasks.dry_run import is_dry_run
from formant_provider.tasks.lineage import LeavesLineage
from formant_provider.tasks.options import check_batch_options, one_of, refuse_literals, time_to_wait
from formant_provider.tasks.privacy import PrivateFields
from formant_provider.tasks.references import reference_or_none, to_reference
from formant_provider.tasks.results import of_row, push_result
from formant_provider.tasks.run import TaskRun
from formant_provider.tasks.storage.tables import NumberDisplay
from formant_provider.tasks.timing import OnClosedUpload, check_window
from formant_provider.tasks.waiting import deferrable_or_default

if TYPE_CHECKING:
    from airflow.sdk import Context

    from formant_provider.call_cap import CallCap
    from formant_provider.calling_window import CallingWindow


class FormantCreateBatchCallOperator(PrivateFields, LeavesLineage, BaseOperator):
    """Call everybody in a table through a FormantAI Voice agent, each once.

    The contacts are checked before anything is sent, and those who can be called are uploaded as one batch
    call. The vendor takes no idempotency key for it. So the task puts a marker into its name, writes its
    intent into Airflow's task state store (3.3 and later), and looks for the marker in the list of batch
    calls before a further try uploads anything, and after a lost answer. What is found is adopted; when an
    upload may have been accepted and is not found, the task fails without retries and says what to check.
    A batch call cannot be cancelled.

    XCom: ``return_value``, a dict of ``batch_id``, ``name`` (as the vendor sees it), ``agent_id``,
    ``total_recipients``, ``placement`` (``placed`` or ``found``), ``placed_at``, ``contacts`` (counts of what
    was read, or ``None`` when an earlier try read them), ``status`` (``None`` until it is waited for),
    ``reason``, ``map_index`` and ``reference``; with ``wait_for_completion`` also ``metrics`` and
    ``stalled``, and with ``results_uri`` that, ``by_status``, ``rejected`` and ``summary_uri`` if there is
    one. ``batch_id`` has its own key as well. A task that uploads nothing leaves a result too.

    Vendor page: https://docs.formantai.com/platform/batch-calls

    **What the batch call is:**

    :param agent_id: the agent that talks: an integer, or a template that renders to digits. (templated)
    :param name: the name that people see in the dashboard; one line. (templated)
    :param contacts: whom to call: a URI of any storage that Airflow knows, or an absolute path, of a file
        (CSV, also compressed; Parquet; a workbook), of a folder of such files, or a pattern of their names;
        or a list of mappings or a data frame, such as the output of a task. One column is
        ``customer_phone``; each other one is a parameter of the call. Airflow never shows it. (templated)
    :param reference: your own name of this batch call: text or an integer, and never a phone number. It is in
        the result, and is not sent. ``None`` means none. (templated)
    :param formant_conn_id: connection of type ``formant``. (templated)
    :param region: ``"global"`` or ``"in"``; ``None`` means the connection's region. (templated)

    **How the contacts are read:**

    :param delimiter: the character between the cells of a CSV file without a first line like ``sep=;``.
    :param sheet: the name of the sheet of a workbook; ``None`` takes the first one that is not hidden.
    :param phone_column: the name of the column of numbers in the contacts, which ``suppress`` may use too. In
        the upload it is called ``customer_phone``.
    :param default_country: the country of numbers that are written without a country code, as two letters;
        with it, numbers in any usual writing are taken. ``None`` takes E.164 alone.
    :param numbers: what digits without a plus sign are, in the contacts and in ``suppress``: ``"national"``
        (of ``default_country``) or ``"e164_without_plus"`` (each begins with its country code). ``None``
        refuses those that could be either. A number that is a float is read only where this is given.
    :param renumber: whether numbers of an old numbering plan are called under their number of today, where
        that is known. ``False`` refuses them. Those of ``suppress`` are always read so.

    **Who is left out:**

    :param suppress: numbers that must not be called: a URI or path like that of the contacts, with a column
        ``customer_phone`` or a single one; or a list or a data frame. They are left out, and the batch call
        does not fail for them. ``None`` means none; a list that is given and comes to ``None`` or holds no
        number fails the task. Airflow never shows it. (templated)
    :param required_variables: columns that must not be blank.
    :param invalid_rows: what to do when some contacts cannot be called: ``"fail"`` sends nothing,
        ``"reject"`` leaves them out. Those on the do-not-call list are left out either way.
    :param max_rejected_rate: the percentage of the contacts, from 0 to 100, that ``invalid_rows="reject"``
        may leave out; with more, nothing is sent. ``None`` means any.
    :param on_empty: what to do when nobody can be called, such as with an empty file: ``"fail"`` (without
        retries) or ``"skip"``.
    :param rejects_uri: a CSV file for the contacts that cannot be called, each with the reason. ``None``
        writes none. (templated)

    **When it is placed:**

    :param calling_window: the hours in which people may be called, a
        :class:`~formant_provider.calling_window.CallingWindow`, checked against each contact's local time
        when the file is uploaded: the platform calls from then on, and knows no hours. ``None`` means any.
        (templated)
    :param on_closed: what to do when ``calling_window`` is closed for some contacts at the upload: ``"fail"``
        (without retries) sends nothing, ``"skip"`` leaves them out, with their next opening in the rejects.
    :param max_lateness: how long ago the day may have ended that the run is about, in seconds or as a
        ``timedelta``. A later run is skipped, so that nobody is called about last month; ``None`` calls
        however late it is. A run that somebody starts by hand is never late.
    :param call_cap: a :class:`~formant_provider.call_cap.CallCap`: how often one person may be called, by all
        who share the connection's call store, which it needs. ``None`` means the connection's. (templated)
    :param on_capped: ``"skip"`` leaves out who is capped, ``"fail"`` (without retries) sends nothing.

    **How safe it is:**

    :param idempotency_key: a name for this batch call, such as a month. Those of one agent with the same
        name are one batch call, whichever task, DAG or run places them. ``None`` means one for each DAG run
        and task. (templated)
    :param dry_run: whether to check everything and upload nothing: ``True``, ``False``, or a template that
        renders to one of these words. (templated)
    :param lookup_timeout: how long to look for it after a lost answer, in seconds or as a ``timedelta``.
    :param resubmit_if_missing: whether a further try uploads again what may have been accepted and was not
        found. If the vendor's list lags behind, everybody is called twice.

    **How long it waits:**

    :param wait_for_completion: whether to wait until the batch call is over. A further try continues to wait.
    :param deferrable: whether to wait in the triggerer; ``None``: as ``[operators] default_deferrable`` says.
    :param poll_interval: time between two polls, in seconds or as a ``timedelta``.
    :param timeout: how long a try waits, in seconds or as a ``timedelta``.
    :param stall_timeout: the batch call counts as over when nothing has changed for so long, in seconds or
        as a ``timedelta``: the vendor counts no telephony failures, so its numbers may never add up.

    **How it ends:**

    :param on_timeout: what to do after ``timeout``: ``"fail"`` (without retries) or ``"return"`` the result.
    :param min_success_rate: percent of all recipients that must be a success, 0 to 100. ``None``: none.
    :param on_below_threshold: how it ends when fewer are: ``"fail"`` (without retries) or ``"succeed"``.
    :param on_stalled: how the task ends when nothing has changed for ``stall_timeout`` though somebody is
        still to be called: ``"fail"`` (without retries) or ``"succeed"``.

    **What is reported:**

    :param results_uri: a file for the report, ``.csv``, ``.parquet`` or ``.jsonl``, the first and last also
        with ``.gz``: one row for each contact, with the outcome. Needs ``wait_for_completion``. ``None``
        writes none. (templated)
    :param summary_uri: a page for people, ``.html``, of how it went in figures and charts. Needs
        ``results_uri``, whose rows it counts. ``None`` writes none. (templated)
    :param results_fields: columns of the report besides the row and its ``status`` and ``reason``. With
        ``results``, ``failure_reason`` or ``trace_id`` among them each conversation costs a request, but for
        those that a webhook has told.
    :param recipients: how much of the numbers the report shows: ``"full"``, ``"masked"`` (the last four
        digits) or ``"none"``, which leaves out the column.
    :param reference_column: a column of the contacts, such as an id, to report as ``reference``, or ``None``.
    :param keep_columns: further columns of the contacts that are in the report, under their own names.
    :param keep_recipients: whether the list of all rows beside the report, with their numbers, stays there
        when the batch call is over and reported on. By default it is deleted then.

    :raises ValueError: at parse time, for an option that is invalid.
    """

    template_fields: Sequence[str] = (
        "agent_id",
        "name",
        "contacts",
        "idempotency_key",
        "reference",
        "suppress",
        "rejects_uri",
        "results_uri",
        "summary_uri",
        "formant_conn_id",
        "region",
        "calling_window",
        "call_cap",
        "dry_run",
    )
    private_fields = ("contacts", "suppress")
    literal_fields = ("agent_id", "region")
    masks_numbers = False
    ui_color = "#c3e0cd"
    check_options = staticmethod(check_batch_options)

    def __init__(
        self,
        *,
        agent_id: int | str,
        name: str,
        contacts: Any,
        reference: str | int | None = None,
        formant_conn_id: str = FormantHook.default_conn_name,
        region: str | None = None,
        delimiter: str = ",",
        sheet: str | None = None,
        phone_column: str = "customer_phone",
        default_country: str | None = None,
        numbers: Numbers | None = None,
        renumber: bool = False,
        suppress: Any = None,
        required_variables: Sequence[str] = (),
        invalid_rows: InvalidRows = "fail",
        max_rejected_rate: float | None = None,
        on_empty: OnEmpty = "fail",
        rejects_uri: str | None = None,
        calling_window: CallingWindow | Mapping[str, Any] | None = None,
        on_closed: OnClosedUpload = "fail",
        max_lateness: float | timedelta | None = 86400,
        call_cap: CallCap | Mapping[str, Any] | None = None,
        on_capped: OnCappedUpload = "skip",
        idempotency_key: str | None = None,
        dry_run: bool | str = False,
        lookup_timeout: float | timedelta = 60,
        resubmit_if_missing: bool = False,
        wait_for_completion: bool = False,
        deferrable: bool | None = None,
        poll_interval: float | timedelta = 60,
        timeout: float | timedelta = 86400,
        stall_timeout: float | timedelta = 3600,
        on_timeout: OnBatchTimeout = "fail",
        min_success_rate: float | None = None,
        on_below_threshold: OnBelowThreshold = "fail",
        on_stalled: OnStalled = "fail",
        results_uri: str | None = None,
        summary_uri: str | None = None,
        results_fields: Sequence[str] = DEFAULT_REPORT_COLUMNS,
        recipients: NumberDisplay = "masked",
        reference_column: str | None = None,
        keep_columns: Sequence[str] = (),
        keep_recipients: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.agent_id, self.name, self.contacts, self.suppress = agent_id, name, contacts, suppress
        self.formant_conn_id, self.region, self.reference = formant_conn_id, region, reference
        self.idempotency_key, self.rejects_uri = idempotency_key, rejects_uri
        self.results_uri, self.summary_uri = results_uri, summary_uri
        self.dry_run = dry_run  # type: ignore[method-assign,assignment] # nothing calls Airflow's method
        self.calling_window, self.on_closed = check_window(calling_window, on_closed)
        self.call_cap, self.on_capped = check_cap(call_cap, on_capped, get_args(OnCappedUpload))
        written = (delimiter, sheet, phone_column, default_country, numbers, renumber)
        left_out = (required_variables, invalid_rows, max_rejected_rate, on_empty)
        self.rules = ContactRules(*written, *left_out)
        kept = (reference_column, keep_columns, keep_recipients)
        self.report_options = ReportOptions(results_fields, recipients, *kept)
        self.report_options.refuse_phone_column(phone_column)
        self.placing = PlacingOptions(max_lateness, lookup_timeout, resubmit_if_missing)
        self.wait_for_completion, self.timeout_s = wait_for_completion, time_to_wait("timeout", timeout)
        self.on_timeout = one_of("on_timeout", on_timeout, get_args(OnBatchTimeout))
        endings = (min_success_rate, on_below_threshold, on_stalled)
        self.waiting = BatchOptions(poll_interval, stall_timeout, *endings)
        self.deferrable, self._stopped = deferrable_or_default(deferrable), False
        chosen: dict[str, Any] = {"timeout": timeout, "min_success_rate": min_success_rate}
        chosen |= {"invalid_rows": invalid_rows, "wait_for_completion": wait_for_completion}
        self.check_options(self.given, chosen)
        refuse_literals(self)
        check_fields(self, is_row=getattr(self, "_BaseOperator__from_mapped", False))

    def execute(self, context: Context) -> dict[str, Any]:
        """Check the contacts, upload them once, push the id, and wait if asked to."""
        from formant_provider.tasks.failures import PLACING_A_BATCH_CALL, ending_the_task
        from formant_provider.tasks.ledger import BATCHES_ENTRY, noting_nothing_sent

        run = TaskRun(context, own_name=self.idempotency_key is not None)
        with (
            leaving_a_result(context, lambda: self._row(context)),
            tempfile.TemporaryDirectory(prefix="formant-batch-") as folder,
            ending_the_task(PLACING_A_BATCH_CALL, self.hook),
            noting_nothing_sent(run, BATCHES_ENTRY),
        ):
            self.refuse_missing()
            self.reference = to_reference(self.reference)
            placer = BatchPlacer(self, run, Path(folder), is_stopped=lambda: self._stopped)
            if is_dry_run(self.dry_run):
                return dry_run_result(placer, self._row(context))
            placement = placer.place()
        receipt = push_receipt(placement, placer, self._row(context))
        if not self.wait_for_completion:
            return receipt
        push_result(context, receipt)  # whatever becomes of the rest of the task
        return wait(self, placement, receipt, run)

    def execute_complete(self, context: Context, event: Mapping[str, Any]) -> dict[str, Any]:
        """Continue after the wait for the batch call in the triggerer."""
        from formant_provider.triggers.batch import BatchEnd

        run = TaskRun(context, own_name=self.idempotency_key is not None)
        return conclude(self, BatchEnd.from_event(event), run)

    def on_kill(self) -> None:
        """Send nothing more. A batch call that was sent cannot be taken back: the vendor has no cancel."""
        self._stopped = True
        self.log.warning("Nothing more is uploaded. A batch call that was sent cannot be taken back.")

    def _row(self, context: Context) -> dict[str, Any]:
        """Return what identifies this result among those of other rows."""
        return of_row(context, reference_or_none(self.reference))
