"""What is private in a batch call stays in its files: searched for in everything a task leaves behind."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from batches.batch_call import AMOUNT, NAME, NUMBERS, PEOPLE, WAIT, a_batch_call, people_file, place
from operators.test_call_privacy import assert_private
from waiting.conftest import KEY
from waiting.modes import to_the_end

from formant_provider.operators.batch import FormantCreateBatchCallOperator
from formant_provider.sandbox import Fault, Sandbox
from formant_provider.sandbox.faults import BATCH
from support.scripted_server import Answer, ScriptedServer, Seen
from support.supervisor import FakeSupervisor
from support.task_run import TaskRun, make_dag, run_task, run_trigger
from support.versions import HAS_STATE_STORE

SUPPRESSED = "+14155550144"
PRIVATE = (KEY, NAME, AMOUNT, *(number.lstrip("+") for number in (*NUMBERS, SUPPRESSED)))
HIDDEN = {"customer_phone": "***", "customer_name": "***", "due_amount": "***"}


@pytest.fixture(autouse=True)
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A place for temporary files, in which nothing is left."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    with monkeypatch.context() as context:
        context.setenv("TMPDIR", str(scratch))
        context.setitem(vars(tempfile), "tempdir", None)
        yield scratch
    assert list(scratch.iterdir()) == []


def assert_hidden(run: TaskRun, contacts: Any = None) -> None:
    assert_private(run, PRIVATE)
    assert run.rendered_fields["contacts"] == (contacts or [HIDDEN] * 3)


def test_a_batch_call_leaves_nothing_private(channel: FakeSupervisor) -> None:
    """Log, XCom, state store, rendered fields and messages tell ids and counts alone."""
    run = place(channel, suppress=[SUPPRESSED])
    assert run.state == "success", run.log_text
    assert_hidden(run)
    assert run.rendered_fields["suppress"] == ["***"]


def test_a_deferred_batch_call_leaves_nothing_private(channel: FakeSupervisor, tmp_path: Path) -> None:
    """Nor do the trigger's arguments, its log and its event, or the task that goes on and reports."""
    operator = a_batch_call(results_uri=str(tmp_path / "r.csv"), recipients="full", **WAIT, deferrable=True)
    first = run_task(operator, channel)
    fired = run_trigger(first.deferral, channel)
    stored = json.dumps([first.trigger_kwargs, fired.event], default=str) + fired.log_text
    assert not any(private in stored for private in PRIVATE)
    second = run_task(operator, channel, resume_event=fired.event)
    assert second.state == "success", second.log_text
    for run in (first, second):
        assert_hidden(run)
    assert NUMBERS[0] in (tmp_path / "r.csv").read_text()


def test_a_file_of_contacts_is_hidden_too(channel: FakeSupervisor, tmp_path: Path) -> None:
    """Its rows are as private as a list; the log tells where it is."""
    path = people_file(tmp_path / "people.csv")
    run = to_the_end(a_batch_call(path, results_uri=str(tmp_path / "r.csv"), **WAIT), channel)
    assert run.state == "success", run.log_text
    assert_hidden(run, "***")
    assert path in run.log_text


@pytest.mark.usefixtures("sleeps")  # the looks for what others may have placed
def test_mapped_batch_calls_leave_nothing_private(channel: FakeSupervisor) -> None:
    """What is expanded over is hidden like any field."""
    with make_dag():
        mapped = FormantCreateBatchCallOperator.partial(task_id="batch_call", agent_id=456).expand_kwargs(
            [{"name": f"list {index}", "contacts": [person]} for index, person in enumerate(PEOPLE)]
        )
    for index in range(3):
        run = run_task(mapped, channel, map_index=index)
        assert run.state == "success"
        assert_hidden(run, [HIDDEN])


def test_many_contacts_are_not_all_shown(channel: FakeSupervisor) -> None:
    """A long list is cut by Airflow (3.1 cuts later), and what is left of it is hidden."""
    contacts = [{**PEOPLE[0], "customer_phone": f"+1415{5560000 + number}"} for number in range(500)]
    run = place(channel, contacts)
    assert run.state == "success"
    assert_private(run, (NAME, AMOUNT, *(person["customer_phone"][1:] for person in contacts)))
    assert len(str(run.rendered_fields["contacts"])) < (8192 if HAS_STATE_STORE else 65536)
    # Airflow looks for each masked text in each line of a log, so numbers are kept out of them instead.
    assert "141555600" not in str(run.sent("MaskSecret"))


@pytest.mark.parametrize(
    "fault", [Fault.DROP_AFTER, Fault.DROP_BEFORE, Fault.GARBAGE, Fault.ERROR_503_BEFORE]
)
def test_an_upload_that_fails_leaves_nothing_private(
    fault: Fault, sandbox: Sandbox, channel: FakeSupervisor
) -> None:
    """Whatever becomes of it, the ledger and the log hold a marker and no number."""
    sandbox.inject(BATCH, fault)
    run = place(channel, retries=2)
    assert_hidden(run)


def test_an_api_that_quotes_the_file_is_not_quoted(channel: FakeSupervisor) -> None:
    """A refusal whose message holds what was uploaded is told without it."""

    def answer(_seen: Seen) -> Answer:
        quoted = f"row 1: customer_phone {NUMBERS[0]} ({NAME}, {AMOUNT}) is refused"
        return Answer(400, {"error": {"type": "invalid_request", "message": quoted}})

    with ScriptedServer(answer) as server:
        connection = {"conn_type": "formant", "host": server.base_url, "password": KEY}
        channel.connections["formant_default"] = connection
        run = place(channel)
    assert run.state == "failed"
    assert "is refused" in str(run.error)
    assert_hidden(run)


def test_bad_contacts_leave_nothing_private(channel: FakeSupervisor, tmp_path: Path) -> None:
    """What is wrong is told by row and column; the values are in the file of rejects alone."""
    bad = [{**PEOPLE[0], "customer_phone": SUPPRESSED}, {**PEOPLE[1], "customer_phone": "14155550122"}]
    rejects = tmp_path / "rejects.csv"
    run = place(channel, [*PEOPLE, *bad], suppress=[SUPPRESSED], rejects_uri=str(rejects))
    assert run.state == "failed"
    assert_private(run, (*PRIVATE, "14155550122"))
    assert SUPPRESSED in rejects.read_text()


@pytest.mark.parametrize(
    "contacts",
    [
        [{**PEOPLE[0], "note": "{{ 1 / 0 }}"}],
        [{**PEOPLE[0], "note": "{{ unknown.x }}"}],
        [{**PEOPLE[0], "note": object()}],
        f"[{{'customer_phone': '{NUMBERS[0]}', 'customer_name': '{NAME}', 'site': 'https://x'}}]",
        f"{NUMBERS[0]},{NAME}",
        {"customer_phone": NUMBERS[0]},
        [NUMBERS[0], NAME],
        [{NUMBERS[0]: NAME}],
    ],
    ids=["division", "undefined", "object", "list as text", "row as text", "one row", "texts", "no column"],
)
def test_contacts_that_cannot_be_used_leave_nothing_private(contacts: Any, channel: FakeSupervisor) -> None:
    """Templates that fail, and values that are no contacts, are told of without a value."""
    run = place(channel, contacts)
    assert run.state == "failed"
    assert_private(run, PRIVATE)


def test_a_list_of_numbers_that_must_not_be_called_is_never_quoted(channel: FakeSupervisor) -> None:
    """Not even if it cannot be read."""
    for suppress in ([f"x{SUPPRESSED}"], f"['{SUPPRESSED}', 'https://x']", [{"customer_phone": SUPPRESSED}]):
        run = place(channel, suppress=suppress)
        assert run.state == "failed"
        assert_private(run, PRIVATE)
