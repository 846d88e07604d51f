"""Many personal calls, declared in a DAG: everybody of a list is called in their own time."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar, get_args

from airflow.providers.common.compat.sdk import BaseOperator

from formant_provider.attempts import Attempts
from formant_provider.hooks.formant import FormantHook
from formant_provider.stop_when import StopWhen
from formant_provider.tasks.call_lists.fields import (
    EndOptions,
    FollowingOptions,
    OnListCapped,
    PlacingOptions,
)
from formant_provider.tasks.call_lists.options import (
    check_fields,
    check_list_options,
    chosen_columns,
    variants_of,
)
from formant_provider.tasks.call_lists.results import ResultOptions
from formant_provider.tasks.calls.waiting import SUCCESSFUL
from formant_provider.tasks.capping import check_cap
from formant_provider.tasks.contact_rules import ContactRules
from formant_provider.tasks.lineage import LeavesLineage
from formant_provider.tasks.options import refuse_literals, statuses, time_to_wait
from formant_provider.tasks.privacy import PrivateFields
from formant_provider.tasks.timing import check_window

if TYPE_CHECKING:
    from datetime import datetime

    from airflow.sdk import Context

    from formant_provider.call_cap import CallCap
    from formant_provider.calling_window import CallingWindow
    from formant_provider.tasks.call_lists.fields import OnBelowThreshold, OnListTimeout
    from formant_provider.tasks.contact_rules import InvalidRows, Numbers, OnEmpty
    from formant_provider.tasks.storage.tables import NumberDisplay


class FormantCallListOperator(PrivateFields, LeavesLineage, BaseOperator):
    """Call everybody of a list, each in their own time, and never twice; and report on each.

    Each row is a call of its own, with its own parameters. It is placed when it is due: not before its
    ``scheduled_for``, within the calling hours of the recipient, as often as the cap allows, and as fast as
    the API does. Whoever was not reached is called again as ``attempts`` says. One task does that for up to
    some hundred thousand rows. While nothing is due for a while it gives its worker back, and waits in the
    triggerer.

    Each attempt is placed at most once: what is about to be sent is written down first, in the call store of
    the connection, or in Airflow's task state store (3.3 and later), fifty calls at a time; one of the
    two is needed. A further try, after a lost answer or a killed worker, goes on from there. So does a
    cleared task: people whose rows were added are called, and nobody else again. A person is one number, so
    the order of rows does not matter, nor which agent calls.

    XCom: ``return_value``, a dict of ``status`` (``finished``, ``stopped`` by ``stop_when``, ``expired``,
    ``held``), ``rows``, ``reached``, ``closed`` (called, and not reached), ``rejected`` (never called),
    ``waiting``, ``calls`` (attempts), ``minutes``, ``by_status``, ``by_reason``, ``variants`` (by agent: how
    many were called and reached), ``results_uri``, ``summary_uri``, ``reason``, ``map_index`` and
    ``reference``.

    Vendor page: https://docs.formantai.com/api-reference/formant-ai-voice-api/calls/create-call

    **Whom to call, and what is said:**

    :param calls: whom to call: a URI of any storage that Airflow knows, or an absolute path, of a file (CSV,
        also compressed; Parquet; a workbook), of a folder of such files, or a pattern of their names; or a
        list of mappings or a data frame, such as the output of a task. One column is ``customer_phone``.
        ``reference`` (your own name of the row), ``agent_id``, ``scheduled_for`` (ISO 8601 with an offset:
        not before then), ``idempotency_key`` (a name for the call: with the same one, lists call a person
        once, and with another one again) and ``metadata``
        are what their names say; each other column is a parameter. Airflow never shows it. (templated)
    :param agent_id: the agent that talks, where a row names none: an integer, or a template that renders to
        digits. (templated)
    :param agents: several agents instead, each with its weight, such as ``{456: 0.5, 457: 0.5}``: who calls
        a person is the same in every try and every run.
    :param columns: names of columns that are called otherwise, by what they are, such as
        ``{"reference": "loan_id"}``; ``None`` as a name makes a column of the usual name a parameter.
    :param reference: your own name of this list: text or an integer, and never a phone number. It is in the
        result. ``None`` means none. (templated)
    :param formant_conn_id: connection of type ``formant``. (templated)
    :param region: ``"global"`` or ``"in"``; ``None`` means the connection's region. (templated)

    **How the list is read:**

    :param delimiter: the character between the cells of a CSV file without a first line like ``sep=;``.
    :param sheet: the name of the sheet of a workbook; ``None`` takes the first one that is not hidden.
    :param phone_column: the name of the column of numbers, which ``suppress`` may use too. To the agent it is
        ``customer_phone``.
    :param default_country: the country of numbers that are written without a country code, as two letters;
        with it, numbers in any usual writing are taken. ``None`` takes E.164 alone.
    :param numbers: what digits without a plus sign are, in ``suppress`` as well: ``"national"`` (of
        ``default_country``) or ``"e164_without_plus"``. ``None`` refuses those that could be either.
    :param renumber: whether numbers of an old numbering plan are called under their number of today, where
        that is known. ``False`` refuses them.

    **Who is left out:**

    :param suppress: numbers that must not be called: a URI or path like that of ``calls``, with a column
        ``customer_phone`` or a single one; or a list or a data frame. ``None`` means none; a list that is
        given and comes to ``None`` or holds no number fails the task. Airflow never shows it. (templated)
    :param required_variables: columns that must not be blank.
    :param invalid_rows: what to do with rows that cannot be called: ``"reject"`` leaves them out, each with
        the reason in the results; ``"fail"`` calls nobody.
    :param max_rejected_rate: the percentage of the rows, from 0 to 100, that may be left out so; with more,
        nobody is called. ``None`` means any.
    :param on_empty: what to do when nobody can be called: ``"fail"`` (without retries) or ``"skip"``.

    **When people are called:**

    :param calling_window: a :class:`~formant_provider.calling_window.CallingWindow`: the hours in which
        people may be called, by their own clocks. ``None`` means any. (templated)
    :param attempts: an :class:`~formant_provider.attempts.Attempts`: how often, and how long after what.
        ``None`` means once. (templated)
    :param settle_for: how long the record of an unsuccessful attempt must stay the newest of its recipient
        until it counts, in seconds or as a ``timedelta``: the platform may call again by itself.
    :param call_cap: a :class:`~formant_provider.call_cap.CallCap`: how often one person may be called, by all
        who share the connection's call store, which it needs. ``None`` means the connection's. (templated)
    :param on_capped: what becomes of a call that would be one too many: ``"schedule"`` lets it wait until it
        is free, ``"skip"`` leaves it out.
    :param max_lateness: how long ago the day may have ended that the run is about, in seconds or as a
        ``timedelta``, for the list to begin; otherwise the task is skipped. ``None`` means however long. A
        run that somebody starts by hand is never late.
    :param hold: whether nothing may be sent: ``True``, ``False``, or a template that renders to one of these
        words, such as a DAG param. What was placed is followed to its end, and the task ends. (templated)
    :param hold_variable: the name of an Airflow Variable that holds the list while it is true: nothing is
        sent within seconds, and the list goes on when it is not any more. So does ``python -m
        formant_provider.store hold``. ``None`` means none.
    :param stop_when: a :class:`~formant_provider.stop_when.StopWhen`: when nobody is called any more.
        ``None`` means never. (templated)

    **How it works:**

    :param dry_run: whether to check everything and call nobody: ``True``, ``False``, or a template that
        renders to one of these words. The result says how many would be called when. (templated)
    :param concurrency: requests that are under way at once, from 1 to 16. ``None`` goes by what the API
        allows.
    :param max_inline_wait: the longest pause that holds the worker, in seconds or as a ``timedelta``. While
        calls are in progress, the worker is kept until nothing has happened for five minutes.
    :param poll_interval: time between two looks for calls that are over, in seconds or as a ``timedelta``;
        longer where limits ask.
    :param safety_poll_interval: the same while webhooks of the agent come.
    :param call_timeout: how long after its beginning a call is given up of which no end is on record, in
        seconds or as a ``timedelta``.
    :param timeout: how long a try of the task may place calls, in seconds or as a ``timedelta``.
    :param on_timeout: what to do when somebody is still to be called then: ``"fail"`` (without retries) or
        ``"return"`` the result.

    **How it ends:**

    :param success_statuses: the statuses of those who were reached.
    :param terminal_statuses: further words that end a conversation, besides those the vendor documents.
    :param min_success_rate: percent of the people that must be reached, 0 to 100. ``None``: none.
    :param on_below_threshold: how it ends when fewer are: ``"fail"`` (without retries) or ``"succeed"``.

    **What is reported:**

    :param results_uri: a file with one row for each row of the list, in its order, ``.csv``, ``.parquet`` or
        ``.jsonl``, the first and last also with ``.gz``. ``None`` writes none. (templated)
    :param progress_uri: a file of the same form that is written anew about once a minute. (templated)
    :param summary_uri: a page that shows how the list went, ``.html``. ``None`` writes none. (templated)
    :param result_columns: columns of the results from what the agent collected, by name:
        ``{"intent": "results.intent"}``, or with a type ``{"amount": ("results.amount", "number")}``; see
        the documentation of call lists. Each conversation may cost a request.
    :param recipients: how much of the numbers the results show: ``"full"``, ``"masked"`` (the last four
        digits) or ``"none"``.
    :param keep_columns: columns of the list that are in the results, under their own names.

    :raises ValueError: at parse time, for an option that is invalid.
    """

    template_fields: Sequence[str] = (
        "calls",
        "agent_id",
        "reference",
        "suppress",
        "results_uri",
        "progress_uri",
        "summary_uri",
        "formant_conn_id",
        "region",
        "calling_window",
        "attempts",
        "call_cap",
        "stop_when",
        "hold",
        "dry_run",
    )
    private_fields: ClassVar[tuple[str, ...]] = ("calls", "suppress")
    literal_fields = ("agent_id", "region")
    masks_numbers = False
    ui_color = "#aed6bb"
    check_options = staticmethod(check_list_options)

    def __init__(
        self,
        *,
        calls: Any,
        agent_id: int | str | None = None,
        agents: Mapping[int, float] | None = None,
        columns: Mapping[str, str | None] | None = None,
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
        invalid_rows: InvalidRows = "reject",
        max_rejected_rate: float | None = None,
        on_empty: OnEmpty = "fail",
        calling_window: CallingWindow | Mapping[str, Any] | None = None,
        attempts: Attempts | Mapping[str, Any] | None = None,
        settle_for: float | timedelta = 0,
        call_cap: CallCap | Mapping[str, Any] | None = None,
        on_capped: OnListCapped = "skip",
        max_lateness: float | timedelta | None = 86400,
        hold: bool | str | None = None,
        hold_variable: str | None = None,
        stop_when: StopWhen | Mapping[str, Any] | None = None,
        dry_run: bool | str = False,
        concurrency: int | None = None,
        max_inline_wait: float | timedelta = 60,
        poll_interval: float | timedelta = 60,
        safety_poll_interval: float | timedelta = 600,
        call_timeout: float | timedelta = 3600,
        timeout: float | timedelta = 86400,
        on_timeout: OnListTimeout = "fail",
        success_statuses: Collection[str] = SUCCESSFUL,
        terminal_statuses: Collection[str] = (),
        min_success_rate: float | None = None,
        on_below_threshold: OnBelowThreshold = "fail",
        results_uri: str | None = None,
        progress_uri: str | None = None,
        summary_uri: str | None = None,
        result_columns: Mapping[str, Any] | None = None,
        recipients: NumberDisplay = "masked",
        keep_columns: Sequence[str] = (),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.calls, self.suppress, self.agent_id, self.reference = calls, suppress, agent_id, reference
        self.formant_conn_id, self.region = formant_conn_id, region
        self.variants, self.columns = variants_of(agent_id, agents), chosen_columns(columns)
        written = (delimiter, sheet, phone_column, default_country, numbers, renumber)
        self.rules = ContactRules(*written, required_variables, invalid_rows, max_rejected_rate, on_empty)
        self.calling_window, self.attempts = check_window(calling_window, "skip")[0], Attempts.of(attempts)
        self.call_cap, self.on_capped = check_cap(call_cap, on_capped, get_args(OnListCapped))
        self.stop_when, self.hold, self.hold_variable = StopWhen.of(stop_when), hold, hold_variable
        self.dry_run = dry_run  # type: ignore[method-assign,assignment] # nothing calls Airflow's method
        self.placing = PlacingOptions(concurrency, max_inline_wait, max_lateness)
        intervals = (poll_interval, safety_poll_interval, call_timeout, settle_for)
        words = (
            statuses("success_statuses", success_statuses),
            statuses("terminal_statuses", terminal_statuses),
        )
        self.following = FollowingOptions(*intervals, *words)
        self.ending = EndOptions(on_timeout, min_success_rate, on_below_threshold)
        self.timeout_s = time_to_wait("timeout", timeout)
        self.results_uri, self.progress_uri, self.summary_uri = results_uri, progress_uri, summary_uri
        self.result_options = ResultOptions(recipients, None, keep_columns, result_columns or {})
        self._stopped = False
        chosen: dict[str, Any] = {"min_success_rate": min_success_rate, "invalid_rows": invalid_rows}
        chosen |= {"agent_id": agent_id, "agents": agents, "columns": columns, "attempts": attempts}
        chosen |= {"stop_when": stop_when, "concurrency": concurrency, "max_lateness": max_lateness}
        chosen |= {"on_timeout": on_timeout, "on_below_threshold": on_below_threshold}
        self.check_options(self.given, {**chosen, "max_inline_wait": max_inline_wait})
        refuse_literals(self)
        check_fields(self, is_row=getattr(self, "_BaseOperator__from_mapped", False))

    def execute(self, context: Context) -> dict[str, Any]:
        """Work off the list, from wherever earlier tries have left it."""
        return self._wake(context, None)

    def execute_after_wait(self, context: Context, event: Mapping[str, Any]) -> dict[str, Any]:
        """Go on after a wait in the triggerer, from what is written down."""
        from formant_provider.tasks.calls.placing import LimitWait

        return self._wake(context, LimitWait.from_event(event).give_up_at)

    def on_kill(self) -> None:
        """Send nothing more. What was sent cannot be taken back: the vendor has no cancel."""
        self._stopped = True
        self.log.warning("Stopping: this try sends nothing more. Calls that were sent cannot be taken back.")

    def _wake(self, context: Context, deadline: datetime | None) -> dict[str, Any]:
        from formant_provider.tasks.call_lists.waking import wake

        stopped = lambda: self._stopped  # noqa: E731 - asked again and again
        return wake(self, context, deadline, dry_run=self.dry_run, stopped=stopped)
