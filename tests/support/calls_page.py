"""The calls page behind Airflow's own log-in, in this process, and a call store with something to show."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from airflow.api_fastapi.app import get_auth_manager, init_auth_manager, purge_cached_app
from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import insert

from formant_provider.calls_page.plugin import NAME, LazyApp
from formant_provider.core.call_lists.tally import Tally
from formant_provider.store.list_progress import tell_progress
from formant_provider.store.schema import intents
from formant_provider.store.store import Store, to_ms
from support.databases import Database
from support.stores import SECRET

URL = f"/{NAME}/"
MANAGER = "support.auth_manager.PerDagAuthManager"


def now() -> datetime:
    return datetime.now(UTC)


def add_call(store: Store, *, ago: timedelta = timedelta(), **fields: Any) -> str:
    """Write one row as those who place calls leave it; return its id."""
    at = to_ms(now() - ago)
    row = {
        **{"id": uuid4().hex, "kind": "call", "agent_id": 456, "recipient": uuid4().hex, "dag_id": "dues"},
        **{"run_id": "manual__1", "task_id": "call", "map_index": -1, "reference": None, "asked_by": "ann"},
        **{"account": None, "asked_at": at, "knew_all": True, "state": "placed", "call_at": at},
        **{"trace_id": None, "conversation_id": None, "batch_id": None, "outcome": None, "outcome_at": None},
        **{"intent": "{}", "try_number": 1, "sending_by": None, "sending_until": None, "version": 1},
        **fields,
    }
    with store.writing() as conn:
        conn.execute(insert(intents).values(row))
    return str(row["id"])


def connections_to(database: Database, **extra: Any) -> dict[str, dict[str, Any]]:
    """Return connections as a user makes them, to the store in a database."""
    named = {"store_conn_id": "calls_db", "store_secret": SECRET, **extra}
    formant = {"conn_type": "formant", "password": "key", "extra": json.dumps(named)}
    return {"formant_default": formant, "calls_db": database.connection}


def fill(store: Store) -> None:
    """Write a day as it might be: of two DAGs, with lists, a batch call, and calls that are unconfirmed."""
    runs = {
        "renewals": "scheduled__2026-11-28T08:00:00+00:00",
        "surveys": "manual__2026-11-28T09:30:00+00:00",
    }
    outcomes = (("completed", 62), ("no_answer", 21), ("busy", 6), ("failed", 2), (None, 9))
    for agent_id, times in ((456, 1), (457, 2)):
        for outcome, count in outcomes:
            for number in range(count // times):
                called = {"dag_id": "renewals", "run_id": runs["renewals"], "task_id": "call_all"}
                ids = {"trace_id": uuid4().hex, "conversation_id": outcome and uuid4().hex}
                add_call(
                    store,
                    agent_id=agent_id,
                    outcome=outcome,
                    reference=f"loan-{agent_id}{number}",
                    **ids,
                    **called,
                )
    missed = {"dag_id": "renewals", "run_id": runs["renewals"], "task_id": "remind", "state": "unclear"}
    add_call(store, reference="loan-7731", map_index=4, **missed)
    batch = {"dag_id": "surveys", "run_id": runs["surveys"], "task_id": "call_batch", "kind": "batch_call"}
    people = json.dumps({"people": {"count": 1200, "digest": "0"}})
    add_call(store, recipient=None, batch_id=91, intent=people, **batch)
    place = "renewals", runs["renewals"], "call_all", -1
    tally = Tally(rows=3000, rejected=41, waiting=1712, in_progress=9, reached=1044, closed=194)
    tell_progress(store, place, tally, reference="renewals of November", now=now())
    place = "surveys", runs["surveys"], "call_later", -1
    tally = Tally(rows=800, rejected=3, waiting=600, in_progress=0, reached=150, closed=47)
    tell_progress(store, place, tally, reference=None, now=now(), resumes_at=now() + timedelta(hours=11))


class Visitor:
    """Somebody in front of a browser, logged in or not.

    :param client: of the API server.
    :param token: what Airflow gave them when they logged in.
    """

    def __init__(self, client: TestClient, token: str | None) -> None:
        self.client, self.token = client, token
        self.cookies = {"_token": token} if token else {}

    def get(self, query: str = "", **options: Any) -> Any:
        return self.ask("GET", query, **options)

    def ask(self, method: str, query: str = "", **options: Any) -> Any:
        self.client.cookies.clear()
        self.client.cookies.update(self.cookies)
        return self.client.request(method, f"{URL}{query}", **options)


class CallsPage:
    """The page, mounted as Airflow mounts it."""

    def __init__(self) -> None:
        app = FastAPI()
        init_auth_manager(app)
        app.mount(URL.rstrip("/"), LazyApp())
        self.client = TestClient(app, raise_server_exceptions=False)

    def visitor(self, name: str | None = "ann", role: str = "VIEWER") -> Visitor:
        """Return a visitor; ``None``: who is not logged in."""
        if name is None:
            return Visitor(self.client, None)
        user = SimpleAuthManagerUser(username=name, role=role)
        return Visitor(self.client, get_auth_manager().generate_jwt(user))


@contextmanager
def calls_page(
    patch: pytest.MonkeyPatch, connections: Mapping[str, Mapping[str, Any]], **options: str
) -> Iterator[CallsPage]:
    """Serve the page with these connections.

    :param options: of ``[formant]``.
    """
    patch.setenv("AIRFLOW__CORE__AUTH_MANAGER", MANAGER)
    patch.setenv(
        "AIRFLOW__API_AUTH__JWT_SECRET", "a secret of the test alone, which is long enough for the signatures"
    )
    for name, value in options.items():
        patch.setenv(f"AIRFLOW__FORMANT__{name.upper()}", value)
    for conn_id, connection in connections.items():
        patch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps(connection))
    purge_cached_app()
    try:
        yield CallsPage()
    finally:
        purge_cached_app()
