"""The operator of the do-not-call list: from numbers and from conversations, and what it leaves behind."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException
from airflow.providers.standard.operators.empty import EmptyOperator

from formant_provider.api.client import LIST_CONVERSATIONS
from formant_provider.operators.suppression import FormantSuppressionOperator
from formant_provider.sandbox import Fault, Sandbox
from formant_provider.store.store import Store, open_up
from formant_provider.store.suppressions import Decision, Suppression, add, digests_of, listing, remove
from support.databases import Database, sqlite_database
from support.scripted_server import Answer, ScriptedServer, Seen
from support.stores import SECRET, connections_with
from support.supervisor import FakeSupervisor, TaskKey
from support.task_run import TaskRun, make_dag, run_task
from support.webhook_events import store_events, webhook

ASHA, RAVI, LEE = "+14155550100", "+14155550101", "+442079460018"
DIGITS = re.compile(r"4155550|2079460")
NEW_YEAR = datetime(2026, 1, 1, tzinfo=UTC)  # where the data interval of a test's run ends
NONE_FOUND = {"changed": 0, "unchanged": 0, "decided_since": 0}


@pytest.fixture
def files(tmp_path: Path) -> Iterator[Database]:
    with sqlite_database(tmp_path) as database:
        yield database


@pytest.fixture
def channel(files: Database, sandbox: Sandbox) -> FakeSupervisor:
    return FakeSupervisor(connections_with(files, sandbox))


@pytest.fixture
def store(files: Database, channel: FakeSupervisor) -> Store:
    """The store that the tasks use."""
    assert channel
    return open_up(files.engine(), "the test", SECRET)


def an_operator(**fields: Any) -> FormantSuppressionOperator:
    return FormantSuppressionOperator(
        task_id="suppress", retries=3, **{"reason": "asked by letter", **fields}
    )


def suppress(channel: FakeSupervisor, attempt: Any = None, **fields: Any) -> TaskRun:
    return run_task(an_operator(**fields), channel, **(attempt or {}))


def on_list(store: Store) -> dict[str, Suppression]:
    return {entry.recipient: entry for entry in listing(store)}


def digest(store: Store, number: str) -> str:
    return digests_of(store, [int(number)])[0]


def left_of(run: TaskRun) -> str:
    """All that a task leaves in Airflow and in its log."""
    return f"{run.log_text} {run.xcoms} {run.rendered_fields} {run.state_store} {run.error!r}"


def a_file(folder: Path, text: str) -> str:
    (folder / "list.csv").write_text(text)
    return str(folder / "list.csv")


@pytest.mark.parametrize("form", ["list", "file", "frame", "output"])
def test_numbers_are_put_on_the_list(
    form: str, store: Store, channel: FakeSupervisor, tmp_path: Path
) -> None:
    """From rows, a file, a frame or another task; with reason, date, DAG and task. XCom has counts."""
    numbers = [ASHA, RAVI, LEE]
    pandas = pytest.importorskip("pandas") if form == "frame" else None
    with make_dag():
        upstream = EmptyOperator(task_id="upstream")
        channel.xcoms[TaskKey("test_dag", "r1", "upstream", -1)] = {"return_value": numbers}
        given: Any = {
            "list": numbers,
            "file": a_file(tmp_path, "customer_phone,who\n" + "".join(f"{each},x\n" for each in numbers)),
            "frame": pandas.DataFrame({"customer_phone": numbers}) if pandas else None,
            "output": upstream.output,
        }[form]
        operator = an_operator(numbers=given, reason="letter of {{ ds }}")
    run = run_task(operator, channel)
    assert run.state == "success", run.log_text
    assert run.xcoms["return_value"] == {"action": "add", **NONE_FOUND, "changed": 3}
    entries = on_list(store)
    assert set(entries) == {digest(store, number) for number in numbers}
    entry = entries[digest(store, ASHA)]
    assert (entry.reason, entry.by) == ("letter of 2026-01-01", "test_dag.suppress")
    assert abs(entry.since - datetime.now(UTC)) < timedelta(minutes=1)
    assert "3 added, 0 already on it" in run.log_text
    assert not DIGITS.search(left_of(run))


def test_a_retry_or_a_clear_changes_nothing(store: Store, channel: FakeSupervisor) -> None:
    """Who is on the list stays on it with the first reason and date."""
    suppress(channel, numbers=[ASHA])
    before = on_list(store)
    for attempt in ({"try_number": 2}, {"try_number": 5, "clear_number": 1}):
        again = suppress(
            channel, attempt, numbers=[ASHA, "+1 415 555 0100"], reason="x", default_country="US"
        )
        assert again.xcoms["return_value"] == {"action": "add", **NONE_FOUND, "unchanged": 1}
    assert on_list(store) == before


def test_people_are_taken_off_the_list(store: Store, channel: FakeSupervisor) -> None:
    """By a run that began after they were put on it; the log says how many, by whom and why."""
    suppress(channel, numbers=[ASHA, RAVI])
    later = {"run_id": "r2", "logical_date": datetime.now(UTC) + timedelta(minutes=1)}
    later["run_started_at"] = later["logical_date"]
    run = suppress(channel, later, numbers=[ASHA, LEE], action="remove", reason="has asked for calls")
    assert run.xcoms["return_value"] == {"action": "remove", **NONE_FOUND, "changed": 1, "unchanged": 1}
    assert "1 removed, 1 not on it" in run.log_text
    assert "By test_dag.suppress: has asked for calls" in run.log_text
    assert set(on_list(store)) == {digest(store, RAVI)}


def test_an_old_run_that_is_cleared_undoes_nothing(store: Store, channel: FakeSupervisor) -> None:
    """What was decided after it began stands: on the list or off it."""
    now = datetime.now(UTC)
    add(store, {digest(store, ASHA): now}, Decision("asked again", "maria", now))
    add(store, {digest(store, RAVI): now}, Decision("by mistake", "maria", now))
    remove(store, {digest(store, RAVI): now}, Decision("was a mistake", "maria", now))
    for action, number in (("remove", ASHA), ("add", RAVI)):
        run = suppress(channel, {"clear_number": 1}, numbers=[number], action=action)
        assert run.xcoms["return_value"] == {"action": action, **NONE_FOUND, "decided_since": 1}
    assert set(on_list(store)) == {digest(store, ASHA)}


LOST: dict[str, tuple[Any, str]] = {
    "an entry": ([ASHA, "+1415", RAVI], "1 entry cannot be read as a number"),
    "a national number": ([ASHA, "(415) 555-0101"], "1 entry cannot be read as a number"),
    "nothing": ([], "holds no number"),
    "blanks": (["", None], "holds no number"),
    "a text": (ASHA, "must be an absolute path"),
    "a template of nothing": ("{{ none }}", "came to None"),
    "an integer": (14155550100, "must be a URI"),
}


@pytest.mark.parametrize("kind", LOST)
def test_a_list_that_cannot_be_read_changes_nothing(kind: str, store: Store, channel: FakeSupervisor) -> None:
    """The task fails at once, names the field and the rows, and shows no number."""
    numbers, told = LOST[kind]
    run = suppress(channel, numbers=numbers)
    assert (run.state, type(run.error)) == ("failed", AirflowFailException)
    assert str(run.error).startswith("numbers: ")
    assert told in str(run.error)
    assert not DIGITS.search(left_of(run))
    assert on_list(store) == {}


def test_an_empty_list_may_be_usual(channel: FakeSupervisor, tmp_path: Path) -> None:
    """Then the task is skipped."""
    run = suppress(channel, numbers=a_file(tmp_path, "customer_phone\n"), on_empty="skip")
    assert run.state == "skipped"


def test_a_file_that_is_not_there_is_tried_again(channel: FakeSupervisor) -> None:
    """The storage may have it later."""
    run = suppress(channel, numbers="/nowhere/list.csv")
    assert run.state == "up_for_retry"
    assert "numbers: /nowhere/list.csv: No such file" in str(run.error)


def test_a_reason_that_renders_to_a_number_is_refused(store: Store, channel: FakeSupervisor) -> None:
    """Or to nothing: the store keeps it as it is."""
    for reason in (f"{{{{ '{ASHA}' }}}}", "{{ none }}", " "):
        run = suppress(channel, numbers=[RAVI], reason=reason)
        assert (run.state, str(run.error)[:8]) == ("failed", "reason: ")
    assert on_list(store) == {}


def test_a_reason_that_is_refused_is_shown_nowhere(channel: FakeSupervisor) -> None:
    """Airflow stores rendered fields before a task begins, where everybody can see them."""
    spelling = "+1\u2013415\u2013555\u20130100"
    run = suppress(channel, numbers=[RAVI], reason=f"{{{{ 'called by {spelling}' }}}}")
    assert (run.state, run.rendered_fields["reason"]) == ("failed", "***")
    assert spelling not in left_of(run)
    assert suppress(channel, numbers=[RAVI]).rendered_fields["reason"] == "asked by letter"


def test_a_connection_without_a_store_is_refused(sandbox: Sandbox) -> None:
    """The error names the connection, and the field that it lacks."""
    channel = FakeSupervisor({"formant_default": sandbox.connection_uri()})
    run = suppress(channel, numbers=[ASHA])
    assert run.state == "failed"
    assert "needs a call store: name its connection in store_conn_id" in str(run.error)
    assert "'formant_default'" in str(run.error)


INVALID: list[tuple[dict[str, Any], str]] = [
    ({}, "agent_id: is missing: give either numbers, or agent_id and when"),
    ({"agent_id": 456}, "when: is missing"),
    ({"when": {"status": "busy"}}, "agent_id: is missing"),
    ({"numbers": [ASHA], "agent_id": 456}, "numbers: is given, and so is agent_id"),
    ({"numbers": [ASHA], "start": "{{ ds }}"}, "numbers: is given, and so is start"),
    ({"agent_id": 456, "when": {}}, "when: must be a mapping"),
    (
        {"agent_id": 456, "when": {"contact_number": "x"}},
        "when: must name status, failure_reason, or a result",
    ),
    ({"agent_id": 456, "when": {"results": True}}, "when: must name"),
    ({"agent_id": 456, "when": {"status.x": True}}, "when: must name"),
    ({"agent_id": 456, "when": {"results.x": []}}, "when: must have a value"),
    ({"agent_id": 456, "when": {"results.x": None}}, "when: must have a value"),
    (
        {"agent_id": 456, "when": {"status": "busy"}, "on_empty": "skip"},
        "on_empty has no effect without numbers",
    ),
    ({"agent_id": "x", "when": {"status": "busy"}}, "agent_id: must be an integer"),
    ({"numbers": [ASHA], "action": "delete"}, "action must be one of add, remove"),
    ({"numbers": [ASHA], "on_empty": "go"}, "on_empty must be one of fail, skip"),
    ({"numbers": [ASHA], "default_country": "us"}, "default_country must be two capital letters"),
]


@pytest.mark.parametrize(("fields", "told"), INVALID, ids=str)
def test_an_option_that_is_invalid_breaks_the_dag_file(fields: dict[str, Any], told: str) -> None:
    """A mistake shows when the DAG is parsed."""
    with pytest.raises(ValueError, match=re.escape(told)):
        an_operator(**fields)


def test_rows_may_have_their_own_lists(store: Store, channel: FakeSupervisor) -> None:
    """A mapped task takes a list, and a reason, for each row."""
    rows = [{"numbers": [ASHA], "reason": "first"}, {"numbers": [RAVI], "reason": "second"}]
    with make_dag():
        operator = FormantSuppressionOperator.partial(task_id="suppress").expand_kwargs(rows)
    for row in range(2):
        assert run_task(operator, channel, map_index=row).state == "success"
    assert {entry.reason for entry in on_list(store).values()} == {"first", "second"}


def record(number: int, phone: str | None, hour: float, results: Any = None, **fields: Any) -> dict[str, Any]:
    began = NEW_YEAR - timedelta(days=1) + timedelta(hours=hour)
    return {
        "conversation_id": f"c{number}",
        "agent_id": 456,
        "status": "completed",
        "contact_number": phone,
        "start_timestamp": int(began.timestamp() * 1000),
        "results": results,
        **fields,
    }


def answering(*records: dict[str, Any], listed: dict[str, Any] | None = None) -> ScriptedServer:
    """A server with these conversations; the list tells no results, and what ``listed`` says instead."""

    def answer(seen: Seen) -> Answer:
        name = seen.path.partition("?")[0].rpartition("/")[2]
        details = {each["conversation_id"]: each for each in records}
        if name in details:
            return Answer(body={"data": details[name]})
        less = [{**each, "results": None, **(listed or {})} for each in reversed(records)]
        return Answer(body={"data": less, "has_more": False, "total": len(less)})

    return ScriptedServer(answer)


def from_conversations(
    channel: FakeSupervisor, server: ScriptedServer, attempt: Any = None, **fields: Any
) -> TaskRun:
    formant = json.loads(channel.connections["formant_default"]["extra"])
    channel.connections["formant_default"] = {
        "conn_type": "formant", "host": server.base_url, "password": "k", "extra": json.dumps(formant)
    }  # fmt: skip
    asked = {"agent_id": 456, "when": {"results.do_not_call": True}, "reason": "told the agent"}
    return suppress(channel, attempt, **{**asked, **fields})


def test_who_asked_for_it_in_a_conversation_is_put_on_the_list(store: Store, channel: FakeSupervisor) -> None:
    """Those whose results say so, however the agent writes it; XCom has counts, and nothing has a number."""
    records = (
        record(1, ASHA, 1, {"do_not_call": True}),
        record(2, RAVI, 2, {"do_not_call": "TRUE "}),
        record(3, LEE, 3, {"do_not_call": False}),
        record(4, "+14155550104", 4, {"mood": "good"}),
        record(5, "+14155550105", 5),
        record(6, "+14155550106", 30, {"do_not_call": True}),  # after the interval
        record(7, "+14155550107", 6, None, status="in_progress"),
    )
    with answering(*records) as server:
        run = from_conversations(channel, server)
    assert run.state == "success", run.log_text
    counts = {"conversations": 6, "matched": 2, "unreadable": 0, "unfinished": 1, "undated": 0}
    assert run.xcoms["return_value"] == {"action": "add", **NONE_FOUND, "changed": 2, **counts}
    assert set(on_list(store)) == {digest(store, ASHA), digest(store, RAVI)}
    assert "1 conversations are not over" in run.log_text
    assert not DIGITS.search(left_of(run))


def test_what_webhooks_have_told_is_not_read_in_detail(store: Store, channel: FakeSupervisor) -> None:
    """But for a call from somebody: its event has the agent's number as the one that was called."""
    said = {"do_not_call": True}
    records = [record(1, ASHA, 1, said, end_timestamp=1), record(2, RAVI, 2, said, end_timestamp=1)]
    began = [datetime.fromtimestamp(each["start_timestamp"] / 1000, UTC).isoformat() for each in records]
    told = {"results": said, "from_phone": RAVI}
    store_events(
        store,
        webhook("a", conversation_id="c1", started_at=began[0], to_phone=ASHA, results=said),
        webhook("b", conversation_id="c2", started_at=began[1], to_phone="+14155550199", **told),
    )
    with answering(*records) as server:
        run = from_conversations(channel, server)
        details = [seen.path.rpartition("/")[2] for seen in server.seen if "?" not in seen.path]
    assert run.state == "success", run.log_text
    assert details == ["c2"]
    assert set(on_list(store)) == {digest(store, ASHA), digest(store, RAVI)}


CONDITIONS: list[tuple[dict[str, Any], set[int]]] = [
    ({"results.wish.kind": "stop"}, {1, 3}),
    ({"results.wish.kind": ["STOP", "later"]}, {1, 2, 3}),
    ({"results.wish.kind": "stop", "status": "completed"}, {1}),
    ({"status": ["failed", "busy"]}, {3, 4}),
    ({"failure_reason": "wrong person"}, {4}),
    ({"results.score": 5}, {2}),
    ({"results.score": "{{ 2 + 3 }}"}, {2}),
    ({"results.tags": "no more calls"}, {4}),
    ({"results.score": 7}, set()),
]


@pytest.mark.parametrize(("when", "meant"), CONDITIONS, ids=str)
def test_conditions_are_about_status_reason_and_results(
    when: dict[str, Any], meant: set[int], store: Store, channel: FakeSupervisor
) -> None:
    """Dotted names lead into the results; of several values one is enough, of several fields all must do."""
    people = {1: ASHA, 2: RAVI, 3: LEE, 4: "+14155550109"}
    records = (
        record(1, people[1], 1, {"wish": {"kind": "stop"}}),
        record(2, people[2], 2, {"wish": {"kind": "later"}, "score": 5}),
        record(3, people[3], 3, {"wish": {"kind": "stop"}, "score": True}, status="failed"),
        record(
            4,
            people[4],
            4,
            {"tags": ["no more calls", "angry"]},
            status="busy",
            failure_reason="Wrong person",
        ),
    )
    with answering(*records) as server:
        run = from_conversations(channel, server, when=when)
    assert run.state == "success", run.log_text
    assert set(on_list(store)) == {digest(store, people[number]) for number in meant}


def test_a_list_that_masks_numbers_is_read_in_detail(store: Store, channel: FakeSupervisor) -> None:
    """Where the status is enough, details are read only of those who are meant."""
    records = (record(1, ASHA, 1, status="busy"), record(2, RAVI, 2))
    with answering(*records, listed={"contact_number": "+1415*****00"}) as server:
        run = from_conversations(channel, server, when={"status": "busy"})
    assert run.state == "success", run.log_text
    assert set(on_list(store)) == {digest(store, ASHA)}
    assert [seen.path.partition("?")[0][-2:] for seen in server.seen].count("c1") == 1
    assert not any(seen.path.endswith("c2") for seen in server.seen)


def test_who_cannot_be_told_from_a_conversation_is_named(store: Store, channel: FakeSupervisor) -> None:
    """By the conversation's id; the others are put on the list all the same."""
    wish = {"do_not_call": True}
    records = (record(1, None, 1, wish), record(2, "anonymous", 2, wish), record(3, RAVI[1:], 3, wish))
    with answering(*records) as server:
        run = from_conversations(channel, server)
    assert run.xcoms["return_value"]["unreadable"] == 2
    assert "Conversation c1 does not tell whose it is" in run.log_text
    assert set(on_list(store)) == {digest(store, RAVI)}


def test_intervals_that_overlap_undo_no_removal(store: Store, channel: FakeSupervisor) -> None:
    """Who was taken off the list after a conversation is not put on it for that conversation again."""
    first, second = (record(number, ASHA, 1, {"do_not_call": True}) for number in (1, 2))
    with answering(first) as server:
        from_conversations(channel, server)
        now = datetime.now(UTC)
        remove(store, {digest(store, ASHA): now}, Decision("wants calls again", "maria", now))
        again = from_conversations(channel, server, {"run_id": "r2"})
    assert again.xcoms["return_value"]["decided_since"] == 1
    assert on_list(store) == {}
    second["start_timestamp"] = int(datetime.now(UTC).timestamp() * 1000) + 1000
    with answering(first, second) as server:
        later = from_conversations(
            channel, server, {"run_id": "r3"}, end=datetime.now(UTC) + timedelta(hours=1)
        )
    assert later.xcoms["return_value"]["changed"] == 1


def test_nobody_who_asked_is_no_error(channel: FakeSupervisor) -> None:
    """An interval without such conversations is usual."""
    with answering() as server:
        run = from_conversations(channel, server)
    assert run.state == "success"
    assert run.xcoms["return_value"]["conversations"] == 0


def test_a_run_without_an_interval_says_what_to_do(channel: FakeSupervisor) -> None:
    """As an export does."""
    with answering() as server:
        run = from_conversations(channel, server, {"logical_date": None})
    assert (run.state, server.seen) == ("failed", [])
    assert "start: is not given, and this DAG run has no data interval" in str(run.error)


def test_an_api_that_stays_down_is_tried_again(
    sandbox: Sandbox, store: Store, channel: FakeSupervisor
) -> None:
    """A list that was read in part changes nothing."""
    sandbox.inject(LIST_CONVERSATIONS, Fault.ERROR_500_BEFORE, times=8)
    run = suppress(channel, agent_id=456, when={"status": "busy"})
    assert run.state == "up_for_retry"
    assert on_list(store) == {}


def test_the_files_of_the_store_hold_no_number(store: Store, channel: FakeSupervisor, tmp_path: Path) -> None:
    """No digits of one: not in the tables, not in what SQLite keeps beside them."""
    suppress(channel, numbers=[ASHA, RAVI])
    with answering(record(1, LEE, 1, {"do_not_call": True})) as server:
        from_conversations(channel, server)
    suppress(channel, numbers=[ASHA], action="remove")
    assert len(on_list(store)) == 3
    for path in tmp_path.glob("calls.db*"):
        assert not DIGITS.search(path.read_bytes().decode("latin-1")), path
