"""The ledger of a call list in Airflow's task state store: nobody is called twice, nobody is forgotten."""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from formant_provider.api.errors import SendAborted
from formant_provider.api.models import CallReceipt
from formant_provider.core.batches.decision import BatchIntent
from formant_provider.core.call_lists.calls import Attempt, Known, ListedCall
from formant_provider.core.calls.intent import Intent
from formant_provider.core.keys import key_of
from formant_provider.core.ledger import Sent
from formant_provider.tasks.call_lists.chunks import CHUNK, LIST_ENTRY
from formant_provider.tasks.call_lists.state_calls import StateCallLedger
from formant_provider.tasks.call_lists.state_ledger import StateListLedger
from formant_provider.tasks.ledger import noting_nothing_sent
from support.call_lists import BEGAN, StateStore, listed, run_of
from support.ledger_contract import DurableLedgerContract
from support.ledgers import NOON, Died
from support.versions import needs_state_store

pytestmark = needs_state_store
RECEIPT = CallReceipt(456, "t1", "initiated")
PLACED = Intent("key 1", NOON, Sent.UNCLEAR, RECEIPT)
FIRST = Attempt(1, "no_answer", "t1", "c1", 1, 2)


class TestStateCallLedger(DurableLedgerContract):
    """One call of a list, in Airflow's task state store."""

    @pytest.fixture(autouse=True)
    def store(self) -> None:
        self._store = StateStore()
        self._ledgers: list[StateListLedger] = []

    def open(self, kind: type[Any], key: str = "key", *, try_number: int = 1) -> StateCallLedger:
        if kind is BatchIntent:
            pytest.skip("a list has calls alone")
        ledger = StateListLedger(run_of(self._store, try_number))
        call = listed(1)
        call = replace(call, request=replace(call.request, idempotency_key=key))
        ledger.prepare([call])
        self._ledgers.append(ledger)
        return ledger.ledger_of(call)

    def break_store(self) -> None:
        self._store.is_broken = True
        for ledger in self._ledgers:  # the doubt of its calls is on record: it learns by its next write
            with pytest.raises(SendAborted):
                ledger.prepare([listed(2)])


@pytest.fixture
def store() -> StateStore:
    return StateStore()


def ledger_in(store: StateStore, try_number: int = 1, **fields: Any) -> StateListLedger:
    return StateListLedger(run_of(store, try_number), **{"now": lambda: NOON, **fields})


def place(ledger: StateListLedger, calls: Sequence[ListedCall]) -> None:
    """Prepare some calls, and write receipts for them."""
    ledger.prepare(calls)
    for call in calls:
        of_call = ledger.ledger_of(call)
        doubt = of_call.read() or Intent(call.key, NOON)
        doubt = replace(doubt, sent=Sent.UNCLEAR)
        of_call.claim(doubt)
        of_call.write(replace(doubt, receipt=replace(RECEIPT, trace_id=call.key)))
        ledger.finish(call)


def keys(calls: Sequence[ListedCall]) -> list[str]:
    return [call.key for call in calls]


def chunks_in(store: StateStore) -> dict[str, Any]:
    return {entry: json.loads(text)["calls"] for entry, text in store.entries.items() if entry != LIST_ENTRY}


def test_a_redial_needs_no_write_of_its_own(store: StateStore) -> None:
    """The doubt that is prepared is what the placement claims, where the person's last call is the list's."""
    call, ledger = listed(1), ledger_in(store)
    place(ledger, [call])
    ledger.note([(call.key, FIRST)])
    again = replace(call, attempt=2)
    ledger.prepare([again])
    before, of_call = store.writes, ledger.ledger_of(again)
    known = of_call.read()
    assert known is not None
    assert known.receipt is not None
    redial = Intent(key_of(first=call.key, attempt=2, spent=0), NOON, Sent.UNCLEAR, attempt=2, redials="c1",
                    last_receipt=known.receipt, last_at=NOON, earlier=("c1",))  # fmt: skip
    of_call.claim(redial)
    assert store.writes == before
    for differs in ({"redials": "another conversation"}, {"key": "another key"}):
        before = store.writes
        of_call.claim(replace(redial, **differs))
        assert store.writes == before + 1


def test_calls_are_written_fifty_at_a_time(store: StateStore) -> None:
    """125 calls are three chunks; each is written once before its sends, and once when all is known."""
    calls = [listed(number) for number in range(125)]
    ledger = ledger_in(store)
    for start in range(0, 125, CHUNK):
        place(ledger, calls[start : start + CHUNK])
    ledger.flush()
    assert sorted(map(len, chunks_in(store).values())) == [25, 50, 50]
    assert sum(entry != LIST_ENTRY for entry in store.written) == 6
    known = ledger_in(store, 2).known(keys(calls))
    assert all(known[call.key].intent.receipt.trace_id == call.key for call in calls)


def test_a_call_stays_in_the_chunk_that_held_it_first(store: StateStore) -> None:
    """Its next attempt is written there, wherever the list goes on by now."""
    calls = [listed(number) for number in range(CHUNK + 25)]
    ledger = ledger_in(store)
    place(ledger, calls[:CHUNK])
    place(ledger, calls[CHUNK:])
    ledger.note((call.key, FIRST) for call in calls[:3])
    place(ledger, [replace(call, attempt=2) for call in calls[:3]])
    ledger.flush()
    assert list(chunks_in(store)[f"{LIST_ENTRY}_0001"])[:3] == keys(calls[:3])
    assert len(chunks_in(store)[f"{LIST_ENTRY}_0002"]) == 25


def test_a_list_that_was_reordered_and_grew_is_told_by_the_people(store: StateStore) -> None:
    """Who was called is known by the key of the call; of who is new nothing is assumed."""
    calls = [listed(number) for number in range(CHUNK + 20)]
    ledger = ledger_in(store)
    for start in (0, CHUNK):
        place(ledger, calls[start : start + CHUNK])
    ledger.flush()
    grown = [listed(number) for number in reversed(range(CHUNK + 30))]
    known = ledger_in(store, 2).known(keys(grown))
    assert set(known) == set(keys(calls))


@pytest.mark.parametrize("entry", [f"{LIST_ENTRY}_0001", f"{LIST_ENTRY}_0002", LIST_ENTRY])
def test_where_an_entry_was_deleted_everybody_without_a_record_is_in_doubt(
    store: StateStore, entry: str
) -> None:
    """They may have been called since the run began; and that stays so in all further tries."""
    calls = [listed(number) for number in range(CHUNK + 25)]
    ledger = ledger_in(store)
    for start in (0, CHUNK):
        place(ledger, calls[start : start + CHUNK])
    ledger.flush()
    gone = set(chunks_in(store).get(entry, ()))
    del store.entries[entry]
    new = listed(999)
    for try_number in (2, 3):
        known = ledger_in(store, try_number).known(keys([*calls, new]))
        in_doubt = {key for key, each in known.items() if each.intent.receipt is None}
        assert in_doubt == gone | {new.key}
        agents = frozenset() if entry == LIST_ENTRY else frozenset({new.request.agent_id})
        assert known[new.key] == Known(None, Intent(new.key, BEGAN, Sent.UNCLEAR), agents=agents)


def test_what_was_deleted_is_not_written_over(store: StateStore) -> None:
    """Calls that are new go behind the last chunk, so that the gap is seen by all who come."""
    calls = [listed(number) for number in range(CHUNK)]
    place(ledger := ledger_in(store), calls)
    ledger.flush()
    del store.entries[f"{LIST_ENTRY}_0001"]
    place(ledger_in(store, 2), calls[:1])
    assert list(chunks_in(store)) == [f"{LIST_ENTRY}_0002"]
    assert not ledger_in(store, 3).known([calls[1].key])[calls[1].key].intent.receipt


@pytest.mark.parametrize("content", [{"version": 2, "from_the_start": True}, {}, [], {"chunks": "many"}])
def test_a_head_that_cannot_be_read_aborts(store: StateStore, content: Any) -> None:
    """It may be of a newer version, or somebody has edited it: nothing is sent, and it is left as it is."""
    store.entries[LIST_ENTRY] = text = json.dumps(content)
    with pytest.raises(SendAborted, match=LIST_ENTRY):
        ledger_in(store, 2).prepare([listed(1)])
    assert store.entries == {LIST_ENTRY: text}


@pytest.mark.parametrize("content", [{}, [], {"calls": 3}, {"calls": {"key 1": {}}}, {"calls": {"key 1": 7}}])
def test_a_chunk_that_cannot_be_read_aborts(store: StateStore, content: Any) -> None:
    """The error names the entry, and not what is in it."""
    place(ledger := ledger_in(store), [listed(1)])
    ledger.flush()
    store.entries[f"{LIST_ENTRY}_0001"] = json.dumps(content)
    with pytest.raises(SendAborted, match=f"{LIST_ENTRY}_0001"):
        ledger_in(store, 2).known(["key 1"])


def test_a_try_that_was_superseded_sends_nothing_more(store: StateStore) -> None:
    """It is told by its next write of any chunk; after that no claim is taken for written."""
    calls = [listed(number) for number in range(3)]
    ledger = ledger_in(store)
    ledger.prepare(calls)
    store.is_superseded = True
    with pytest.raises(SendAborted, match="newer try"):
        ledger.prepare([listed(7)])
    for call in calls:
        with pytest.raises(SendAborted):
            ledger.ledger_of(call).claim(Intent(call.key, NOON, Sent.UNCLEAR))
        assert ledger.ledger_of(call).read() is None


def test_a_process_that_lost_its_task_before_it_began_sends_nothing(store: StateStore) -> None:
    """It finds nothing, whatever there is, and is told so when it writes the head."""
    place(ledger := ledger_in(store), [listed(1)])
    ledger.flush()
    store.is_superseded = True
    with pytest.raises(SendAborted):
        ledger_in(store).known(["key 1"])


def test_a_write_that_failed_may_have_been_committed(store: StateStore) -> None:
    """The answer was lost: the doubt may be overwritten, so the next claim is written once more."""
    call, ledger = listed(1), ledger_in(store)
    ledger.prepare([call])
    of_call = ledger.ledger_of(call)
    doubt = Intent(call.key, NOON, Sent.UNCLEAR)
    of_call.claim(doubt)
    of_call.write(replace(doubt, sent=Sent.REFUSED))
    store.dies_after = store.writes + 1
    with pytest.raises(Died):
        ledger.flush()
    of_call.claim(doubt)
    assert ledger_in(store, 2).known([call.key])[call.key].intent == doubt


def test_what_came_of_a_send_is_written_within_seconds(store: StateStore) -> None:
    """Receipts within five, ends within thirty; before that a further try reads a doubt."""
    now, call = NOON, listed(1)
    ledger = ledger_in(store, now=lambda: now)
    place(ledger, [call])
    assert ledger_in(store, 2).known([call.key])[call.key].intent == Intent(call.key, NOON, Sent.UNCLEAR)
    now += timedelta(seconds=5)
    ledger.note([])
    assert ledger_in(store, 2).known([call.key])[call.key].intent.receipt is not None
    ledger.note([(call.key, FIRST)])
    for later, ends in ((29, ()), (1, (FIRST,))):
        now += timedelta(seconds=later)
        ledger.note([])
        assert ledger_in(store, 2).known([call.key])[call.key].ended == ends


def test_what_could_not_be_noted_is_kept_for_the_next_write(store: StateStore) -> None:
    """A store that is down for a while loses nothing that this process has learnt."""
    call, ledger = listed(1), ledger_in(store)
    place(ledger, [call])
    store.is_broken = True
    ledger.note([(call.key, FIRST)])
    with pytest.raises(SendAborted):
        ledger.flush()
    store.is_broken = False
    ledger.flush()
    known = ledger_in(store, 2).known([call.key])[call.key]
    assert (known.ended, known.agent_id) == ((FIRST,), 456)
    assert known.intent.receipt is not None


def test_a_call_that_was_prepared_and_not_sent_is_in_no_doubt(store: StateStore) -> None:
    """The list was stopped before its turn: a further try knows that it was not called."""
    call, ledger = listed(1), ledger_in(store)
    ledger.prepare([call])
    ledger.finish(call)
    ledger.flush()
    assert ledger_in(store, 2).known([call.key])[call.key].intent == Intent(call.key, NOON)


def test_a_wake_after_a_deferral_does_not_take_a_deleted_list_for_a_new_one(store: StateStore) -> None:
    """It is the first try still, which may have sent calls before it was deferred."""
    assert ledger_in(store, was_deferred=True).known(["key 1"])["key 1"].intent.sent is Sent.UNCLEAR
    assert ledger_in(StateStore()).known(["key 1"]) == {}


def test_a_first_try_that_read_the_ledger_alone_leaves_no_doubt(store: StateStore) -> None:
    """It ended before it sent anything, and said so; so does one that did not come so far."""
    ledger_in(store).known(["key 1"])
    assert ledger_in(store, 2).known(["key 1"]) == {}
    other = StateStore()
    with pytest.raises(ZeroDivisionError), noting_nothing_sent(run_of(other), LIST_ENTRY):
        1 / 0  # noqa: B018
    assert ledger_in(other, 2).known(["key 1"]) == {}


def test_after_a_try_over_a_call_store_only_receipts_are_believed(store: StateStore) -> None:
    """The store may tell of calls, and Airflow does not: who has no receipt here may have been called."""
    placed, unsent, new = listed(1), listed(2), listed(3)
    ledger = ledger_in(store)
    place(ledger, [placed])
    ledger.prepare([unsent])
    ledger.finish(unsent)
    ledger.flush()
    ledger_in(store, 2).mark_over("a store", [456])
    known = ledger_in(store, 3).known(keys([placed, unsent, new]))
    assert known[placed.key].intent.receipt is not None
    for call in (unsent, new):
        assert known[call.key].intent.sent is Sent.UNCLEAR
        assert known[call.key].intent.written_at == BEGAN


def test_a_call_keeps_its_agent(store: StateStore) -> None:
    """The vendor knows a key by agent: another one would call the person a second time."""
    call, ledger = listed(1), ledger_in(store)
    place(ledger, [call])
    (prepared,) = ledger.prepare([call.by(457)])
    assert prepared == call


def test_a_call_that_was_never_accepted_may_get_another_agent(store: StateStore) -> None:
    """A list that named the wrong agent is corrected, and cleared."""
    call, ledger = listed(1), ledger_in(store)
    ledger.prepare([call])
    ledger.finish(call)
    (prepared,) = ledger.prepare([call.by(457)])
    assert prepared.request.agent_id == 457
    place(ledger, [prepared])
    assert ledger.known([call.key])[call.key].agent_id == 457


def test_a_position_of_a_mapped_list_that_was_anothers_meanwhile_is_in_doubt(store: StateStore) -> None:
    """A try in between has written nothing of this call, which another position may have sent then."""
    call = listed(1)
    ledger = StateListLedger(run_of(store, is_mapped=True), now=lambda: NOON)
    ledger.prepare([call])
    ledger.finish(call)
    ledger.flush()
    for try_number, sent in ((2, Sent.NEVER), (3, Sent.UNCLEAR)):
        known = StateListLedger(run_of(store, try_number, is_mapped=True)).known([call.key])
        assert known[call.key].intent.sent is sent


def test_calls_are_placed_by_many_threads_at_once(store: StateStore) -> None:
    """Each has a ledger of its own, and they share their chunk: nothing is lost, whoever writes it."""
    calls = [listed(number) for number in range(CHUNK)]
    ledger = StateListLedger(run_of(store))
    ledger.prepare(calls)
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda call: _place_by_thread(ledger.ledger_of(call)), calls))
        ledger.note((call.key, FIRST) for call in calls)
    for call in calls:
        ledger.finish(call)
    ledger.flush()
    known = ledger_in(store, 2).known(keys(calls))
    assert all(known[call.key].intent.receipt == RECEIPT for call in calls)
    assert all(known[call.key].intent.spent_keys == 1 for call in calls)
    assert all(known[call.key].ended == (FIRST,) for call in calls)


def _place_by_thread(ledger: StateCallLedger) -> None:
    doubt = Intent(ledger.call.key, NOON, Sent.UNCLEAR)
    ledger.claim(doubt)
    spent = replace(doubt, key=key_of(first=doubt.key, attempt=1, spent=1), spent_keys=1)
    ledger.write(replace(spent, sent=Sent.NEVER))
    ledger.claim(spent)
    ledger.write(replace(spent, receipt=RECEIPT))


def test_a_record_is_small(store: StateStore) -> None:
    """What has its default is left out: a chunk of fifty calls that were placed has under 18 kB."""
    place(ledger := ledger_in(store), [listed(number) for number in range(CHUNK)])
    ledger.note((f"key {number}", FIRST) for number in range(CHUNK))
    ledger.flush()
    assert len(store.entries[f"{LIST_ENTRY}_0001"]) < 18_000
    assert "+1415" not in "".join(store.entries.values())


def test_another_process_of_the_same_try_keeps_a_second_key_unsent(store: StateStore) -> None:
    """Airflow lets both write; a 409 may then be due to the other one's call, and not to a refusal."""
    call = listed(1)
    first, second = ledger_in(store), ledger_in(store)
    first.prepare([call])
    second.prepare([call])
    of_call = first.ledger_of(call)
    doubt = Intent(call.key, NOON, Sent.UNCLEAR)
    of_call.claim(doubt)
    of_call.write(replace(doubt, sent=Sent.REFUSED))
    with pytest.raises(SendAborted, match="Another process"):
        of_call.write(replace(doubt, key=key_of(first=call.key, attempt=1, spent=1), spent_keys=1))
