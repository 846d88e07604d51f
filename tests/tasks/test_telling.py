"""What a task tells besides its result ends no task whose call was placed."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import Asset
from airflow.sdk.execution_time.context import OutletEventAccessors

from formant_provider.tasks.telling import tell, told


@pytest.mark.parametrize("address", ["s3://[bucket/results.csv", "//[data/results.csv"])
def test_an_address_that_is_none_costs_the_event_of_an_asset_alone(
    address: str, caplog: pytest.LogCaptureFixture
) -> None:
    """There is a warning, without the address, and lineage knows the result all the same."""
    asset = Asset("calls", uri="formant://agents/456")
    task = SimpleNamespace(outlets=[asset])
    context: Any = {"task": task, "outlet_events": OutletEventAccessors()}
    with caplog.at_level(logging.WARNING):
        tell(context, {"batch_id": 7, "results_uri": address})
    assert caplog.messages == ["The event of an asset holds no ids (ValueError)."]
    assert told(task)["batch_id"] == 7
