from __future__ import annotations

from collections.abc import Iterator

import pytest
from airflow.utils.db import initdb

from formant_provider.store.store import Store
from support.airflow_home import use_own_airflow_home
from support.calls_page import CallsPage, calls_page, connections_to
from support.databases import Database
from support.stores import SECRET, open_up, sqlite_store

TEMPLATE = "https://voice.example/{agent_id}/{conversation_id}"


@pytest.fixture(scope="session", autouse=True)
def metadata_database() -> None:
    """Airflow asks its database whether a log-in was withdrawn, and for the states of tasks."""
    use_own_airflow_home()
    initdb()


@pytest.fixture
def sqlite() -> Iterator[Database]:
    with sqlite_store() as database:
        yield database


@pytest.fixture
def store(sqlite: Database) -> Store:
    return open_up(sqlite.engine(), "the test", SECRET)


@pytest.fixture
def page(sqlite: Database, monkeypatch: pytest.MonkeyPatch) -> Iterator[CallsPage]:
    connections = connections_to(sqlite, conversation_url_template=TEMPLATE)
    with calls_page(monkeypatch, connections) as page:
        yield page
