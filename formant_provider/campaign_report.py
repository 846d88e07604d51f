"""Writes who of a campaign was reached, one row for each recipient."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from formant_provider.tables import COLUMNS, RECIPIENT

if TYPE_CHECKING:
    from formant_provider.api.batch_report import BatchReport
    from formant_provider.api.history import History
    from formant_provider.hooks.formant import FormantHook

log = logging.getLogger(__name__)

FOR_EVER = timedelta(days=3650)
# Columns a report may have besides the recipient.
REPORT_COLUMNS = tuple(name for name in COLUMNS if name not in {"contact_number", "agent_id", "transcript"})
DEFAULT_REPORT_COLUMNS = ("status", "conversation_id", "started_at", "duration_seconds", "results")
_FORMATS = {".csv": "csv", ".parquet": "parquet", ".jsonl": "jsonl"}


def report_format(uri: str) -> tuple[str, bool]:
    """Return the format that the end of a file's name asks for, and whether it is in gzip.

    :raises InvalidInput: it ends otherwise, or is Parquet and pyarrow is missing.
    """
    from formant_provider.api.errors import InvalidInput
    from formant_provider.tables import check_format

    name = uri.removesuffix(".gz")
    file_format = next((kind for suffix, kind in _FORMATS.items() if name.endswith(suffix)), None)
    if file_format is None or (file_format == "parquet" and name != uri):
        raise InvalidInput("results_uri", f"must end in one of {', '.join(_FORMATS)}, or .csv.gz, .jsonl.gz")
    check_format(file_format)
    return file_format, name != uri


def recipients_uri(results_uri: str) -> str:
    """Return where the recipients are kept, for this report and for one of a further try."""
    return f"{results_uri}.recipients"


def write_report(  # noqa: PLR0917 - whose, since when, how many; then where and what
    hook: FormantHook,
    agent_id: int,
    since: datetime,
    total_recipients: int | None,
    results_uri: str,
    columns: Sequence[str],
) -> dict[str, Any]:
    """Write the report, in place of an older one.

    :param since: when the batch call began at the earliest, aware.
    :param total_recipients: of the batch call, as far as it is known.
    :param columns: some of :data:`REPORT_COLUMNS`.
    :return: ``results_uri`` and ``by_status``, a count of recipients for each status.
    :raises FormantError: the conversations cannot be read; nothing was written.
    """
    from formant_provider.api.batch_report import BatchReport
    from formant_provider.api.history import History, Interval
    from formant_provider.api.listing import CLOCK_SKEW_MS, MAX_PAGES
    from formant_provider.files import to_file
    from formant_provider.reads import PATIENT

    folder, name = to_file("results_uri", recipients_uri(results_uri))
    listed = folder / name
    earliest = since - timedelta(milliseconds=CLOCK_SKEW_MS)
    span, max_pages = Interval(earliest, since + FOR_EVER), MAX_PAGES + (total_recipients or 0) // 10
    with (
        tempfile.TemporaryDirectory(prefix="formant-report-") as place,
        BatchReport(Path(place)) as report,
        hook.get_conn(PATIENT) as client,
        History(client, agent_id, span, max_pages=max_pages) as history,
    ):
        is_listed = _add_recipients(report, listed)
        history.read_list()
        for record in history.records(fields=()):
            if not is_listed and record.contact_number:
                report.add_recipients([record.contact_number])
            report.add(record)
        uri = _write(report, history, results_uri, columns)
    log.info("The report on %s recipients is in %s.", report.by_status.total(), uri)
    return {"results_uri": uri, "by_status": dict(sorted(report.by_status.items()))}


def _add_recipients(report: BatchReport, listed: Any) -> bool:
    from formant_provider.api.batch_report import read_numbers

    try:
        with listed.open("rb") as file:
            report.add_recipients(read_numbers(file))
    except FileNotFoundError:
        log.warning(
            "Who was to be called is no longer known: %s is gone. Listing whom the API lists.", listed
        )
        return False
    return True


def _write(report: BatchReport, history: History, results_uri: str, columns: Sequence[str]) -> str:
    from formant_provider.files import to_file, write_file
    from formant_provider.tables import write_rows

    folder, name = to_file("results_uri", results_uri)
    file_format, compressed = report_format(results_uri)

    def fill(file: IO[bytes]) -> str:
        rows = _rows(report, history, columns)
        write_rows(file, rows, (RECIPIENT, *columns), file_format=file_format, compressed=compressed)
        return name

    return write_file(folder, fill).uri


def _rows(report: BatchReport, history: History, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
    from formant_provider.api.batch_report import NO_RECORD
    from formant_provider.tables import row

    nothing = {**dict.fromkeys(columns), **({"status": NO_RECORD} if "status" in columns else {})}
    for number, record in report.rows():
        cells = row(history.complete(record, columns), columns) if record else nothing
        yield {RECIPIENT: number, **cells}
