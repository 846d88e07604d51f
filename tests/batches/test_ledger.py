"""The ledger of a batch call in Airflow: what lies in the store, and what stands in for it before 3.3."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pendulum
import pytest
from airflow.providers.common.compat.sdk import BaseOperator
from batches.modes import phones

from formant_provider.core.batches.placement import BatchPolicy, Callbacks, place_batch
from formant_provider.core.batches.request import build_batch_request
from formant_provider.hooks.formant import FormantHook
from formant_provider.sandbox import Fault, Sandbox
from formant_provider.sandbox.faults import BATCH
from formant_provider.tasks import run as task
from formant_provider.tasks.failures import PLACING_A_BATCH_CALL, ending_the_task
from formant_provider.tasks.ledger import BATCHES_ENTRY, batch_ledger_for
from support.supervisor import FakeSupervisor
from support.task_run import TaskRun, make_dag, run_task
from support.versions import needs_state_store

NUMBERS = phones("00", "01")


class BatchCall(BaseOperator):
    """The least that places a batch call."""

    template_fields = ("name",)

    def __init__(
        self,
        *,
        file: str,
        name: str = "March",
        own_name: str | None = None,
        agent_id: int = 456,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.file = file
        self.agent_id = agent_id
        self.name = name
        self.own_name = own_name

    def execute(self, context: Any) -> dict[str, Any]:
        run = task.TaskRun(context, own_name=self.own_name is not None)
        request = build_batch_request(
            agent_id=self.agent_id,
            name=self.name,
            idempotency_key=self.own_name,
            write_file=lambda: self.file,
            task=run.task_id,
            is_mapped=run.is_mapped,
        )
        policy = BatchPolicy(run.batch_taken_since, lookup_timeout_s=0, resubmit_if_missing=False)
        callbacks = Callbacks(lambda: pendulum.now("UTC"), time.sleep)
        ledger = batch_ledger_for(run, request.key)
        with ending_the_task(PLACING_A_BATCH_CALL), FormantHook().get_conn() as client:
            placement = place_batch(request, client, ledger, policy, callbacks)
        return {"batch_id": placement.batch_id, "result": placement.result.value}


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "contacts.csv"
    path.write_text("\n".join(["customer_phone,customer_name", *(f"{n},Rahul" for n in NUMBERS), ""]))
    return str(path)


@pytest.fixture
def no_sleep(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)


def batch_call(file: str, **fields: Any) -> BatchCall:
    return BatchCall(task_id="batch_call", file=file, **{"retries": 3, **fields})


def result(run: TaskRun) -> tuple[int, str]:
    assert run.state == "success", run.log_text
    value = run.xcoms["return_value"]
    return value["batch_id"], value["result"]


@needs_state_store
def test_the_entry_holds_ids_and_moments(file: str, sandbox: Sandbox, channel: FakeSupervisor) -> None:
    """Named by the key; no number, no variable and no API key."""
    run = run_task(batch_call(file), channel)
    ((key, entry),) = run.state_store[BATCHES_ENTRY]["calls"].items()
    assert key == entry["key"]
    assert set(entry) == {"key", "written_at", "sent", "receipt", "try_number"}
    assert entry["receipt"]["batch_id"] == sandbox.batches[0].batch_id
    told = repr(run.state_store) + repr(run.sent("SetTaskStateStore"))
    for private in (*(number.strip("+") for number in NUMBERS), "Rahul", sandbox.api_key):
        assert private not in told


@needs_state_store
def test_a_further_try_sends_nothing(file: str, sandbox: Sandbox, channel: FakeSupervisor) -> None:
    """Whatever its name was rendered to this time."""
    first = result(run_task(batch_call(file, name="at {{ ti.try_number }}"), channel))
    seen = len(sandbox.requests)
    assert result(run_task(batch_call(file, name="at {{ ti.try_number }}"), channel, try_number=2)) == first
    assert len(sandbox.requests) == seen


def test_without_a_store_a_further_try_finds_it_by_its_name(
    file: str, sandbox: Sandbox, channel: FakeSupervisor
) -> None:
    """Below Airflow 3.3 the list alone tells."""
    old = {"state_store": False, "logical_date": datetime.now(UTC)}
    batch_id, _ = result(run_task(batch_call(file, name="at {{ ti.try_number }}"), channel, **old))
    again = run_task(batch_call(file, name="at {{ ti.try_number }}"), channel, try_number=2, **old)
    assert result(again) == (batch_id, "found")
    assert sandbox.rings == dict.fromkeys(NUMBERS, 1)


def test_without_a_store_a_further_try_that_finds_nothing_is_parked(
    file: str, sandbox: Sandbox, channel: FakeSupervisor
) -> None:
    """Without retries, and with what to do in the log."""
    run = run_task(batch_call(file), channel, try_number=2, state_store=False)
    assert run.state == "failed"
    assert "A batch call may have been placed" in run.log_text
    assert "resubmit_if_missing" in run.log_text
    assert sandbox.rings == {}


@needs_state_store
def test_a_lost_answer_whose_batch_call_is_not_listed_is_parked_and_found_by_a_clear(
    file: str, make_sandbox: Any
) -> None:
    """The doubt stays in the store, and a clear looks again."""
    from waiting.conftest import channel_to

    sandbox = make_sandbox(batch_list_lag_reads=1)
    channel = channel_to(sandbox)
    sandbox.inject(BATCH, Fault.DROP_AFTER)
    assert run_task(batch_call(file), channel).state == "failed"
    assert result(run_task(batch_call(file), channel, try_number=2)) == (sandbox.batches[0].batch_id, "found")
    assert sandbox.rings == dict.fromkeys(NUMBERS, 1)


def test_rows_of_a_mapped_list_are_told_apart_by_their_names(
    file: str, sandbox: Sandbox, channel: FakeSupervisor
) -> None:
    """After a clear the list is in another order: each row still has its own batch call."""
    found: list[dict[str, int]] = []
    names = ["north", "east", "south"]
    for try_number, order in enumerate((names, names[::-1]), start=1):
        with make_dag():
            mapped = BatchCall.partial(task_id="batch_call", file=file).expand(name=order)
        attempt = {"try_number": try_number, "logical_date": datetime.now(UTC)}
        runs = [run_task(mapped, channel, map_index=index, **attempt) for index in range(3)]
        found.append({name: result(run)[0] for name, run in zip(order, runs, strict=True)})
    assert found[0] == found[1]
    assert sandbox.rings == dict.fromkeys(NUMBERS, 3)


def test_a_name_of_the_user_s_is_one_batch_call_wherever_it_is_asked_for(
    file: str, sandbox: Sandbox, channel: FakeSupervisor
) -> None:
    """In another run, under another name, on another day."""
    first = result(run_task(batch_call(file, own_name="march"), channel))
    other = run_task(batch_call(file, own_name="march", name="Once more"), channel, run_id="r2")
    assert result(other) == (first[0], "found")
    assert sandbox.rings == dict.fromkeys(NUMBERS, 1)


ENDS = {
    "limited": (Fault.RATE_LIMIT_NO_HEADERS, 4, "up_for_retry", "looks for the batch call"),
    "lost": (Fault.DROP_AFTER, 1, "success", "placed before"),
    "refused": (None, 0, "failed", "agent or batch call exists"),
}


@pytest.mark.usefixtures("no_sleep")
@pytest.mark.parametrize("end", ENDS)
def test_an_error_ends_the_task_with_advice(
    end: str, file: str, sandbox: Sandbox, channel: FakeSupervisor
) -> None:
    """What happened and what comes next; never of an idempotency key, since there is none."""
    fault, times, state, said = ENDS[end]
    if fault:
        sandbox.inject(BATCH, fault, times=times)
    run = run_task(batch_call(file, agent_id=456 if fault else 999), channel)
    assert run.state == state
    assert said in run.log_text
    assert "idempotency key" not in run.log_text
