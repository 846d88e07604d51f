"""``python -m formant_provider.check``: each problem is named, with what to do, and nobody is called."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from formant_provider.sandbox import Sandbox
from formant_provider.store.holding import hold
from formant_provider.store.secrets import new_secret
from formant_provider.store.store import open_up
from support.databases import Database
from support.scripted_server import Answer, ScriptedServer
from support.stores import SECRET, connections_with

from .conftest import KEY, Run, connection, states


def test_a_good_set_up_has_no_problem(run: Run, sandbox: Sandbox, sqlite: Database) -> None:
    """It ends with 0, sends nothing but reads, and calls nobody."""
    sandbox.place("+14155550102")
    placed = sandbox.rings
    sandbox.advance(60)
    connections = connections_with(sqlite, sandbox, is_set_up=False)
    status, printed, _ = run(connections, "--agent-id", "456")
    assert status == 0
    assert states(printed, "API key") == {f"{sandbox.base_url} accepted it.": "ok"}
    assert states(printed, "agent") == {"agent 456 has conversations.": "ok"}
    assert list(states(printed, "call store").values()) == ["ok"]
    assert list(states(printed, "webhooks").values()) == ["not checked"]
    assert {seen.method for seen in sandbox.requests} == {"GET"}
    assert sandbox.rings == placed


def test_a_program_reads_the_same(run: Run, sandbox: Sandbox) -> None:
    """Standard output is one JSON document, with the worst state on top."""
    status, printed, _ = run(connection(sandbox, regoin="in_"), "--json")
    told = json.loads(printed)
    assert (status, told["status"], told["questions"]) == (1, "problem", None)
    assert {"subject", "state", "text", "to_do"} == set(told["findings"][0])
    assert "did you mean 'region'" in printed
    assert json.loads(run(connection(sandbox, not_ours=1), "--json")[1])["status"] == "warning"


CONNECTIONS: list[tuple[dict[str, Any], str, str]] = [
    ({}, "connection", "does not exist"),
    ({"conn_type": "http"}, "connection", "is not of type formant"),
    ({"password": ""}, "connection", "no API key"),
    ({"extra": json.dumps({"region": "us"})}, "region", "must be one of"),
    ({"extra": json.dumps({"store_conn_id": "calls_db"})}, "connection", "store_secret"),
]


@pytest.mark.parametrize(("changed", "subject", "words"), CONNECTIONS)
def test_a_connection_that_cannot_be_used_is_the_last_that_is_looked_at(
    run: Run, sandbox: Sandbox, changed: dict[str, Any], subject: str, words: str
) -> None:
    """Its field is named, it ends with 1, and the API is asked nothing."""
    good = connection(sandbox)["formant_default"]
    status, printed, _ = run({"formant_default": {**good, **changed}} if changed else {})
    found = states(printed, subject)
    assert status == 1
    assert any(words in finding and state == "problem" for finding, state in found.items())
    assert not states(printed, "API key")
    assert sandbox.requests == []


def test_a_wrong_key_and_one_of_another_region_are_refused_alike(run: Run, sandbox: Sandbox) -> None:
    """The API answers 401 to both, so both are named."""
    with Sandbox(api_key="key-of-the-other-region") as elsewhere:
        here = json.loads(sandbox.connection_json())
        status, printed, _ = run({"formant_default": {**here, "host": elsewhere.base_url}})
    assert status == 1
    assert states(printed, "API key") == {f"{elsewhere.base_url} refused it (401).": "problem"}
    assert "or belong to the other region" in printed


def test_an_api_that_cannot_be_reached_is_told_from_one_that_refuses(run: Run, sandbox: Sandbox) -> None:
    """With the address that was tried, and why no connection was made."""
    sandbox.stop()
    status, printed, _ = run(connection(sandbox))
    ((finding, state),) = states(printed, "API").items()
    assert (status, state) == (1, "problem")
    assert finding.startswith(f"{sandbox.base_url} cannot be reached from here")
    assert "(connection refused)" in finding


def test_an_api_that_fails_is_no_wrong_key(run: Run, sandbox: Sandbox) -> None:
    """Its error is told as it is, after one request."""
    sandbox.inject("GET /v1/conversations", "error_500_before")
    status, printed, _ = run(connection(sandbox))
    assert status == 1
    assert "answered 500" in next(iter(states(printed, "API")))
    assert len(sandbox.requests) == 1


PAGE = Answer(403, b"<html>", {"Content-Type": "text/html"})
REFUSALS: list[tuple[Answer, str]] = [
    (PAGE, "A proxy or firewall in between may refuse the request"),
    (Answer(429, {"error": {"type": "rate_limit_exceeded", "message": "no"}}), "again in a minute"),
    (Answer(404, b"<html>"), "Check the base URL"),
    (Answer(302, b"", {"Location": "https://elsewhere.example/"}), "Check the base URL"),
    (Answer(200, b"<html>"), "Check the base URL"),
    (Answer(503), "in some minutes"),
    (Answer(200, {"data": []}, cut_at=3), "proxy and firewall"),
    (Answer(418), "ask FormantAI"),
]


@pytest.mark.parametrize(("answer", "words"), REFUSALS)
def test_each_way_to_refuse_a_read_comes_with_what_to_do(
    run: Run, sandbox: Sandbox, answer: Answer, words: str
) -> None:
    """Whatever answers in place of the API, and after one request."""
    with ScriptedServer(answer) as server:
        here = json.loads(sandbox.connection_json())
        status, printed, _ = run({"formant_default": {**here, "host": server.base_url}})
    assert (status, len(server.seen)) == (1, 1)
    ((finding, _),) = states(printed, "API").items()
    assert words in printed.partition(finding)[2].partition("To do: ")[2].splitlines()[0]


def test_a_clock_that_is_off_is_a_warning(run: Run, sandbox: Sandbox) -> None:
    """It says by how much, and which is ahead."""
    sandbox.advance(3600)
    status, printed, _ = run(connection(sandbox))
    ((finding, state),) = states(printed, "clock").items()
    assert (status, state) == (0, "warning")
    assert "ahead of that of this machine" in finding
    # It is read a while after it was sent, on a busy machine.
    assert 3540 <= int(finding.partition("is ")[2].partition(" s")[0]) <= 3601


def test_an_agent_without_conversations_may_not_exist(run: Run, sandbox: Sandbox) -> None:
    """The API has no way to ask for an agent, so it is a warning; a 404 for it would be a problem."""
    status, printed, _ = run(connection(sandbox), "--agent-id", "999")
    assert status == 0
    assert list(states(printed, "agent").values()) == ["warning"]
    page = Answer(200, {"data": [], "has_more": False, "total": 0})
    unknown = Answer(404, {"error": {"type": "not_found", "message": "agent not found"}})
    with ScriptedServer(page, unknown) as server:
        there = {**connection(sandbox)["formant_default"], "host": server.base_url}
        status, printed, _ = run({"formant_default": there}, "--agent-id", "999")
    assert status == 1
    assert states(printed, "agent") == {"the API does not know agent 999 (404).": "problem"}


def test_a_store_that_cannot_be_used_is_a_problem(run: Run, sandbox: Sandbox, database: Database) -> None:
    """No tables, older ones, another secret: each is named. No table is made, also where a task would."""
    connections = connections_with(database, sandbox, is_set_up=False)
    status, printed, _ = run(connections)
    assert status == 1
    assert "make them with" in next(iter(states(printed, "call store")))
    itself = connections_with(database, sandbox, is_set_up=False, store_auto_upgrade=True)
    status, printed, _ = run(itself)
    assert (status, *states(printed, "call store").values()) == (0, "warning")
    assert run(connections)[0] == 1
    connections = connections_with(database, sandbox)
    assert run(connections)[0] == 0
    status, printed, _ = run(connections_with(database, sandbox, store_secret=new_secret()))
    assert status == 1
    assert "does not open this call store" in printed
    with database.engine().begin() as conn:
        conn.execute(text("UPDATE formant_store_version SET version_num = '0001'"))
    status, printed, _ = run(connections_with(database, sandbox, is_set_up=False, call_cap="2/1d"))
    assert status == 1
    assert "of version 0001; this package needs" in printed


def test_held_call_lists_are_a_warning(run: Run, sandbox: Sandbox, sqlite: Database) -> None:
    """Somebody may have forgotten to release them."""
    connections = connections_with(sqlite, sandbox, is_set_up=False)
    hold(open_up(sqlite.engine(), "here", SECRET), by="ops", reason="storm", now=sandbox.now())
    status, printed, _ = run(connections)
    assert status == 0
    assert any("by ops: storm" in finding for finding in states(printed, "call store"))


def test_wrong_arguments_repeat_no_number(
    run: Run, sandbox: Sandbox, capsys: pytest.CaptureFixture[str]
) -> None:
    """It ends with 2."""
    for arguments in (
        ["+14155550100"],
        ["--ring=+14155550100", "+14155550100"],
        ["--agent-id", "+14155550100x"],
    ):
        with pytest.raises(SystemExit) as ended:
            run(connection(sandbox), *arguments)
        assert ended.value.code == 2
        assert "4155550100" not in capsys.readouterr().err


def test_a_report_that_cannot_be_written_ends_with_2(run: Run, sandbox: Sandbox) -> None:
    """And says where it was to be."""
    status, _, err = run(connection(sandbox), "--live", "--report", "/nowhere/at/all.md")
    assert status == 2
    assert "/nowhere/at/all.md: No such file" in err


def test_options_that_nothing_would_read_are_refused(run: Run, sandbox: Sandbox) -> None:
    """A report without questions, a conversation or a parameter without what asks for it; it ends with 2."""
    for arguments in (["--report", "x.md"], ["--inbound", "x"], ["--live", "--parameter", "name=Asha"]):
        with pytest.raises(SystemExit) as ended:
            run(connection(sandbox), *arguments)
        assert ended.value.code == 2
    assert sandbox.requests == []


def test_a_store_that_is_down_hinders_a_call_and_no_reading(
    run: Run, sandbox: Sandbox, tmp_path: Path, sqlite: Database
) -> None:
    """What reading answers has nothing to do with it; but nobody is called without the do-not-call list."""
    connections = connections_with(sqlite, sandbox, is_set_up=False, store_secret=new_secret())
    report = tmp_path / "answers.md"
    status, printed, _ = run(connections, "--live", "--report", str(report))
    assert (status, "of 27 are answered" in printed, report.exists()) == (1, True, True)
    number = "+14155550102"
    status, printed, _ = run(connections, "--agent-id=456", "--ring", number, "--ring", number)
    assert (status, "nobody is called" in printed) == (1, True)
    assert not sandbox.rings


def test_a_problem_keeps_it_from_asking_more(run: Run, sandbox: Sandbox) -> None:
    """With a refused key nothing is read, and nobody is called."""
    wrong = {**connection(sandbox)["formant_default"], "password": "another-key"}
    number = "+14155550102"
    status, printed, _ = run({"formant_default": wrong}, "--agent-id=456", "--ring", number, "--ring", number)
    assert status == 1
    assert "nobody is called" in printed
    assert not sandbox.rings
    assert KEY not in printed
