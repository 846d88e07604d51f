"""Columns made of what agents have collected: webhooks are asked first, and no error loses the file."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from call_lists.result_rows import NOON_MS, PARQUET, a_row, an_attempt, read_back

from formant_provider.api.client import GET_CONVERSATION
from formant_provider.core.call_lists.calls import Attempt, RowResult
from formant_provider.hooks.formant import FormantHook
from formant_provider.sandbox import Sandbox
from formant_provider.sandbox.calls import Attempt as Call
from formant_provider.tasks.call_lists.results import ResultOptions, write_progress, write_results
from support.databases import Database
from support.scripted_server import Answer, ScriptedServer, Seen
from support.stores import connections_with, new_store
from support.supervisor import FakeSupervisor, supervised_by
from support.webhook_events import store_events, webhook_of

KEY = "key-1234567"
BEGAN = datetime(2025, 12, 31, tzinfo=UTC)
COLUMNS = {"intent": "results.intent", "mood": ("results.sentiment", "text")}
PAID = {"intent": "payment_confirmed", "mood": "positive", "results_status": "ok"}
EMPTY = {"intent": None, "mood": None}


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    """A sandbox with two conversations, and a call that was not answered between them."""
    start = BEGAN - timedelta(days=1)
    with Sandbox(api_key=KEY, speed=0, start_at=start, rate_limit=None) as sandbox:
        for hour, ending in enumerate(("00", "01", "02")):
            sandbox.place(f"+141555501{ending}", scheduled_for=BEGAN + timedelta(hours=hour))
        sandbox.advance(7 * 86400)
        yield sandbox


def rows_of(*calls: Call) -> list[RowResult]:
    def ended(call: Call) -> Attempt:
        start, end = (round(each.timestamp() * 1000) for each in (call.starts_at, call.ends_at))
        return Attempt(
            1,
            call.ending.status,
            call.trace_id,
            call.conversation_id,
            start,
            end,
            call.ending.duration_seconds,
        )

    return [a_row(number, ended(call)) for number, call in enumerate(calls, 2)]


def write(
    server: Any, path: Path, rows: list[RowResult], columns: Any = None, key: str = KEY
) -> list[dict[str, Any]]:
    """Write a file over a connection to a server; return the cells of its result columns."""
    connection = {"conn_type": "formant", "password": key, "host": server.base_url}
    with supervised_by(FakeSupervisor({"formant_default": connection})):
        return write_here(path, rows, columns or COLUMNS)


def write_here(path: Path, rows: list[RowResult], columns: Any) -> list[dict[str, Any]]:
    options = ResultOptions(result_columns=columns)
    write_results(FormantHook(), str(path), rows, options, has_parts=False)
    return [{name: row[name] for name in (*columns, "results_status")} for row in read_back(path)]


def details(sandbox: Sandbox) -> int:
    return sum(seen.endpoint == GET_CONVERSATION for seen in sandbox.requests)


def test_what_agents_have_collected_is_in_columns(sandbox: Sandbox, tmp_path: Path) -> None:
    """They stand behind all others; who was never called has none, and nobody is asked of it."""
    rows = [a_row(), *rows_of(*sandbox.calls), a_row(9, an_attempt(1, "no_record", conversation_id=None))]
    talked = [call.ending.talked for call in sandbox.calls]
    assert set(talked) == {True, False}
    cells = write(sandbox, tmp_path / "r.jsonl", rows)
    nothing = {**EMPTY, "results_status": None}
    unreached = {**EMPTY, "results_status": "no_results"}
    assert cells == [nothing, *[PAID if each else unreached for each in talked], nothing]
    assert list(read_back(tmp_path / "r.jsonl")[0])[-3:] == ["intent", "mood", "results_status"]
    assert details(sandbox) == sum(talked)


def test_the_file_of_progress_asks_nobody(tmp_path: Path) -> None:
    """It is the same file without the result columns."""
    path = tmp_path / "r.jsonl"
    written = write_progress(
        str(path), [a_row(2, an_attempt())], ResultOptions(result_columns=COLUMNS), has_parts=False
    )
    (row,) = read_back(path)
    assert list(row)[-1] == "duration_seconds"
    assert written.size == path.stat().st_size


def test_the_reason_of_a_failure_is_read(sandbox: Sandbox, tmp_path: Path) -> None:
    """It is in the detail alone, also where nobody was connected; the status is known without."""
    rows = rows_of(*sandbox.calls)
    cells = write(sandbox, tmp_path / "r.jsonl", rows, {"how": "status"})
    assert ([each["how"] for each in cells], details(sandbox)) == ([row.status for row in rows], 0)
    write(sandbox, tmp_path / "r.jsonl", rows, {"why": "failure_reason"})
    assert details(sandbox) == 3


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_what_webhooks_have_told_is_not_asked_for(
    sandbox: Sandbox, database: Database, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The cells are the same, and the log says where they came from."""
    rows, store = rows_of(*sandbox.calls), new_store(database)
    plain = write(sandbox, tmp_path / "plain.jsonl", rows)
    asked = details(sandbox)
    store_events(store, *map(webhook_of, sandbox.calls))
    with (
        caplog.at_level(logging.INFO),
        supervised_by(FakeSupervisor(connections_with(database, sandbox, is_set_up=False))),
    ):
        assert write_here(tmp_path / "told.jsonl", rows, COLUMNS) == plain
    assert details(sandbox) == asked
    assert f"and 0 could not be read; of {asked} more webhooks had told all." in caplog.text
    assert "0 conversations were read in detail" in caplog.text


@pytest.mark.parametrize("change", [{"status": "failed"}, {"start_ms": NOON_MS}])
def test_a_record_of_another_attempt_does_not_count(
    sandbox: Sandbox, tmp_path: Path, change: dict[str, Any]
) -> None:
    """Attempts may share a conversation, and the API tells the newest: it is not this row's."""
    call = next(call for call in sandbox.calls if call.ending.talked)
    (row,) = rows_of(call)
    attempt = Attempt(**{**vars(row.attempts[0]), **change})
    cells = write(sandbox, tmp_path / "r.jsonl", [row._replace(attempts=(attempt,), status=attempt.status)])
    assert cells == [{**EMPTY, "results_status": "unread"}]


def test_a_record_that_is_gone_leaves_its_row_unread(sandbox: Sandbox, tmp_path: Path) -> None:
    """And no other."""
    talked = [row for row in rows_of(*sandbox.calls) if row.status == "completed"]
    gone = [a_row(number, an_attempt()) for number in range(20, 25)]
    cells = write(sandbox, tmp_path / "r.jsonl", [*gone, *talked])
    assert cells == [{**EMPTY, "results_status": "unread"}] * 5 + [PAID] * len(talked)


def test_errors_that_last_leave_the_rest_unread(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The file is whole; after some in a row that fail, the API is not asked for each of the others."""
    caplog.set_level(logging.INFO)
    rows = [a_row(number, an_attempt()) for number in range(2, 700)]
    with ScriptedServer(Answer(400, {"error": {"message": "no", "type": "invalid_request"}})) as server:
        cells = write(server, tmp_path / "r.jsonl", rows)
    assert cells == [{**EMPTY, "results_status": "unread"}] * 698
    assert len(server.seen) == 3
    assert "; the rest stays unread: " in caplog.text
    assert "0 conversations were read in detail for the results, and 698 could not be read" in caplog.text


def test_a_key_that_is_refused_is_read_anew_once(sandbox: Sandbox, tmp_path: Path) -> None:
    """If it stays refused, it would be so for each row."""
    rows = [a_row(number, an_attempt()) for number in range(2, 9)]
    cells = write(sandbox, tmp_path / "r.jsonl", rows, key="another-key")
    assert cells == [{**EMPTY, "results_status": "unread"}] * 7
    assert details(sandbox) == 2


def test_a_key_that_is_changed_while_records_are_read_leaves_no_cell_empty(tmp_path: Path) -> None:
    """The rest is read with the new one."""
    connection = {"conn_type": "formant", "password": "key-1"}

    def answer(seen: Seen) -> Answer:
        connection["password"] = "key-2" if len(server.seen) > 2 else "key-1"
        if connection["password"] not in str(seen.headers):
            return Answer(401, {"error": {"message": "no", "type": "authentication_error"}})
        name = seen.path.rpartition("/")[2]
        record = {"conversation_id": name, "status": "completed", "results": {"intent": "paid"}}
        return Answer(200, {"data": record})

    rows = [a_row(number, an_attempt(conversation_id=f"c-{number}")) for number in range(5)]
    with (
        ScriptedServer(answer) as server,
        supervised_by(FakeSupervisor({"formant_default": connection})),
    ):
        connection["host"] = server.base_url
        cells = write_here(tmp_path / "r.jsonl", rows, {"intent": "results.intent"})
    assert cells == [{"intent": "paid", "results_status": "ok"}] * 5
    assert len(server.seen) == 6


def test_one_conversation_that_cannot_be_read_does_not_stop_the_others(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What fails now and then is that row's alone; it is no warning for each."""

    def answer(request: Seen) -> Answer:
        number = int(request.path.rpartition("-")[2])
        if number % 3:
            return Answer(400, {"error": {"message": "no", "type": "invalid_request"}})
        record = {"conversation_id": f"c-{number}", "status": "completed", "results": {"intent": number}}
        return Answer(200, {"data": record})

    rows = [a_row(number, an_attempt(conversation_id=f"c-{number}")) for number in range(12)]
    with ScriptedServer(answer) as server:
        cells = write(server, tmp_path / "r.jsonl", rows, {"intent": ("results.intent", "integer")})
    assert [each["intent"] for each in cells] == [None if number % 3 else number for number in range(12)]
    assert caplog.text.count("A conversation could not be read") == 1


@pytest.mark.parametrize("name", ["r.csv", PARQUET])
def test_cells_have_the_types_that_were_declared(tmp_path: Path, name: str) -> None:
    """In Parquet they are types of its own; in CSV they are written as JSON has them."""
    results = {"n": 12, "x": 1.5, "b": True, "d": "2026-03-18", "m": "2026-03-18T12:00:00Z", "j": {"a": [1]}}
    kinds = {"n": "integer", "x": "number", "b": "boolean", "d": "date", "m": "moment", "j": "json"}
    columns = {name: (f"results.{name}", kind) for name, kind in kinds.items()}
    answer = Answer(200, {"data": {"conversation_id": "c-1", "status": "completed", "results": results}})
    with ScriptedServer(answer) as server:
        full, empty = write(server, tmp_path / name, [a_row(2, an_attempt()), a_row(3)], columns)
    if name == "r.csv":
        texts = {**results, "n": "12", "x": "1.5", "b": "true", "m": "2026-03-18T12:00:00.000Z"}
        assert full == {**texts, "j": json.dumps({"a": [1]}), "results_status": "ok"}
        assert set(empty.values()) == {""}
    else:
        noon = datetime(2026, 3, 18, 12, tzinfo=UTC)
        typed = {**results, "d": date(2026, 3, 18), "m": noon, "j": json.dumps({"a": [1]})}
        assert full == {**typed, "results_status": "ok"}
        assert set(empty.values()) == {None}


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"result_columns": {"status": "results.a"}}, "result_columns cannot name status"),
        ({"result_columns": {"results_status": "results.a"}}, "result_columns cannot name results_status"),
        ({"keep_columns": ["a"], "result_columns": {"a": "results.a"}}, "result_columns cannot name a:"),
        ({"result_columns": {"a": "answers.a"}}, r"result_columns\['a'\] must be results.<field>"),
    ],
)
def test_result_columns_that_cannot_be_are_refused(options: dict[str, Any], error: str) -> None:
    """When the DAG file is parsed."""
    with pytest.raises(ValueError, match=error):
        ResultOptions(**options)
