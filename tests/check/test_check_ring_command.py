"""``--ring`` on the command line: it asks twice, calls one number once, and prints no number."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from formant_provider.core.numbers.in_text import may_hold_number
from formant_provider.sandbox import Sandbox
from support.scripted_server import Answer, ScriptedServer, Seen
from support.standalone import wait_for

from .conftest import Run, connection

NUMBER, OTHER = "+14155550102", "+14155550103"
QUICK = ("--agent-id=456", "--poll-interval=0.05", "--watch-for=0.2")
TWICE = ("--ring", NUMBER, "--ring", NUMBER)


class Terminal(io.StringIO):
    """A person at a terminal, who types this."""

    def isatty(self) -> bool:
        return True


def test_a_number_that_is_given_twice_is_called_once(run: Run, sandbox: Sandbox, tmp_path: Path) -> None:
    """It ends with 0; answers are printed and written, and the number is nowhere."""
    report = tmp_path / "report.md"
    arguments = (*QUICK, *TWICE, "--report", str(report), "--parameter", "customer_name=Asha")
    status, out, err = run(connection(sandbox), *arguments)
    assert status == 0
    assert sandbox.rings == {NUMBER: 1}
    assert "ok           call: placed; it ended as busy." in out
    assert "=> 409 duplicate_request, and does not name the call" in out
    assert "**409 duplicate_request, and does not name the call**" in report.read_text()
    assert "by reading and one call" in report.read_text()
    for text in (out, err, report.read_text()):
        assert not may_hold_number(text.replace(sandbox.base_url, ""))
        assert "Asha" not in text
    assert sandbox.calls[0].request.parameters


def test_a_program_reads_the_answers(run: Run, sandbox: Sandbox) -> None:
    """All 27, with nothing where there is no answer; a second run on the day finds the call of the first."""
    for when in ("placed", "placed earlier on this day, and not again"):
        status, out, _ = run(connection(sandbox), *QUICK, *TWICE, "--json")
        told = json.loads(out)
        assert status == 0
        assert [finding["text"] for finding in told["findings"] if finding["subject"] == "call"] == [
            f"{when}; it ended as busy."
        ]
        assert len(told["questions"]) == 27
        assert told["questions"][3]["answer"] == "no"
        assert told["questions"][25]["answer"] is None
    assert sandbox.rings == {NUMBER: 1}


def test_a_person_types_the_number_again(run: Run, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """Asked on standard error; the same number is called."""
    monkeypatch.setattr("sys.stdin", Terminal(f"{NUMBER}\n"))
    status, out, err = run(connection(sandbox), *QUICK, "--ring", NUMBER)
    assert status == 0
    assert "Type the number once more" in err
    assert "Type the number" not in out
    assert sandbox.rings == {NUMBER: 1}


@pytest.mark.parametrize("typed", [f"{OTHER}\n", "\n", "", "yes\n"])
def test_anything_else_that_is_typed_calls_nobody(
    typed: str, run: Run, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another number, nothing, or the end of input: it ends with 2, and the API is asked nothing."""
    monkeypatch.setattr("sys.stdin", Terminal(typed))
    status, out, err = run(connection(sandbox), *QUICK, "--ring", NUMBER)
    assert (status, out) == (2, "")
    assert "--ring: the two numbers are not the same, so nobody is called" in err
    assert sandbox.requests == []


REFUSED: list[tuple[tuple[str, ...], str]] = [
    (("--ring", NUMBER), "--ring: must be given twice"),
    (("--ring", NUMBER, "--ring", OTHER), "--ring: the two numbers are not the same"),
    (("--ring", NUMBER) * 3, "--ring: is given more than twice"),
    (("--ring", "4155550102") * 2, "customer_phone: "),
    ((*TWICE, "--parameter", "customer_phone=+14155550103"), "--parameter: "),
]


@pytest.mark.parametrize(("arguments", "words"), REFUSED, ids=str)
def test_what_is_not_confirmed_or_invalid_calls_nobody(
    arguments: tuple[str, ...], words: str, run: Run, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where nobody can be asked a number has to be given twice; it ends with 2, and no number is repeated."""
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{NUMBER}\n"))
    status, out, err = run(connection(sandbox), *QUICK, *arguments)
    assert (status, out) == (2, "")
    assert words in err
    assert not may_hold_number(err)
    assert sandbox.requests == []


def test_an_agent_has_to_be_named(run: Run, sandbox: Sandbox) -> None:
    """There is no agent that calls by default."""
    status, _, err = run(connection(sandbox), *TWICE)
    assert (status, "--agent-id" in err) == (2, True)


def test_there_is_no_option_that_confirms(run: Run, sandbox: Sandbox) -> None:
    """A ``--yes`` would sooner or later stand in a script."""
    with pytest.raises(SystemExit) as ended:
        run(connection(sandbox), *QUICK, "--ring", NUMBER, "--yes")
    assert ended.value.code == 2
    assert sandbox.requests == []


def test_a_person_who_leaves_calls_nobody(
    run: Run, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C at the question ends with 130."""

    class Leaves(Terminal):
        def readline(self, *_: Any) -> str:
            raise KeyboardInterrupt

    monkeypatch.setattr("sys.stdin", Leaves())
    assert run(connection(sandbox), *QUICK, "--ring", NUMBER)[0] == 130
    assert sandbox.requests == []


def test_an_error_of_the_send_says_that_a_call_may_have_been_placed(run: Run, sandbox: Sandbox) -> None:
    """And that the same command places no second; it ends with 2."""
    posted: list[Seen] = []

    def api(seen: Seen) -> Answer:
        if seen.method == "POST":
            posted.append(seen)
            return Answer(500 if len(posted) == 1 else 401)
        return Answer(200, {"data": [], "has_more": False, "total": 0})

    with ScriptedServer(api) as server:
        there = {**connection(sandbox)["formant_default"], "host": server.base_url}
        status, _, err = run({"formant_default": there}, *QUICK, *TWICE)
    assert status == 2
    assert "A call may have been placed. The same command on the same day places no second." in err


@pytest.mark.parametrize("is_refused", [True, False], ids=["key refused", "key accepted twice"])
def test_an_error_after_the_send_costs_no_answer_of_a_call(
    is_refused: bool, run: Run, sandbox: Sandbox
) -> None:
    """It was placed, perhaps twice: that is told, with what else is known, and what could not be read."""
    posted: list[Seen] = []

    def api(seen: Seen) -> Answer:
        if seen.method == "POST":
            posted.append(seen)
            refused = len(posted) > 1 and is_refused
            return Answer(409) if refused else Answer(200, {"data": {"trace_id": "trace"}})
        return Answer(401) if posted else Answer(200, {"data": [], "has_more": False, "total": 0})

    with ScriptedServer(api) as server:
        there = {**connection(sandbox)["formant_default"], "host": server.base_url}
        status, out, _ = run({"formant_default": there}, *QUICK, *TWICE)
    assert status == 1
    if is_refused:
        assert "problem      call: placed; it could not be watched to its end: GET /v1/conv" in out
        assert "The same command on the same day places no second." in out
    else:
        assert "problem      call: a second request with the same idempotency key was accepted" in out
    assert "problem      open questions: what takes no call could not be read: GET /v1/conv" in out
    assert "=> no" in out
    assert "of 27 are answered." in out


def test_a_key_that_is_accepted_twice_is_a_problem(run: Run, sandbox: Sandbox) -> None:
    """The vendor promises to refuse it; where that is not so, perhaps two calls were placed."""
    record = {"agent_id": 456, "contact_number": NUMBER, "conversation_id": "c_1", "status": "busy"}
    posted: list[Seen] = []

    def api(seen: Seen) -> Answer:
        if seen.method == "POST":
            posted.append(seen)
            return Answer(200, {"data": {"agent_id": 456, "trace_id": "trace", "status": "initiated"}})
        if "/v1/conversations/c_1" in seen.path:
            return Answer(200, {"data": {**record, "trace_id": "trace"}})
        items = [record] if posted and "batch-calls" not in seen.path else []
        return Answer(200, {"data": items, "has_more": False, "total": len(items)})

    with ScriptedServer(api) as server:
        there = {**connection(sandbox)["formant_default"], "host": server.base_url}
        status, out, _ = run({"formant_default": there}, *QUICK, *TWICE)
    assert status == 1
    assert "problem      call: a second request with the same idempotency key was accepted" in out
    assert "=> it is accepted" in out
    assert len(posted) == 3


ODD: dict[str, Any] = {
    "times are texts": {"start_timestamp": "2026-01-01T00:00:00Z", "end_timestamp": "2026-01-01T00:01:00Z"},
    "a status is an object": {"status": {"code": 1}},
    "lists are where words are": {"status": ["busy"], "trace_id": ["t"], "start_timestamp": [1]},
}


@pytest.mark.parametrize("odd", ODD)
def test_records_of_another_form_cost_no_answer_of_a_call(odd: str, run: Run, sandbox: Sandbox) -> None:
    """It was placed, so what it has shown is told, and a question that is puzzled says so."""
    posted: list[Seen] = []
    first = {
        "agent_id": 456,
        "contact_number": NUMBER,
        "conversation_id": "c_1",
        "status": "busy",
        **ODD[odd],
    }
    later = {**first, "conversation_id": "c_2", "end_timestamp": None}
    others = [{**later, "start_timestamp": f"2026-01-0{day}T00:00:00Z"} for day in (2, 3)]
    records: list[Any] = [None, "x", first, later, *others]

    def api(seen: Seen) -> Answer:
        if seen.method == "POST":
            posted.append(seen)
            is_first = len(posted) == 1
            return Answer(200, {"data": {"agent_id": 456, "trace_id": "t"}}) if is_first else Answer(409)
        if "/v1/conversations/" in seen.path:
            return Answer(200, {"data": {**first, "end_timestamp": 1}})
        items = [None] if "batch-calls" in seen.path or not posted else records
        return Answer(200, {"data": items, "has_more": False, "total": len(items)})

    with ScriptedServer(api) as server:
        there = {**connection(sandbox)["formant_default"], "host": server.base_url}
        status, out, _ = run({"formant_default": there}, *QUICK, *TWICE, "--json")
    told = json.loads(out)
    assert (status, len(told["questions"])) == (0, 27)
    assert [each["state"] for each in told["findings"] if each["subject"] == "call"] == ["ok"]
    assert any("another form" in str(question["answer"]) for question in told["questions"])


def test_answers_of_a_call_are_printed_where_no_report_can_be_written(run: Run, sandbox: Sandbox) -> None:
    """It ends with 2, and names the file."""
    status, out, err = run(connection(sandbox), *QUICK, *TWICE, "--json", "--report", "/nowhere/report.md")
    assert status == 2
    assert len(json.loads(out)["questions"]) == 27
    assert "/nowhere/report.md" in err
    assert sandbox.rings == {NUMBER: 1}


def test_who_interrupts_a_call_is_told_that_it_may_have_been_placed(
    run: Run, sandbox: Sandbox, tmp_path: Path
) -> None:
    """Ctrl-C while it is watched ends with 130; the same command then finds that call, and calls nobody."""

    def is_watched() -> bool:
        methods = [request.method for request in sandbox.requests]
        return "POST" in methods and "GET" in methods[methods.index("POST") :]

    # A process of its own: here a finalizer may swallow what is raised in it, Ctrl-C too.
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "_AIRFLOW"))},
        "AIRFLOW_HOME": str(tmp_path),
        "AIRFLOW_CONN_FORMANT_DEFAULT": sandbox.connection_json(),
    }
    line = [sys.executable, "-m", "formant_provider.check", QUICK[0], "--watch-for=60", *TWICE]
    with subprocess.Popen(line, env=environment, text=True, stderr=subprocess.PIPE) as process:
        wait_for(is_watched, "the call to be watched", timeout_s=60)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate()
    assert process.returncode == 130
    assert "The same command on the same day places no second." in err
    assert run(connection(sandbox), *QUICK, *TWICE)[0] == 0
    assert sandbox.rings == {NUMBER: 1}
