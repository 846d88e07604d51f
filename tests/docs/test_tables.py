"""What the pages say in tables and in numbers is what the code does; parameters are generated."""

from __future__ import annotations

import re
from dataclasses import fields
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, get_args

import pytest

from formant_provider.api import config, errors, retry
from formant_provider.api.retry import PATIENT
from formant_provider.api.store_config import STORE_KEYS
from formant_provider.api.webhook_config import WEBHOOK_KEYS
from formant_provider.core import paging
from formant_provider.core.call_lists import following, judging, placing, result_columns, rows
from formant_provider.core.call_lists import pace as list_pace
from formant_provider.core.call_lists.board import State
from formant_provider.core.call_lists.control import QUIET
from formant_provider.core.conversations import history, statuses
from formant_provider.core.numbers.reasons import Reason
from formant_provider.core.validation import to_parameters
from formant_provider.hooks.storage import writing
from formant_provider.notifications import call, event
from formant_provider.operators import export
from formant_provider.provider_info import CONN_FIELDS, UI_FIELD_BEHAVIOUR
from formant_provider.sandbox import Sandbox, control, faults
from formant_provider.tasks.batches.report import REPORT_COLUMNS
from formant_provider.tasks.call_lists import chunks, ending, hold
from formant_provider.tasks.call_lists.results import ResultOptions
from formant_provider.tasks.calls.outcome import RECORD_FIELDS
from formant_provider.tasks.failures import PLACING_A_CALL, ending_the_task
from formant_provider.tasks.results import in_a_word, not_called
from formant_provider.tasks.storage import archive, tables
from support.pages import DOCS, PROSE, TEXT, code, column, of_an_outcome, sandbox_options, table

ERRORS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Exception)]


def make(kind: Any) -> Any:
    if kind is errors.NotAdmitted:
        return kind("text", reason="capped")
    if kind is errors.TranscriptionUnsuccessful:
        return kind("text", "failed")
    two = kind in {errors.InvalidInput, errors.InputNotFound}
    return kind("field", "reason") if two else kind("text")


@pytest.mark.parametrize(
    "name",
    [
        "attempts.Attempts",
        "call_cap.CallCap",
        "calling_window.CallingWindow",
        "notifications.call.FormantCallNotifier",
        "operators.batch.FormantCreateBatchCallOperator",
        "operators.call.FormantCreateCallOperator",
        "operators.call_list.FormantCallListOperator",
        "operators.export.FormantExportConversationsOperator",
        "operators.storage.FormantConversationToObjectStorageOperator",
        "operators.suppression.FormantSuppressionOperator",
        "operators.transcription.FormantTranscribeOperator",
        "sandbox.settings.Settings",
        "sensors.batch.FormantBatchCallSensor",
        "sensors.conversation.FormantConversationSensor",
        "stop_when.StopWhen",
    ],
)
def test_every_parameter_is_documented(name: str) -> None:
    """A generated table, which holds every parameter or is refused, is on some page."""
    assert f"<!-- generated: parameters formant_provider.{name} " in TEXT


VALUES = table("Value", "Sent as")


@pytest.mark.parametrize(("source", "sent"), VALUES)
def test_values_become_text_as_the_table_says(source: str, sent: str) -> None:
    """The Python value on the left is sent as the text on the right, or refused."""
    assert len(VALUES) > 5
    names = {"Decimal": Decimal, "date": date, "datetime": datetime, "UTC": UTC}
    value = eval(code(source)[0], names)  # noqa: S307 - our own pages
    parameters = {"customer_phone": "+14155550100", "value": value}
    if sent == "refused":
        with pytest.raises(errors.InvalidInput):
            to_parameters(parameters)
    else:
        assert dict(to_parameters(parameters))["value"] == code(sent)[0]


def test_every_error_ends_a_task_as_the_table_says() -> None:
    """Each error is in the table, and whether it is sent again, retried and may have placed a call is so."""
    from airflow.providers.common.compat.sdk import AirflowFailException

    kinds = {kind.__name__: kind for kind in ERRORS}
    rows = {code(row[1])[0]: row[2:] for row in table("What happened", "Error")}
    assert set(rows) == set(kinds) - {"FormantError", "RetryableError"}
    for name, (sent_again, retried, placed) in rows.items():
        error = make(kinds[name])
        with pytest.raises(Exception, match=r"text|reason") as caught, ending_the_task(PLACING_A_CALL):
            raise error
        assert (sent_again == "yes") is retry.may_repeat(error), name
        assert (retried == "no") is isinstance(caught.value, AirflowFailException), name
        known = retry.is_unclear(error) or error.maybe_placed or name.endswith("OutcomeUnknown")
        assert placed.startswith("yes") is known, name


def test_every_error_has_a_section() -> None:
    """Whoever sees one of our errors in a log finds its name in a heading; only the roots have none."""
    headings = " ".join(re.findall(r"^## (.+)$", (DOCS / "messages.md").read_text(), re.MULTILINE)).split()
    named = {kind.__name__ for kind in ERRORS if issubclass(kind, errors.FormantError)}
    assert named - {"FormantError", "RetryableError"} <= {word.strip(",") for word in headings}


def test_every_status_of_a_row_that_was_not_called_is_documented() -> None:
    """The table names each status and the reasons that are there, by the names of the errors."""
    rows = {code(row[0])[0]: code(row[2]) for row in table("`status`", "Meaning")}
    assert list(rows) == ["skipped", "refused", "not_placed", "unconfirmed"]
    words = {"closed", "late", "suppressed", "capped", "by_function", "error"}
    for error in (make(kind) for kind in ERRORS if not issubclass(kind, errors.CallNotAllowed)):
        words.add(in_a_word(error))
        for error.maybe_placed in (False, True):
            assert not_called(error, skipped="skipped")[0] in rows
    assert {word for reasons in rows.values() for word in reasons} <= words


def test_every_outcome_is_documented() -> None:
    """The table of outcomes is the code's own list, and so is the list of what is returned."""
    rows = {code(row[0])[0]: row[2] for row in table("Status", "Meaning") if code(row[0])}
    assert set(rows) == statuses.FINAL
    for status, ends in rows.items():
        assert ends.endswith("success") is statuses.Endings().is_success(status)
    assert of_an_outcome() == [*RECORD_FIELDS, "transcript"]


def test_every_reason_is_documented() -> None:
    """A contact that is left out is left out for a reason of the table; spreadsheets know no other ones."""
    assert column("Reason", "What is wrong") == list(Reason)
    assert set(column("Reason", "What a spreadsheet has to do with it")) < set(Reason)


def test_every_column_is_documented() -> None:
    """The tables have the columns in their order, their types, what costs a request; so has the report."""
    kinds = {"text": "string", "json": "string", "integer": "int64", "moment": "timestamp[ms, tz=UTC]"}
    rows = table("Column", "In JSON Lines and CSV")
    wanted = [(name, kinds[kind], name in history.DETAIL_ONLY) for name, kind in tables.COLUMNS.items()]
    assert [(code(name)[0], code(kind)[0], cost == "yes") for name, _, kind, cost in rows] == wanted
    assert tuple(name for name in tables.COLUMNS if name != "transcript") == tables.DEFAULT_COLUMNS
    assert column("Part", "File") == list(archive.PARTS)[::-1]
    assert {name for row in table("Column", "What it holds") for name in code(" ".join(row))} >= set(
        REPORT_COLUMNS
    )


def test_every_column_of_a_list_is_documented() -> None:
    """The table has the columns in their order, and their types; so has that of the result columns."""
    kinds = {column: code(kind)[0] for column, kind, _ in table("Column of a list", "In Parquet")}
    types = {code(name)[0]: code(kind)[0] for name, _, kind in table("Type", "What is taken")}
    wanted = ResultOptions().kinds(has_parts=True)
    assert {code(name)[0]: kind for name, kind in kinds.items()} == {
        name: types[kind] for name, kind in wanted.items()
    }
    assert [code(name)[0] for name in kinds] == list(wanted)
    assert list(types) == list(get_args(result_columns.Kind))
    told = " ".join(row[0] for row in table("`results_status`", "What it says"))
    assert {result_columns.OK, result_columns.NO_RESULTS, result_columns.UNREAD} <= set(code(told))


def test_every_status_and_reason_of_a_row_of_a_list_is_documented() -> None:
    """The tables name each word that the list itself gives a row; others are of records, or of contacts."""
    statuses_told = {word for row in table("`status` of a row", "Meaning") for word in code(row[0])}
    states = {State.REJECTED, State.WAITING, State.IN_PROGRESS}
    assert statuses_told - statuses.FINAL == {following.NO_RECORD, judging.UNKNOWN, *states}
    reasons = {word for row in table("`reason` of a row", "Why it is not called") for word in code(row[0])}
    ends = {"stopped", ending.EXPIRED, ending.HELD, placing.REACHED, "not_called_again"}
    assert ends | {rows.INVALID, judging.REFUSED, judging.ATTEMPTS_USED} <= reasons


def test_every_field_of_an_event_is_documented() -> None:
    """The table names each field, and every kind there is."""
    rows = {code(name)[0]: text for name, text in table("Name", "Value")}
    assert list(rows) == ["event", *(f"event.{field.name}" for field in fields(event.Event))]
    assert code(rows["event.kind"]) == [*event._BY_STATE.values(), "deadline"]
    assert code(rows["event"])[0] == str(event.Event("failed", "nightly_load", "manual__2026-04-08", "load"))


def test_every_connection_field_is_documented() -> None:
    """The tables of fields, regions and refusals match form, hosts and client."""
    rows = {code(name)[0]: (label, text) for name, _, label, text in table("Field", "Where it goes")}
    timeouts = ["connect_timeout", "read_timeout"]
    fields = ["password", "region", "host", "port", *timeouts, "conversation_url_template"]
    assert list(rows) == [*fields, *STORE_KEYS, *WEBHOOK_KEYS]
    assert {name for name in rows if name in CONN_FIELDS} == set(CONN_FIELDS)
    labels = {name: field["label"] for name, field in CONN_FIELDS.items()} | UI_FIELD_BEHAVIOUR["relabeling"]
    labels |= dict.fromkeys(UI_FIELD_BEHAVIOUR["hidden-fields"], "hidden")
    assert {name: label for name, (label, _) in rows.items()} == {name: labels[name] for name in rows}
    assert code(rows["region"][1])[0] == config.DEFAULT_REGION
    assert code(rows["connect_timeout"][1])[0] == f"{config.DEFAULT_CONNECT_TIMEOUT_S:g}"
    assert code(rows["read_timeout"][1])[0] == f"{config.DEFAULT_READ_TIMEOUT_S:g}"
    assert {code(name)[0]: code(url)[0] for name, url in table("Region", "Base URL")} == dict(config.REGIONS)
    refused = {name for row in table("Field in the error") for name in code(row[0])}
    assert refused == {"conn_type", "extra", *rows} - {"port"}


def test_every_option_of_the_sandbox_is_documented() -> None:
    """The table of options names each one of the command line, and its default as the help has it."""
    from formant_provider.sandbox.__main__ import _parser

    rows = {code(name)[0]: default for name, default, _ in table("Option", "Default", "Meaning")}
    assert set(rows) == sandbox_options()
    for action in _parser()._actions:
        option = action.option_strings[-1]
        if option in rows and code(rows[option]) and option != "--agent":
            assert code(rows[option])[0] == str(action.default).removesuffix(".0")


def test_every_endpoint_of_the_sandbox_is_documented() -> None:
    """What the page says is served is what can be asked, no more and no less; control endpoints likewise."""
    assert set(code(TEXT.split("\nIt serves")[1].split("Everything else")[0])) == set(faults.ENDPOINTS)
    assert column("Endpoint", "What it does") == [" ".join(command) for command in control.COMMANDS]


def test_what_a_test_can_look_at_exists() -> None:
    """Every name of the sandbox in the table for pytest is one of its attributes, and none is missing."""
    names = [text for row in table("Name", "What it is") for text in code(row[0])]
    public = {name for name in vars(Sandbox) if not name.startswith("_")}
    assert {re.split(r"\W", name.removeprefix("sandbox."))[0] for name in names} == public


REPEATS = retry.RetryPolicy()
LIMITS = [
    (REPEATS.max_attempts, 4, "at most four requests with the same key"),
    (REPEATS.max_inline_wait_s, 30, "never longer than 30 seconds"),
    (REPEATS.max_total_wait_s, 60, "together never longer than 60"),
    (config.MAX_TIMEOUT_S, 120, "at most 120"),
    (faults.DEFAULT_HANG_SECONDS, 30, "`seconds` is 30"),
    (faults.DEFAULT_RETRY_AFTER_SECONDS, 1, "`retry_after` is 1"),
    (history.LONGEST_CALL, timedelta(hours=3), "three hours further back"),
    (paging.MAX_PAGES * paging.PAGE_SIZE, 100_000, "100,000 records"),
    (PATIENT.max_attempts, 8, "up to eight times"),
    (PATIENT.max_inline_wait_s, 3600, "up to an hour for one request"),
    (PATIENT.max_total_wait_s, 3600, "up to an hour for one request"),
    (export._FRESH, timedelta(minutes=10), "less than ten minutes ago"),
    (writing.BLOCK_BYTES, 5 * 1024 * 1024, "in parts of five megabytes"),
    (call.MAX_SENDS, 3, "at most three requests are sent"),
    (call.NO_SEND_AFTER_S, 8, "no request begins later than 8 seconds after the first"),
    (call.LONGEST_TIMEOUT_S, 5, "waits at most 5 seconds for a connection"),
    (chunks.CHUNK, 50, "there up to fifty in one entry"),
    (list_pace.MOST_AT_ONCE, 16, "and at most 16. After a 429"),
    (list_pace.SHARE_OF_POLLS, 0.03, "takes at most 3 percent of the limit"),
    (list_pace.SHARE_WHERE_ENDS_COUNT, 0.25, "it takes up to 25 percent"),
    (hold.COUNTS_FOR_S, 2, "A list looks every two seconds"),
    (QUIET, timedelta(minutes=5), "no call has ended for five minutes"),
    (call.NO_SEND_AFTER_S + 2 * call.LONGEST_TIMEOUT_S, 18, "18 seconds in all"),
]


@pytest.mark.parametrize(("value", "expected", "words"), LIMITS)
def test_the_limits_are_those_of_the_code(value: object, expected: object, words: str) -> None:
    """The prose quotes the numbers of the code."""
    assert value == expected
    assert words in PROSE
