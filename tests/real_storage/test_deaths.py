"""A worker that is killed while it writes leaves the older object, or the whole new one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest

from support.faulty_proxy import Does, Fault
from support.real_stores import RealStore
from support.storage_tasks import Airflow, Worker

MEGA = 1_000_000
OLD = b"the recording of another try"


@pytest.fixture
def victim() -> Iterator[Worker]:
    with closing(Worker()) as worker:
        yield worker


def killed(airflow: Airflow, victim: Worker, fault: Fault) -> str:
    """Let a worker store a recording and die at the fault; return the name of the object."""
    conversation_id = airflow.a_conversation()
    name = f"calls/{conversation_id}/recording.wav"
    airflow.store.put(name, OLD)
    fault.act = victim.kill
    airflow.store.proxy.begin(fault)
    victim.begin(airflow.recording_task(conversation_id), airflow.connections)
    assert (victim.wait(), fault.met > 0) == (-9, True)
    airflow.store.proxy.begin(None)
    return name


@pytest.mark.parametrize("after", [6 * MEGA, 12 * MEGA, 20 * MEGA])
def test_a_worker_that_dies_in_the_middle_leaves_what_was_there(
    after: int, airflow: Airflow, victim: Worker, store: RealStore
) -> None:
    """Whatever part of the new one was sent: nobody sees it, and the next try writes all of it."""
    name = killed(airflow, victim, Fault("cut", after=after))
    assert store.names() == [name]
    assert store.read(name) == OLD
    # Amazon keeps the parts of an upload for ever; docs/storage.md says what deletes them.
    assert store.unfinished() == (1 if store.keeps_parts else 0)
    assert airflow.store_recording(name.split("/")[1]).state == "success"
    assert store.read(name) == airflow.recording(name.split("/")[1])


@pytest.mark.parametrize("does", ["cut", "pass"])
def test_a_worker_that_dies_at_the_end_leaves_one_of_both(
    does: Does, airflow: Airflow, victim: Worker, store: RealStore
) -> None:
    """The request that makes the object appear is lost, or carried out with nobody there to hear of it."""
    name = killed(airflow, victim, Fault(does, store.ends, after=20 * MEGA))
    new = airflow.recording(name.split("/")[1])
    assert store.names() == [name]
    assert store.read(name) in ([OLD] if does == "cut" else [OLD, new])
    assert airflow.store_recording(name.split("/")[1]).state == "success"
    assert store.read(name) == new
