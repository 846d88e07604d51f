"""An upload that breaks leaves what was there before, and nothing to pay for."""

from __future__ import annotations

import pytest

from support.faulty_proxy import Fault
from support.real_stores import RealStore
from support.storage_tasks import Airflow, Ended

MEGA = 1_000_000
OLD = b"the recording of another try"


def stored_over_an_older_one(airflow: Airflow, fault: Fault) -> tuple[str, Ended]:
    """Store a recording where one lies already, and let something go wrong; return its object's name."""
    conversation_id = airflow.a_conversation()
    name = f"calls/{conversation_id}/recording.wav"
    airflow.store.put(name, OLD)
    airflow.store.proxy.begin(fault)
    ended = airflow.store_recording(conversation_id)
    airflow.store.proxy.begin(None)
    return name, ended


@pytest.mark.parametrize("what", ["ends", "sends_part"])
def test_a_refused_upload_leaves_what_was_there(what: str, airflow: Airflow, store: RealStore) -> None:
    """Its end is refused, or a part in the middle: the older object stays, and no part lies there."""
    fault = Fault("forbid", getattr(store, what), after=10 * MEGA)
    name, ended = stored_over_an_older_one(airflow, fault)
    assert (ended.state, fault.met > 0) == ("failed", True), ended.log
    assert store.names() == [name]
    assert store.read(name) == OLD
    assert store.unfinished() == 0


def test_a_connection_that_is_lost_for_good_leaves_what_was_there(airflow: Airflow, store: RealStore) -> None:
    """From the twentieth megabyte on nothing reaches the store: the older object stays."""
    fault = Fault("cut", after=20 * MEGA)
    name, ended = stored_over_an_older_one(airflow, fault)
    assert (ended.state, fault.met > 0) == ("failed", True), ended.log
    assert store.names() == [name]
    assert store.read(name) == OLD


def test_a_connection_that_breaks_once_costs_nothing(airflow: Airflow, store: RealStore) -> None:
    """The vendor's library sends that part again, and the object is whole."""
    fault = Fault("cut", after=20 * MEGA, times=1)
    name, ended = stored_over_an_older_one(airflow, fault)
    assert (ended.state, fault.met) == ("success", 1), ended.log
    assert store.read(name) == airflow.recording(name.split("/")[1])
    assert store.unfinished() == 0


def test_the_next_try_writes_it_whole(airflow: Airflow, store: RealStore) -> None:
    """What a broken try left in the store is in nobody's way."""
    name, ended = stored_over_an_older_one(airflow, Fault("forbid", store.ends, after=10 * MEGA))
    assert ended.state == "failed"
    conversation_id = name.split("/")[1]
    assert airflow.store_recording(conversation_id).state == "success"
    assert store.read(name) == airflow.recording(conversation_id)
    assert store.names() == [name]
