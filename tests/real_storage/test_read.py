"""Lists are read as they are now, whatever was known of them before."""

from __future__ import annotations

from support.real_stores import RealStore
from support.storage_tasks import CALL_LIST, Airflow, as_csv

PEOPLE = [f"+1415555{at:04d}" for at in range(110, 150)]


def rows(count: int) -> bytes:
    return as_csv([["customer_phone"], *([number] for number in PEOPLE[:count])])


def test_a_list_that_grew_is_read_to_its_end(airflow: Airflow, store: RealStore) -> None:
    """A process listed the folder when the file was short; then another program wrote it anew, and longer."""
    store.put("in/people.csv", rows(10))
    chosen = {"agent_id": 456, "poll_interval": 0.2}
    before = airflow.run(CALL_LIST, calls=store.uri("in/*.csv"), dry_run=True, **chosen)
    assert before.result["rows"] == 10, before.log
    for calls, count in (("in/people.csv", 20), ("in/", 30), ("in/*.csv", 40)):
        store.put("in/people.csv", rows(count))
        ended = airflow.run(CALL_LIST, calls=store.uri(calls), **chosen)
        assert ended.result["rows"] == count, ended.log
    assert set(airflow.sandbox.rings) == set(PEOPLE)


def test_a_list_that_shrank_is_read_to_its_end(airflow: Airflow, store: RealStore) -> None:
    """Nobody who was taken off the list meanwhile is called."""
    store.put("in/people.csv", rows(40))
    chosen = {"agent_id": 456, "poll_interval": 0.2}
    assert airflow.run(CALL_LIST, calls=store.uri("in/"), dry_run=True, **chosen).state == "success"
    store.put("in/people.csv", rows(5))
    ended = airflow.run(CALL_LIST, calls=store.uri("in/people.csv"), **chosen)
    assert ended.result["reached"] == 5, ended.log
    assert airflow.sandbox.rings == dict.fromkeys(PEOPLE[:5], 1)
