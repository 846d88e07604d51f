"""The hold of a store: who holds, since when, and what the chain tells of it."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Executable, delete, insert, update

from formant_provider.api.errors import InvalidInput
from formant_provider.store.__main__ import command_line
from formant_provider.store.holding import HOLD, Held, changes, held, hold, release
from formant_provider.store.purging import purge
from formant_provider.store.schema import store as facts
from formant_provider.store.store import Store
from formant_provider.store.verify import verify
from support.databases import Database
from support.stores import NUMBER, new_store

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)


@pytest.fixture
def store(database: Database) -> Store:
    return new_store(database)


def test_what_is_held_stays_so_until_it_is_released(store: Store) -> None:
    """The first who holds counts, with date and reason, and one release is enough."""
    assert held(store) is None
    assert hold(store, by="alice", reason="wrong script", now=NOW)
    assert not hold(store, by="bob", reason=None, now=LATER)
    assert held(store) == Held(NOW, "alice", "wrong script")
    assert str(held(store)) == "since 2026-11-25 12:00 UTC, by alice: wrong script"
    assert release(store, by="bob", now=LATER)
    assert not release(store, by="bob", now=LATER)
    assert held(store) is None
    assert hold(store, by="bob", reason=None, now=LATER)
    assert str(held(store)) == "since 2026-11-25 13:00 UTC, by bob"


def test_the_chain_tells_who_changed_it_and_when_and_is_whole(store: Store) -> None:
    """The newest change first; what changed nothing is no event."""
    hold(store, by="alice", reason="wrong script", now=NOW)
    hold(store, by="bob", reason=None, now=NOW)
    assert verify(store).findings == []
    release(store, by="bob", now=LATER)
    assert verify(store).findings == []
    assert changes(store) == [
        {"kind": "released", "at": "2026-11-25T13:00:00+00:00", "by": "bob", "reason": None},
        {"kind": "held", "at": "2026-11-25T12:00:00+00:00", "by": "alice", "reason": "wrong script"},
    ]


def test_a_hold_outlives_a_purge_of_the_event_that_told_it(store: Store) -> None:
    """And the store is found unchanged, before and after."""
    hold(store, by="alice", reason=None, now=NOW)
    clock = {"now": lambda: NOW + timedelta(days=100), "sleep": lambda _: None}
    assert purge(store, before=NOW + timedelta(days=50), by="carol", **clock).events == 1
    assert held(store) is not None
    assert changes(store) == []
    assert verify(store).findings == []
    release(store, by="alice", now=NOW + timedelta(days=101))
    assert verify(store).findings == []


BEHIND: dict[str, Executable] = {
    "set": insert(facts).values(name=HOLD, value='{"at":0,"by":"x","reason":null}'),
    "edited": update(facts).where(facts.c.name == HOLD).values(value="{}"),
    "released": delete(facts).where(facts.c.name == HOLD),
}


@pytest.mark.parametrize("name", BEHIND)
def test_a_hold_that_somebody_changed_behind_the_back_of_the_store_is_found(store: Store, name: str) -> None:
    """And one that cannot be read still holds."""
    if name != "set":
        hold(store, by="alice", reason=None, now=NOW)
    with store.engine.begin() as conn:
        conn.execute(BEHIND[name])
    assert (held(store) is None) == (name == "released")
    (finding,) = verify(store).findings
    assert "formant_store" in finding.what


def test_a_hold_that_cannot_be_read_holds(store: Store) -> None:
    """Somebody has set it, and nobody has released it."""
    for value in ("", "[]", "7", '{"at":"x"}', '{"at":1e30,"by":"x","reason":null}'):
        with store.engine.begin() as conn:
            conn.execute(insert(facts).values(name=HOLD, value=value))
        assert "edited" in str(held(store))
        assert release(store, by="alice", now=NOW)


def test_a_reason_is_a_line_without_a_number(store: Store) -> None:
    """It is refused, and nothing is held; the error does not repeat it."""
    for reason in (f"asked by {NUMBER}", "", "two\nlines", "x" * 251):
        with pytest.raises(InvalidInput, match="--reason") as raised:
            hold(store, by="alice", reason=reason, now=NOW)
        assert NUMBER[1:] not in str(raised.value)
    assert held(store) is None


def test_of_many_who_hold_at_once_one_is_told(store: Store) -> None:
    """The others are told that it was held already, and none fails."""

    def by(name: int) -> bool:
        return hold(store, by=f"user {name}", reason=None, now=NOW)

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(by, range(8))) == [False] * 7 + [True]
    assert len(changes(store)) == 1
    assert json.dumps(changes(store))
    assert verify(store).findings == []


def test_the_command_holds_tells_and_releases(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    """In words for people, and in JSON for programs."""

    def run(*arguments: str) -> str:
        options = command_line().parse_args(["hold", *arguments])
        assert options.run(options, store) == 0
        return capsys.readouterr().out

    assert run("status") == "Call lists are not held.\n"
    assert run("off") == "Call lists were not held.\n"
    assert run("on", "--reason", "wrong script") == "Call lists are held.\n"
    assert run("on") == "Call lists were held already, and stay so.\n"
    first, head, line = run("status").splitlines()
    assert first.startswith("Call lists are held since ")
    assert first.endswith(": wrong script")
    assert head.split() == ["when", "what", "by", "reason"]
    assert line.endswith("wrong script")
    told = json.loads(run("status", "--json"))
    assert told["held"]["reason"] == told["changes"][0]["reason"] == "wrong script"
    assert json.loads(run("off", "--json")) == {"was_changed": True, "held": None}
    assert run("status").startswith("Call lists are not held.\n")
