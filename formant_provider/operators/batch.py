"""The operator that places a batch call: everybody in a table is called once."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from airflow.providers.common.compat.sdk import BaseOperator

from formant_provider.hooks.formant import FormantHook
from formant_provider.tasks.batches.completion import OnBatchTimeout, WaitsForTheEnd
from formant_provider.tasks.batches.contact_options import ContactRules, InvalidRows, Numbers, OnEmpty
from formant_provider.tasks.batches.outputs import check_written_outputs
from formant_provider.tasks.batches.report import (
    DEFAULT_REPORT_COLUMNS,
    ReportOptions,
    check_report,
    refuse_carried_phone,
)
from formant_provider.tasks.batches.waiting import BatchOptions, OnBelowThreshold, OnStalled
from formant_provider.tasks.dry_run import is_dry_run
from formant_provider.tasks.options import check_batch_options, one_of, refuse_idle, renamed, time_to_wait
from formant_provider.tasks.privacy import reveal
from formant_provider.tasks.references import to_reference
from formant_provider.tasks.results import push_result
from formant_provider.tasks.storage.tables import NumberDisplay
from formant_provider.tasks.timing import check_window
from formant_provider.tasks.waiting import deferrable_or_default

if TYPE_CHECKING:
    from airflow.sdk import Context

    from formant_provider.calling_window import CallingWindow
    from formant_provider.tasks.timing import OnClosedUpload


class FormantCreateBatchCallOperator(WaitsForTheEnd, BaseOperator):
    """Call everybody in a table through a FormantAI Voice agent, each once.

    The contacts are checked before anything is sent, and what can be called is uploaded as one batch call.
    The vendor takes no idempotency key for it, so the task puts a marker into its name, writes down its
    intent (Airflow 3.3 and later), and never uploads blindly again: a further try, and one whose answer was
    lost, looks for the marker in the list of batch calls first. Found, the batch call is adopted. Not found
    after an upload that may have been accepted, the task fails without retries and says what to check.
    A batch call cannot be cancelled.

    XCom: ``return_value``, a dict of ``batch_id``, ``name`` (as the vendor sees it), ``agent_id``,
    ``total_recipients``, ``placement`` (``placed`` or ``found``), ``placed_at``, ``contacts`` (counts of
    what was read, or ``None`` when an earlier try did), ``status`` (``None`` until it is waited for),
    ``reason``, ``map_index`` and ``reference``; with ``wait_for_completion`` also ``metrics`` and
    ``stalled``, and with ``results_uri`` that, ``by_status`` and ``rejected``. ``batch_id`` is on
    a key of its own as well. A task that uploads nothing leaves a result too, as a single call does.

    Vendor page: https://docs.formantai.com/platform/batch-calls

    :param agent_id: the agent that talks: an integer, or a template that renders to digits. (templated)
    :param name: shown to people in the dashboard; one line. (templated)
    :param contacts: whom to call: a URI of any storage that Airflow knows or an absolute path, of a file
        (CSV, also compressed; Parquet; a workbook), of a folder of such files, or a pattern of their names;
        or a list of mappings or a data frame, such as the output of a task. One column is
        ``customer_phone``; each other one becomes a parameter of the call. Airflow never shows it.
        (templated)
    :param idempotency_key: a name for this batch call, such as a month. Those of one agent with the same
        name are one batch call, whichever task, DAG or run asks for them. ``None`` means one for each DAG run
        and task. (templated)
    :param reference: your own name of this batch call: text or an integer, and never a phone number. It is in
        the result and goes nowhere else. ``None`` means none. (templated)
    :param suppress: numbers that must not be called: a URI or path like that of the contacts, with a column
        ``customer_phone`` or a single one; or a list or a data frame. Who is on it is left out, and the
        batch call does not fail for it. ``None`` means none; a list that is there and comes to ``None`` or
        holds no number fails the task. Airflow never shows it. (templated)
    :param rejects_uri: a CSV file for the contacts that cannot be called, each with the reason. ``None``
        keeps them nowhere. (templated)
    :param results_uri: a file for the report, ``.csv``, ``.parquet`` or ``.jsonl``, the first and last also
        with ``.gz``: a row for each of the contacts and what came of it. Needs ``wait_for_completion``.
        (templated)
    :param formant_conn_id: connection of type ``formant``. (templated)
    :param region: ``"global"`` or ``"in"``; ``None`` means the connection's region. (templated)
    :param calling_window: the hours in which phones may ring, a
        :class:`~formant_provider.calling_window.CallingWindow`, held against each contact's own clock when
        the file is uploaded: the platform calls from then on, and knows of no hours. ``None`` means any.
        (templated)
    :param dry_run: whether to check everything and upload nothing: ``True``, ``False``, or a template that
        renders to one of these words. (templated)
    :param delimiter: what is between the cells of a CSV file, unless its first line is ``sep=;`` or the like.
    :param default_country: where numbers are from that are written without a country code, as two letters;
        with it, numbers in any usual writing are taken. ``None`` takes E.164 alone.
    :param default_region: the old name of ``default_country``, which is deprecated.
    :param numbers: what digits without a plus sign are, of the contacts and of ``suppress``: ``"national"``
        (of ``default_country``) or ``"e164_without_plus"`` (each begins with its country code). ``None``
        refuses those that could be either. A number that is a float is read only where this is said.
    :param renumber: whether numbers of an old numbering plan are called under what they are today, where that
        is known. ``False`` refuses them. Those of ``suppress`` are always read so.
    :param sheet: the name of the sheet of a workbook; ``None`` takes the first one that is not hidden.
    :param phone_column: the name that the column of numbers has in the contacts, and may have in
        ``suppress``. What is uploaded calls it ``customer_phone``.
    :param required_variables: columns that must not be blank.
    :param invalid_rows: when some contacts cannot be called: ``"fail"`` sends nothing, ``"reject"`` leaves
        them out. Those on the do-not-call list are left out either way.
    :param max_rejected_rate: percent of the contacts, from 0 to 100, that ``invalid_rows="reject"`` may leave
        out; with more nothing is sent. ``None`` means any.
    :param on_empty: when nobody can be called, as of an empty file: ``"fail"`` (without retries) or
        ``"skip"``.
    :param on_closed: when ``calling_window`` is closed for some contacts at the upload: ``"fail"`` (without
        retries) sends nothing, ``"skip"`` leaves them out, with their next opening in the rejects.
    :param results_fields: columns of the report besides the row and its ``status`` and ``reason``. With
        ``results``, ``failure_reason`` or ``trace_id`` among them each conversation costs a request.
    :param recipients: how much of the numbers the report shows: ``"full"``, ``"masked"`` (the last four
        digits) or ``"none"``, which leaves out the column.
    :param reference_column: a column of the contacts, such as an id, that is in the report as ``reference``.
        ``None`` means none.
    :param keep_columns: further columns of the contacts that are in the report, under their own names.
    :param keep_recipients: whether the list of all rows beside the report, with their numbers, stays there
        when the batch call is over and reported on. By default it is deleted then.
    :param max_lateness: how long ago the day may have ended that the run is about, in seconds or as a
        ``timedelta``. A later run is skipped, and nobody is called about last month; ``None`` calls however
        late it is. A run that somebody starts is never late.
    :param lookup_timeout: how long to look for a batch call whose answer was lost, in seconds or as a
        ``timedelta``.
    :param resubmit_if_missing: whether a further try uploads again what may have been accepted and was not
        found. Where the vendor's list lags behind, everybody is rung twice.
    :param wait_for_completion: whether to wait until the batch call is over. A further try continues to wait.
    :param poll_interval: time between two looks, in seconds or as a ``timedelta``.
    :param timeout: how long a try waits, in seconds or as a ``timedelta``.
    :param on_timeout: what the task does then: ``"fail"`` (without retries), or ``"return"`` what is known.
    :param stall_timeout: the batch call counts as over when nothing has changed for so long, in seconds or
        as a ``timedelta``: the vendor counts no telephony failures, so its numbers may never add up.
    :param min_success_rate: percent of all recipients that must be a success, from 0 to 100. ``None`` asks
        for none.
    :param on_below_threshold: how the task ends when fewer are: ``"fail"`` (without retries) or
        ``"succeed"``.
    :param on_stalled: how the task ends when nothing has changed for ``stall_timeout`` though somebody is
        still to be called: ``"fail"`` (without retries) or ``"succeed"``.
    :param deferrable: whether to wait in the triggerer. ``None`` means Airflow's
        ``[operators] default_deferrable``.
    :raises ValueError: at parse time, for options that are invalid.
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
        "formant_conn_id",
        "region",
        "calling_window",
        "dry_run",
    )
    ui_color = "#c3e0cd"
    check_options = staticmethod(check_batch_options)

    def __init__(
        self,
        *,
        agent_id: int | str,
        name: str,
        contacts: Any,
        idempotency_key: str | None = None,
        reference: str | int | None = None,
        suppress: Any = None,
        rejects_uri: str | None = None,
        results_uri: str | None = None,
        formant_conn_id: str = FormantHook.default_conn_name,
        region: str | None = None,
        calling_window: CallingWindow | None = None,
        dry_run: bool | str = False,
        delimiter: str = ",",
        default_country: str | None = None,
        default_region: str | None = None,
        numbers: Numbers | None = None,
        renumber: bool = False,
        sheet: str | None = None,
        phone_column: str = "customer_phone",
        required_variables: Sequence[str] = (),
        invalid_rows: InvalidRows = "fail",
        max_rejected_rate: float | None = None,
        on_empty: OnEmpty = "fail",
        on_closed: OnClosedUpload = "fail",
        results_fields: Sequence[str] = DEFAULT_REPORT_COLUMNS,
        recipients: NumberDisplay = "masked",
        reference_column: str | None = None,
        keep_columns: Sequence[str] = (),
        keep_recipients: bool = False,
        max_lateness: float | timedelta | None = 86400,
        lookup_timeout: float | timedelta = 60,
        resubmit_if_missing: bool = False,
        wait_for_completion: bool = False,
        poll_interval: float | timedelta = 60,
        timeout: float | timedelta = 86400,
        on_timeout: OnBatchTimeout = "fail",
        stall_timeout: float | timedelta = 3600,
        min_success_rate: float | None = None,
        on_below_threshold: OnBelowThreshold = "fail",
        on_stalled: OnStalled = "fail",
        deferrable: bool | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.agent_id, self.name, self.contacts, self.suppress = agent_id, name, contacts, suppress
        self.idempotency_key, self.reference = idempotency_key, reference
        self.rejects_uri, self.results_uri = rejects_uri, results_uri
        self.formant_conn_id, self.region = formant_conn_id, region
        self.dry_run = dry_run  # type: ignore[method-assign,assignment] # nothing calls Airflow's method
        check_window(calling_window, on_closed)
        self.calling_window, self.on_closed = calling_window, on_closed
        self.rules = ContactRules(
            delimiter=delimiter,
            default_country=renamed("default_region", default_region, "default_country", default_country),
            numbers=numbers,
            renumber=renumber,
            sheet=sheet,
            phone_column=phone_column,
            required_variables=required_variables,
            invalid_rows=invalid_rows,
            max_rejected_rate=max_rejected_rate,
            on_empty=on_empty,
        )
        self.report_options = ReportOptions(
            results_fields, recipients, reference_column, keep_columns, keep_recipients
        )
        refuse_carried_phone(phone_column, self.report_options)
        self.set_placement_options(max_lateness, lookup_timeout, resubmit_if_missing=resubmit_if_missing)
        self.wait_for_completion, self.timeout_s = wait_for_completion, time_to_wait("timeout", timeout)
        self.on_timeout = one_of("on_timeout", on_timeout, get_args(OnBatchTimeout))
        endings = (min_success_rate, on_below_threshold, on_stalled)
        self.waiting = BatchOptions(poll_interval, stall_timeout, *endings)
        self.deferrable = deferrable_or_default(deferrable)
        self._check(timeout, min_success_rate)

    def _check(self, timeout: float | timedelta, min_success_rate: float | None) -> None:
        """Refuse invalid options, whatever the templates render to."""
        chosen: dict[str, Any] = {"timeout": timeout, "min_success_rate": min_success_rate}
        chosen |= {"invalid_rows": self.rules.invalid_rows, "wait_for_completion": self.wait_for_completion}
        self.check_options(self.given, chosen)
        if not self.wait_for_completion:
            for name, value in (
                ("results_uri", self.results_uri),
                ("min_success_rate", self.waiting.min_success_rate),
            ):
                if value is not None:
                    raise ValueError(f"{name} needs wait_for_completion=True: it is known at the end alone")
        if not getattr(self, "_BaseOperator__from_mapped", False):  # else other rows may have the file
            check_report(self.given, self.results_uri, self.rejects_uri)
            places = (reveal(self.contacts), reveal(self.suppress))
            check_written_outputs(*places, self.rejects_uri, self.results_uri)
            refuse_idle(self.given, ["on_closed"], "calling_window", met=self.calling_window is not None)

    def execute(self, context: Context) -> dict[str, Any]:
        """Check the contacts, upload them once, push its id, and wait if asked to."""
        from formant_provider.tasks.failures import PLACING_A_BATCH_CALL, ending_the_task
        from formant_provider.tasks.ledger import BATCHES_ENTRY, noting_nothing_sent
        from formant_provider.tasks.run import TaskRun

        with (
            self.leaving_a_result(context),
            tempfile.TemporaryDirectory(prefix="formant-batch-") as folder,
            ending_the_task(PLACING_A_BATCH_CALL, self.hook),
            noting_nothing_sent(TaskRun(context), BATCHES_ENTRY),
        ):
            self.refuse_missing()
            self.reference = to_reference(self.reference)
            files = self.open_files(Path(folder))
            if is_dry_run(self.dry_run):
                return self.rehearse(files, context)
            request = self.build_batch(files, context)
            placement = self.place_batch(request, context)
        receipt = self.hand_on_receipt(placement, request.agent_id, files, context)
        if not self.wait_for_completion:
            return receipt
        push_result(context, receipt)  # whatever becomes of the rest of the task
        return self.wait_for_end(placement, receipt, context)
