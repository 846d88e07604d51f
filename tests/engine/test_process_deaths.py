"""A worker dies, a task is cleared, a process outlives its task: in a real Airflow, nobody is called twice.

These are the rows of ``matrix.py`` that need a whole Airflow.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import psutil
import pytest
from engine.deaths_dags import KEY, NO_RECORD, PEOPLE, PHONE, Deaths, Played, airflow_with_all_cases
from engine.matrix import FOUND, PLACED, UNCONFIRMED, UNTROUBLED, Ends, row

from formant_provider.sandbox import Fault
from formant_provider.sandbox.faults import CALL
from support.databases import contents_of
from support.standalone import wait_for

pytestmark = [pytest.mark.standalone, pytest.mark.timeout(600)]

ONE = (PHONE,)
# Longer than any test needs: the process is killed, or the sandbox stopped, while the answer is held.
HELD = {"seconds": 100}


@pytest.fixture(scope="module")
def deaths(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deaths]:
    with airflow_with_all_cases(tmp_path_factory.mktemp("deaths")) as deaths:
        yield deaths


def assert_ended(run: Played, phones: Sequence[str], ends: Ends) -> None:
    """One person at most was struck and ended so, the others as if nothing had happened."""
    assert run.sandbox.rings == {phone: ends.rings for phone in phones if ends.rings}, run.name
    for index, phone in run.indexed(phones):
        state = run.task(index)["state"]
        assert state == ends.state, (run.name, index)
        result = run.xcom("return_value", index)
        assert result["placement"] in {*ends.placement, *UNTROUBLED.placement}, (run.name, index)
        trace_id = None if result["placement"] in UNCONFIRMED else run.trace_id(phone)
        assert result["trace_id"] == (run.xcom("trace_id", index) or None) == trace_id, (run.name, index)
        assert len(run.posts(phone)) <= ends.posts, (run.name, index)
    assert max(run.tries(index) for index, _ in run.indexed(phones)) == ends.tries, run.name
    assert_nothing_private(run, phones)


def assert_nothing_private(run: Played, phones: Sequence[str]) -> None:
    """No try's log and no stored state holds a number, a name or the API key."""
    for index, _ in run.indexed(phones):
        store, logs = run.state_store(index), run.logs(index)
        if run.is_stored:
            # Airflow is told of what a further try sends, in case that the next one has no store.
            assert "formant_calls" not in store or run.tries(index) > 1
            store += contents_of(run.call_store)
        else:
            assert "formant_calls" in store
        # What a try logs when it sends, when it has lost its task, and when it returns what it knows.
        told = ("Asking http", "taken over", "The call was placed: status")
        assert all(any(text in log for text in told) for log in logs), (run.name, index)
        for private in (KEY, "Asha", *(phone.lstrip("+") for phone in (PHONE, NO_RECORD, *PEOPLE))):
            assert private not in " ".join([store, *logs]), (run.name, index)


def expected(name: str, run: Played, *, more_posts: int = 0) -> Ends:
    ends = row(name).ends(key_used=run.sandbox.failed_request_uses_key, stored=run.is_stored)
    return replace(ends, posts=ends.posts + more_posts)


def test_a_worker_killed_before_the_post_leaves_the_call_to_the_next_try(deaths: Deaths) -> None:
    """A send that was not accepted when its worker was killed is sent again, and rings once."""
    names = {"before_plain": ONE, "before_mapped": PEOPLE, "before_resumed": ONE, "before_stored": ONE}
    deaths.sandboxes["before_resumed"].inject(CALL, Fault.RATE_LIMIT, retry_after=2)
    runs = deaths.play(names, Fault.HANG_BEFORE, **HELD)
    for run in runs:
        run.kill_held(Fault.HANG_BEFORE, names[run.name])
    for run in runs:
        run.wait()
        refused = run.name == "before_resumed"
        ends = expected("worker killed before the POST", run, more_posts=refused)
        assert_ended(run, names[run.name], ends)


def test_a_worker_killed_after_a_refusal_leaves_a_doubt_that_is_told(deaths: Deaths) -> None:
    """If refused requests use up keys, a worker killed after one leaves a doubt, and nobody is called."""
    deaths.sandboxes["before_counted"].inject(CALL, Fault.RATE_LIMIT, retry_after=2)
    (run,) = deaths.play(["before_counted"], Fault.HANG_BEFORE, **HELD)
    run.kill_held(Fault.HANG_BEFORE, ONE)
    run.wait()
    assert_ended(run, ONE, Ends(UNCONFIRMED, posts=3, tries=2, rings=0))


def test_a_worker_killed_between_accept_and_receipt_does_not_ring_again(deaths: Deaths) -> None:
    """A call whose worker was killed while it waited for the answer is found by the next try."""
    names = {
        "between_plain": ONE,
        "between_mapped": PEOPLE,
        "between_no_record": (NO_RECORD,),
        "between_stored": ONE,
    }
    runs = deaths.play(names, Fault.HANG_AFTER, **HELD)
    for run in runs:
        run.kill_held(Fault.HANG_AFTER, names[run.name])
    for run in runs:
        run.wait()
        ends = expected("worker killed between accept and receipt", run)
        placement = UNCONFIRMED if run.name == "between_no_record" else FOUND
        assert set(placement) <= set(ends.placement)
        assert_ended(run, names[run.name], replace(ends, placement=placement))


def test_a_worker_killed_after_the_receipt_hands_it_to_the_next_try(deaths: Deaths) -> None:
    """A try that died with the receipt in hand is followed by one that returns it and asks nothing."""
    names = {"receipt_plain": ONE, "receipt_mapped": PEOPLE, "receipt_stored": ONE}
    runs = deaths.play(names)
    for run in runs:
        run.kill_once_receipted(-1 if names[run.name] == ONE else 1)
    for run in runs:
        run.wait()
        assert_ended(run, names[run.name], expected("worker killed after the receipt", run))
        assert run.lookups() == []


def test_a_cleared_call_returns_its_receipt(deaths: Deaths) -> None:
    """A task that is cleared after success gives the same ids again and asks nothing."""
    for run in deaths.play(["cleared_plain", "cleared_stored"]):
        run.wait()
        before = run.xcom("return_value")
        run.clear(["call"])
        run.wait()
        assert_ended(run, ONE, expected("cleared after success", run))
        assert run.xcom("return_value") == before
        assert run.lookups() == []


def test_a_list_that_was_reordered_before_a_clear_gives_everybody_their_own_ids(deaths: Deaths) -> None:
    """When position N holds somebody else after a clear, nobody is called again and no ids are mixed up."""
    (run,) = deaths.play(["cleared_mapped"])
    run.wait()
    run.clear(["people", "call"])
    run.wait()
    # Who has moved finds no entry at the new position, is refused for the key, and found.
    assert_ended(run, PEOPLE[::-1], Ends(PLACED + FOUND, posts=2, tries=2))


@contextmanager
def process_left_behind(run: Played) -> Iterator[None]:
    """Freeze the worker, but not the task's process; a new try takes over; on exit the worker wakes up."""
    old = psutil.Process(run.pid())
    worker = old.parent()
    assert worker
    worker.suspend()
    run.airflow.api("PATCH", run.task_url, {"new_state": "failed"})
    # Cleared any sooner, the task might be left in a run that the scheduler ends all the same.
    assert run.airflow.wait_for_run(run.name, run.run_id) == "failed"
    run.clear(["call"])
    run.airflow.wait_for_task_state(run.name, run.run_id, "call", "success")
    yield
    assert old.is_running()
    worker.resume()
    wait_for(lambda: old.pid not in run.airflow.processes(), "the old process to end", timeout_s=30)


def test_a_process_that_lost_its_task_sends_nothing(deaths: Deaths) -> None:
    """A process that wakes up after a newer try has taken over is stopped by the ledger, before it sends."""
    (run,) = deaths.play(["twin_before_intent"])
    wait_for((deaths.gate / "reached").exists, "the task to run", timeout_s=60)
    with process_left_behind(run):
        (deaths.gate / "open").touch()
    assert_ended(run, ONE, expected("two processes for one task at once", run))
    assert len(run.posts(PHONE)) == 1
    assert "could not be written to Airflow's task state store" in run.logs()[0]


@pytest.mark.parametrize(
    ("name", "phone"),
    [("twin_before_answer", PHONE), ("twin_no_record", NO_RECORD), ("twin_stored", PHONE)],
)
def test_a_process_that_lost_its_task_while_sending_sends_no_more(
    name: str, phone: str, deaths: Deaths
) -> None:
    """A process whose POST was on its way when a newer try took over is told so by its next write."""
    (run,) = deaths.play([name], Fault.HANG_BEFORE, **HELD)
    run.held_phone(Fault.HANG_BEFORE)
    with process_left_behind(run):
        result = run.xcom("return_value")
        run.sandbox.stop()  # the old process loses its answer, and would send again
        run.sandbox.start()
    assert len(run.posts(phone)) == 2
    assert_ended(run, (phone,), expected("two processes for one task at once", run))
    assert run.xcom("trace_id") == result["trace_id"] == run.trace_id(phone)
