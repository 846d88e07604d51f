"""Tasks that wait are woken by webhooks: in the worker, in the triggerer and in sensors, at the wire."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pytest
from batches.modes import a_sensor as a_batch_sensor
from batches.modes import phones
from sqlalchemy import event as sql_event
from waiting.modes import NUMBER, a_sensor, an_operator, reads, to_the_end

from formant_provider.sandbox import Sandbox
from formant_provider.store.store import Store, open_up
from formant_provider.store.webhook_events import record
from support.databases import Database
from support.hearing import told_of
from support.stores import SECRET, connections_with, sqlite_store
from support.supervisor import FakeSupervisor
from support.task_run import TaskRun, run_task, run_trigger
from support.webhook_events import delivery

MODES = ("worker", "triggerer", "poke", "reschedule", "deferrable sensor")
TOLD_AFTER_S = 1.0
WOKEN_WITHIN_S = 2.0


class Scene:
    """A store, a sandbox in real time, and webhooks that come while somebody waits."""

    def __init__(self, database: Database, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self.channel = FakeSupervisor(
            connections_with(database, sandbox, is_set_up=database.kind != "sqlite")
        )
        self.store: Store = open_up(database.engine(), "the test", SECRET)
        self.told_at = 0.0

    def tell(self, **changed: Any) -> None:
        """Let the vendor tell of the end of the first call."""
        event = told_of(self.sandbox.calls[0], "completed", **changed)
        record(self.store, [delivery(event, received_at=datetime.now(UTC))])
        self.told_at = time.monotonic()

    def wait(self, mode: str, **options: Any) -> TaskRun:
        """Wait in one of the modes, for a call that is told of after a second."""
        task, timer = self._task(mode, options), threading.Timer(TOLD_AFTER_S, self.tell)
        timer.start()
        run = self._run(task)
        timer.join()
        return run

    def _task(self, mode: str, options: dict[str, Any]) -> Any:
        if mode in {"worker", "triggerer"}:
            chosen = {"poll_interval": 300, "timeout": 60, "deferrable": mode == "triggerer"}
            return an_operator(**chosen, **options)
        trace_id = self.sandbox.place(f"{NUMBER}00").trace_id
        interval = 300 if mode == "deferrable sensor" else 0.3
        chosen = {"poke_interval": interval, "timeout": 60, "mode": "poke"}
        chosen |= {"mode": mode} if mode == "reschedule" else {"deferrable": mode == "deferrable sensor"}
        return a_sensor(trace_id=trace_id, **chosen, **options)

    def _run(self, task: Any) -> TaskRun:
        run, pokes = run_task(task, self.channel), 0
        if run.state == "deferred":
            event = run_trigger(run.deferral, self.channel).event
            return run_task(task, self.channel, resume_event=event)
        while run.state == "up_for_reschedule":
            time.sleep(0.3)
            pokes += 1
            run = run_task(task, self.channel, reschedule_count=pokes)
        return run


class Attentive(FakeSupervisor):
    """Notes which connections are asked for in the event loop itself; Airflow 3.1 asks in a thread."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.blocking: list[str] = []
        self._is_async = False

    def send(self, msg: Any) -> Any:
        if type(msg).__name__ == "GetConnection" and not self._is_async and _is_in_event_loop():
            self.blocking.append(msg.conn_id)
        return super().send(msg)

    async def asend(self, msg: Any) -> Any:
        self._is_async = True
        try:
            return self.send(msg)
        finally:
            self._is_async = False


def _is_in_event_loop() -> bool:
    with suppress(RuntimeError):
        return asyncio.get_running_loop() is not None
    return False


@pytest.fixture
def scene(make_sandbox: Callable[..., Sandbox]) -> Any:
    with sqlite_store() as database:
        yield Scene(database, make_sandbox(speed=1))


def assert_woken(scene: Scene, run: TaskRun) -> None:
    assert run.state == "success", run.log_text
    # Ten seconds for a machine that is busy: a poll would come after 300.
    assert time.monotonic() - scene.told_at < WOKEN_WITHIN_S + 10
    result = run.xcoms["return_value"]
    assert result["conversation_id"] == scene.sandbox.calls[0].conversation_id
    assert (result["status"], result["results"]) == ("completed", {"intent": "pay"})
    assert result["ended_at"] is not None
    assert "A webhook told." in run.log_text
    assert reads(scene.sandbox)["detail"] == 0


@pytest.mark.parametrize("mode", MODES)
def test_an_event_wakes_whoever_waits(mode: str, scene: Scene) -> None:
    """Long before the next poll, with the record of the event, and without a request for it."""
    run = scene.wait(mode)
    assert_woken(scene, run)
    if mode not in {"poke", "reschedule"}:
        assert reads(scene.sandbox)["list"] <= 1


def test_an_event_wakes_with_postgresql_too(database: Database, make_sandbox: Any) -> None:
    """What is done is the same with each database."""
    if database.kind == "sqlite":
        pytest.skip("the others are with SQLite")
    scene = Scene(database, make_sandbox(speed=1))
    assert_woken(scene, scene.wait("triggerer"))


def test_a_look_in_mode_poke_asks_the_store_and_not_the_vendor(scene: Scene) -> None:
    """Once the agent was heard from."""
    scene.sandbox.place(f"{NUMBER}10")
    scene.tell()
    scene.sandbox.reset()
    run = scene.wait("poke")
    assert run.state == "success", run.log_text
    assert reads(scene.sandbox) == {"list": 1, "detail": 0}


@pytest.mark.parametrize(
    ("told", "is_used"), [("said so", False), ([{"role": "agent"}], True), (None, False)]
)
def test_what_was_said_has_one_form_whether_a_webhook_came_or_not(
    told: object, is_used: bool, scene: Scene
) -> None:
    """As the API has it, a list of turns: an event with a text, or without any, leaves it to the record."""
    scene.sandbox.place(f"{NUMBER}00")
    call = scene.sandbox.calls[0]
    scene.sandbox.advance(200)
    scene.tell(**({"transcript": told} if told else {}))
    sensor = a_sensor(trace_id=call.trace_id, include_transcript=True, timeout=60)
    run = to_the_end(sensor, scene.channel)
    assert run.state == "success", run.log_text
    said = run.xcoms["return_value"]["transcript"]
    assert next(turn["role"] for turn in said) == "agent"
    assert (said == told) is is_used
    assert reads(scene.sandbox)["detail"] == (0 if is_used else 1)


def test_the_log_says_when_a_poll_told(scene: Scene) -> None:
    """Without an event; so a user sees whether webhooks are set up."""
    scene.sandbox.place(f"{NUMBER}00")
    scene.sandbox.advance(200)
    run = to_the_end(a_sensor(trace_id=scene.sandbox.calls[0].trace_id, timeout=60), scene.channel)
    assert run.state == "success", run.log_text
    assert "A poll told." in run.log_text


def test_nothing_private_is_logged_of_events(scene: Scene) -> None:
    """Neither by the trigger nor by the task."""
    run = run_task(an_operator(poll_interval=300, timeout=60, deferrable=True), scene.channel)
    scene.tell(transcript="said so")
    fired = run_trigger(run.deferral, scene.channel)
    done = run_task(an_operator(deferrable=True), scene.channel, resume_event=fired.event)
    assert done.state == "success", done.log_text
    for text in (fired.log_text, done.log_text, str(fired.event)):
        assert not [each for each in (f"{NUMBER}00", "said so", "intent", SECRET) if each in text]


def test_a_trigger_reads_the_stores_connection_without_blocking(scene: Scene) -> None:
    """Other triggers share its event loop."""
    run = run_task(an_operator(poll_interval=300, timeout=60, deferrable=True), scene.channel)
    channel = Attentive(scene.channel.connections)
    scene.tell()
    assert run_trigger(run.deferral, channel).event["status"] == "completed"
    asked = [msg.conn_id for msg in channel.messages if type(msg).__name__ == "GetConnection"]
    assert set(asked) == {"formant_default", "calls_db"}
    assert channel.blocking == []


@pytest.mark.parametrize("mode", ["worker", "triggerer"])
def test_a_store_that_cannot_be_opened_hinders_no_wait(mode: str, make_sandbox: Any) -> None:
    """Polls find the end as without webhooks; the trigger says once why."""
    sandbox = make_sandbox(speed=70)  # the call takes two seconds
    with sqlite_store() as database:
        scene = Scene(database, sandbox)
        task = an_operator(poll_interval=0.5, timeout=60, deferrable=True)
        deferred = run_task(task, scene.channel)
        scene.channel.connections["calls_db"] = {"conn_type": "http"}
        if mode == "triggerer":
            fired = run_trigger(deferred.deferral, scene.channel)
            assert fired.event["status"] == "completed"
            text = fired.log_text
        else:
            sensor = a_sensor(trace_id=sandbox.calls[0].trace_id, timeout=20, poke_interval=0.5)
            run = to_the_end(sensor, scene.channel)
            assert run.xcoms["status"] == "completed"
            text = run.log_text
    assert text.count("must be of type postgres, mysql or sqlite. Until it answers") == 1


def test_batch_calls_are_polled_as_before(scene: Scene) -> None:
    """There are no events of them: whoever waits for one asks the store for nothing."""
    batch = scene.sandbox.place_batch(phones("00"))
    scene.sandbox.advance(1000)
    statements: list[str] = []

    def note(_conn: Any, _cursor: Any, statement: str, *_: Any) -> None:
        statements.append(statement)

    from sqlalchemy.engine import Engine

    sql_event.listen(Engine, "before_cursor_execute", note)
    try:
        run = run_task(a_batch_sensor(batch, deferrable=True), scene.channel)
        fired = run_trigger(run.deferral, scene.channel)
    finally:
        sql_event.remove(Engine, "before_cursor_execute", note)
    assert fired.event["is_over"]
    assert not [each for each in statements if "webhook" in each]


def test_pollers_share_a_few_threads_for_news(scene: Scene) -> None:
    """No thread is made for each look, however many pollers there are."""
    run = run_task(an_operator(poll_interval=300, timeout=60, deferrable=True), scene.channel)
    names: set[str] = set()
    before = {each.ident for each in threading.enumerate()}  # of other tests

    def watch() -> None:
        for _ in range(40):
            new = [each for each in threading.enumerate() if each.ident not in before]
            names.update(f"{each.name}/{each.ident}" for each in new)
            time.sleep(0.1)
        scene.tell()

    watcher = threading.Thread(target=watch)
    watcher.start()
    run_trigger(run.deferral, scene.channel)
    watcher.join()
    news = [each for each in names if each.startswith("formant-news")]
    polls = [each for each in names if each.startswith("formant-poll")]
    assert len(news) <= 2
    assert len(polls) <= 1
