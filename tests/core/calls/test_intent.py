from __future__ import annotations

import uuid

from hypothesis import given
from hypothesis import strategies as st

from formant_provider.core.keys import key_for_name, key_for_task

TASK = {"dag_id": "d", "run_id": "r", "task_id": "t", "agent_id": 456, "recipient": "+14155550100"}


def test_the_key_of_a_task_never_changes() -> None:
    """An upgrade of this package must not make tasks that are being retried ring again."""
    assert key_for_task(**TASK) == "89c2f52c-b7f1-5039-a0f2-cd86ee00657f"
    assert uuid.UUID(key_for_task(**TASK)).version == 5


def test_every_part_of_the_intent_counts() -> None:
    """Another DAG, run, task, agent or recipient is another call."""
    others = [key_for_task(**{**TASK, part: 789 if part == "agent_id" else "+14155550101"}) for part in TASK]
    assert len({key_for_task(**TASK), *others}) == 1 + len(TASK)


def test_a_name_is_one_call_for_one_agent_and_recipient_only() -> None:
    """A name shared by a mapped list does not make one call out of many."""
    one = key_for_name(name="2026-04", agent_id=456, recipient="+14155550100")
    assert one == key_for_name(name="2026-04", agent_id=456, recipient="+14155550100")
    assert one != key_for_name(name="2026-04", agent_id=456, recipient="+14155550101")
    assert one != key_for_name(name="2026-04", agent_id=457, recipient="+14155550100")


@given(st.text(), st.text(), st.text(), st.text())
def test_parts_are_kept_apart(a: str, b: str, c: str, d: str) -> None:
    """No two different pairs of ids run together into one key."""
    same = (a, b) == (c, d)
    keys = [key_for_task(**{**TASK, "dag_id": x, "run_id": y}) for x, y in ((a, b), (c, d))]
    assert (keys[0] == keys[1]) is same
