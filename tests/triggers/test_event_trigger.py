"""Events of webhooks start DAGs: each fired at least once whatever dies, and nothing private in any of it."""

from __future__ import annotations

import asyncio
import json
import re
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import event as sql_event
from sqlalchemy import text

from formant_provider.api.errors import InvalidInput
from formant_provider.sandbox import Sandbox
from formant_provider.store import opening
from formant_provider.store.store import Store, open_up
from formant_provider.store.webhook_events import last_seq, read_cursor
from formant_provider.triggers.event import FormantConversationEventTrigger as Trigger
from formant_provider.triggers.events.feed import EventFeed
from formant_provider.triggers.events.reader import fired
from support.databases import Database
from support.event_triggers import HAS_CONFIRMATIONS, EventTriggerer, in_a_triggerer, told_of
from support.log_capture import captured_logs
from support.stores import SECRET, connections_with, new_store, sqlite_store
from support.supervisor import FakeSupervisor
from support.webhook_events import NUMBER, store_events, webhook

needs_confirmations = pytest.mark.skipif(
    not HAS_CONFIRMATIONS, reason="before 3.3 Airflow does not say when an event is stored"
)


LAST = "the newest, which is fired later"


class World:
    """A call store, the connections that lead to it, and who brings events to it."""

    def __init__(self, database: Database) -> None:
        sandbox = Sandbox()
        self.database = database
        self.channel = FakeSupervisor(connections_with(database, sandbox, is_set_up=False))
        self.store: Store = open_up(database.engine(), "the test", SECRET)

    def bring(self, *names: str, event_type: str = "call.completed", **changed: Any) -> None:
        for name in names:
            given = {"conversation_id": name, "trace_id": f"trace {name}", **changed}
            store_events(self.store, webhook(name, event_type, **given))

    def mark(self) -> int:
        """Return where the only trigger's mark is."""
        with self.store.reading() as conn:
            found = conn.execute(text("select seq from formant_cursors where name like 'trigger:%'"))
            return int(found.scalar() or 0)


@pytest.fixture
def world() -> Iterator[World]:
    with sqlite_store() as database:
        yield World(database)


async def begun(triggerer: EventTriggerer, world: World, *triggers: Trigger) -> None:
    """Start triggers, and wait until each knows where it begins."""
    triggerer.start(*triggers)
    names = [trigger._mark() for trigger in triggers]
    await triggerer.until(lambda: all(read_cursor(world.store, name) is not None for name in names))


def test_what_is_fired_is_public_and_its_arguments_are_too(world: World) -> None:
    """Ids, states, the results that were chosen. Arguments, which Airflow stores, are names and ids."""
    trigger = Trigger(["call.completed"], 456, results=["intent"])

    async def story(triggerer: EventTriggerer) -> None:
        await begun(triggerer, world, trigger)
        world.bring("a", transcript="hello Asha", results={"intent": "pay", "note": "private"})
        await triggerer.until(lambda: len(triggerer.fired) == 1)

    with captured_logs() as lines:
        [payload] = in_a_triggerer(world.channel, story).fired
    assert (payload["event_id"], payload["status"], payload["results"]) == (
        "a",
        "completed",
        {"intent": "pay"},
    )
    for written in (json.dumps(payload), json.dumps(trigger.serialize()), lines.text):
        assert not any(each in written for each in (NUMBER[1:], "Asha", "private"))


def test_history_starts_no_dag(world: World) -> None:
    """A trigger begins with what comes after its first start."""
    world.bring("old")

    async def story(triggerer: EventTriggerer) -> None:
        await begun(triggerer, world, Trigger())
        world.bring("new")
        await triggerer.until(lambda: bool(triggerer.fired))

    assert told_of(in_a_triggerer(world.channel, story).fired) == ["new"]


def test_only_what_is_waited_for_is_fired(world: World) -> None:
    """By type, by agent, and by the connection to whose address it came."""
    wanted = Trigger(["call.busy", "call.completed"], 456)

    async def story(triggerer: EventTriggerer) -> None:
        await begun(triggerer, world, wanted)
        world.bring("a")
        world.bring("other type", event_type="call.failed")
        world.bring("other agent", agent_id=7)
        world.channel.connections["other"] = world.channel.connections["formant_default"]
        world.bring("b", LAST, event_type="call.busy")
        await triggerer.until(lambda: len(triggerer.fired) == 2)

    assert told_of(in_a_triggerer(world.channel, story).fired) == ["a", "b"]


def test_an_event_that_only_tries_the_way_starts_no_dag(world: World) -> None:
    """`check` sends it: also a trigger for all types of events leaves it out."""

    async def story(triggerer: EventTriggerer) -> None:
        await begun(triggerer, world, Trigger())
        world.bring("check", event_type="formant.check")
        world.bring("a", LAST)
        await triggerer.until(lambda: len(triggerer.fired) == 1)

    assert told_of(in_a_triggerer(world.channel, story).fired) == ["a"]


def test_what_came_while_no_triggerer_ran_is_fired_by_the_next(world: World) -> None:
    """In order, and nothing is missing."""

    async def first(triggerer: EventTriggerer) -> None:
        await begun(triggerer, world, Trigger())
        world.bring("a")
        await triggerer.until(lambda: bool(triggerer.fired))

    async def second(triggerer: EventTriggerer) -> None:
        triggerer.start(Trigger())
        await triggerer.until(lambda: told_of(triggerer.fired)[-3:] == ["b", "c", "d"])

    in_a_triggerer(world.channel, first)
    world.bring("b", "c", "d", LAST)
    in_a_triggerer(world.channel, second)


@needs_confirmations
def test_an_event_that_airflow_has_stored_is_not_fired_again(world: World) -> None:
    """Its mark is moved as soon as Airflow says so."""

    async def first(triggerer: EventTriggerer) -> None:
        await begun(triggerer, world, Trigger())
        world.bring("a")
        await triggerer.until(lambda: world.mark() == 1)

    async def second(triggerer: EventTriggerer) -> None:
        triggerer.start(Trigger())
        world.bring("c")
        await triggerer.until(lambda: bool(triggerer.fired))

    in_a_triggerer(world.channel, first)
    assert told_of(in_a_triggerer(world.channel, second).fired) == ["c"]


@needs_confirmations
def test_an_event_that_airflow_has_not_stored_is_fired_again(world: World) -> None:
    """The triggerer died, or its database was down, after the trigger had fired."""

    async def first(triggerer: EventTriggerer) -> None:
        await begun(triggerer, world, Trigger())
        world.bring("a")
        await triggerer.until(lambda: world.mark() == 1)
        triggerer.stores = False
        world.bring("b", "c", LAST)
        await triggerer.until(lambda: len(triggerer.fired) == 3)

    async def second(triggerer: EventTriggerer) -> None:
        triggerer.start(Trigger())
        await triggerer.until(lambda: len(triggerer.fired) == 2)

    in_a_triggerer(world.channel, first)
    assert told_of(in_a_triggerer(world.channel, second).fired) == ["b", "c"]


@needs_confirmations
def test_a_trigger_that_ends_while_airflow_takes_its_event_fires_it_again(world: World) -> None:
    """Airflow counts it as taken; it was not fired yet."""

    async def first(triggerer: EventTriggerer) -> None:
        await begun(triggerer, world, Trigger())
        triggerer.hold = True
        world.bring("a")
        await triggerer.until(lambda: triggerer.is_held)

    async def second(triggerer: EventTriggerer) -> None:
        triggerer.start(Trigger())
        await triggerer.until(lambda: bool(triggerer.fired))

    assert not in_a_triggerer(world.channel, first).fired
    assert told_of(in_a_triggerer(world.channel, second).fired) == ["a"]


@needs_confirmations
def test_a_long_list_is_fired_without_overrunning_airflow(world: World) -> None:
    """Airflow fails a trigger that has more than 1,024 events to take."""

    async def story(triggerer: EventTriggerer) -> None:
        await begun(triggerer, world, Trigger())
        events = [webhook(str(n), conversation_id=str(n)) for n in range(1500)]
        store_events(world.store, *events)
        await triggerer.until(lambda: world.mark() == 1499, timeout_s=25)

    triggerer = in_a_triggerer(world.channel, story)
    assert told_of(triggerer.fired)[:1499] == [str(n) for n in range(1499)]
    assert not triggerer.errors


def test_without_confirmations_the_mark_is_half_a_minute_behind(world: World) -> None:
    """Before Airflow 3.3 nobody says when an event is stored: what may be missing is fired again."""
    now = [0.0]

    async def story(_triggerer: EventTriggerer) -> None:
        reader = Trigger()._reader()
        stream = fired(reader, lambda: now[0])
        waits = asyncio.create_task(anext(stream))
        while read_cursor(world.store, reader.name) is None:
            await asyncio.sleep(0.01)
        world.bring("a")
        assert (await waits).payload["event_id"] == "a"
        waits = asyncio.create_task(anext(stream))
        await asyncio.sleep(0.1)
        for now[0], mark in ((29.0, 0), (31.0, 1)):
            await asyncio.sleep(1.3)
            assert read_cursor(world.store, reader.name) == mark
        waits.cancel()

    in_a_triggerer(world.channel, story)


def test_the_newest_of_several_is_fired_when_airflow_has_made_a_run_of_those_before(world: World) -> None:
    """What Airflow stores while it is about to make a run would wait for the event after it."""
    now = [0.0]
    told: list[list[str]] = []

    async def story(_triggerer: EventTriggerer) -> None:
        reader = replace(Trigger()._reader(), clock=lambda: now[0])
        parts = reader.parts()
        await anext(parts)
        for now[0], names in ((0, "a"), (1, "bcd"), (2, ""), (5, "e"), (9, ""), (10, ""), (15, "f")):
            world.bring(*names)
            part = await anext(parts)
            told.append([each.payload["event_id"] for each in part.fired])

    in_a_triggerer(world.channel, story)
    assert told == [["a"], ["b", "c"], [], ["d"], [], ["e"], ["f"]]


def test_many_triggers_ask_the_store_once_a_second(world: World) -> None:
    """All triggers of a connection share one query, whatever they wait for; each is told of its own."""
    triggers = [Trigger(agent_id=n) for n in range(20)]
    queries: list[str] = []

    async def story(triggerer: EventTriggerer) -> None:
        await begun(triggerer, world, *triggers)
        engine = next(engine for (_, name), (_, engine) in opening._engines.items() if name == "calls_db")
        sql_event.listen(engine, "before_cursor_execute", lambda *told: queries.append(told[2]))
        await asyncio.sleep(3)
        for n in range(20):
            world.bring(f"for {n}", agent_id=n)
        await triggerer.until(lambda: len(triggerer.fired) == 20)

    triggerer = in_a_triggerer(world.channel, story)
    assert sorted(told_of(triggerer.fired)) == sorted(f"for {n}" for n in range(20))
    looks = [query for query in queries if re.search(r"from formant_webhook_events\s+where", query, re.I)]
    assert 2 <= len(looks) <= 10


def test_a_reader_hears_that_nothing_came_once_a_second_however_many_there_are(world: World) -> None:
    """Else the newest of several events would be held back the longer the more triggers there are."""

    async def story(_triggerer: EventTriggerer) -> None:
        feed = EventFeed("formant_default")
        await feed.after(0)
        began = time.monotonic()
        for _ in range(2):
            await asyncio.gather(*(feed.after(0) for _ in range(20)))
        assert time.monotonic() - began < 6

    in_a_triggerer(world.channel, story)


def test_a_store_that_hangs_holds_up_no_other(world: World) -> None:
    """However many triggers ask it, those of another connection are answered."""
    world.channel.connections["other"] = world.channel.connections["formant_default"]
    is_over = threading.Event()

    async def story(_triggerer: EventTriggerer) -> None:
        hanging = [asyncio.create_task(EventFeed("other").ask(lambda _: is_over.wait(20))) for _ in range(3)]
        await asyncio.sleep(0.2)
        try:
            assert await asyncio.wait_for(EventFeed("formant_default").ask(last_seq), 5) == 0
        finally:
            is_over.set()
        await asyncio.gather(*hanging)

    in_a_triggerer(world.channel, story)


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_an_outage_of_the_store_is_waited_for_and_logged_once(database: Database) -> None:
    """What comes afterwards is fired; no trigger ends, and two of them make one line."""
    new_store(database)
    world, server = World(database), database.server
    assert server is not None

    async def story(triggerer: EventTriggerer) -> None:
        await begun(triggerer, world, Trigger(), Trigger(agent_id=456))
        server.kill()
        await asyncio.sleep(1.5)
        server.start()
        world.bring("a")
        await triggerer.until(lambda: len(triggerer.fired) == 2)

    with captured_logs() as lines:
        triggerer = in_a_triggerer(world.channel, story)
    assert lines.text.count("wait for its call store") == 1
    assert lines.text.count("answers again") == 1
    assert not triggerer.errors


@pytest.mark.parametrize("wrong", ["no store", "no connection", "another secret"])
def test_a_wrong_connection_ends_the_trigger_with_what_to_do(world: World, wrong: str) -> None:
    """It does not get better by waiting."""
    extra = json.loads(world.channel.connections["formant_default"]["extra"])
    if wrong == "no store":
        extra = {}
    elif wrong == "another secret":
        extra["store_secret"] = "A" * 44
    world.channel.connections["formant_default"]["extra"] = json.dumps(extra)
    if wrong == "no connection":
        del world.channel.connections["formant_default"]

    async def story(triggerer: EventTriggerer) -> None:
        triggerer.start(Trigger())
        await triggerer.until(lambda: bool(triggerer.errors))

    [error] = in_a_triggerer(world.channel, story).errors
    if wrong == "no connection":
        assert type(error).__name__ == "AirflowNotFoundException"
    else:
        assert isinstance(error, InvalidInput)
        assert "formant_default" in str(error) or "store_secret" in str(error)


def test_events_of_one_conversation_are_fired_in_order(world: World) -> None:
    """By attempt, when one look finds them the other way round; other conversations keep their places."""

    async def story(triggerer: EventTriggerer) -> None:
        await begun(triggerer, world, Trigger())
        attempts = [
            webhook(f"{n}", "call.busy", conversation_id=f"c{n}", retry={"attempt_number": n})
            for n in (3, 1, 2)
        ]
        other = webhook("other", conversation_id="x", trace_id="y")
        store_events(world.store, attempts[0], other, *attempts[1:], webhook(LAST, trace_id="z"))
        await triggerer.until(lambda: len(triggerer.fired) == 4)

    assert told_of(in_a_triggerer(world.channel, story).fired) == ["1", "other", "2", "3"]


def test_the_mark_never_passes_an_event_that_was_put_behind_a_later_one(world: World) -> None:
    """In whatever order events are fired, all up to the mark have been."""
    names: list[tuple[str, int]] = []

    async def story(_triggerer: EventTriggerer) -> None:
        reader = Trigger()._reader()
        parts = reader.parts()
        await anext(parts)
        attempts = [
            webhook(str(n), "call.busy", conversation_id=str(n), retry={"attempt_number": n})
            for n in (2, 3, 1)
        ]
        store_events(world.store, *attempts)
        part = await anext(parts)
        names.extend((each.payload["event_id"], each.seq) for each in part.fired)
        names.append(("up to", part.seq))

    in_a_triggerer(world.channel, story)
    assert names == [("1", 0), ("2", 1), ("up to", 1)]


@pytest.mark.parametrize(
    "wrong",
    [
        {"event_types": "call.completed"},
        {"event_types": []},
        {"event_types": [1]},
        {"results": "intent"},
        {"results": [""]},
        {"agent_id": "456"},
    ],
)
def test_an_invalid_argument_is_refused_when_the_dag_is_parsed(wrong: dict[str, Any]) -> None:
    """By name, and without its value."""
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Trigger(**wrong)


def test_arguments_in_any_order_are_the_same_trigger() -> None:
    """Airflow and the mark know a trigger by what it was given; types have no order."""
    first, second = Trigger({"call.busy", "call.failed"}), Trigger(("call.failed", "call.busy"))
    assert first.serialize() == second.serialize()
    assert first._mark() == second._mark() != Trigger(["call.busy"])._mark() != Trigger(name="two")._mark()
