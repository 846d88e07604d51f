"""Real stores, a sandbox, and workers of Airflow that reach both."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field

import pytest

from formant_provider.sandbox import Sandbox
from support.real_stores import STORES, RealStore
from support.storage_tasks import Airflow, Worker

FIGURE = "figure"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for report in terminalreporter.getreports("passed"):
        for name, text in report.user_properties:
            if name == FIGURE and report.when == "call":
                terminalreporter.write_line(str(text))


@dataclass
class Running:
    """What was started, each when it was first needed: the stores, and a worker for each of them."""

    stack: ExitStack
    stores: dict[str, RealStore] = field(default_factory=dict)
    workers: dict[str, Worker] = field(default_factory=dict)

    def store(self, name: str) -> RealStore:
        if name not in self.stores:
            self.stores[name] = STORES[name](self.stack)
        return self.stores[name]

    def worker(self, scheme: str) -> Worker:
        if scheme not in self.workers:
            self.workers[scheme] = Worker()
            self.stack.callback(self.workers[scheme].close)
        return self.workers[scheme]


@pytest.fixture(scope="session")
def running() -> Iterator[Running]:
    with ExitStack() as stack:
        yield Running(stack)


# Each store has a process of pytest of its own: for most of the time they wait.
@pytest.fixture(params=[pytest.param(name, marks=pytest.mark.xdist_group(name)) for name in STORES])
def store(request: pytest.FixtureRequest, running: Running) -> RealStore:
    """One store, empty."""
    found = running.store(request.param)
    found.clear()
    return found


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    """A sandbox in which a call is over within a second, and whose recordings are of 24 MB."""
    with Sandbox(call_speed=200, rate_limit=None, recording_bytes=24_000_000) as sandbox:
        yield sandbox


@pytest.fixture
def say(record_property: Callable[[str, object], None]) -> Callable[[str], None]:
    """Prints a figure at the end, if the test passes."""
    return lambda text: record_property(FIGURE, text)


@pytest.fixture
def airflow(store: RealStore, sandbox: Sandbox, running: Running) -> Airflow:
    """Airflow, whose connections lead to the store and the sandbox."""
    return Airflow(store, sandbox, running.worker(store.scheme))
