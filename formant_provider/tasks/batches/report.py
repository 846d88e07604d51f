"""Writes the report of a batch call: one row for each row of its contacts, with the outcome."""

from __future__ import annotations

import logging
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, get_args

from formant_provider.core.contacts.row_list import REFERENCE, CarriedColumns
from formant_provider.tasks.batches.outputs import add_rows, delete_list, recipients_uri
from formant_provider.tasks.carried import RECIPIENT, check_carried, refuse_phone_column
from formant_provider.tasks.options import flag, one_of, some_of
from formant_provider.tasks.storage.tables import COLUMNS, NumberDisplay, form_of
from formant_provider.tasks.storage.uris import in_words

if TYPE_CHECKING:
    from formant_provider.core.batches.report import BatchReport
    from formant_provider.core.conversations.history import History
    from formant_provider.hooks.formant import FormantHook
    from formant_provider.tasks.batches.page import BatchPage

log = logging.getLogger(__name__)

_NO_END = timedelta(days=3650)
_CLOCKS_AGREE_WITHIN = timedelta(seconds=5)
# Columns that results_fields may name.
REPORT_COLUMNS = tuple(name for name in COLUMNS if name not in {"contact_number", "agent_id", "transcript"})
DEFAULT_REPORT_COLUMNS = ("status", "conversation_id", "started_at", "duration_seconds", "results")
# Names that a kept column cannot have: two columns would have one name, or one a type that is not its own.
RESERVED = frozenset({"row_number", "part", RECIPIENT, REFERENCE, "reason", *COLUMNS})


@dataclass(frozen=True)
class ReportOptions:
    """Options of the report, which are documented at the operator, checked when the DAG file is parsed."""

    fields: Sequence[str] = DEFAULT_REPORT_COLUMNS
    recipients: NumberDisplay = "masked"
    reference_column: str | None = None
    keep_columns: Sequence[str] = ()
    keep_recipients: bool = False

    def __post_init__(self) -> None:
        some_of("results_fields", self.fields, REPORT_COLUMNS)
        one_of("recipients", self.recipients, get_args(NumberDisplay))
        check_carried(self.reference_column, self.keep_columns, RESERVED, "the report")
        flag("keep_recipients", self.keep_recipients)

    @property
    def carried(self) -> CarriedColumns:
        """What is carried from the contacts to the report."""
        return CarriedColumns(self.reference_column, tuple(self.keep_columns))

    def refuse_phone_column(self, phone_column: str) -> None:
        """Refuse to carry the numbers to the report a second time, and unmasked."""
        refuse_phone_column(self.carried, phone_column, "the report")

    def columns(self, *, has_parts: bool) -> tuple[str, ...]:
        """Return the columns of the report, in their order."""
        place = ("row_number", "part") if has_parts else ("row_number",)
        number = () if self.recipients == "none" else (RECIPIENT,)
        asked = [name for name in dict.fromkeys(self.fields) if name != "status"]
        return (*place, *number, *self.carried.names, "status", "reason", *asked)


def write_report(
    hook: FormantHook,
    placed: Mapping[str, Any],
    results_uri: str,
    options: ReportOptions,
    *,
    marker: str,
    is_complete: bool,
    page: BatchPage | None = None,
) -> dict[str, Any]:
    """Write the report, in place of an older one, unless the list of rows was deleted after that.

    When the list is another batch call's, or the conversations cannot be read, nothing is written.

    :param placed: what is known of the batch call: ``agent_id``, ``placed_at`` (when it began at the
        earliest) and ``total_recipients``.
    :param is_complete: whether the batch call is over, so that no further report is to be written.
    :param page: is written from the same rows, if there is to be one.
    :return: ``results_uri``, ``by_status`` (a count of recipients for each status; ``None`` if it is not
        known) and ``rejected`` (how many rows are not called); with a page its ``summary_uri``.
    """
    from formant_provider.core.batches.report import BatchReport
    from formant_provider.core.paging import CLOCK_SKEW_MS

    placed_at = datetime.fromisoformat(placed["placed_at"])
    since = placed_at - timedelta(milliseconds=CLOCK_SKEW_MS)
    with tempfile.TemporaryDirectory(prefix="formant-report-") as place, BatchReport(Path(place)) as report:
        is_listed = add_rows(report, results_uri, marker)
        if not is_listed and (there := _complete_report(results_uri, since)):
            return there if page is None else there | page.left(since)
        if is_listed:
            _add_told(report, hook, placed["agent_id"], since, placed_at)
        with _history(hook, placed, since) as history:
            if not (is_listed and report.knows_all_ends):
                _add_listed(report, history, is_listed=is_listed)
            uri = _write(report, history, results_uri, options, page)
    _log_written(report, history, uri)
    result = _result(uri, report.by_status, report.rejected)
    if page is not None:
        result |= page.write()
    if is_listed and not options.keep_recipients:
        delete_list(results_uri, is_complete=is_complete)
    return result


def _add_told(
    report: BatchReport, hook: FormantHook, agent_id: int, since: datetime, placed_at: datetime
) -> None:
    """Add what webhooks have told of the agent's calls since.

    An attempt that began before is an earlier call's, unless the clocks differ by more than usual: the list
    tells whether one of ours followed.
    """
    from formant_provider.tasks.webhook_records import WebhookRecords

    begins_ms = (placed_at - _CLOCKS_AGREE_WITHIN).timestamp() * 1000
    for told in WebhookRecords(hook).since(agent_id, since):
        report.add_told(
            told.record,
            told.sent_at,
            is_whole=told.is_whole,
            is_final=told.is_final and (told.record.start_timestamp or 0) >= begins_ms,
            from_phone=told.from_phone,
        )


def _add_listed(report: BatchReport, history: History, *, is_listed: bool) -> None:
    """Read the list of conversations, and add them."""
    history.read_list()
    for record in history.records(fields=()):
        if not is_listed and record.contact_number:
            report.add_recipient(record.contact_number)
        report.add(record)


def _log_written(report: BatchReport, history: History, uri: str) -> None:
    log.info(
        "The report on %s recipients and %s rejected rows is in %s.",
        report.by_status.total(),
        report.rejected,
        in_words(uri),
    )
    if report.from_webhooks:
        log.info(
            "Of %s recipients webhooks had told all; %s conversations were read in detail.",
            report.from_webhooks,
            history.asked,
        )


def _result(uri: str, by_status: Mapping[str, int] | None, rejected: int | None) -> dict[str, Any]:
    counts = None if by_status is None else dict(sorted(by_status.items()))
    return {"results_uri": uri, "by_status": counts, "rejected": rejected}


@contextmanager
def _history(hook: FormantHook, placed: Mapping[str, Any], since: datetime) -> Iterator[History]:
    """Give what reads which conversations the agent had since."""
    from formant_provider.api.retry import PATIENT
    from formant_provider.core.conversations.history import History, Interval
    from formant_provider.core.paging import MAX_PAGES

    span, max_pages = Interval(since, since + _NO_END), MAX_PAGES + (placed["total_recipients"] or 0) // 10
    with (
        hook.get_conn(PATIENT) as client,
        History(client, placed["agent_id"], span, max_pages=max_pages) as history,
    ):
        yield history


def _complete_report(results_uri: str, since: datetime) -> dict[str, Any] | None:
    """Return the summary of a report that an earlier try has written; ``None`` if there is none.

    The list of rows was deleted then, so a new report would lack the rows that were not called and the
    columns of the contacts.
    """
    from formant_provider.hooks.storage.paths import to_file
    from formant_provider.tasks.storage.files import is_older

    folder, name = to_file("results_uri", results_uri)
    path, listed = folder / name, recipients_uri(results_uri)
    if not path.exists() or is_older(folder, name, since):
        log.warning(
            "Who was to be called is no longer known: %s does not exist. The report has all whom the API"
            " lists.",
            in_words(listed),
        )
        return None
    log.warning(
        "The report in %s stays as it is: the list of rows beside it was deleted when it was complete, so a"
        " new one would have less in it. With keep_recipients=True that list is kept, and a cleared task"
        " writes the report again.",
        in_words(path),
    )
    return _result(str(path), *_counted(path, results_uri))


def _counted(path: Any, results_uri: str) -> tuple[Counter[str] | None, int | None]:
    """Count the rows of a report: those who were called by status, and the others."""
    from formant_provider.tasks.storage.files import open_to_read
    from formant_provider.tasks.storage.tables import read_rows

    counts: Counter[tuple[bool, str]] = Counter()
    try:
        with open_to_read(path) as file:
            form = form_of("results_uri", results_uri)
            for status, reason in read_rows(file, ("status", "reason"), form):
                counts[bool(reason), status or "unknown"] += 1
    except Exception as error:  # whatever its storage raises, or the library of its format
        log.warning("The report cannot be read (%s), so by_status is not known.", type(error).__name__)
        return None, None
    called = Counter({status: count for (is_rejected, status), count in counts.items() if not is_rejected})
    return called, counts.total() - called.total()


def _write(
    report: BatchReport, history: History, results_uri: str, options: ReportOptions, page: BatchPage | None
) -> str:
    from formant_provider.hooks.storage.paths import to_file
    from formant_provider.hooks.storage.writing import write_file
    from formant_provider.tasks.storage.tables import write_rows

    folder, name = to_file("results_uri", results_uri)
    columns = options.columns(has_parts=report.has_parts)

    def fill(file: IO[bytes]) -> str:
        rows = _rows(report, history, columns, options, page)
        write_rows(file, rows, columns, form_of("results_uri", name))
        return name

    return write_file(folder, fill).uri


def _rows(
    report: BatchReport,
    history: History,
    columns: Sequence[str],
    options: ReportOptions,
    page: BatchPage | None,
) -> Iterator[dict[str, Any]]:
    from formant_provider.core.batches.report import NO_RECORD, REJECTED
    from formant_provider.tasks.storage.tables import row, shown_number

    fields = [name for name in columns if name in REPORT_COLUMNS]
    for listed, record in report.rows(lambda record: history.complete(record, fields)):
        cells = dict.fromkeys(columns) | {
            "row_number": listed.row_number,
            "part": listed.part,
            RECIPIENT: shown_number(listed.number, options.recipients),
            **listed.carried,
            "status": REJECTED if listed.reason else NO_RECORD,
            "reason": listed.reason,
        }
        if record is not None:
            cells |= row(record, fields)
        if page is not None:
            page.add(listed, record)
        yield {name: cells[name] for name in columns}
