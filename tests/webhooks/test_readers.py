"""What is done with events once they are stored: outcomes are written down, and old events are deleted."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select, text

from formant_provider.api.models import CallReceipt
from formant_provider.core.calls.intent import Intent
from formant_provider.core.conversations.evidence import SendRecord
from formant_provider.core.ledger import Sent
from formant_provider.store.outcomes import record_outcome
from formant_provider.store.schema import events, intents
from formant_provider.store.store import Store
from formant_provider.store.verify import verify
from formant_provider.store.webhook_events import events_after, read_cursor, write_cursor
from formant_provider.webhooks.readers import Outcomes, Retention
from support.databases import Database
from support.log_capture import captured_logs
from support.stores import asked, ledger_in, new_store
from support.webhook_events import AT, NUMBER, store_events, webhook
from support.webhook_server import event, receiving, wait_until

MINUTE = timedelta(minutes=1)


@pytest.fixture
def store(database: Database) -> Store:
    return new_store(database)


def place(store: Store, name: str = "trace_1") -> None:
    """Have a call in the store that was placed, with a receipt."""
    now = datetime.now(UTC)
    ledger = ledger_in(store, Intent, asked(name))
    ledger.read()
    doubt = Intent(name, now, Sent.UNCLEAR, sends=(SendRecord(now),))
    ledger.claim(doubt)
    ledger.write(replace(doubt, receipt=CallReceipt(456, name, "initiated", None, None)))


def outcomes(store: Store) -> dict[str, tuple[str | None, str | None]]:
    with store.reading() as conn:
        rows = conn.execute(select(intents.c.trace_id, intents.c.outcome, intents.c.conversation_id))
        return {row.trace_id: (row.outcome, row.conversation_id) for row in rows}


def read_all(store: Store) -> None:
    while Outcomes().advance(store):
        pass


def test_how_a_call_ended_is_written_down(store: Store) -> None:
    """Though no task waits for it; of calls that others have placed nothing is written."""
    place(store)
    place(store, "trace_2")
    others = webhook("b", conversation_id="conv_2", trace_id="of_somebody_else")
    store_events(store, others, webhook("a", "call.busy"))
    read_all(store)
    assert outcomes(store) == {"trace_1": ("busy", "conv_1"), "trace_2": (None, None)}
    assert verify(store).count == 0


def test_each_attempt_s_end_takes_the_place_of_the_one_before(store: Store) -> None:
    """In the order in which they ended, and not in which they came."""
    place(store)
    ends = {"call.no_answer": 1, "call.busy": 31, "call.completed": 61}
    told = [
        webhook(kind, kind, conversation_id=kind, ended_at=(AT + minutes * MINUTE).isoformat())
        for kind, minutes in ends.items()
    ]
    store_events(store, told[0])
    read_all(store)
    assert outcomes(store)["trace_1"][0] == "no_answer"
    store_events(store, told[2], told[1])
    read_all(store)
    assert outcomes(store)["trace_1"] == ("completed", "call.completed")


@pytest.mark.parametrize("status", ["ended\x00", "ended \ud800", "ended " * 100])
def test_a_status_that_no_database_takes_is_written_in_a_form_that_it_takes(
    store: Store, status: str
) -> None:
    """It holds up neither the outcomes that follow, nor the deletion of what is old."""
    place(store)
    place(store, "trace_2")
    store_events(
        store, webhook("a", status=status), webhook("b", conversation_id="conv_2", trace_id="trace_2")
    )
    read_all(store)
    told = outcomes(store)
    assert str(told["trace_1"][0]).startswith("ended")
    assert told["trace_2"][0] == "completed"
    assert verify(store).count == 0


def test_an_outcome_that_cannot_be_written_holds_up_no_other(sqlite: Database) -> None:
    """Its number is logged; what a database that does not answer has missed is written later."""
    store = new_store(sqlite)
    place(store)
    place(store, "trace_2")
    store_events(store, webhook("a", "call.busy"), webhook("b", conversation_id="conv_2", trace_id="trace_2"))
    with store.writing() as conn:
        conn.execute(
            text(
                "CREATE TRIGGER refusing BEFORE UPDATE ON formant_intents WHEN NEW.outcome = 'busy'"
                " BEGIN SELECT RAISE(ABORT, 'no'); END"
            )
        )
    with captured_logs() as lines:
        read_all(store)
    assert outcomes(store) == {"trace_1": (None, None), "trace_2": ("completed", "conv_2")}
    assert "The outcome in webhook event 1 is not written down" in lines.text


def test_what_is_no_end_is_no_outcome(store: Store) -> None:
    """Types to come may tell that a call goes on; a word that is not known is one once it has ended."""
    place(store)
    place(store, "trace_2")
    going = webhook("a", "call.ringing", ended_at=None)
    unknown = webhook("b", "call.voicemail", conversation_id="conv_2", trace_id="trace_2")
    store_events(
        store, going, unknown, {**webhook("c"), "data": {}}, webhook("d", status=None, ended_at=None)
    )
    read_all(store)
    assert outcomes(store) == {"trace_1": (None, None), "trace_2": ("voicemail", "conv_2")}


def test_an_inbound_call_is_no_outcome_of_ours(store: Store) -> None:
    """It has ids that the store does not know, whoever has called."""
    place(store)
    store_events(
        store, webhook(trace_id=None, conversation_id="inbound", to_phone="+1415", from_phone=NUMBER)
    )
    read_all(store)
    assert outcomes(store) == {"trace_1": (None, None)}


def test_a_reader_goes_on_after_a_restart(store: Store) -> None:
    """What was read is not read again: an outcome that somebody has written since stays."""
    place(store)
    store_events(store, webhook())
    read_all(store)
    assert read_cursor(store, "outcomes") == 1
    newer = {"trace_id": "trace_1", "conversation_id": "conv_1", "outcome": "busy"}
    record_outcome(store, **newer, ended_at=AT + MINUTE, now=AT)
    read_all(store)
    assert outcomes(store)["trace_1"][0] == "busy"


def test_what_is_told_twice_is_written_once(store: Store) -> None:
    """Two receivers read one store: the chain of events grows by one."""
    place(store)
    store_events(store, webhook())
    for _ in range(2):
        read_all(store)
        _forget_cursor(store)
    with store.reading() as conn:
        kinds = conn.execute(select(events.c.kind)).scalars().all()
    assert kinds.count("outcome") == 1


def _forget_cursor(store: Store) -> None:
    from sqlalchemy import update

    from formant_provider.store.schema import cursors

    with store.writing() as conn:
        conn.execute(update(cursors).where(cursors.c.name == "outcomes").values(seq=0))


class Clocks:
    """A clock to count hours by, and one that tells the date."""

    def __init__(self) -> None:
        self.gone = timedelta()

    def monotonic(self) -> float:
        return 1000 + self.gone.total_seconds()

    def now(self) -> datetime:
        return AT + self.gone


@pytest.fixture
def clocks() -> Clocks:
    return Clocks()


def retention(clocks: Clocks, **days: int) -> Retention:
    lengths = {conn_id: timedelta(days=length) for conn_id, length in days.items()}
    return Retention(lambda: lengths, clock=clocks.monotonic, now=clocks.now)


def left(store: Store) -> list[str]:
    return [each.event.event_id for each in events_after(store, 0).events]


def test_old_events_are_deleted(store: Store, clocks: Clocks) -> None:
    """Once they are as old as the connection says; those of other connections stay."""
    store_events(store, webhook("a", conversation_id="a"))
    store_events(store, webhook("b", conversation_id="b"), received_at=AT + timedelta(days=1))
    write_cursor(store, "outcomes", 2)
    clocks.gone = timedelta(days=30)
    retention(clocks, other=1).advance(store)
    retention(clocks, formant_default=31).advance(store)
    assert left(store) == ["a", "b"]
    clocks.gone += timedelta(seconds=1)
    retention(clocks, formant_default=30).advance(store)
    assert left(store) == ["b"]


def test_events_of_a_connection_that_is_named_no_more_are_deleted(store: Store, clocks: Clocks) -> None:
    """After 30 days, or the longest time of the connections that are named."""
    store_events(store, webhook())
    write_cursor(store, "outcomes", 1)
    clocks.gone = timedelta(days=40)
    retention(clocks, renamed=50).advance(store)
    assert left(store) == ["evt_1"]
    retention(clocks, renamed=1).advance(store)
    assert left(store) == []


def test_an_event_stays_until_its_outcome_is_written_down(store: Store, clocks: Clocks) -> None:
    """However old it is: the reader of outcomes may have been interrupted for long."""
    store_events(store, webhook("a", conversation_id="a"), webhook("b", conversation_id="b"))
    clocks.gone = timedelta(days=99)
    retention(clocks, formant_default=30).advance(store)
    assert left(store) == ["a", "b"]
    write_cursor(store, "outcomes", 1)
    retention(clocks, formant_default=30).advance(store)
    assert left(store) == ["b"]


def test_events_are_deleted_once_an_hour(store: Store, clocks: Clocks) -> None:
    """And not with each look for new ones."""
    reader = retention(clocks, formant_default=1)
    reader.advance(store)
    store_events(store, webhook("a"), received_at=AT - timedelta(days=2))
    write_cursor(store, "outcomes", 1)
    for minutes, stay in ((59, ["a"]), (60, [])):
        clocks.gone = minutes * MINUTE
        reader.advance(store)
        assert left(store) == stay


class Counting:
    """A reader that cannot, once."""

    name = "counting"

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.errors = [OSError(f"broker {NUMBER}")]

    def advance(self, store: Store) -> bool:
        if self.errors:
            raise self.errors.pop()
        page = events_after(store, len(self.seen), limit=1)
        self.seen += [each.event.event_id for each in page.events]
        return not page.is_last


def test_readers_are_told_at_once_and_an_error_ends_none(sqlite: Database) -> None:
    """One that cannot is logged without what the error says, and is called again."""
    reader = Counting()
    with captured_logs() as lines, receiving(sqlite, readers=[reader]) as receiver:
        for n in range(5):
            receiver.post(event(str(n)))
        wait_until(lambda: reader.seen == list("01234"))
        wait_until(lambda: read_cursor(receiver.store, "outcomes") == 5)
    assert "Reading webhook events (counting) was interrupted: OSError" in lines.text
    assert NUMBER not in lines.text


def test_connections_that_share_a_store_are_read_once(sqlite: Database) -> None:
    """A reader sees each store once, however many connections name it."""
    stores = set()

    class Seeing:
        name = "seeing"

        def advance(self, store: Store) -> bool:
            stores.add(id(store))
            return False

    with receiving(sqlite, ("formant_default", "other"), readers=[Seeing()]) as receiver:
        receiver.connect("other")
        assert receiver.post(event(), conn_id="other")[0] == 200
        wait_until(lambda: read_cursor(receiver.store, "outcomes") == 1)
        assert len(stores) == 1
