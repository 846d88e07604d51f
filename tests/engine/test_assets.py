"""Events of ``formant://`` assets hold ids, in the real Airflow engine."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.models.asset import AssetEvent
from airflow.sdk import Asset
from airflow.sdk.execution_time.context import OutletEventAccessors
from airflow.utils.session import create_session
from sqlalchemy import select

from formant_provider.sandbox import Sandbox
from formant_provider.tasks.telling import tell
from support.engine import run_dag_source
from support.versions import HAS_STATE_STORE

pytestmark = pytest.mark.engine

HEAD = """
from airflow.sdk import DAG, Asset
from formant_provider.operators.batch import FormantCreateBatchCallOperator
from formant_provider.operators.call import FormantCreateCallOperator
from formant_provider.operators.call_list import FormantCallListOperator

AGENT, OTHER = Asset("formant://agents/456"), Asset("x-other://table")
PEOPLE = [{"customer_phone": "+14155550100"}, {"customer_phone": "+14155550120"}]
"""

CALLS = """
with DAG("asset_calls", schedule=None):
    PERSON = {"customer_phone": "+14155550100"}
    FormantCreateCallOperator(
        task_id="placed", agent_id=456, parameters=PERSON, reference="LN-1", outlets=[AGENT, OTHER]
    )
    FormantCreateCallOperator(
        task_id="over", agent_id=456, parameters=PERSON, idempotency_key="2", wait_for_completion=True,
        poll_interval=0.1, deferrable=True, outlets=[AGENT],
    )
    FormantCreateCallOperator(task_id="dry", agent_id=456, parameters=PERSON, dry_run=True, outlets=[AGENT])
    FormantCreateCallOperator(task_id="silent", agent_id=456, parameters=PERSON, idempotency_key="3")
"""


@pytest.fixture
def sandbox() -> Any:
    with Sandbox(api_key="key-1234567", speed=500, rate_limit=None) as sandbox:
        yield sandbox


def events(run_id: str) -> dict[str, dict[str, Any]]:
    """Return what the events of a run hold, by task and asset."""
    with create_session() as session:
        rows = session.scalars(select(AssetEvent).where(AssetEvent.source_run_id == run_id)).all()
        return {f"{row.source_task_id} {row.asset.uri}": row.extra for row in rows}


def test_an_event_of_an_agents_asset_holds_the_ids_of_the_call(
    sandbox: Sandbox, env: dict[str, str], tmp_path: Path
) -> None:
    """Those of the receipt, or of the record after a wait; other assets, and tasks without, get nothing."""
    result = run_dag_source(HEAD + CALLS, tmp_path, "asset_calls", env=env)
    assert result.state == "success", result.log_text[-3000:]
    found, agent = events(result.run_id), "formant://agents/456"
    assert found.keys() == {f"{task} {agent}" for task in ("placed", "over", "dry")} | {
        "placed x-other://table"
    }
    assert found["placed x-other://table"] == {}
    placed, over = found[f"placed {agent}"], found[f"over {agent}"]
    assert placed == {
        "agent_id": 456,
        "trace_id": result["placed"].xcoms["trace_id"],
        "conversation_id": None,
        "status": "initiated",
        "reason": None,
        "placement": "placed",
        "scheduled_for": None,
        "map_index": -1,
        "reference": "LN-1",
    }
    assert over["conversation_id"] == result["over"].xcoms["conversation_id"]
    assert (over["status"], over["trace_id"]) == ("completed", result["over"].xcoms["trace_id"])
    assert found[f"dry {agent}"]["status"] == "dry_run"
    assert "14155550100" not in str(found)
    assert sandbox.rings == {"+14155550100": 3}


MANY = """
with DAG("asset_many", schedule=None):
    FormantCreateBatchCallOperator(
        task_id="batch", agent_id=456, name="b", contacts=PEOPLE, wait_for_completion=True, poll_interval=0.1,
        results_uri="{folder}/batch.csv", outlets=[AGENT],
    )
    FormantCallListOperator(
        task_id="list", agent_id=456, calls=PEOPLE, poll_interval=0.1, results_uri="{folder}/list.csv",
        summary_uri="{folder}/+14155550100.html", outlets=[AGENT],
    )
"""


@pytest.mark.skipif(not HAS_STATE_STORE, reason="a list needs a ledger")
def test_an_event_of_many_calls_holds_counts_and_where_the_results_are(
    sandbox: Sandbox, env: dict[str, str], tmp_path: Path
) -> None:
    """A list of ten thousand people makes one small event; who they are is in the results alone.

    An address that holds a number is not told.
    """
    result = run_dag_source(HEAD + MANY.replace("{folder}", str(tmp_path)), tmp_path, "asset_many", env=env)
    assert result.state == "success", result.log_text[-3000:]
    found = events(result.run_id)
    batch, calls = found["batch formant://agents/456"], found["list formant://agents/456"]
    assert batch["batch_id"] == result["batch"].xcoms["batch_id"]
    assert (batch["total_recipients"], batch["results_uri"].rpartition("/")[2]) == (2, "batch.csv")
    assert (calls["status"], calls["rows"], calls["reached"], calls["calls"]) == ("finished", 2, 2, 2)
    assert calls["results_uri"].endswith("list.csv")
    assert calls["summary_uri"] is None
    assert result["list"].xcoms["return_value"]["summary_uri"].endswith("+14155550100.html")
    assert "1415555" not in str(found)
    assert sandbox.rings == {"+14155550100": 2, "+14155550120": 2}


@pytest.mark.parametrize("uri", ["formant://agents/7", "formant://agents/7/"])
def test_the_uri_of_an_agent_is_taken(uri: str) -> None:
    """Airflow knows the scheme, and takes a slash at the end for none."""
    assert Asset(uri).uri == "formant://agents/7"


@pytest.mark.parametrize(
    "uri", ["formant://agents", "formant://agents/x", "formant://agents/7/8", "formant://lists/7"]
)
def test_an_uri_that_names_no_agent_is_refused_when_the_dag_is_parsed(uri: str) -> None:
    """A typing error is found at once, and not by a DAG that never starts."""
    with pytest.raises(ValueError, match="must name an agent"):
        Asset(uri)


def test_a_secret_in_an_address_is_not_told() -> None:
    """The name of a connection stays in results_uri; a key and a signature do not."""
    agent = Asset("formant://agents/456")
    for address, told in {
        "s3://bucket/a.csv?X-Amz-Signature=4f1c": "s3://bucket/a.csv",
        "abfss://box@account/a.csv?sv=1&sig=4f1c#top": "abfss://box@account/a.csv",
        "file:///a?b#c.csv": "file:///a?b#c.csv",
        "s3://key:secret@bucket/a.csv": "s3://bucket/a.csv",
        "s3://conn@bucket/a.csv": "s3://conn@bucket/a.csv",
        f"{os.sep}a.csv": "/a.csv",
    }.items():
        events = OutletEventAccessors()
        context: Any = {"task": SimpleNamespace(outlets=[agent]), "outlet_events": events}
        tell(context, {"status": "finished", "results_uri": address})
        assert events[agent].extra == {"status": "finished", "results_uri": told}
