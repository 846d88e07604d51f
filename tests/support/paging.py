"""Pages for tests over a call store: how they come about, and what is on record of them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import BaseOperator
from sqlalchemy import select, update

from formant_provider.notifications.call import FormantCallNotifier
from formant_provider.operators.call import FormantCreateCallOperator
from formant_provider.store.schema import intents
from formant_provider.store.store import Store
from support.log_capture import captured_logs
from support.supervisor import FakeSupervisor, supervised_by
from support.task_run import TaskRun, make_dag, run_task

ON_CALL = "+14155550100"
MISSED: Any = {"dag_run": {"dag_id": "dag", "dag_run_id": "r1"}, "deadline": {"id": "d1"}}


class Fails(BaseOperator):
    """Fails."""

    def execute(self, context: Any) -> None:  # noqa: ARG002 - Airflow's signature
        raise RuntimeError("the source is empty")


def a_page(**fields: Any) -> FormantCallNotifier:
    return FormantCallNotifier(**{"agent_id": 456, "parameters": {"customer_phone": ON_CALL}, **fields})


def page(channel: FakeSupervisor, attempt: Mapping[str, Any] | None = None, **fields: Any) -> TaskRun:
    """Let a task fail whose callback is a page; it fails as it would without one."""
    with make_dag():
        task = Fails(task_id="load", on_failure_callback=a_page(**fields))
    run = run_task(task, channel, **(attempt or {}))
    assert (run.state, str(run.error)) == ("failed", "the source is empty")
    assert ON_CALL.lstrip("+") not in run.log_text
    return run


def call(channel: FakeSupervisor, **fields: Any) -> TaskRun:
    call = {"task_id": "call", "agent_id": 456, "parameters": {"customer_phone": ON_CALL}}
    return run_task(FormantCreateCallOperator(**{**call, **fields}), channel)


def rows(store: Store) -> list[dict[str, Any]]:
    with store.reading() as conn:
        found = conn.execute(select(intents).order_by(intents.c.asked_at)).mappings().all()
    return [dict(row) for row in found]


def grow_old(store: Store, hours: int) -> None:
    """Let all that is on record have happened so much earlier, and the vendor's keys with it."""
    with store.writing() as conn:
        for row in conn.execute(select(intents)).mappings().all():
            then = datetime.now(UTC) - timedelta(hours=hours)
            intent = json.dumps({**json.loads(row["intent"]), "written_at": then.isoformat()})
            changed = {"intent": intent, "call_at": row["call_at"] - hours * 3_600_000}
            conn.execute(update(intents).where(intents.c.id == row["id"]).values(changed))


def deadline(channel: FakeSupervisor, *, how: str = "sync", **fields: Any) -> str:
    """Miss a deadline, in an executor or in a triggerer; return the log."""

    async def in_triggerer() -> None:
        await a_page(**fields, context=MISSED)

    with supervised_by(channel), captured_logs() as lines:
        if how == "sync":
            a_page(**fields, context=MISSED)(MISSED)
        else:
            asyncio.run(in_triggerer())
    return lines.text
