"""The client counts what the API says to a call, whoever asks for it: an operator, a notifier or a hook."""

from __future__ import annotations

from contextlib import AbstractContextManager, suppress
from pathlib import Path

import pytest

from formant_provider.api.client import FormantClient
from formant_provider.api.config import ClientConfig
from formant_provider.api.errors import FormantError
from formant_provider.api.models import CallRequest
from formant_provider.api.telemetry import SILENT, Metric, Span, Tag
from formant_provider.sandbox import Fault, Sandbox
from formant_provider.sandbox.faults import BATCH, CALL

from .conftest import KEY

NUMBER = "+14155550100"


class Counts:
    """Somebody who measures, and keeps what is counted of calls."""

    def __init__(self) -> None:
        self.kept: list[tuple[str, dict[str, Tag]]] = []

    def count(self, metric: Metric, **tags: Tag) -> None:
        if "calls" in metric.name:
            self.kept.append((metric.name.removeprefix("formant."), tags))

    def gauge(self, metric: Metric, value: int, **tags: Tag) -> None:
        raise NotImplementedError

    def span(self, name: str, **attributes: Tag) -> AbstractContextManager[Span]:
        return SILENT.span(name, **attributes)


@pytest.fixture
def counts() -> Counts:
    return Counts()


@pytest.fixture
def client(sandbox: Sandbox, counts: Counts) -> FormantClient:
    return FormantClient(ClientConfig(sandbox.base_url, KEY), sleep=lambda _: None, telemetry=counts)


def test_a_call_is_counted_once_as_placed_or_refused(
    client: FormantClient, counts: Counts, sandbox: Sandbox
) -> None:
    """A repeat that is accepted is one call; a key that was used says nothing new, nor does a lost answer."""
    sandbox.inject(CALL, Fault.RATE_LIMIT)
    sandbox.inject(CALL, Fault.DROP_AFTER)
    with client:
        for agent_id, key in ((456, "a"), (456, "b"), (456, "c"), (456, "c"), (7, "d")):
            call = CallRequest(agent_id, (("customer_phone", NUMBER),), key)
            with suppress(FormantError):
                client.create_call(call)
    placed, refused = ("calls.placed", {"agent_id": 456}), ("calls.refused", {"agent_id": 7, "status": 404})
    assert sandbox.rings == {NUMBER: 3}
    assert counts.kept == [placed, placed, refused]


def test_a_batch_call_is_counted_once_as_placed_or_refused(
    client: FormantClient, counts: Counts, sandbox: Sandbox, tmp_path: Path
) -> None:
    """What may have been accepted counts as neither."""
    sandbox.inject(BATCH, Fault.DROP_AFTER)
    file = tmp_path / "people.csv"
    file.write_text(f"customer_phone\n{NUMBER}\n")
    with client:
        for agent_id in (456, 456, 7):
            with suppress(FormantError):
                client.create_batch_call(agent_id, "dues", file)
    placed = ("batch_calls.placed", {"agent_id": 456})
    assert counts.kept == [placed, ("batch_calls.refused", {"agent_id": 7, "status": 404})]
