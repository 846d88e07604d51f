"""What holds a list: the option, an Airflow Variable, the store; and what cannot be read never releases."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from formant_provider.api.errors import InvalidInput
from formant_provider.store.holding import hold, release
from formant_provider.store.store import Store
from formant_provider.tasks.call_lists.hold import COUNTS_FOR_S, Hold, to_hold
from support.databases import Database
from support.stores import new_store, sqlite_store
from support.supervisor import FakeSupervisor, supervised_by

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
VARIABLE = "stop_calls"


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def passes(self, seconds: float = COUNTS_FOR_S) -> None:
        self.now += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def airflow(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeSupervisor]:
    """What answers a task about variables."""
    monkeypatch.setenv("_AIRFLOW_PROCESS_CONTEXT", "client")
    channel = FakeSupervisor()
    with supervised_by(channel):
        yield channel


@pytest.fixture
def sqlite() -> Iterator[Database]:
    with sqlite_store() as database:
        yield database


@pytest.fixture
def store(sqlite: Database) -> Store:
    return new_store(sqlite)


@pytest.mark.parametrize("value", [True, "true", "True", "on", "1", 1, " ON "])
def test_the_option_holds(value: object) -> None:
    """As a boolean, or as what a template renders to."""
    assert to_hold(value)
    assert Hold(value).who() == "the option hold of the task"


@pytest.mark.parametrize("value", [None, False, "false", "False", "off", "0", 0, "", " "])
def test_without_a_hold_nothing_holds(value: object) -> None:
    """A param that is blank is none."""
    assert not to_hold(value)
    assert not Hold(value).is_on()


@pytest.mark.parametrize("value", ["yes please", "None", 2, ["on"], "+14155550100"])
def test_an_option_that_is_no_such_word_is_refused(value: object) -> None:
    """Without the value, before anything is placed."""
    with pytest.raises(InvalidInput, match="hold: must be true or false, on or off, 1 or 0") as raised:
        Hold(value)
    assert "4155550100" not in str(raised.value)


def test_a_variable_holds_within_seconds_and_releases_as_well(airflow: FakeSupervisor, clock: Clock) -> None:
    """It is looked at again after two seconds, and not for each call; one that is missing holds nobody."""
    on_hold = Hold(variable=VARIABLE, clock=clock)
    assert not on_hold.is_on()
    airflow.variables[VARIABLE] = "on"
    clock.passes(COUNTS_FOR_S - 0.1)
    assert not on_hold.is_on()
    clock.passes(0.1)
    assert on_hold.who() == f"Airflow Variable {VARIABLE!r}"
    for word in ("off", "0", "false", ""):
        airflow.variables[VARIABLE] = "true"
        clock.passes()
        assert on_hold.is_on()
        airflow.variables[VARIABLE] = word
        clock.passes()
        assert not on_hold.is_on()


def test_a_thousand_questions_are_one_look(airflow: FakeSupervisor, clock: Clock) -> None:
    """Who places calls asks before each."""
    airflow.variables[VARIABLE] = "off"
    on_hold = Hold(variable=VARIABLE, clock=clock)
    for _ in range(1000):
        assert not on_hold.is_on()
    assert len([message for message in airflow.messages if type(message).__name__ == "GetVariable"]) == 1


def test_a_variable_that_is_neither_holds(airflow: FakeSupervisor, clock: Clock) -> None:
    """It was set for a purpose; the value is not repeated."""
    airflow.variables[VARIABLE] = "stop! +14155550100"
    who = Hold(variable=VARIABLE, clock=clock).who()
    assert who == f"Airflow Variable {VARIABLE!r}, which is neither on nor off"


def test_an_airflow_that_does_not_answer_releases_nobody_and_holds_nobody(
    airflow: FakeSupervisor, clock: Clock
) -> None:
    """What the variable said last counts, whichever it was."""
    for word, is_on in (("on", True), ("off", False)):
        airflow.variables[VARIABLE] = word
        on_hold = Hold(variable=VARIABLE, clock=clock)
        assert on_hold.is_on() is is_on
        airflow.refused = {"GetVariable"}
        clock.passes()
        assert on_hold.is_on() is is_on
        airflow.refused = set()


def test_before_a_first_answer_a_list_is_held(
    airflow: FakeSupervisor, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """In doubt nobody is called; the log says why, once, and when it is over."""
    caplog.set_level(logging.INFO, "formant_provider")
    airflow.refused = {"GetVariable"}
    on_hold = Hold(variable=VARIABLE, clock=clock)
    for _ in range(3):
        assert "cannot be read" in str(on_hold.who())
        clock.passes()
    airflow.refused = set()
    assert not on_hold.is_on()
    said = [record.getMessage() for record in caplog.records if "formant" in record.name]
    assert len(said) == 3
    assert "the list is held until it can be read" in said[0]
    assert said[1].startswith("The list is held: Airflow Variable")
    assert said[2] == "The list is not held any more. Calls are placed again."


def test_the_store_holds_and_says_who(store: Store, clock: Clock) -> None:
    """With the date and the reason."""
    on_hold = Hold(store=store, clock=clock)
    assert not on_hold.is_on()
    hold(store, by="alice", reason="wrong script", now=NOW)
    clock.passes()
    assert on_hold.who() == "the call store, since 2026-11-25 12:00 UTC, by alice: wrong script"
    release(store, by="alice", now=NOW)
    clock.passes()
    assert not on_hold.is_on()


def test_a_store_that_does_not_answer_releases_nobody(sqlite: Database, store: Store, clock: Clock) -> None:
    """Nor does it hold a list that was not held; a list that has no answer yet is held."""
    known = Hold(store=store, clock=clock)
    assert not known.is_on()
    hold(store, by="alice", reason=None, now=NOW)
    held = Hold(store=store, clock=clock)
    assert held.is_on()
    store.engine.dispose()
    Path(sqlite.connection["host"]).write_bytes(b"no database" * 1000)
    clock.passes()
    assert not known.is_on()
    assert held.who() == "the call store, since 2026-11-25 12:00 UTC, by alice"
    assert "call store" in str(Hold(store=store, clock=clock).who())


def test_each_place_that_holds_is_named(airflow: FakeSupervisor, store: Store, clock: Clock) -> None:
    """Whoever clears one has to know of the others."""
    airflow.variables[VARIABLE] = "1"
    hold(store, by="alice", reason=None, now=NOW)
    who = str(Hold("on", VARIABLE, store, clock=clock).who())
    assert [text.split()[0:2] for text in who.split("; ")] == [
        ["the", "option"],
        ["Airflow", "Variable"],
        ["the", "call"],
    ]
