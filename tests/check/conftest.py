"""What tests of the check share: a sandbox, connections to it, and the command itself."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from formant_provider.check.__main__ import main
from formant_provider.sandbox import Sandbox
from support.databases import Database
from support.stores import sqlite_store
from support.supervisor import FakeSupervisor, supervised_by

KEY = "key-1234567"
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(api_key=KEY, call_speed=100, rate_limit=None) as sandbox:
        yield sandbox


@pytest.fixture
def sqlite() -> Iterator[Database]:
    """A call store, where it does not matter in which database it is."""
    with sqlite_store() as database:
        yield database


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run the command with these connections; return how it ends and what it prints."""
    monkeypatch.setenv("_AIRFLOW_PROCESS_CONTEXT", "server")  # as it sets for its own process
    # Nobody answers there, so that no test asks another one's Airflow.
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "http://127.0.0.1:9")

    def run(connections: Mapping[str, Any], *arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        with supervised_by(FakeSupervisor(connections)):
            status = main(arguments)
        printed = capsys.readouterr()
        assert KEY not in printed.out + printed.err
        return status, printed.out, printed.err

    return run


def connection(sandbox: Sandbox, **extra: Any) -> dict[str, Any]:
    """Return the connections with one to a sandbox."""
    return {"formant_default": {**json.loads(sandbox.connection_json()), "extra": json.dumps(extra)}}


def states(printed: str, subject: str) -> dict[str, str]:
    """Return the findings about a subject, by their texts."""
    lines = [line for line in printed.splitlines() if line[13:].startswith(f"{subject}: ")]
    return {line[13:].partition(": ")[2]: line[:13].strip() for line in lines}
