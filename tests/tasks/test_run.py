"""What a task knows of its run, as a table."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pendulum
import pytest

from formant_provider.tasks.run import TaskRun

NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)
EPOCH = datetime.fromtimestamp(0, UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def a_run(
    *,
    age: timedelta = HOUR,
    row: int | None = -1,
    tries: int = 1,
    clears: int | None = 0,
    own: bool = False,
    loop: bool = False,
    region: timedelta | None = None,
) -> TaskRun:
    ti = SimpleNamespace(
        dag_id="dag", run_id="run", task_id="call", map_index=row, try_number=tries, max_tries=2
    )
    if region is not None:  # its id begins with when it was made
        ti.region_id = UUID(int=int((NOW + region).timestamp() * 1000) << 80 | 7 << 76 | 8 << 60)
    dag_run = SimpleNamespace(run_after=NOW - age, start_date=NOW, clear_number=clears)
    context: Any = {"ti": ti, "dag_run": dag_run}
    if loop:
        context["loop"] = SimpleNamespace(index=1)
    return TaskRun(context, own_name=own)


# Given the arguments of a run: taken_since, batch_taken_since, look_since, each as what lies before now.
SINCE = [
    ({}, None, None, None),
    ({"tries": 2}, None, HOUR, None),
    ({"row": None}, None, None, None),
    ({"row": 0}, HOUR, HOUR, None),
    ({"row": 0, "age": timedelta(0)}, timedelta(seconds=1), timedelta(0), None),
    ({"row": 0, "age": 3 * DAY}, DAY, 3 * DAY, 3 * DAY),
    ({"age": 3 * DAY}, None, None, None),
    ({"own": True}, DAY, NOW - EPOCH, None),
    ({"own": True, "row": 3, "age": 3 * DAY}, DAY, NOW - EPOCH, 3 * DAY),
    # In a loop the calls of other iterations are no call of ours, until a clear has replaced iterations.
    ({"loop": True, "age": 3 * DAY}, None, None, None),
    ({"loop": True, "row": 0, "age": 3 * DAY}, DAY, 3 * DAY, None),
    ({"loop": True, "region": timedelta(seconds=-1)}, None, None, None),
    ({"loop": True, "region": HOUR}, HOUR, HOUR, None),
    ({"loop": True, "region": HOUR, "age": 3 * DAY}, DAY, 3 * DAY, 3 * DAY),
    ({"loop": True, "region": HOUR, "row": 0, "age": 3 * DAY}, DAY, 3 * DAY, None),
    ({"region": HOUR}, None, None, None),
    ({"loop": True, "clears": 1}, HOUR, HOUR, None),
    ({"loop": True, "clears": 1, "age": 3 * DAY}, DAY, 3 * DAY, 3 * DAY),
]


@pytest.mark.parametrize(("of", "taken", "batch_taken", "look"), SINCE)
def test_since_when_somebody_else_can_have_asked_for_the_call(
    of: dict[str, Any],
    taken: timedelta | None,
    batch_taken: timedelta | None,
    look: timedelta | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nobody for a task's own key; other rows since the run began; a name of the user's since ever."""
    monkeypatch.setattr(pendulum, "now", lambda _: NOW)
    run = a_run(**of)
    found = [run.taken_since, run.batch_taken_since, run.look_since]
    assert found == [None if span is None else NOW - span for span in (taken, batch_taken, look)]


@pytest.mark.parametrize(
    ("of", "property_of_it", "value"),
    [
        ({}, "task_id", ("dag", "run", "call")),
        ({"tries": 3}, "try_number", 3),
        ({"tries": 2}, "has_tries_left", True),
        ({"tries": 3}, "has_tries_left", False),
        ({"row": None}, "map_index", -1),
        ({"row": None}, "is_mapped", False),
        ({"row": 0}, "is_mapped", True),
        ({"clears": None}, "was_cleared", False),
        ({"clears": 1}, "was_cleared", True),
        ({"age": DAY}, "run_began", NOW - DAY),
        ({}, "store", None),
    ],
)
def test_a_property_is_read_from_the_context(of: dict[str, Any], property_of_it: str, value: Any) -> None:
    """Whatever this Airflow leaves out has a value that is safe to go by."""
    assert getattr(a_run(**of), property_of_it) == value


@pytest.mark.parametrize(("tries", "earliest"), [(1, NOW), (2, NOW - HOUR)])
def test_a_first_try_cannot_have_sent_before_it_began(tries: int, earliest: datetime) -> None:
    """A further one can have since the run began."""
    assert a_run(tries=tries).earliest_send(NOW) == earliest


@pytest.mark.parametrize(("error", "is_current"), [(None, True), (RuntimeError, False)])
def test_a_task_is_current_when_its_store_takes_a_write(error: Any, is_current: bool) -> None:
    """Airflow tells a process that it has given up only when that writes; without a store nobody tells."""

    def write(*_: Any) -> None:
        if error:
            raise error

    run = a_run()
    assert run.is_current()
    store: Any = SimpleNamespace(set=write)
    run.context["task_state_store"] = store  # type: ignore[typeddict-unknown-key,unused-ignore]
    assert run.is_current() is is_current


@pytest.mark.parametrize(("own", "is_changed"), [(False, True), (True, False)])
def test_each_iteration_of_a_loop_has_a_key_of_its_own(own: bool, is_changed: bool) -> None:
    """Unless the user names the call: that is the same one in each iteration."""
    run = a_run(own=own)
    loop: Any = SimpleNamespace(index=2)
    run.context["loop"] = loop  # type: ignore[typeddict-unknown-key,unused-ignore]
    assert (run.key_in_loop("key") != "key") is is_changed
