"""What stands on the page."""

from __future__ import annotations

import json
import re
from datetime import datetime, timedelta
from uuid import uuid4

import pytest
from airflow.models.dagrun import DagRun
from airflow.models.taskinstance import TaskInstance
from airflow.utils.session import create_session

from formant_provider.core.call_lists.tally import Tally
from formant_provider.store.list_progress import tell_progress
from formant_provider.store.store import Store, to_ms
from support.calls_page import CallsPage, add_call, calls_page, connections_to, now
from support.databases import Database

PLACE = "dues", "manual__1", "call_all", -1


def text_of(page: CallsPage, query: str = "") -> str:
    """The page, with one space for all that separates words."""
    answer = page.visitor().get(query)
    assert answer.status_code == 200, answer.text
    return " ".join(answer.text.partition("<body>")[2].split())


def words_of(page: CallsPage, query: str = "") -> str:
    """The same without tags."""
    return " ".join(re.sub("<[^>]*>", " ", text_of(page, query)).split())


def test_calls_are_counted_by_agent_and_outcome(store: Store, page: CallsPage) -> None:
    """Each state and each outcome has a word; one of the vendor's that nobody has documented is shown."""
    for outcome in ("completed", "completed", "no_answer", "of_tomorrow", None):
        add_call(store, outcome=outcome)
    add_call(store, agent_id=9, state="refused")
    add_call(store, agent_id=9, state="never")
    words = words_of(page)
    assert "Calls 7 Completed 2 No outcome yet 1 Unconfirmed 0 Not sent, or refused 2" in words
    assert words.index("Agent 456 5") < words.index("Agent 9 2")
    for line in ("completed 2 40 %", "no answer Nobody answered. 1 20 %", "of tomorrow 1 20 %", "refused"):
        assert line in words


def test_unconfirmed_calls_come_with_what_to_do(store: Store, page: CallsPage) -> None:
    """So do those of the days before, but not those that are being sent at this moment."""
    add_call(store, state="unclear", reference="today")
    add_call(store, state="unclear", reference="two-days-ago", ago=timedelta(days=2))
    add_call(store, state="unclear", reference="two-weeks-ago", ago=timedelta(days=14))
    in_a_minute = to_ms(now() + timedelta(minutes=1))
    add_call(store, state="unclear", reference="in-hand", sending_until=in_a_minute)
    unconfirmed = words_of(page).partition("What to do:")[2].partition("By agent and outcome")[0]
    assert "clear the task" in unconfirmed
    assert "today" in unconfirmed
    assert "two-days-ago" in unconfirmed
    assert "two-weeks-ago" not in unconfirmed
    assert "in-hand" not in unconfirmed


def test_call_lists_show_how_far_they_have_come(store: Store, page: CallsPage) -> None:
    """As their tasks have told: running, waiting until a moment, or ended."""
    tally = Tally(rows=1000, rejected=10, waiting=700, in_progress=15, reached=200, closed=75)
    tell_progress(store, PLACE, tally, reference="november", now=now())
    running = words_of(page)
    assert "28 % running 285 of 1,000 rows: 200 reached, 75 not reached, 10 left out." in running
    assert "Reference: november" in running
    tomorrow = now() + timedelta(days=1)
    tell_progress(store, PLACE, tally, reference=None, now=now(), resumes_at=tomorrow)
    assert f"waiting until {tomorrow:%d %b %H:%M}" in words_of(page)
    tell_progress(store, PLACE, tally, reference=None, now=now(), status="stopped")
    assert "28 % stopped" in words_of(page)


def test_a_list_that_has_not_ended_is_shown_on_later_days(store: Store, page: CallsPage) -> None:
    """One that waits since yesterday is; one that ended yesterday is not."""
    yesterday = now() - timedelta(days=1)
    tell_progress(store, PLACE, Tally(rows=5), reference="open", now=yesterday)
    tell_progress(store, (*PLACE[:3], 7), Tally(rows=5), reference="ended", now=yesterday, status="finished")
    assert "open" in text_of(page)
    assert "ended" not in text_of(page)


def test_batch_calls_show_how_many_they_are_to(store: Store, page: CallsPage) -> None:
    """And their outcome once it is known; what somebody has edited is left out."""
    people = json.dumps({"people": {"count": 1200, "digest": "0"}})
    batch = {"kind": "batch_call", "recipient": None}
    add_call(store, **batch, intent=people, task_id="first")
    add_call(store, **batch, intent="[]", task_id="second", outcome="completed")
    words = words_of(page)
    assert "456 1,200 people no outcome yet" in words
    assert "dues.second manual__1 456 completed" in words
    assert "By agent" not in words


def test_rows_lead_to_the_task_and_the_conversation(store: Store, page: CallsPage) -> None:
    """The address of the task is relative, and holds all names as they are, encoded."""
    run_id, ids = "scheduled__2026-01-01T00:00:00+00:00", {"conversation_id": "c/1", "outcome": "completed"}
    add_call(store, run_id=run_id, task_id="group.call", map_index=3, **ids)
    add_call(store, run_id="", task_id="", dag_id="")
    text = text_of(page)
    task = "../dags/dues/runs/scheduled__2026-01-01T00%3A00%3A00%2B00%3A00/tasks/group.call/mapped/3"
    assert f'<a href="{task}" target="_top">dues.group.call [3]</a>' in text
    assert 'href="https://voice.example/456/c%2F1" target="_blank" rel="noopener noreferrer"' in text
    assert text.count('target="_top"') == 1


def test_all_texts_are_escaped(store: Store, page: CallsPage) -> None:
    """What somebody has written into a name is shown, and never run."""
    evil = '"><script>alert(1)</script>'
    names = dict.fromkeys(("dag_id", "run_id", "task_id", "reference", "outcome"), evil)
    add_call(store, **names)
    add_call(store, **names, state="unclear")
    tell_progress(store, (evil, evil, evil, -1), Tally(rows=1), reference=evil, now=now(), status=evil)
    text = text_of(page)
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert(1)" in text


def test_no_number_is_shown(store: Store, page: CallsPage) -> None:
    """The store has none; what a name holds that looks like one is left out."""
    add_call(store, reference="loan of +1 415 555 0100", outcome="completed")
    assert "loan of +..." in text_of(page)
    assert "555 0100" not in text_of(page)


def test_a_day_is_one_of_airflows_time_zone(
    store: Store, page: CallsPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By ``[core] default_timezone``, which the page names; also where a day has 23 hours."""
    at = {"call_at": 1774753200_000, "outcome": "completed"}  # 2026-03-29 03:00 UTC
    add_call(store, **at)
    add_call(store, **{**at, "call_at": 1774735200_000})  # 2026-03-28 22:00 UTC, 23:00 in Berlin
    assert "Calls 1 " in words_of(page, "?day=2026-03-29")
    monkeypatch.setenv("AIRFLOW__CORE__DEFAULT_TIMEZONE", "Europe/Berlin")
    summer = words_of(page, "?day=2026-03-29")
    assert "Sunday, 29 March 2026" in summer
    assert "time zone Europe/Berlin" in summer
    assert "Calls 1 " in summer
    assert "05:00" in summer
    assert "23:00" in words_of(page, "?day=2026-03-28")
    assert "?day=2026-03-30" in text_of(page, "?day=2026-03-29")


def test_a_day_without_a_midnight_is_a_day(
    store: Store, page: CallsPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where clocks are put forward at midnight, no call is on two days or on none, and days follow on."""
    monkeypatch.setenv("AIRFLOW__CORE__DEFAULT_TIMEZONE", "Africa/Cairo")
    for day, at in (("23", "23T20:30"), ("24", "23T22:30"), ("24", "24T20:30"), ("25", "24T21:30")):
        moment = datetime.fromisoformat(f"2026-04-{at}:00+00:00")
        add_call(store, call_at=to_ms(moment), agent_id=int(day), outcome="completed")
    shown = {day: words_of(page, f"?day=2026-04-{day}") for day in ("23", "24", "25")}
    assert {day: re.findall(r"Agent (\d+) (\d+)", text) for day, text in shown.items()} == {
        "23": [("23", "1")],
        "24": [("24", "2")],
        "25": [("25", "1")],
    }
    assert "Friday, 24 April 2026" in shown["24"]
    assert re.findall(r"\?day=([0-9-]+)", text_of(page, "?day=2026-04-24")) == ["2026-04-23", "2026-04-25"]


def test_of_several_connections_one_is_shown(
    sqlite: Database, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first, unless another is asked for that the option names; no other can be."""
    add_call(store, outcome="completed")
    connections = connections_to(sqlite)
    connections["india"] = {"conn_type": "formant", "password": "key"}
    with calls_page(monkeypatch, connections, calls_page_conn_ids="formant_default, india") as page:
        assert "conn_id=india" in text_of(page)
        assert page.visitor().get("?conn_id=india").status_code == 503
        assert page.visitor().get("?conn_id=calls_db").status_code == 404


def add_task_instance(dag_id: str, run_id: str, task_id: str, state: str) -> None:
    """Write a task instance, and its run, as Airflow has them."""
    began = {"run_after": now(), "start_date": now(), "logical_date": now()}
    run = DagRun(dag_id=dag_id, run_id=run_id, run_type="manual", **began)
    task = {"task_id": task_id, "dag_id": dag_id, "run_id": run_id, "state": state}
    with create_session() as session:
        session.add(run)
        session.flush()
        session.execute(TaskInstance.__table__.insert().values(pool="default_pool", **task))


def test_a_list_whose_task_has_failed_is_not_running(store: Store, page: CallsPage) -> None:
    """A task that was killed for good says nothing any more; Airflow knows its state."""
    place = "dues", f"manual__{uuid4().hex}", "call_all", -1
    tell_progress(store, place, Tally(rows=5, waiting=5), reference=None, now=now())
    add_call(store, state="unclear", run_id=place[1], task_id=place[2])
    assert "0 % running" in words_of(page)
    add_task_instance(*place[:3], "failed")
    words = words_of(page)
    assert "0 % task failed" in words
    assert "unconfirmed task: failed" in words
