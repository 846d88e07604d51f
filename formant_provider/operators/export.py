"""The conversations of a run's data interval, as one file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import IO, TYPE_CHECKING, Any, get_args

import pendulum
from airflow.providers.common.compat.sdk import BaseOperator

from formant_provider.hooks.formant import FormantHook
from formant_provider.tasks.lineage import LeavesLineage
from formant_provider.tasks.options import is_template, one_of, some_of
from formant_provider.tasks.storage.tables import (
    COLUMNS,
    CONTACT_NUMBER,
    DEFAULT_COLUMNS,
    FileFormat,
    NumberDisplay,
    form_of,
)
from formant_provider.tasks.storage.uris import in_words
from formant_provider.tasks.telling import tell

if TYPE_CHECKING:
    from airflow.sdk import Context, ObjectStoragePath

    from formant_provider.api.models import Conversation
    from formant_provider.core.conversations.history import History, Interval
    from formant_provider.tasks.storage.tables import FileForm

# Calls that are not over have no record yet, or one that still changes.
_FRESH = timedelta(minutes=10)


class FormantExportConversationsOperator(LeavesLineage, BaseOperator):
    """Export an agent's conversations that began within the run's data interval to one file.

    Each conversation is one row, the oldest first. The same interval gives the same file, which replaces an
    older one as a whole: a task that is cleared, retried or killed leaves neither a part of a file nor a
    row twice. An interval without conversations gives a file without rows.

    The list of conversations has no filter for times, so it is read page by page, a hundred records for each
    request, back to the start of the interval. Calls that come in meanwhile move records from page to page;
    none is missed or written twice. Of the conversations, only ids are held in memory. The task waits for the
    API's rate limit, up to an hour for one request.

    XCom: ``return_value``, a dict of ``output_uri``, ``count``, ``by_status`` (a count for each status),
    ``unfinished`` (how many were not over when they were read), ``undated`` (how many records do not say when
    they began; they are in no file), ``size`` in bytes, ``start`` and ``end``.

    The end of the file's name says its format: ``.jsonl`` (or ``.ndjson``), ``.csv`` or ``.parquet``, the
    first two also with ``.gz``. Recipients' numbers are masked, unless ``recipients`` says otherwise.

    Vendor page: https://docs.formantai.com/platform/conversations

    :param agent_id: whose conversations: an integer, or a template that renders to digits. (templated)
    :param output_uri: the file: a URI of any storage that Airflow knows, such as ``s3://connection@bucket/x``,
        or an absolute path. Name the interval in it, or every run replaces the file of the one before.
        (templated)
    :param start: first moment of the interval, an aware datetime or ISO 8601 text with an offset. ``None``
        means the start of the run's data interval. (templated)
    :param end: first moment after the interval, as ``start``. ``None`` means the end of the run's data
        interval. (templated)
    :param fields: the columns, in this order. With ``failure_reason``, ``results`` or ``transcript`` among
        them, each conversation costs a request, and with ``trace_id`` each one whose ``trace_id`` is not in
        the list. Those that a webhook has told are taken from the call store. Default: all but
        ``transcript``.
    :param file_format: ``"jsonl"``, ``"csv"`` or ``"parquet"``, which needs pyarrow. ``None`` means as the
        name of the file ends; both must agree.
    :param recipients: how much of the numbers in ``contact_number`` is shown: ``"full"``, ``"masked"`` (the
        last four digits) or ``"none"``, which leaves out the column.
    :param formant_conn_id: connection of type ``formant``. (templated)
    :param region: ``"global"`` or ``"in"``; ``None`` means the connection's region. (templated)
    :raises ValueError: at parse time, for an invalid option.
    """

    template_fields: Sequence[str] = ("agent_id", "output_uri", "start", "end", "formant_conn_id", "region")
    ui_color = "#d9efe3"

    def __init__(
        self,
        *,
        agent_id: int | str,
        output_uri: str,
        start: datetime | str | None = None,
        end: datetime | str | None = None,
        fields: Sequence[str] = DEFAULT_COLUMNS,
        file_format: FileFormat | None = None,
        recipients: NumberDisplay = "masked",
        formant_conn_id: str = FormantHook.default_conn_name,
        region: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.agent_id, self.output_uri, self.start, self.end = agent_id, output_uri, start, end
        self.recipients = one_of("recipients", recipients, get_args(NumberDisplay))
        self.fields = _without_numbers(fields) if recipients == "none" else some_of("fields", fields, COLUMNS)
        if file_format is not None:
            one_of("file_format", file_format, get_args(FileFormat))
        self.file_format = file_format
        self.formant_conn_id, self.region = formant_conn_id, region
        if not getattr(self, "_BaseOperator__from_mapped", False) and _names_a_file(output_uri):
            self._form(output_uri)

    def execute(self, context: Context) -> dict[str, Any]:
        """Read the interval and write the file; return what was counted."""
        from formant_provider.api.retry import PATIENT
        from formant_provider.core.conversations.history import History, to_interval
        from formant_provider.core.validation import to_agent_id
        from formant_provider.hooks.storage.paths import to_file
        from formant_provider.tasks.failures import READING, ending_the_task
        from formant_provider.tasks.storage.tables import check_format
        from formant_provider.tasks.webhook_records import WebhookRecords

        with ending_the_task(READING):
            agent_id = to_agent_id(self.agent_id)
            folder, name = to_file("output_uri", self.output_uri)
            form = self._form(name)
            check_format(form.file_format)
            interval = to_interval(
                context.get("data_interval_start") if self.start is None else self.start,
                context.get("data_interval_end") if self.end is None else self.end,
            )
            self._warn_if_fresh(interval)
            hook = FormantHook(self.formant_conn_id, self.region)
            told = WebhookRecords(hook).of
            with hook.get_conn(PATIENT) as client, History(client, agent_id, interval, told=told) as history:
                history.read_list()
                self.log.info("The interval has %s conversations of agent %s.", len(history), agent_id)
                result = self._write(history, folder, name, form, interval)
        tell(context, result)
        return result

    def _form(self, uri: str) -> FileForm:
        return form_of("output_uri", uri, self.file_format, remedy=", or file_format must say it")

    def _warn_if_fresh(self, interval: Interval) -> None:
        if interval.end > pendulum.now("UTC") - _FRESH:
            self.log.warning(
                "The interval ended a moment ago, or has not ended. Calls that are not over may have no"
                " record yet and be missing in the file; a later run for the same interval has them."
            )

    def _write(
        self, history: History, folder: ObjectStoragePath, name: str, form: FileForm, interval: Interval
    ) -> dict[str, Any]:
        from formant_provider.hooks.storage.writing import write_file
        from formant_provider.tasks.storage.tables import row, write_rows

        by_status: Counter[str] = Counter()

        def fill(file: IO[bytes]) -> str:
            records = _counted(history.records(self.fields), by_status)
            rows = (row(record, self.fields, recipients=self.recipients) for record in records)
            write_rows(file, rows, self.fields, form)
            return name

        written = write_file(folder, fill)
        counts = _summary(by_status, history.undated)
        address = in_words(written.uri)
        self.log.info("Wrote %s conversations to %s, %s bytes.", counts["count"], address, written.size)
        if history.from_webhooks:
            self.log.info(
                "Of %s of them webhooks had told all; %s were read in detail.",
                history.from_webhooks,
                history.asked,
            )
        if history.undated:
            self.log.warning(
                "%s records do not say when they began, and are not in the file.", history.undated
            )
        span = {"start": interval.start.isoformat(), "end": interval.end.isoformat()}
        return {"output_uri": written.uri, **counts, "size": written.size, **span}


def _names_a_file(uri: object) -> bool:
    """Whether the DAG file says which file it is; the rest is refused or rendered when the task runs."""
    return isinstance(uri, str) and bool(uri.strip("/ ")) and uri[-1] != "/" and not is_template(uri)


def _without_numbers(fields: Sequence[str]) -> tuple[str, ...]:
    """Return the columns without that of the numbers, unless the user asks for it by name."""
    if fields is not DEFAULT_COLUMNS and CONTACT_NUMBER in fields:
        raise ValueError(
            f'fields names {CONTACT_NUMBER}, and recipients="none" leaves it out; change one of them'
        )
    return some_of("fields", [name for name in fields if name != CONTACT_NUMBER], COLUMNS)


def _counted(records: Iterable[Conversation], by_status: Counter[str]) -> Iterator[Conversation]:
    for record in records:
        by_status[str(record.status or "unknown")] += 1
        yield record


def _summary(by_status: Counter[str], undated: int) -> dict[str, Any]:
    from formant_provider.core.conversations.statuses import Endings

    is_over = Endings().is_over
    return {
        "count": by_status.total(),
        "by_status": dict(sorted(by_status.items())),
        "unfinished": sum(count for status, count in by_status.items() if not is_over(status)),
        "undated": undated,
    }
