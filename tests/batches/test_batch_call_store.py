"""Batch calls over a call store: nobody is called more often than allowed, and it is placed once."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from batches.batch_call import NUMBERS, ONE_RING_EACH, PEOPLE, a_batch_call, posts, read_csv
from sqlalchemy import insert, select

from formant_provider.call_cap import CallCap
from formant_provider.operators.call import FormantCreateCallOperator
from formant_provider.sandbox import Fault, Sandbox
from formant_provider.sandbox.faults import BATCH
from formant_provider.store.bulk import people_of
from formant_provider.store.schema import calls, events, intents, people
from formant_provider.store.store import Store
from support import processes
from support.databases import Database
from support.stores import connections_with, new_store
from support.supervisor import FakeSupervisor
from support.task_run import TaskRun, run_task
from support.versions import needs_state_store

ONCE = CallCap(1)


@pytest.fixture
def channel(database: Database, sandbox: Sandbox) -> FakeSupervisor:
    return FakeSupervisor(connections_with(database, sandbox))


@pytest.fixture
def store(database: Database) -> Store:
    """The store, as somebody sees it who looks at it beside the tasks."""
    return new_store(database)


def numbers(count: int, first: int = 0) -> list[str]:
    return [f"+1415555{number:04}" for number in range(first, first + count)]


def contacts(*phones: str) -> list[dict[str, str]]:
    return [{"customer_phone": phone} for phone in phones]


def place(
    channel: FakeSupervisor, phones: Sequence[str] = NUMBERS, run: str = "r1", **fields: Any
) -> TaskRun:
    """Place a batch call in a run."""
    attempt = {
        name: fields.pop(name) for name in ("try_number", "state_store", "run_started_at") if name in fields
    }
    operator = a_batch_call(contacts(*phones), retries=3, **fields)
    return run_task(operator, channel, run_id=run, **attempt)


def reserved(store: Store) -> Counter[str]:
    """How many people each batch call has, by its run."""
    with store.reading() as conn:
        query = select(intents.c.run_id).join(calls, calls.c.intent_id == intents.c.id)
        return Counter(conn.execute(query).scalars())


def suppress(store: Store, number: str) -> None:
    with store.writing() as conn:
        conn.execute(insert(people), {"recipient": store.digests.recipient(number), "suppressed_at": 1})


def test_a_batch_call_is_placed_and_found_again(sandbox: Sandbox, channel: FakeSupervisor) -> None:
    """A clear after 25 days returns its id and sends nothing, on any Airflow and with its entries deleted."""
    first = place(channel)
    assert first.state == "success", first.log_text
    assert first.xcoms["return_value"]["placement"] == "placed"
    assert first.state_store.get("formant_batch_calls") is None
    channel.state.clear()
    for state_store in (True, False):
        began = datetime.now(UTC) - timedelta(days=25)
        again = place(channel, (), try_number=2, state_store=state_store, run_started_at=began)
        assert again.xcoms["return_value"] == {**first.xcoms["return_value"], "contacts": None}, (
            again.log_text
        )
    assert (len(sandbox.requests), sandbox.rings) == (1, ONE_RING_EACH)


def test_another_dag_finds_the_batch_call_of_the_same_name(sandbox: Sandbox, channel: FakeSupervisor) -> None:
    """A name is known in every DAG; the second gets the id of the first one, and reads no contacts."""
    first = place(channel, idempotency_key="March")
    second = place(channel, (), run="another", task_id="another", idempotency_key="March")
    assert second.xcoms["return_value"]["placement"] == "found", second.log_text
    assert second.xcoms["batch_id"] == first.xcoms["batch_id"]
    assert posts(sandbox) == 1


def test_rows_that_move_and_grow_are_the_same_batch_calls(sandbox: Sandbox, channel: FakeSupervisor) -> None:
    """Cleared with more rows in another order, each row gets the id of its name."""

    def rows(*names: str) -> list[TaskRun]:
        lists = [{"name": name, "contacts": contacts(numbers(9)[int(name)])} for name in names]
        kind = type(a_batch_call())
        operator = kind.partial(task_id="rows", agent_id=456, lookup_timeout=0).expand_kwargs(lists)
        return [run_task(operator, channel, map_index=index, try_number=tries) for index in range(len(names))]

    tries = 1
    first = rows("1", "2")
    tries = 2
    second = rows("3", "2", "1")
    ids = [run.xcoms["batch_id"] for run in first]
    assert [run.xcoms["batch_id"] for run in second][1:] == ids[::-1], second[0].log_text
    assert second[2].xcoms["return_value"]["placement"] == "found"
    assert set(sandbox.rings.values()) == {1}
    assert posts(sandbox) == 3


def test_a_cap_counts_each_person_of_every_batch_call(sandbox: Sandbox, channel: FakeSupervisor) -> None:
    """Two a day are placed of three batch calls; whoever is capped is left out, and the others are called."""
    lists = [("0", "1", "2"), ("1", "2"), ("0", "1", "2", "3")]
    phones = dict(zip("0123", numbers(4), strict=True))
    runs = [
        place(channel, [phones[n] for n in who], run=f"r{i}", call_cap=CallCap(2))
        for i, who in enumerate(lists)
    ]
    assert [run.state for run in runs] == ["success"] * 3, runs[2].log_text
    assert dict(sandbox.rings) == dict(zip(numbers(4), (2, 2, 2, 1), strict=True))
    result = runs[2].xcoms["return_value"]
    assert (result["contacts"]["by_reason"], result["total_recipients"]) == ({"capped": 2}, 2)


def test_a_cap_counts_calls_and_batch_calls_together(sandbox: Sandbox, channel: FakeSupervisor) -> None:
    """Whichever of the two comes first, the other one does not call the same person."""
    call = {"agent_id": 456, "call_cap": ONCE}
    one, two, three = numbers(3)

    def a_call(number: str) -> TaskRun:
        operator = FormantCreateCallOperator(task_id="call", parameters={"customer_phone": number}, **call)
        return run_task(operator, channel, run_id=number)

    assert a_call(one).state == "success"
    batch = place(channel, [one, two], call_cap=ONCE)
    assert batch.xcoms["return_value"]["contacts"]["by_reason"] == {"capped": 1}, batch.log_text
    assert a_call(two).xcoms["return_value"]["reason"] == "capped"
    assert a_call(three).state == "success"
    assert dict(sandbox.rings) == dict.fromkeys(numbers(3), 1)


@pytest.mark.parametrize("on_capped", ["skip", "fail"])
def test_a_batch_call_to_capped_people_alone_is_not_placed(
    on_capped: Any, sandbox: Sandbox, channel: FakeSupervisor, store: Store
) -> None:
    """It is skipped, or fails as was chosen, and counts nobody."""
    place(channel, numbers(2), call_cap=ONCE)
    three = numbers(3 if on_capped == "fail" else 2)
    run = place(channel, three, run="r2", call_cap=ONCE, on_capped=on_capped)
    assert run.state == {"skip": "skipped", "fail": "failed"}[on_capped], run.log_text
    assert run.xcoms["return_value"]["reason"] == "capped"
    assert (reserved(store), posts(sandbox)) == ({"r1": 2}, 1)


def test_the_cap_of_the_connection_holds(sandbox: Sandbox, channel: FakeSupervisor) -> None:
    """A task that says nothing of a cap is bound by that of its connection."""
    formant: Any = channel.connections["formant_default"]
    formant["extra"] = json.dumps({**json.loads(formant["extra"]), "call_cap": "1/1d"})
    place(channel, numbers(2))
    place(channel, numbers(3), run="r2")
    assert dict(sandbox.rings) == dict.fromkeys(numbers(3), 1)


def test_suppressed_people_are_left_out_as_by_suppress(
    sandbox: Sandbox, channel: FakeSupervisor, store: Store, tmp_path: Path
) -> None:
    """They are no fault of the list, whatever else is wrong with their rows; rejects and result tell."""
    suppress(store, NUMBERS[0])
    rows = [{**PEOPLE[0], "customer_name": ""}, PEOPLE[0], PEOPLE[1], {**PEOPLE[2], "due_amount": "7"}]
    options = {"required_variables": ["customer_name"], "invalid_rows": "fail", "suppress": [NUMBERS[2]]}
    run = run_task(a_batch_call(rows, rejects_uri=str(tmp_path / "rejects.csv"), **options), channel)
    assert run.state == "success", run.log_text
    assert run.xcoms["return_value"]["contacts"]["by_reason"] == {"suppressed": 3}
    assert [row["reason"] for row in read_csv(tmp_path / "rejects.csv")] == ["suppressed"] * 3
    assert dict(sandbox.rings) == {NUMBERS[1]: 1}
    assert reserved(store) == {"r1": 1}


def test_a_dry_run_asks_and_reserves_nobody(sandbox: Sandbox, channel: FakeSupervisor, store: Store) -> None:
    """It tells who would be left out, and counts nobody."""
    one, two, three = numbers(3)
    place(channel, [one], call_cap=ONCE)
    suppress(store, two)
    run = place(channel, [one, two, three], run="r2", call_cap=ONCE, dry_run=True)
    result = run.xcoms["return_value"]
    assert result["contacts"]["by_reason"] == {"suppressed": 1, "capped": 1}, run.log_text
    assert (result["status"], result["total_recipients"]) == ("dry_run", 1)
    assert (reserved(store), posts(sandbox)) == ({"r1": 1}, 1)


@pytest.mark.parametrize(
    "refusal",
    [{"agent_id": 1}, {"contacts": [*PEOPLE, {"customer_phone": "x"}]}, {"pre_execute": True}],
    ids=["refused", "a fault in the list", "stopped"],
)
def test_what_is_not_uploaded_is_given_back(
    refusal: dict[str, Any], sandbox: Sandbox, channel: FakeSupervisor, store: Store
) -> None:
    """A batch call that is refused, or not sent, counts nobody; the next one calls them all."""
    if "pre_execute" in refusal:
        refusal = {"pre_execute": lambda context: context["task"].on_kill()}
    run = run_task(a_batch_call(**{"retries": 3, "call_cap": ONCE, **refusal}), channel)
    assert run.state in {"failed", "up_for_retry"}, run.log_text
    assert reserved(store) == {}
    again = run_task(a_batch_call(call_cap=ONCE), channel, run_id="r2")
    assert again.state == "success", again.log_text
    assert sandbox.rings == ONE_RING_EACH


def test_an_upload_in_doubt_stays_counted(sandbox: Sandbox, channel: FakeSupervisor, store: Store) -> None:
    """It may have called them: nobody else does."""
    sandbox.inject(BATCH, Fault.DROP_BEFORE)
    assert place(channel, call_cap=ONCE).state == "failed"
    other = place(channel, run="r2", call_cap=ONCE)
    assert other.xcoms["return_value"]["reason"] == "capped", other.log_text
    assert (reserved(store), sandbox.rings) == ({"r1": 3}, {})


def test_a_wish_to_upload_again_calls_the_people_of_the_doubt(
    sandbox: Sandbox, channel: FakeSupervisor, store: Store
) -> None:
    """They count once, for the batch call that is uploaded again, whose list has grown."""
    sandbox.inject(BATCH, Fault.DROP_BEFORE)
    fields: dict[str, Any] = {"call_cap": ONCE, "resubmit_if_missing": True}
    assert place(channel, numbers(3), **fields).state == "up_for_retry"
    second = place(channel, numbers(4), try_number=2, **fields)
    assert second.state == "success", second.log_text
    assert (reserved(store), dict(sandbox.rings)) == ({"r1": 4}, dict.fromkeys(numbers(4), 1))


def test_the_chain_tells_how_many_and_who(channel: FakeSupervisor, store: Store) -> None:
    """From the upload on, each event of a batch call has how many it calls, and a digest of who they are."""
    place(channel)
    with store.reading() as conn:
        told = [
            json.loads(text)
            for text in conn.execute(select(events.c.payload).order_by(events.c.seq)).scalars()
        ]
        everybody = conn.execute(select(calls.c.recipient)).scalars().all()
        (id_,) = set(conn.execute(select(calls.c.intent_id)).scalars())
        who = people_of(conn, store.digests, id_)
    assert who["count"] == 3
    assert [payload.get("people") for payload in told] == [None, None, who, who]
    assert set(everybody) == {store.digests.recipient(number) for number in NUMBERS}


@pytest.mark.parametrize("is_named", [False, True], ids=["two batch calls", "one batch call"])
def test_two_at_once_call_nobody_twice(
    is_named: bool, sandbox: Sandbox, channel: FakeSupervisor, store: Store, tmp_path: Path
) -> None:
    """Two DAGs at once, with lists that overlap, and a cap of one; or with the name of one batch call."""
    phones = [f"+1415{number:07}" for number in range(5550000, 5559000)]
    lists = [phones, phones] if is_named else [phones[:6000], phones[:2999:-1]]

    def work(number: int) -> None:
        name = {"idempotency_key": "March"} if is_named else {}
        run = place(
            channel, lists[number], run=f"run {number}", call_cap=ONCE, numbers="e164_without_plus", **name
        )
        result = {"state": run.state, **run.xcoms["return_value"]}
        (tmp_path / f"{number}.json").write_text(json.dumps(result))

    pids = [processes.start(lambda number=number: work(number)) for number in range(2)]
    assert [processes.ended(pid) for pid in pids] == [0, 0]
    results = [json.loads((tmp_path / f"{number}.json").read_text()) for number in range(2)]
    assert [result["state"] for result in results] == ["success", "success"]
    assert len(sandbox.rings) == 9000
    assert set(sandbox.rings.values()) == {1}
    assert reserved(store).total() == 9000
    if is_named:
        assert {result["placement"] for result in results} == {"placed", "found"}
        assert len(sandbox.batches) == 1


def test_a_process_may_die_at_any_step(sandbox: Sandbox, channel: FakeSupervisor, store: Store) -> None:
    """The next try calls each person once, or is parked in doubt; another batch call calls whom it may."""
    for step in range(1, 30):
        phones, run, before = numbers(3, first=10 * step), f"step {step}", len(sandbox.batches)

        def work(step: int = step, phones: list[str] = phones, run: str = run) -> None:
            processes.at_transaction(step, processes.die)
            place(channel, phones, run=run, call_cap=ONCE)

        code = processes.ended(processes.start(work))
        again = place(channel, phones, run=run, try_number=2, call_cap=ONCE)
        placed = len(sandbox.batches) - before
        assert again.state == ("success" if placed else "failed"), again.log_text
        if run not in reserved(store):  # nothing tells that the first try has asked the store
            assert (placed, step < 7) == (0, True), again.log_text
            continue
        assert (placed, reserved(store)[run]) in {(0, 3), (1, 3)}, again.log_text
        other = place(channel, phones, run=f"{run}, another", call_cap=ONCE)
        assert other.xcoms["return_value"]["reason"] == "capped"
        assert set(sandbox.rings.values()) <= {1}
        if code == 0:
            break
    assert step > 7
    assert code == 0


@pytest.mark.parametrize("fault", [Fault.HANG_BEFORE, Fault.HANG_AFTER])
def test_a_process_may_die_while_it_uploads(
    fault: Fault, sandbox: Sandbox, channel: FakeSupervisor, store: Store
) -> None:
    """The next try finds the batch call, or is parked; either way its people stay counted."""
    sandbox.inject(BATCH, fault)
    pid = processes.start(lambda: place(channel, call_cap=ONCE))
    processes.until(lambda: posts(sandbox) == 1)
    processes.kill(pid)
    again = place(channel, call_cap=ONCE, try_number=2)
    assert again.state == ("failed" if fault is Fault.HANG_BEFORE else "success"), again.log_text
    assert place(channel, run="r2", call_cap=ONCE).xcoms["return_value"]["reason"] == "capped"
    assert reserved(store) == {"r1": 3}
    assert set(sandbox.rings.values()) <= {1}


@needs_state_store  # without it, a further try knows nothing of one that has not reached the store
@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_a_store_that_is_down_keeps_the_upload_back(
    database: Database, sandbox: Sandbox, channel: FakeSupervisor, store: Store
) -> None:
    """Nothing is sent, before or while the contacts are checked; the next try calls each person once."""
    server = database.server
    assert server is not None
    server.kill()
    first = place(channel, call_cap=ONCE)
    assert (first.state, posts(sandbox)) == ("up_for_retry", 0), first.log_text
    server.start()

    def work() -> None:
        processes.at_transaction(5, server.kill)
        assert place(channel, call_cap=ONCE, try_number=2).state == "up_for_retry"

    assert processes.ended(processes.start(work)) == 0
    assert posts(sandbox) == 0
    server.kill()  # what this process knows of it
    server.start()
    third = place(channel, call_cap=ONCE, try_number=3)
    assert third.state == "success", third.log_text
    assert (sandbox.rings, reserved(store)) == (ONE_RING_EACH, {"r1": 3})


def test_numbers_stay_out_of_the_store(channel: FakeSupervisor, store: Store) -> None:
    """No table has one, nor the log."""
    run = place(channel, call_cap=ONCE)
    with store.reading() as conn:
        held = [str(row) for table in (calls, events, intents, people) for row in conn.execute(select(table))]
    assert not [number for number in NUMBERS if number[1:] in "".join(held) + run.log_text]
