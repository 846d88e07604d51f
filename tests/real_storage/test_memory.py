"""How little memory files take on their way to a store and from it."""

from __future__ import annotations

from collections.abc import Callable

from support.real_stores import RealStore
from support.storage_tasks import CALL_LIST, Airflow

MEGA = 1_000_000
Say = Callable[[str], None]


def test_a_long_recording_takes_little_memory(airflow: Airflow, store: RealStore, say: Say) -> None:
    """200 MB go through a worker in less than 20 MB, and arrive whole."""
    assert airflow.store_recording(airflow.a_conversation()).state == "success"
    airflow.sandbox.recording_bytes = 200 * MEGA
    conversation_id = airflow.a_conversation()
    ended = airflow.store_recording(conversation_id)
    assert ended.state == "success", ended.log
    say(f"{type(store).__name__}: 200 MB are written in {ended.grew_bytes / MEGA:.0f} MB")
    name = f"calls/{conversation_id}/recording.wav"
    assert store.read(name) == airflow.recording(conversation_id)
    assert ended.grew_bytes < 20 * MEGA


def test_a_long_list_takes_little_memory(airflow: Airflow, store: RealStore, say: Say) -> None:
    """100 MB of contacts are checked in less than 60 MB."""
    store.put("short.csv", b"customer_phone,note\n+14155550100,x\n")
    row = b"+14155550101," + b"x" * 10_000 + b"\n"
    store.put("long.csv", b"customer_phone,note\n" + row * (100 * MEGA // len(row)))
    for name in ("short.csv", "long.csv"):
        ended = airflow.run(CALL_LIST, agent_id=456, dry_run=True, calls=store.uri(name))
        assert ended.state == "success", ended.log
    say(f"{type(store).__name__}: 100 MB of contacts are read in {ended.grew_bytes / MEGA:.0f} MB")
    assert ended.grew_bytes < 60 * MEGA
